//! The end of namespaces: everything in one that is being deleted is deleted, pods first, and then the namespace itself
//! (Kubernetes v1.36 `pkg/controller/namespace/deletion`, with `OrderedNamespaceDeletion`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use tracing::warn;

use super::everything::Everything;
use super::objects::{self, ObjectKey, resource_of, seconds};
use crate::api::deletion::{DeleteOptions, is_deleted};
use crate::api::resources::ResourceType;
use crate::base::clock::{Clock, Timestamp};
use crate::store::{Store, StoreError, StoredObject, WatchEvent};

/// The finalizer in `spec.finalizers` that stands for a namespace's content.
const KUBERNETES: &str = "kubernetes";

/// Ends namespaces for as long as it is polled.
pub async fn run(store: Store, clock: Clock) {
    let mut ender = Ender::new(store, clock);
    loop {
        let event = ender.everything.next().await;
        ender.take_in(&event);
        ender.catch_up();
    }
}

struct Ender {
    store: Store,
    clock: Clock,
    everything: Everything,
    /// Namespaces that something has happened to, or in.
    touched: BTreeSet<String>,
}

/// What is left in a namespace that is being deleted.
#[derive(Debug, Default)]
struct Remains {
    /// How many objects of each resource, and which that is.
    counts: BTreeMap<String, usize>,
    /// How many objects each finalizer holds.
    finalizers: BTreeMap<String, usize>,
}

impl Ender {
    fn new(store: Store, clock: Clock) -> Self {
        let everything = Everything::new(&store);
        Self { store, clock, everything, touched: BTreeSet::new() }
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let object = &event.object;
        let namespace = if is_namespace(object.resource()) { object.name() } else { object.namespace() };
        if !namespace.is_empty() {
            self.touched.insert(namespace.to_owned());
        }
    }

    fn catch_up(&mut self) {
        while let Some(event) = self.everything.try_next() {
            self.take_in(&event);
        }
        for name in std::mem::take(&mut self.touched) {
            if let Err(error) = self.sync(&name) {
                warn!(%error, namespace = name, "the namespace is not deleted completely");
            }
        }
    }

    fn sync(&self, name: &str) -> Result<(), StoreError> {
        let Some(namespace) = self.store.get::<Namespace>("", name) else { return Ok(()) };
        let waits = |finalizers: &Vec<String>| finalizers.iter().any(|finalizer| finalizer == KUBERNETES);
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        if namespace.metadata.deletion_timestamp.is_none() || !finalizers.is_some_and(waits) {
            return Ok(());
        }
        let remains = self.delete_content(name)?;
        let now = self.clock.now();
        objects::edit(
            &self.store,
            resource_of::<Namespace>(),
            &ObjectKey::of_metadata(&namespace.metadata),
            |namespace| {
                set_conditions(namespace, &remains, now);
                if remains.counts.is_empty() {
                    finish(namespace);
                }
            },
        )?;
        Ok(())
    }

    /// Asks for the deletion of everything that is left, and gives that. Pods are waited for: until their containers have
    /// stopped, they may need the rest.
    fn delete_content(&self, name: &str) -> Result<Remains, StoreError> {
        let mut remains = Remains::default();
        let (pods, others): (Vec<_>, Vec<_>) =
            self.everything.namespaced().partition(|resource| resource.kind == "Pod" && resource.group.is_empty());
        for resources in [pods, others] {
            for resource in resources {
                for object in self.store.list_objects(resource, Some(name)).0 {
                    self.delete(&object, &mut remains)?;
                }
            }
            if !remains.counts.is_empty() {
                break;
            }
        }
        Ok(remains)
    }

    fn delete(&self, object: &Arc<StoredObject>, remains: &mut Remains) -> Result<(), StoreError> {
        let resource = object.resource();
        let options = DeleteOptions::default();
        objects::delete(&self.store, resource, &ObjectKey::of(object), &options, self.clock.now(), |object| {
            !is_deleted(object)
        })?;
        if let Some(left) = self.store.get_object(resource, object.namespace(), object.name()) {
            // The form of the controller, with a dot even where there is no group.
            *remains.counts.entry(format!("{}.{}", resource.plural, resource.group)).or_default() += 1;
            for finalizer in &left.metadata().finalizers {
                *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
        Ok(())
    }
}

fn is_namespace(resource: &ResourceType) -> bool {
    (resource.group, resource.kind) == ("", "Namespace")
}

/// Takes the finalizer for the content out: there is none.
fn finish(namespace: &mut Value) {
    if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != KUBERNETES);
    }
}

/// Says how far the deletion is (`conditionUpdater`).
fn set_conditions(namespace: &mut Value, remains: &Remains, now: Timestamp) {
    let list = |counts: &BTreeMap<String, usize>, what: fn(&str, usize) -> String| {
        counts.iter().map(|(name, count)| what(name, *count)).collect::<Vec<_>>().join(", ")
    };
    let content = list(&remains.counts, |name, count| format!("{name} has {count} resource instances"));
    let held = list(&remains.finalizers, |name, count| format!("{name} in {count} resource instances"));
    let (some_content, some_held) = (!remains.counts.is_empty(), !remains.finalizers.is_empty());
    let conditions = [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        match some_content {
            true => (
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                format!("Some resources are remaining: {content}"),
            ),
            false => {
                ("NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed".to_owned())
            }
        },
        match some_held {
            true => (
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {held}"),
            ),
            false => (
                "NamespaceFinalizersRemaining",
                false,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished".to_owned(),
            ),
        },
    ];
    let before = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let written = conditions.map(|(type_, status, reason, message)| {
        let status = if status { "True" } else { "False" };
        let unchanged = before.iter().find(|found| found["type"] == type_ && found["status"] == status);
        let since = unchanged.map(|found| found["lastTransitionTime"].clone());
        let since = since.unwrap_or_else(|| json!(seconds(now)));
        json!({"type": type_, "status": status, "lastTransitionTime": since, "reason": reason, "message": message})
    });
    let is_written = |type_: &Value| written.iter().any(|condition| condition["type"] == *type_);
    let mut all: Vec<Value> = before.iter().filter(|found| !is_written(&found["type"])).cloned().collect();
    all.extend(written.iter().cloned());
    namespace["status"]["phase"] = "Terminating".into();
    namespace["status"]["conditions"] = all.into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::deletion;
    use crate::api::resources::find;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};

    struct Setup {
        store: Store,
        ender: Ender,
        _runtime: tokio::runtime::Runtime,
    }

    fn setup() -> Setup {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let context = runtime.enter();
        let store = Store::default();
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let ender = Ender::new(store.clone(), clock);
        drop(context);
        let setup = Setup { store, ender, _runtime: runtime };
        for name in ["doomed", "other"] {
            setup.add(
                "namespaces",
                json!({
                    "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name},
                    "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
                }),
            );
            for kind in [("ConfigMap", "configmaps"), ("ServiceAccount", "serviceaccounts")] {
                setup.add(
                    kind.1,
                    json!({
                        "apiVersion": "v1", "kind": kind.0,
                        "metadata": {"namespace": name, "name": "x", "uid": format!("{name}-{}", kind.1)},
                    }),
                );
            }
        }
        setup
    }

    impl Setup {
        fn add(&self, plural: &str, object: Value) {
            self.store.create_object(find("", plural).unwrap(), object).unwrap();
        }

        fn delete(&self) {
            let key = ObjectKey { namespace: String::new(), name: "doomed".into(), uid: "doomed".into() };
            let now = self.ender.clock.now();
            objects::delete(&self.store, resource_of::<Namespace>(), &key, &DeleteOptions::default(), now, |_| true)
                .unwrap();
        }

        fn settle(&mut self) {
            let mut revision = None;
            while revision != Some(self.store.revision()) {
                revision = Some(self.store.revision());
                self.ender.catch_up();
            }
        }

        fn condition(&self, type_: &str) -> String {
            let namespace = self.store.get::<Namespace>("", "doomed").unwrap();
            let conditions = namespace.status.as_ref().unwrap().conditions.clone().unwrap();
            let found = conditions.into_iter().find(|condition| condition.type_ == type_).unwrap();
            format!("{} {}: {}", found.status, found.reason.unwrap(), found.message.unwrap())
        }
    }

    #[test]
    fn a_namespace_goes_with_all_that_is_in_it() {
        let mut setup = setup();
        setup.settle();
        assert_eq!(setup.store.list_all::<ConfigMap>().len(), 2);
        setup.delete();
        setup.settle();
        assert!(setup.store.get::<Namespace>("", "doomed").is_none());
        assert!(setup.store.list::<ConfigMap>("doomed").is_empty());
        assert_eq!((setup.store.list_all::<ConfigMap>().len(), setup.store.list_all::<ServiceAccount>().len()), (1, 1));
    }

    #[test]
    fn pods_end_before_the_rest_goes() {
        let mut setup = setup();
        setup.add(
            "pods",
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "doomed", "name": "p", "uid": "p"},
                "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"},
            }),
        );
        setup.delete();
        setup.settle();
        assert_eq!(setup.store.get::<Pod>("doomed", "p").unwrap().metadata.deletion_grace_period_seconds, Some(30));
        assert_eq!(setup.store.list::<ConfigMap>("doomed").len(), 1);
        let expected = "True SomeResourcesRemain: Some resources are remaining: pods. has 1 resource instances";
        assert_eq!(setup.condition("NamespaceContentRemaining"), expected);
        setup.store.delete::<Pod>("doomed", "p").unwrap();
        setup.settle();
        assert!(setup.store.get::<Namespace>("", "doomed").is_none());
        assert!(setup.store.list::<ConfigMap>("doomed").is_empty());
    }

    #[test]
    fn finalizers_hold_it_up_and_are_told() {
        let mut setup = setup();
        setup.add(
            "configmaps",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"namespace": "doomed", "name": "held", "uid": "held", "finalizers": ["example.com/hold"]},
            }),
        );
        setup.delete();
        setup.settle();
        let left = setup.store.list::<ConfigMap>("doomed");
        assert_eq!(left.iter().map(|object| object.metadata.name.as_deref().unwrap()).collect::<Vec<_>>(), ["held"]);
        let expected = "True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: \
            example.com/hold in 1 resource instances";
        assert_eq!(setup.condition("NamespaceFinalizersRemaining"), expected);
        let key = ObjectKey { namespace: "doomed".into(), name: "held".into(), uid: "held".into() };
        objects::edit(&setup.store, find("", "configmaps").unwrap(), &key, |object| {
            objects::remove_finalizer(object, "example.com/hold");
            assert!(deletion::is_due(object));
        })
        .unwrap();
        setup.settle();
        assert!(setup.store.get::<Namespace>("", "doomed").is_none());
    }

    /// Somebody else's finalizer of the namespace itself keeps it, empty.
    #[test]
    fn a_namespace_with_another_finalizer_stays_without_content() {
        let mut setup = setup();
        let key = ObjectKey { namespace: String::new(), name: "doomed".into(), uid: "doomed".into() };
        objects::edit(&setup.store, resource_of::<Namespace>(), &key, |object| {
            object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        })
        .unwrap();
        setup.delete();
        setup.settle();
        let namespace = setup.store.get::<Namespace>("", "doomed").unwrap();
        assert_eq!(namespace.spec.as_ref().unwrap().finalizers, Some(vec![]));
        assert!(setup.store.list::<ConfigMap>("doomed").is_empty());
        assert_eq!(
            setup.condition("NamespaceContentRemaining"),
            "False ContentRemoved: All content successfully removed"
        );
    }
}
