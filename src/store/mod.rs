//! Versioned objects kept in memory, each change under one ordered revision counter. What a durable store will keep
//! on disk, `husk run` keeps here for as long as it runs. Knows nothing of pods' lives: `node` reads and writes
//! through an interface of its own, which `app` implements over this.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use tokio::sync::watch;

/// Why an object could not be stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The name is taken.
    #[error("{kind} {name:?} already exists in namespace {namespace:?}")]
    AlreadyExists {
        /// The object's kind.
        kind: &'static str,
        /// Its namespace; empty for kinds that have none.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// There is no such object.
    #[error("{kind} {name:?} not found in namespace {namespace:?}")]
    NotFound {
        /// The object's kind.
        kind: &'static str,
        /// Its namespace; empty for kinds that have none.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A kind of object the store can keep.
pub trait Object: Resource + Metadata<Ty = ObjectMeta> + Clone + Send + Sync + 'static {}
impl<T: Resource + Metadata<Ty = ObjectMeta> + Clone + Send + Sync + 'static> Object for T {}

/// The objects of one process. Clones share them.
#[derive(Debug, Default, Clone)]
pub struct Store {
    state: Arc<Mutex<State>>,
    /// The revision of the latest change, for those who wait for one.
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    /// The revision of the latest change to each kind.
    kinds: BTreeMap<&'static str, u64>,
    objects: BTreeMap<Key, Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: &'static str,
    namespace: String,
    name: String,
}

impl Key {
    fn new<T: Object>(namespace: &str, name: &str) -> Self {
        Self { kind: T::KIND, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn of<T: Object>(object: &T) -> Self {
        let metadata = object.metadata();
        Self::new::<T>(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a new object, under a fresh `resourceVersion`.
    pub fn create<T: Object>(&self, object: T) -> Result<Arc<T>, StoreError> {
        let key = Key::of(&object);
        let mut state = self.lock();
        if state.objects.contains_key(&key) {
            let Key { kind, namespace, name } = key;
            return Err(StoreError::AlreadyExists { kind, namespace, name });
        }
        let object = state.put(key, object);
        self.announce(state);
        Ok(object)
    }

    /// The object of that name, if there is one. Kinds without namespaces use an empty one.
    pub fn get<T: Object>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let object = self.lock().objects.get(&Key::new::<T>(namespace, name))?.clone();
        object.downcast().ok()
    }

    /// All objects of a kind in one namespace, by name.
    pub fn list<T: Object>(&self, namespace: &str) -> Vec<Arc<T>> {
        let state = self.lock();
        let start = Key::new::<T>(namespace, "");
        let of_kind =
            state.objects.range(start..).take_while(|(key, _)| key.kind == T::KIND && key.namespace == namespace);
        of_kind.filter_map(|(_, object)| object.clone().downcast().ok()).collect()
    }

    /// All objects of a kind, by namespace and name.
    pub fn list_all<T: Object>(&self) -> Vec<Arc<T>> {
        let state = self.lock();
        let of_kind = state.objects.range(Key::new::<T>("", "")..).take_while(|(key, _)| key.kind == T::KIND);
        of_kind.filter_map(|(_, object)| object.clone().downcast().ok()).collect()
    }

    /// Changes whenever an object does, and says at which revision.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// The revision of the latest change to objects of a kind, for telling whether there was one.
    pub fn revision_of<T: Object>(&self) -> u64 {
        self.lock().kinds.get(T::KIND).copied().unwrap_or_default()
    }

    fn announce(&self, state: MutexGuard<'_, State>) {
        let revision = state.revision;
        drop(state);
        self.latest.send_if_modified(|latest| {
            let newer = *latest < revision;
            *latest = revision.max(*latest);
            newer
        });
    }

    /// Changes an object in place, under a fresh `resourceVersion`.
    pub fn update<T: Object>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, StoreError> {
        let key = Key::new::<T>(namespace, name);
        let mut state = self.lock();
        let current = state.objects.get(&key).cloned().and_then(|object| object.downcast::<T>().ok());
        let Some(current) = current else {
            let Key { kind, namespace, name } = key;
            return Err(StoreError::NotFound { kind, namespace, name });
        };
        let mut object = T::clone(&current);
        change(&mut object);
        let object = state.put(key, object);
        self.announce(state);
        Ok(object)
    }

    /// Takes an object out.
    pub fn delete<T: Object>(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let key = Key::new::<T>(namespace, name);
        let mut state = self.lock();
        if state.objects.remove(&key).is_none() {
            let Key { kind, namespace, name } = key;
            return Err(StoreError::NotFound { kind, namespace, name });
        }
        state.advance(key.kind);
        self.announce(state);
        Ok(())
    }
}

impl State {
    fn advance(&mut self, kind: &'static str) {
        self.revision += 1;
        self.kinds.insert(kind, self.revision);
    }

    fn put<T: Object>(&mut self, key: Key, mut object: T) -> Arc<T> {
        self.advance(key.kind);
        object.metadata_mut().resource_version = Some(self.revision.to_string());
        let object = Arc::new(object);
        self.objects.insert(key, object.clone());
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};

    fn config_map(name: &str) -> ConfigMap {
        let metadata = ObjectMeta { namespace: Some("ns".into()), name: Some(name.into()), ..Default::default() };
        ConfigMap { metadata, ..Default::default() }
    }

    #[test]
    fn a_name_is_taken_once_per_kind_and_namespace() {
        let store = Store::default();
        store.create(config_map("a")).unwrap();
        let error = store.create(config_map("a")).unwrap_err();
        assert_eq!(error.to_string(), r#"ConfigMap "a" already exists in namespace "ns""#);
        assert!(store.get::<Secret>("ns", "a").is_none());
        assert!(store.get::<ConfigMap>("other", "a").is_none());
    }

    #[test]
    fn every_change_has_a_newer_resource_version() {
        let store = Store::default();
        let first = store.create(config_map("a")).unwrap();
        let second = store.update::<ConfigMap>("ns", "a", |object| object.immutable = Some(true)).unwrap();
        let version = |object: &ConfigMap| object.metadata.resource_version.as_deref().unwrap().parse::<u64>().unwrap();
        assert!(version(&second) > version(&first));
        assert_eq!(store.get::<ConfigMap>("ns", "a").unwrap().immutable, Some(true));
    }

    #[test]
    fn what_is_deleted_is_gone_and_its_name_free() {
        let store = Store::default();
        let first = store.create(config_map("a")).unwrap();
        store.delete::<ConfigMap>("ns", "a").unwrap();
        assert!(store.get::<ConfigMap>("ns", "a").is_none());
        let error = store.delete::<ConfigMap>("ns", "a").unwrap_err();
        assert_eq!(error.to_string(), r#"ConfigMap "a" not found in namespace "ns""#);
        let second = store.create(config_map("a")).unwrap();
        assert_ne!(first.metadata.resource_version, second.metadata.resource_version);
    }

    #[tokio::test]
    async fn who_waits_is_told_of_every_kind_of_change() {
        let store = Store::default();
        let mut changes = store.changes();
        let mut seen = Vec::new();
        let all: [&dyn Fn(); 3] = [
            &|| drop(store.create(config_map("a"))),
            &|| drop(store.update::<ConfigMap>("ns", "a", |object| object.immutable = Some(true))),
            &|| drop(store.delete::<ConfigMap>("ns", "a")),
        ];
        for change in all {
            change();
            changes.changed().await.unwrap();
            seen.push((*changes.borrow_and_update(), store.revision_of::<ConfigMap>(), store.revision_of::<Secret>()));
        }
        assert_eq!(seen, [(1, 1, 0), (2, 2, 0), (3, 3, 0)]);
        assert!(!changes.has_changed().unwrap());
    }

    #[test]
    fn a_list_holds_one_kind_of_one_namespace_in_order() {
        let store = Store::default();
        for name in ["b", "a"] {
            store.create(config_map(name)).unwrap();
        }
        let names: Vec<_> = store.list::<ConfigMap>("ns").iter().map(|object| object.metadata.name.clone()).collect();
        assert_eq!(names, [Some("a".to_owned()), Some("b".to_owned())]);
        assert!(store.list::<Secret>("ns").is_empty());
        assert_eq!(store.list_all::<ConfigMap>().len(), 2);
    }
}
