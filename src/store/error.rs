//! What can go wrong with stored objects.

use std::path::PathBuf;

use crate::api::resources::ResourceType;

/// Why an object could not be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The name is taken.
    #[error("{kind} {name:?} already exists{}", place(.namespace))]
    AlreadyExists {
        /// The object's kind.
        kind: &'static str,
        /// Its namespace; empty for kinds that have none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// There is no such object.
    #[error("{kind} {name:?} not found{}", place(.namespace))]
    NotFound {
        /// The object's kind.
        kind: &'static str,
        /// Its namespace; empty for kinds that have none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// What was to be stored is no object of its resource.
    #[error("not a {kind} that can be stored: {problem}")]
    Invalid {
        /// The kind it should be of.
        kind: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The object is larger than any may be.
    #[error("{kind} {name:?} has {size} bytes, more than the {limit} an object may have")]
    TooLarge {
        /// The object's kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its size as JSON.
        size: usize,
        /// What it may have.
        limit: usize,
    },
    /// Nothing can be stored any more.
    #[error(transparent)]
    Failed(#[from] StoreFailed),
}

fn place(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!(" in namespace {namespace:?}") }
}

impl StoreError {
    pub(super) fn not_found(resource: &ResourceType, namespace: &str, name: &str) -> Self {
        Self::NotFound { kind: resource.kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn already_exists(resource: &ResourceType, namespace: &str, name: &str) -> Self {
        Self::AlreadyExists { kind: resource.kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn invalid(resource: &ResourceType, problem: impl ToString) -> Self {
        Self::Invalid { kind: resource.kind, problem: problem.to_string() }
    }
}

/// Why an object was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError<E> {
    /// Whoever was to change it did not.
    #[error("the change was refused")]
    Refused(E),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store can write no more: what it holds in memory is ahead of what would survive a crash, and stays so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFailed {
    /// The file could not be written.
    #[error(
        "objects can no longer be kept in {path:?}: {cause}; everything acknowledged so far is in it: make its disk \
         writable again (is it full?), then start again"
    )]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        cause: String,
    },
    /// So many changes wait to be written that no more are taken. This one passes.
    #[error("{unwritten} changes wait to be written to {path:?}: its disk does not keep up; try again later")]
    Behind {
        /// The file.
        path: PathBuf,
        /// The changes that wait.
        unwritten: u64,
    },
}

/// Why a store could not be opened. The file is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read or written.
    #[error("the objects in {path:?} cannot be opened")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else has it open.
    #[error("the objects in {path:?} are in use by another husk: stop that one first")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is no file of objects.
    #[error("{path:?} is not a file in which husk keeps objects: move it away to begin anew")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Another version of husk has written it.
    #[error(
        "the objects in {path:?} are in format {found}, and this husk knows format {known} only: use the version that \
         wrote them, or move the file away to begin anew"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it is in.
        found: u32,
        /// The format that can be read.
        known: u32,
    },
    /// There are objects in it of a resource that this version does not have.
    #[error(
        "there are {resource} in {path:?}, which this husk knows nothing of: use the version that wrote them, or move the \
         file away to begin anew"
    )]
    UnknownResource {
        /// The file.
        path: PathBuf,
        /// Their resource.
        resource: String,
    },
    /// It is not as it was written.
    #[error(
        "the objects in {path:?} are damaged: {problem}{}; the file was left as it is: put a copy in its place, or move \
         it away to begin anew", affected(.objects)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The objects that this concerns, as far as that can be told, and where they are in the file.
        objects: Vec<String>,
    },
}

fn affected(objects: &[String]) -> String {
    if objects.is_empty() { String::new() } else { format!("; damaged may be: {}", objects.join(", ")) }
}
