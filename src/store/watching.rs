//! The bounded history of changes to the objects of one resource, and those who follow it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::Store;
use super::object::StoredObject;
use crate::api::resources::ResourceType;

/// Changes to the objects of one resource that are remembered.
pub const MAX_HISTORY: usize = 10_000;

/// Bytes of changes that are remembered, of all resources together.
pub const MAX_HISTORY_BYTES: usize = 64 << 20;

/// What a change costs beside its object's JSON.
const CHANGE_BYTES: usize = 512;

/// Changes that a watch takes out of the history at once.
const BATCH: usize = 256;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchKind {
    /// It is new.
    Added,
    /// It is another than before.
    Modified,
    /// It is gone.
    Deleted,
}

/// A change to an object.
#[derive(Debug, Clone)]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchKind,
    /// The object since the change; if it is gone, its last state with the revision of its removal.
    pub object: Arc<StoredObject>,
    /// The object before the change, for selectors: what no longer matches is gone for those who select.
    pub previous: Option<Arc<StoredObject>>,
    /// The revision that the change made.
    pub revision: u64,
}

/// Changes since then are no longer remembered; whoever wants to follow has to list anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {since} ({oldest})")]
pub struct Expired {
    /// The revision that was to be followed from.
    pub since: u64,
    /// The oldest that can be.
    pub oldest: u64,
}

/// The latest changes to the objects of one resource.
#[derive(Debug)]
pub(super) struct History {
    events: VecDeque<WatchEvent>,
    /// All changes after this revision are there.
    floor: u64,
}

impl History {
    pub(super) fn since(floor: u64) -> Self {
        Self { events: VecDeque::new(), floor }
    }

    /// Adds a change; gives the bytes that the history grew by, which may be fewer than none.
    pub(super) fn push(&mut self, event: WatchEvent) -> isize {
        let mut grown = size(&event).cast_signed();
        self.events.push_back(event);
        if self.events.len() > MAX_HISTORY {
            grown -= self.forget_oldest().cast_signed();
        }
        grown
    }

    /// Forgets the oldest change; gives the bytes that it took.
    pub(super) fn forget_oldest(&mut self) -> usize {
        let Some(event) = self.events.pop_front() else { return 0 };
        self.floor = event.revision;
        size(&event)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.events.front().map(|event| event.revision)
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The changes after `since`.
    fn after(&self, since: u64) -> impl Iterator<Item = &WatchEvent> {
        let start = self.events.partition_point(|event| event.revision <= since);
        self.events.range(start..)
    }
}

fn size(event: &WatchEvent) -> usize {
    event.object.json().len() + CHANGE_BYTES
}

/// Follows the changes to the objects of a resource.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    resource: &'static ResourceType,
    namespace: Option<String>,
    /// Changes up to this revision are in `batch` or were given out.
    seen: u64,
    batch: VecDeque<WatchEvent>,
    wake: watch::Receiver<u64>,
}

impl Watch {
    pub(super) fn new(
        store: &Store,
        resource: &'static ResourceType,
        namespace: Option<&str>,
        since: u64,
    ) -> Result<Self, Expired> {
        let mut state = store.lock();
        state.check_watchable(resource, since)?;
        let wake = state.collection(resource).wake.subscribe();
        let namespace = namespace.map(str::to_owned);
        drop(state);
        Ok(Self { store: store.clone(), resource, namespace, seen: since, batch: VecDeque::new(), wake })
    }

    /// The next change that would survive a crash. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<WatchEvent, Expired> {
        loop {
            self.wake.borrow_and_update();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            // The store, and with it the sender, is there for as long as the watch is.
            if self.wake.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next change, if there is one by now.
    pub fn try_next(&mut self) -> Result<Option<WatchEvent>, Expired> {
        if self.batch.is_empty() {
            self.fill()?;
        }
        Ok(self.batch.pop_front())
    }

    /// The revision up to which all changes were given out, for bookmarks.
    pub fn revision(&mut self) -> Result<u64, Expired> {
        if self.batch.is_empty() {
            self.fill()?;
        }
        Ok(self.batch.front().map_or(self.seen, |event| event.revision - 1))
    }

    fn fill(&mut self) -> Result<(), Expired> {
        let mut state = self.store.lock();
        let durable = state.durable();
        let history = &state.collection(self.resource).history;
        if self.seen < history.floor() {
            return Err(Expired { since: self.seen, oldest: history.floor() });
        }
        for event in history.after(self.seen) {
            if event.revision > durable {
                break;
            }
            self.seen = event.revision;
            if self.namespace.as_deref().is_none_or(|namespace| namespace == event.object.namespace()) {
                self.batch.push_back(event.clone());
                if self.batch.len() == BATCH {
                    return Ok(());
                }
            }
        }
        self.seen = durable.max(self.seen);
        Ok(())
    }
}
