//! Following the objects of a resource without missing any change, however far a controller falls behind (client-go's
//! informers): what the store no longer remembers is found out by comparing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::api::resources::ResourceType;
use crate::store::{Expired, Store, StoredObject, Watch, WatchEvent, WatchKind};

/// Tells of the objects of one resource: first of those that are there, as if they had just been added, then of every
/// change. Several changes of an object may be told as one.
#[derive(Debug)]
pub struct Informer {
    store: Store,
    resource: &'static ResourceType,
    known: BTreeMap<(String, String), Arc<StoredObject>>,
    told: VecDeque<WatchEvent>,
    watch: Watch,
    /// How many of `told` were there at the beginning.
    initial: usize,
}

impl Informer {
    /// Begins with the objects that are there now.
    pub fn new(store: &Store, resource: &'static ResourceType) -> Self {
        let (objects, watch) = list_and_watch(store, resource);
        let added = |object: Arc<StoredObject>| event(WatchKind::Added, object, None);
        let told: VecDeque<_> = objects.into_iter().map(added).collect();
        let (store, known, initial) = (store.clone(), BTreeMap::new(), told.len());
        Self { store, resource, known, told, watch, initial }
    }

    /// The resource.
    pub fn resource(&self) -> &'static ResourceType {
        self.resource
    }

    /// Whether all objects that were there at the beginning have been told of.
    pub fn has_synced(&self) -> bool {
        self.initial == 0
    }

    /// The next change. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            match self.watch.next().await {
                Ok(event) => self.note(event),
                Err(Expired { .. }) => self.list_anew(),
            }
        }
    }

    /// The next change, if there is one by now.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            match self.watch.try_next() {
                Ok(Some(event)) => self.note(event),
                Ok(None) => return None,
                Err(Expired { .. }) => self.list_anew(),
            }
        }
    }

    /// The object of that name, as far as was told.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<StoredObject>> {
        self.known.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All objects that were told of, by namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<StoredObject>> {
        self.known.values()
    }

    /// The objects of a namespace that were told of, by name.
    pub fn objects_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<StoredObject>> {
        let of_namespace = self.known.range((namespace.to_owned(), String::new())..);
        of_namespace.map(|(_, object)| object).take_while(move |object| object.namespace() == namespace)
    }

    fn take(&mut self) -> Option<WatchEvent> {
        let event = self.told.pop_front()?;
        self.initial = self.initial.saturating_sub(1);
        let key = (event.object.namespace().to_owned(), event.object.name().to_owned());
        match event.kind {
            WatchKind::Added | WatchKind::Modified => self.known.insert(key, Arc::clone(&event.object)),
            WatchKind::Deleted => self.known.remove(&key),
        };
        Some(event)
    }

    fn note(&mut self, event: WatchEvent) {
        self.told.push_back(event);
    }

    /// Works out what has changed since the last change that was told. There is nothing untold.
    fn list_anew(&mut self) {
        let (objects, watch) = list_and_watch(&self.store, self.resource);
        self.watch = watch;
        let mut gone = self.known.clone();
        for object in objects {
            let key = (object.namespace().to_owned(), object.name().to_owned());
            match gone.remove(&key) {
                Some(before) if before.revision() == object.revision() => {}
                Some(before) if before.uid() == object.uid() => {
                    self.told.push_back(event(WatchKind::Modified, object, Some(before)));
                }
                Some(before) => {
                    self.told.push_back(event(WatchKind::Deleted, Arc::clone(&before), Some(before)));
                    self.told.push_back(event(WatchKind::Added, object, None));
                }
                None => self.told.push_back(event(WatchKind::Added, object, None)),
            }
        }
        let deleted = |object: Arc<StoredObject>| event(WatchKind::Deleted, Arc::clone(&object), Some(object));
        self.told.extend(gone.into_values().map(deleted));
    }
}

fn event(kind: WatchKind, object: Arc<StoredObject>, previous: Option<Arc<StoredObject>>) -> WatchEvent {
    let revision = object.revision();
    WatchEvent { kind, object, previous, revision }
}

fn list_and_watch(store: &Store, resource: &'static ResourceType) -> (Vec<Arc<StoredObject>>, Watch) {
    loop {
        let (objects, revision) = store.list_objects(resource, None);
        // Only if thousands of changes came between the two is there need for another try.
        if let Ok(watch) = store.watch(resource, None, revision) {
            return (objects, watch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::resources::of_type;
    use crate::store::MAX_HISTORY;
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn config_map(name: &str, uid: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            namespace: Some("ns".into()),
            name: Some(name.into()),
            uid: Some(uid.into()),
            ..Default::default()
        };
        ConfigMap { metadata, ..Default::default() }
    }

    fn told(informer: &mut Informer) -> Vec<String> {
        let next = || informer.try_next();
        std::iter::from_fn(next).map(|event| format!("{:?} {}", event.kind, event.object.uid())).collect()
    }

    #[tokio::test]
    async fn what_is_there_comes_first_and_then_every_change() {
        let store = Store::default();
        store.create(config_map("a", "1")).unwrap();
        store.create(config_map("b", "2")).unwrap();
        let mut informer = Informer::new(&store, of_type::<ConfigMap>().unwrap());
        store.create(config_map("c", "3")).unwrap();
        let first = informer.next().await;
        assert!(!informer.has_synced());
        assert_eq!((first.kind, first.object.uid()), (WatchKind::Added, "1"));
        assert_eq!(told(&mut informer), ["Added 2", "Added 3"]);
        assert!(informer.has_synced());
        store.update::<ConfigMap>("ns", "a", |object| object.immutable = Some(true)).unwrap();
        store.delete::<ConfigMap>("ns", "b").unwrap();
        assert_eq!(told(&mut informer), ["Modified 1", "Deleted 2"]);
        let known: Vec<_> = informer.objects_in("ns").map(|object| object.name().to_owned()).collect();
        assert_eq!(known, ["a", "c"]);
        assert!(informer.get("ns", "b").is_none() && informer.objects_in("n").next().is_none());
    }

    #[tokio::test]
    async fn who_has_fallen_behind_learns_what_has_come_of_it() {
        let store = Store::default();
        for (name, uid) in [("kept", "1"), ("changed", "2"), ("replaced", "3"), ("gone", "4")] {
            store.create(config_map(name, uid)).unwrap();
        }
        let mut informer = Informer::new(&store, of_type::<ConfigMap>().unwrap());
        assert_eq!(told(&mut informer).len(), 4);
        for number in 0..=MAX_HISTORY {
            let even = number % 2 == 0;
            store.update::<ConfigMap>("ns", "changed", |object| object.immutable = Some(even)).unwrap();
        }
        store.delete::<ConfigMap>("ns", "replaced").unwrap();
        store.create(config_map("replaced", "5")).unwrap();
        store.delete::<ConfigMap>("ns", "gone").unwrap();
        store.create(config_map("new", "6")).unwrap();
        assert_eq!(told(&mut informer), ["Modified 2", "Added 6", "Deleted 3", "Added 5", "Deleted 4"]);
        assert_eq!(informer.objects().count(), 4);
    }
}
