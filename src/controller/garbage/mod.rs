//! Garbage collection: what an owner leaves behind is deleted, in the order that whoever deleted the owner has asked
//! for. What has to be done is worked out on a graph of all objects (`graph`).

mod graph;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;
use tracing::warn;

use self::graph::{Graph, Item, Step, Uid};
use super::everything::Everything;
use super::objects::{self, ObjectKey};
use crate::api::deletion::{DeleteOptions, FOREGROUND, ORPHAN, Propagation};
use crate::api::resources::ResourceType;
use crate::base::clock::Clock;
use crate::store::{Store, StoreError, WatchEvent, WatchKind};

/// Collects garbage for as long as it is polled.
pub async fn run(store: Store, clock: Clock) {
    let mut everything = Everything::new(&store);
    let mut collector = Collector::new(store, clock);
    loop {
        let event = everything.next().await;
        collector.take_in(&event);
        collector.catch_up(&mut everything);
    }
}

struct Collector {
    store: Store,
    clock: Clock,
    graph: Graph,
    /// Objects about which something may have to be done.
    queue: VecDeque<Uid>,
}

impl Collector {
    fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, graph: Graph::default(), queue: VecDeque::new() }
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let affected = match event.kind {
            WatchKind::Added | WatchKind::Modified => self.graph.put(&event.object),
            WatchKind::Deleted => self.graph.remove(event.object.uid()),
        };
        self.queue.extend(affected);
    }

    /// Takes in what has happened and does what has to be done about it. Owners may be told of after their dependents, so
    /// everything is taken in first.
    fn catch_up(&mut self, everything: &mut Everything) {
        while let Some(event) = everything.try_next() {
            self.take_in(&event);
        }
        self.work();
    }

    fn work(&mut self) {
        let mut done = BTreeSet::new();
        while let Some(uid) = self.queue.pop_front() {
            // What a step changes comes back as an event.
            if done.insert(uid.clone())
                && let Err(error) = self.take_step(&uid)
            {
                warn!(%error, uid, "garbage is left");
            }
        }
    }

    fn take_step(&mut self, uid: &str) -> Result<(), StoreError> {
        let store = &self.store;
        let exists = |resource: &'static ResourceType, namespace: &str, owner: &OwnerReference| {
            store.get_object(resource, namespace, &owner.name).is_some_and(|found| found.uid() == owner.uid)
        };
        let step = self.graph.step(uid, &exists);
        let Some(item) = self.graph.get(uid) else { return Ok(()) };
        match step {
            Step::None => Ok(()),
            Step::Delete { propagation, unblock } => self.delete(uid, item, propagation, unblock),
            Step::Disown(owners) => self.disown(uid, item, &owners),
            Step::FinishForeground => self.remove_finalizer(uid, item, FOREGROUND),
            Step::Await(dependents) => {
                self.queue.extend(dependents);
                Ok(())
            }
            Step::Orphan(dependents) => {
                let owner = BTreeSet::from([uid.to_owned()]);
                for dependent in dependents {
                    if let Some(other) = self.graph.get(&dependent) {
                        self.disown(&dependent, other, &owner)?;
                    }
                }
                self.remove_finalizer(uid, item, ORPHAN)
            }
        }
    }

    /// Deletes an object, unless it has got other owners meanwhile. What is to become of what it owns, its finalizers may
    /// say already.
    fn delete(&self, uid: &str, item: &Item, propagation: Propagation, unblock: bool) -> Result<(), StoreError> {
        let key = key(uid, item);
        if unblock {
            objects::edit(&self.store, item.resource, &key, |object| {
                for owner in object["metadata"]["ownerReferences"].as_array_mut().into_iter().flatten() {
                    owner["blockOwnerDeletion"] = false.into();
                }
            })?;
        }
        let has = |object: &Value, finalizer: &str| {
            object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|found| found == finalizer))
        };
        let seen: BTreeSet<&str> = item.owners.iter().map(|owner| owner.uid.as_str()).collect();
        let changed = self.store.get_object(item.resource, &item.namespace, &item.name);
        let propagation = match changed.map(|object| object.value()) {
            Some(object) if has(&object, ORPHAN) => Propagation::Orphan,
            Some(object) if has(&object, FOREGROUND) => Propagation::Foreground,
            _ => propagation,
        };
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        objects::delete(&self.store, item.resource, &key, &options, self.clock.now(), |object| {
            let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.filter_map(|owner| owner["uid"].as_str()).all(|owner| seen.contains(owner))
        })?;
        Ok(())
    }

    /// Takes owners out of an object's references.
    fn disown(&self, uid: &str, item: &Item, owners: &BTreeSet<Uid>) -> Result<(), StoreError> {
        objects::edit(&self.store, item.resource, &key(uid, item), |object| {
            let Some(metadata) = object["metadata"].as_object_mut() else { return };
            let Some(references) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) else { return };
            references.retain(|owner| !owner["uid"].as_str().is_some_and(|uid| owners.contains(uid)));
            if references.is_empty() {
                metadata.shift_remove("ownerReferences");
            }
        })?;
        Ok(())
    }

    fn remove_finalizer(&self, uid: &str, item: &Item, finalizer: &str) -> Result<(), StoreError> {
        objects::edit(&self.store, item.resource, &key(uid, item), |object| {
            objects::remove_finalizer(object, finalizer);
        })?;
        Ok(())
    }
}

fn key(uid: &str, item: &Item) -> ObjectKey {
    ObjectKey { namespace: item.namespace.clone(), name: item.name.clone(), uid: uid.to_owned() }
}
