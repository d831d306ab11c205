//! What the store holds in memory, and how a change goes into it. One lock is around all of it, held for moments.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::StoreFailed;
use super::keeping::Backlog;
use super::object::StoredObject;
use super::watching::{Expired, History, MAX_HISTORY_BYTES, WatchEvent, WatchKind};
use crate::api::resources::ResourceType;

/// The objects of all resources.
#[derive(Debug, Default)]
pub(super) struct State {
    revision: u64,
    /// The revision at which there is no history yet.
    rest: u64,
    /// The revision that this process began with.
    opened: u64,
    collections: BTreeMap<(&'static str, &'static str), Collection>,
    history_bytes: usize,
    /// What is to be written; none if everything is in memory only.
    pub(super) backlog: Option<Backlog>,
}

/// The objects of one resource.
#[derive(Debug)]
pub(super) struct Collection {
    /// By namespace and name.
    objects: BTreeMap<Box<str>, Arc<StoredObject>>,
    pub(super) history: History,
    /// The revision of the latest change.
    pub(super) latest: u64,
    /// The revision of the latest change that may be told of, for those who wait for one.
    pub(super) wake: watch::Sender<u64>,
}

/// What has to be told of a change once the lock is released.
#[derive(Debug)]
pub(super) struct Announcement {
    pub(super) revision: u64,
    /// Who waits for changes to objects of the resource; none if they are to be told only when it is written.
    pub(super) wake: Option<watch::Sender<u64>>,
}

/// The key of an object: no name or namespace has a zero byte, so that it tells them apart and sorts by namespace first.
pub(super) fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}\0{name}")
}

impl State {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The state to begin with when a file was opened.
    pub(super) fn restored(
        rest: u64,
        revision: u64,
        objects: impl IntoIterator<Item = StoredObject>,
        backlog: Backlog,
    ) -> Self {
        let mut state = Self { revision, rest, opened: revision, backlog: Some(backlog), ..Self::default() };
        for object in objects {
            let collection = state.collection(object.resource());
            collection.latest = collection.latest.max(object.revision());
            collection.objects.insert(key(object.namespace(), object.name()).into(), Arc::new(object));
        }
        state
    }

    /// The latest revision that would survive a crash.
    pub(super) fn durable(&self) -> u64 {
        self.backlog.as_ref().map_or(self.revision, |backlog| backlog.durable)
    }

    /// The next revision.
    fn advance(&mut self) -> Result<u64, StoreFailed> {
        if let Some(backlog) = &self.backlog {
            backlog.check(self.revision)?;
        }
        self.revision += 1;
        Ok(self.revision)
    }

    pub(super) fn collection(&mut self, resource: &'static ResourceType) -> &mut Collection {
        let floor = self.rest;
        self.collections.entry((resource.group, resource.plural)).or_insert_with(|| Collection {
            objects: BTreeMap::new(),
            history: History::since(floor),
            latest: 0,
            wake: watch::Sender::new(0),
        })
    }

    /// Whether all changes since a revision are remembered. One that is yet to come, and one that an earlier process
    /// may have come to but never told of, is as good as forgotten.
    pub(super) fn check_watchable(&mut self, resource: &'static ResourceType, since: u64) -> Result<(), Expired> {
        let told = since == self.rest || (self.opened..=self.revision).contains(&since);
        let oldest = self.collection(resource).history.floor();
        if told && since >= oldest { Ok(()) } else { Err(Expired { since, oldest }) }
    }

    /// Puts an object where another or none is. `make` is given its revision.
    pub(super) fn put(
        &mut self,
        resource: &'static ResourceType,
        make: impl FnOnce(u64) -> StoredObject,
    ) -> Result<(Arc<StoredObject>, Announcement), StoreFailed> {
        let object = Arc::new(make(self.advance()?));
        let key = key(object.namespace(), object.name());
        let previous = self.collection(resource).objects.insert(key.into(), object.clone());
        let kind = if previous.is_some() { WatchKind::Modified } else { WatchKind::Added };
        Ok((object.clone(), self.record(resource, kind, object, previous)))
    }

    /// Takes an object out; gives it as it was removed.
    pub(super) fn remove(
        &mut self,
        current: Arc<StoredObject>,
    ) -> Result<(Arc<StoredObject>, Announcement), StoreFailed> {
        let removed = Arc::new(current.removed_at(self.advance()?));
        let resource = current.resource();
        self.collection(resource).objects.remove(key(current.namespace(), current.name()).as_str());
        Ok((removed.clone(), self.record(resource, WatchKind::Deleted, removed, Some(current))))
    }

    fn record(
        &mut self,
        resource: &'static ResourceType,
        kind: WatchKind,
        object: Arc<StoredObject>,
        previous: Option<Arc<StoredObject>>,
    ) -> Announcement {
        if let Some(previous) = &previous {
            previous.supersede();
        }
        let revision = self.revision;
        let in_memory = self.backlog.is_none();
        if let Some(backlog) = &mut self.backlog {
            backlog.changes.add(object.clone(), kind == WatchKind::Deleted);
        }
        let collection = self.collection(resource);
        collection.latest = revision;
        let wake = in_memory.then(|| collection.wake.clone());
        let grown = collection.history.push(WatchEvent { kind, object, previous, revision });
        self.history_bytes = self.history_bytes.saturating_add_signed(grown);
        while self.history_bytes > MAX_HISTORY_BYTES {
            self.forget_oldest();
        }
        Announcement { revision, wake }
    }

    fn forget_oldest(&mut self) {
        let histories = self.collections.values_mut().map(|collection| &mut collection.history);
        let oldest = histories.filter(|history| history.oldest().is_some()).min_by_key(|history| history.oldest());
        let freed = oldest.map_or(self.history_bytes, History::forget_oldest);
        self.history_bytes = self.history_bytes.saturating_sub(freed);
    }
}

impl Collection {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<StoredObject>> {
        self.objects.get(key(namespace, name).as_str())
    }

    /// The objects of a namespace or of all, after one of them if that is given, in order.
    pub(super) fn range(
        &self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &Arc<StoredObject>> {
        let first = namespace.map(|namespace| key(namespace, "")).unwrap_or_default();
        let after = after.map(|(namespace, name)| key(namespace, name)).filter(|after| *after >= first);
        let start = after.as_deref().map_or(Bound::Included(first.as_str()), Bound::Excluded);
        let range = self.objects.range::<str, _>((start, Bound::Unbounded));
        range.take_while(move |(key, _)| key.starts_with(&first)).map(|(_, object)| object)
    }
}
