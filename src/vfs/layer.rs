//! [`Layer`]: one read-only layer of an image, indexed once and shared by every container that uses it.
//!
//! A layer is a list of changes in the order of its archive. What they add up to depends on the layers below, so
//! that is worked out in `stack`; here names are checked and whiteouts told from files.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tar::EntryType;

use super::node::read_all;
use super::tar::{Archive, Entry, for_each_entry};
use super::{Errno, MAX_NAME, MAX_PATH};

/// The most entries one layer may have.
pub(super) const MAX_LAYER_ENTRIES: usize = 1_000_000;

/// Marks the removal of what follows it in the name (OCI image specification, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// Hides all that lower layers have in its directory.
const OPAQUE: &str = ".wh..wh..opq";
/// Other names that start so are notes of union filesystems to themselves.
const WHITEOUT_NOTE: &str = ".wh..wh.";

/// Why an archive cannot be a layer, or layers cannot be a filesystem.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive could not be read.
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
    /// The archive ends within an entry.
    #[error("the archive ends within the entry at byte {offset}")]
    Truncated {
        /// Where the entry starts.
        offset: u64,
    },
    /// A header that is none.
    #[error("invalid tar header at byte {offset}")]
    BadHeader {
        /// Where the header starts.
        offset: u64,
    },
    /// A sparse file, which layers do not have.
    #[error("sparse file at byte {offset} is not supported")]
    Sparse {
        /// Where the entry starts.
        offset: u64,
    },
    /// A name that would lead outside, or that no filesystem takes.
    #[error("invalid entry name {name:?}")]
    BadName {
        /// The name as far as it can be shown.
        name: String,
    },
    /// An entry below something that is not a directory.
    #[error("entry {path:?} lies below {parent:?}, which is not a directory")]
    NotDirectory {
        /// The entry.
        path: String,
        /// What it lies below.
        parent: String,
    },
    /// An entry reached through too many symlinks.
    #[error("too many symbolic links on the way to entry {path:?}")]
    Loop {
        /// The entry.
        path: String,
    },
    /// A hard link to something that is missing, or a directory.
    #[error("hard link {path:?} to {target:?}, which is no file")]
    BadLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// More entries than a layer or an image may have.
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The bound.
        limit: usize,
    },
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// One change a layer makes.
#[derive(Debug)]
pub(super) struct Change {
    /// Relative to the root; empty for the root itself, otherwise plain names joined by slashes.
    pub(super) path: Box<str>,
    pub(super) kind: ChangeKind,
    pub(super) mode: u32,
    pub(super) modified: SystemTime,
}

#[derive(Debug)]
pub(super) enum ChangeKind {
    Directory,
    File {
        offset: u64,
        size: u64,
    },
    Symlink(Box<str>),
    /// Another name of the file at this path.
    HardLink(Box<str>),
    /// `path` is removed from lower layers.
    Whiteout,
    /// All that lower layers have in the directory `path` is removed.
    Opaque,
}

/// One read-only layer of an image, shared by every container that uses it.
#[derive(Debug)]
pub struct Layer {
    /// Computed from the content where it was not given.
    digest: OnceLock<String>,
    archive: Archive,
    changes: Vec<Change>,
}

impl Layer {
    /// A layer from an uncompressed tar archive in memory (built-in images). `digest` is its diff ID.
    ///
    /// Errors: `InvalidData` with a [`LayerError`] inside.
    pub fn from_tar_bytes(digest: &str, tar: Bytes) -> io::Result<Arc<Self>> {
        Ok(Self::index(digest, Archive::Memory(tar))?)
    }

    /// A layer from an uncompressed tar archive on disk; its files are read in place. `digest` is its diff ID.
    ///
    /// Errors: as reading gives, or `InvalidData` with a [`LayerError`] inside.
    pub fn from_tar_file(digest: &str, tar: std::fs::File) -> io::Result<Arc<Self>> {
        Ok(Self::index(digest, Archive::from_file(tar)?)?)
    }

    /// A layer with one executable file at the absolute `path`. A path that is no name of a file (`/`, `..`) leaves
    /// the layer empty.
    pub fn from_single_file(path: &str, contents: Bytes) -> Arc<Self> {
        let size = contents.len() as u64;
        let changes = match clean(path.as_bytes()) {
            Ok(path) if !path.is_empty() => {
                let kind = ChangeKind::File { offset: 0, size };
                vec![Change { path: path.into(), kind, mode: 0o755, modified: UNIX_EPOCH }]
            }
            Ok(_) | Err(_) => Vec::new(),
        };
        Arc::new(Self { digest: OnceLock::new(), archive: Archive::Memory(contents), changes })
    }

    fn index(digest: &str, archive: Archive) -> Result<Arc<Self>, LayerError> {
        let mut changes = Vec::new();
        for_each_entry(&archive, |entry| {
            if changes.len() >= MAX_LAYER_ENTRIES {
                return Err(LayerError::TooManyEntries { limit: MAX_LAYER_ENTRIES });
            }
            changes.extend(change(entry)?);
            Ok(())
        })?;
        Ok(Arc::new(Self { digest: OnceLock::from(digest.to_owned()), archive, changes }))
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The diff ID, or for a layer of a single file a digest of its content.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| match &self.archive {
            Archive::Memory(bytes) => format!("blake3:{}", blake3::hash(bytes).to_hex()),
            Archive::File { .. } => String::new(),
        })
    }
}

/// What an entry changes; devices and FIFOs change nothing, a container has its own `/dev`.
fn change(entry: Entry) -> Result<Option<Change>, LayerError> {
    let mut path = clean(&entry.path)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let parent = path.len() - name.len();
    let kind = if name == OPAQUE {
        path.truncate(parent.saturating_sub(1));
        ChangeKind::Opaque
    } else if name.starts_with(WHITEOUT_NOTE) {
        return Ok(None);
    } else if let Some(removed) = name.strip_prefix(WHITEOUT) {
        if matches!(removed, "" | "." | "..") {
            return Err(LayerError::BadName { name: path });
        }
        path = format!("{}{removed}", &path[..parent]);
        ChangeKind::Whiteout
    } else {
        match entry.kind {
            EntryType::Directory => ChangeKind::Directory,
            // Old archives mark a directory by the slash alone.
            EntryType::Regular | EntryType::Continuous if entry.path.ends_with(b"/") => ChangeKind::Directory,
            EntryType::Regular | EntryType::Continuous => ChangeKind::File { offset: entry.offset, size: entry.size },
            EntryType::Symlink => ChangeKind::Symlink(symlink_target(&entry.link)?.into()),
            EntryType::Link => ChangeKind::HardLink(clean(&entry.link)?.into()),
            EntryType::GNUSparse => return Err(LayerError::Sparse { offset: entry.offset }),
            _ => return Ok(None),
        }
    };
    if path.is_empty() && !matches!(kind, ChangeKind::Directory | ChangeKind::Opaque) {
        return Err(LayerError::BadName { name: String::from_utf8_lossy(&entry.path).into_owned() });
    }
    Ok(Some(Change { path: path.into(), kind, mode: entry.mode, modified: entry.modified }))
}

/// A name as a path relative to the root: leading slashes and `.` are dropped, `..` is refused, bytes that are not
/// UTF-8 are replaced.
fn clean(name: &[u8]) -> Result<String, LayerError> {
    let name = String::from_utf8_lossy(name);
    let bad = || LayerError::BadName { name: name.chars().take(MAX_NAME).collect() };
    let mut path = String::with_capacity(name.len());
    for component in name.split('/') {
        match component {
            "" | "." => continue,
            ".." => return Err(bad()),
            _ if component.len() > MAX_NAME || component.contains('\0') => return Err(bad()),
            _ => {}
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(component);
    }
    if path.len() > MAX_PATH { Err(bad()) } else { Ok(path) }
}

/// A symlink's content may be anything that is a path; it is only ever resolved inside the container.
fn symlink_target(link: &[u8]) -> Result<String, LayerError> {
    let target = String::from_utf8_lossy(link).into_owned();
    if target.is_empty() || target.len() > MAX_PATH || target.contains('\0') {
        return Err(LayerError::BadName { name: target.chars().take(MAX_NAME).collect() });
    }
    Ok(target)
}

/// A file as a layer has it.
#[derive(Debug, Clone)]
pub(super) struct LayerFile {
    pub(super) layer: Arc<Layer>,
    /// Which of the layer's changes it is.
    pub(super) change: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl LayerFile {
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        Ok(self.layer.archive.read_at(&mut buffer[..length], self.offset + offset.min(self.size))?)
    }

    pub(super) fn contents(&self) -> Result<Bytes, Errno> {
        match self.layer.archive.slice(self.offset, self.size) {
            Some(bytes) => Ok(bytes),
            None => read_all(self.size, |buffer, offset| self.read_at(buffer, offset)),
        }
    }

    /// `<layer digest>:<path>`, known without reading a layer that has a digest.
    pub(super) fn content_id(&self) -> String {
        let path = self.layer.changes.get(self.change as usize).map_or("", |change| &change.path);
        format!("{}:{path}", self.layer.digest())
    }
}
