//! Versioned objects, each change under one ordered revision counter. Objects are kept as JSON; typed views of them are
//! made on demand. Knows nothing of pods' lives: `node` reads and writes through an interface of its own, which `app`
//! implements over this.

mod disk;
mod error;
mod keeping;
mod object;
mod state;
#[cfg(test)]
mod tests;
mod typed;
mod watching;

use std::hash::{BuildHasher, Hash};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub use self::error::{ChangeError, OpenError, StoreError, StoreFailed};
pub use self::object::{MAX_OBJECT_BYTES, Metadata, StoredObject};
pub use self::typed::Object;
pub use self::watching::{Expired, MAX_HISTORY, MAX_HISTORY_BYTES, Watch, WatchEvent, WatchKind};

use self::disk::Opened;
use self::keeping::{Backlog, Handle, Progress};
use self::object::{Encoded, RecentValues};
use self::state::{Announcement, State};
use crate::api::resources::ResourceType;

/// Locks for those who change objects: each object has one of them.
const TURNS: usize = 64;

/// The objects of one process. Clones share them. The default one is in memory only.
#[derive(Debug, Default, Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Whoever decides on a change to an object holds the object's turn, so that nothing else changes it meanwhile and
    /// the state is locked for moments only.
    turns: [Mutex<()>; TURNS],
    hasher: std::hash::RandomState,
    recent: Arc<RecentValues>,
    /// The revision of the latest change, for those who wait for one.
    latest: watch::Sender<u64>,
    /// How far the disk is, for those who wait for it.
    progress: watch::Sender<Progress>,
    /// Tells the thread that writes of changes.
    work: Condvar,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            turns: std::array::from_fn(|_| Mutex::default()),
            hasher: std::hash::RandomState::new(),
            recent: Arc::default(),
            latest: watch::Sender::default(),
            progress: watch::Sender::default(),
            work: Condvar::new(),
        }
    }
}

/// Some objects of a list.
#[derive(Debug)]
pub struct Page {
    /// The objects, by namespace and name.
    pub objects: Vec<Arc<StoredObject>>,
    /// How many objects come after them.
    pub remaining: usize,
    /// The revision at which the list is so.
    pub revision: u64,
}

/// What is to become of an object.
#[derive(Debug)]
pub enum Change {
    /// It becomes this, under a fresh `resourceVersion` unless it is the same.
    Put(Value),
    /// It is taken out.
    Remove,
    /// It stays.
    Keep,
}

/// What became of an object.
#[derive(Debug)]
pub enum Changed {
    /// It is another now.
    Put(Arc<StoredObject>),
    /// It is gone; its last state, with the revision of its removal.
    Removed(Arc<StoredObject>),
    /// It is what it was.
    Kept(Arc<StoredObject>),
}

impl Changed {
    /// The object, as it is or was at last.
    pub fn object(&self) -> &Arc<StoredObject> {
        match self {
            Self::Put(object) | Self::Removed(object) | Self::Kept(object) => object,
        }
    }
}

impl Store {
    /// Opens the objects kept in a file, or begins one. The file is left as it is if anything in it is not as it was
    /// written. It is closed when the last clone of the store and the last watch are gone.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let recent = Arc::default();
        Self::keep(disk::open(path, &recent)?, path, recent)
    }

    fn keep(opened: Opened, path: &Path, recent: Arc<RecentValues>) -> Result<Self, OpenError> {
        let Opened { writer, rest, revision, objects } = opened;
        let state = State::restored(rest, revision, objects, Backlog::new(path.to_owned(), revision));
        let shared = Shared {
            state: Mutex::new(state),
            recent,
            latest: watch::Sender::new(revision),
            progress: watch::Sender::new(Progress { durable: revision, failed: None }),
            ..Shared::default()
        };
        let handle = Handle::keep(Arc::new(shared), writer);
        let handle = handle.map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Waits until a revision would survive a crash, which in memory only counts as given. A revision that is yet to
    /// come counts as the present one.
    pub async fn durable(&self, revision: u64) -> Result<(), StoreFailed> {
        let revision = revision.min(self.revision());
        let mut progress = self.shared().progress.subscribe();
        let reached = |progress: &Progress| progress.durable >= revision || progress.failed.is_some();
        // The sender is there for as long as the store is.
        let Ok(progress) = progress.wait_for(reached).await else { return Ok(()) };
        match &progress.failed {
            Some(failed) if progress.durable < revision => Err(failed.clone()),
            _ => Ok(()),
        }
    }

    /// The revision of the latest change.
    pub fn revision(&self) -> u64 {
        self.lock().revision()
    }

    /// Changes whenever an object does, and says at which revision. That change may not survive a crash yet.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared().latest.subscribe()
    }

    /// The object of that name, if there is one. Resources without namespaces use an empty one.
    pub fn get_object(
        &self,
        resource: &'static ResourceType,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<StoredObject>> {
        self.lock().collection(resource.stored()).get(namespace, name).cloned()
    }

    /// The objects of a namespace or of all, by namespace and name, and the revision at which they are so.
    pub fn list_objects(
        &self,
        resource: &'static ResourceType,
        namespace: Option<&str>,
    ) -> (Vec<Arc<StoredObject>>, u64) {
        let page = self.list_page(resource, namespace, None, usize::MAX);
        (page.objects, page.revision)
    }

    /// At most `limit` objects of a namespace or of all, by namespace and name, from the one behind `after` on.
    pub fn list_page(
        &self,
        resource: &'static ResourceType,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Page {
        let mut state = self.lock();
        let revision = state.revision();
        let mut range = state.collection(resource.stored()).range(namespace, after);
        let objects = range.by_ref().take(limit).cloned().collect();
        Page { objects, remaining: range.count(), revision }
    }

    /// Adds a new object, under a fresh `resourceVersion`.
    pub fn create_object(
        &self,
        resource: &'static ResourceType,
        object: Value,
    ) -> Result<Arc<StoredObject>, StoreError> {
        self.add(Encoded::of_value(resource.stored(), object)?, Encoded::at)
    }

    /// Lets `change` decide what becomes of an object. Nothing else changes the object meanwhile; `change` may read
    /// other objects, but must not change any.
    pub fn change_object<E>(
        &self,
        resource: &'static ResourceType,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&StoredObject) -> Result<Change, E>,
    ) -> Result<Changed, ChangeError<E>> {
        let resource = resource.stored();
        let _turn = self.turn(resource, namespace, name);
        let current = self.get_object(resource, namespace, name);
        let current = current.ok_or_else(|| StoreError::not_found(resource, namespace, name))?;
        match change(&current).map_err(ChangeError::Refused)? {
            Change::Keep => Ok(Changed::Kept(current)),
            Change::Remove => Ok(Changed::Removed(self.take_out(current)?)),
            Change::Put(value) => {
                let encoded = Encoded::of_value(resource, value)?;
                // kube-apiserver's `GuaranteedUpdate`: a change that changes nothing is not written.
                if current.has_content(&encoded) {
                    return Ok(Changed::Kept(current));
                }
                Ok(Changed::Put(self.replace(&current, encoded, Encoded::at)?))
            }
        }
    }

    /// Follows the changes to the objects of a namespace or of all, from the one after the revision `since` on.
    pub fn watch(
        &self,
        resource: &'static ResourceType,
        namespace: Option<&str>,
        since: u64,
    ) -> Result<Watch, Expired> {
        Watch::new(self, resource.stored(), namespace, since)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared().lock()
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// The right to change an object. Nobody may hold two.
    fn turn(&self, resource: &'static ResourceType, namespace: &str, name: &str) -> MutexGuard<'_, ()> {
        let mut hasher = self.shared().hasher.build_hasher();
        (resource.group, resource.plural, namespace, name).hash(&mut hasher);
        let turn = std::hash::Hasher::finish(&hasher) as usize % TURNS;
        self.shared().turns[turn].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        &self,
        encoded: Encoded,
        make: impl FnOnce(Encoded, u64, &Arc<RecentValues>) -> StoredObject,
    ) -> Result<Arc<StoredObject>, StoreError> {
        let resource = encoded.resource();
        let (namespace, name) = (&encoded.metadata().namespace, &encoded.metadata().name);
        let _turn = self.turn(resource, namespace, name);
        let mut state = self.lock();
        if state.collection(resource).get(namespace, name).is_some() {
            return Err(StoreError::already_exists(resource, namespace, name));
        }
        let (object, announcement) = state.put(resource, |revision| make(encoded, revision, &self.shared().recent))?;
        drop(state);
        self.announce(&announcement);
        Ok(object)
    }

    /// Puts an object in the place of the current one, whose turn is held.
    fn replace(
        &self,
        current: &StoredObject,
        encoded: Encoded,
        make: impl FnOnce(Encoded, u64, &Arc<RecentValues>) -> StoredObject,
    ) -> Result<Arc<StoredObject>, StoreError> {
        let resource = current.resource();
        let metadata = encoded.metadata();
        if (metadata.namespace.as_str(), metadata.name.as_str()) != (current.namespace(), current.name()) {
            return Err(StoreError::invalid(resource, "its name or namespace is another than before"));
        }
        let mut state = self.lock();
        let (object, announcement) = state.put(resource, |revision| make(encoded, revision, &self.shared().recent))?;
        drop(state);
        self.announce(&announcement);
        Ok(object)
    }

    /// Takes out an object whose turn is held.
    fn take_out(&self, current: Arc<StoredObject>) -> Result<Arc<StoredObject>, StoreError> {
        let (removed, announcement) = self.lock().remove(current)?;
        self.announce(&announcement);
        Ok(removed)
    }

    fn announce(&self, Announcement { revision, wake }: &Announcement) {
        let shared = self.shared();
        shared.work.notify_one();
        // Changes that are written are told of when they are.
        for sender in std::iter::once(&shared.latest).chain(wake) {
            sender.send_if_modified(|latest| {
                let newer = *latest < *revision;
                *latest = (*revision).max(*latest);
                newer
            });
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
