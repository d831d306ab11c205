//! What is left of owners and dependents once nothing changes any more.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::{Value, json};

use super::*;
use crate::api::resources::{find, of_type};
use crate::base::clock::Timestamp;

struct Setup {
    store: Store,
    everything: Everything,
    collector: Collector,
}

impl Setup {
    fn new() -> Self {
        let store = Store::default();
        let everything = Everything::new(&store);
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let collector = Collector::new(store.clone(), clock);
        Self { store, everything, collector }
    }

    /// A ConfigMap `name` whose UID is its name, with owners such as `a`, or `a!` to be waited for.
    fn add(&self, name: &str, owners: &[&str]) {
        self.put(name, owners, json!({}));
    }

    fn put(&self, name: &str, owners: &[&str], metadata: Value) {
        let references: Vec<Value> = owners
            .iter()
            .map(|owner| {
                let (uid, block) = owner.strip_suffix('!').map_or((*owner, false), |uid| (uid, true));
                json!({"apiVersion": "v1", "kind": "ConfigMap", "name": uid, "uid": uid, "blockOwnerDeletion": block})
            })
            .collect();
        let mut object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "ns", "name": name, "uid": name, "ownerReferences": references},
        });
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        self.store.create_object(of_type::<ConfigMap>().unwrap(), object).unwrap();
    }

    fn delete(&self, name: &str, propagation: Propagation) {
        let key = ObjectKey { namespace: "ns".into(), name: name.into(), uid: name.into() };
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let now = self.collector.clock.now();
        objects::delete(&self.store, of_type::<ConfigMap>().unwrap(), &key, &options, now, |_| true).unwrap();
    }

    fn settle(&mut self) {
        let mut revision = None;
        while revision != Some(self.store.revision()) {
            revision = Some(self.store.revision());
            self.collector.catch_up(&mut self.everything);
        }
    }

    /// What is left, each with its owners, `~` if it is being deleted.
    fn left(&mut self) -> Vec<String> {
        self.settle();
        let all: Vec<std::sync::Arc<ConfigMap>> = self.store.list("ns");
        let shown = all.iter().map(|object| {
            let metadata = &object.metadata;
            let owners = metadata.owner_references.iter().flatten().map(|owner| owner.uid.clone());
            let owners = owners.collect::<Vec<_>>().join(",");
            let going = if metadata.deletion_timestamp.is_some() { "~" } else { "" };
            format!("{}{going}({owners})", metadata.name.as_deref().unwrap())
        });
        shown.collect()
    }
}

#[test]
fn what_an_owner_leaves_behind_is_deleted() {
    let mut setup = tokio_test();
    setup.add("owner", &[]);
    setup.add("child", &["owner"]);
    setup.add("grandchild", &["child"]);
    setup.add("other", &[]);
    assert_eq!(setup.left().len(), 4);
    setup.delete("owner", Propagation::Background);
    assert_eq!(setup.left(), ["other()"]);
}

/// A tokio runtime is needed for its clock alone.
fn tokio_test() -> Setup {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    Setup::new()
}

#[test]
fn one_owner_that_is_left_is_enough() {
    let mut setup = tokio_test();
    setup.add("a", &[]);
    setup.add("b", &[]);
    setup.add("child", &["a", "b"]);
    setup.delete("a", Propagation::Background);
    assert_eq!(setup.left(), ["b()", "child(b)"]);
    setup.delete("b", Propagation::Background);
    assert_eq!(setup.left(), [""; 0]);
}

#[test]
fn dependents_of_what_never_existed_are_deleted() {
    let mut setup = tokio_test();
    setup.add("child", &["nobody"]);
    setup.add("a", &[]);
    // The name of another, or another of its name, is no owner.
    let wrong = |name: &str, uid: &str| json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}]});
    setup.put("of-an-earlier-one", &[], wrong("a", "earlier"));
    setup.put("of-a-wrong-name", &[], wrong("b", "a"));
    let unknown = json!({"ownerReferences": [{"apiVersion": "apps/v9", "kind": "Thing", "name": "t", "uid": "t"}]});
    setup.put("of-an-unknown-kind", &[], unknown);
    assert_eq!(setup.left(), ["a()", "of-an-unknown-kind(t)"]);
}

#[test]
fn an_owner_deleted_in_the_foreground_goes_last() {
    let mut setup = tokio_test();
    setup.add("owner", &[]);
    setup.put("child", &["owner!"], json!({"finalizers": ["example.com/hold"]}));
    setup.add("free", &["owner"]);
    setup.add("loose", &["owner!", "other"]);
    setup.add("other", &[]);
    setup.settle();
    setup.delete("owner", Propagation::Foreground);
    assert_eq!(setup.left(), ["child~(owner)", "loose(other)", "other()", "owner~()"]);
    let key = ObjectKey { namespace: "ns".into(), name: "child".into(), uid: "child".into() };
    let resource = of_type::<ConfigMap>().unwrap();
    objects::edit(&setup.store, resource, &key, |object| objects::remove_finalizer(object, "example.com/hold"))
        .unwrap();
    assert_eq!(setup.left(), ["loose(other)", "other()"]);
}

#[test]
fn foreground_deletion_goes_all_the_way_down() {
    let mut setup = tokio_test();
    setup.add("owner", &[]);
    setup.add("child", &["owner!"]);
    setup.put("grandchild", &["child!"], json!({"finalizers": ["example.com/hold"]}));
    setup.settle();
    setup.delete("owner", Propagation::Foreground);
    assert_eq!(setup.left(), ["child~(owner)", "grandchild~(child)", "owner~()"]);
    let key = ObjectKey { namespace: "ns".into(), name: "grandchild".into(), uid: "grandchild".into() };
    let resource = of_type::<ConfigMap>().unwrap();
    objects::edit(&setup.store, resource, &key, |object| objects::remove_finalizer(object, "example.com/hold"))
        .unwrap();
    assert_eq!(setup.left(), [""; 0]);
}

#[test]
fn a_circle_that_is_deleted_in_the_foreground_comes_to_an_end() {
    let mut setup = tokio_test();
    setup.add("a", &["c!"]);
    setup.add("b", &["a!"]);
    setup.add("c", &["b!"]);
    assert_eq!(setup.left(), ["a(c)", "b(a)", "c(b)"]);
    setup.delete("a", Propagation::Foreground);
    assert_eq!(setup.left(), [""; 0]);
}

#[test]
fn orphans_stay_without_their_owner() {
    let mut setup = tokio_test();
    setup.add("owner", &[]);
    setup.add("child", &["owner"]);
    setup.add("grandchild", &["child"]);
    setup.settle();
    setup.delete("owner", Propagation::Orphan);
    assert_eq!(setup.left(), ["child()", "grandchild(child)"]);
}

#[test]
fn a_pod_that_is_collected_gets_its_grace_period() {
    let mut setup = tokio_test();
    setup.add("owner", &[]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "ns", "name": "p", "uid": "p", "generation": 1, "ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "owner"},
        ]},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30, "containers": []},
        "status": {"phase": "Running"},
    });
    setup.store.create_object(find("", "pods").unwrap(), pod).unwrap();
    setup.settle();
    setup.delete("owner", Propagation::Background);
    setup.settle();
    let pod = setup.store.get::<Pod>("ns", "p").unwrap();
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(30));
}

#[test]
fn nothing_is_deleted_before_everything_is_known() {
    let mut setup = tokio_test();
    // Pods are told of after ConfigMaps, which one of them owns.
    let owner = json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p"}]});
    setup.put("child", &[], owner);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "p", "uid": "p"},
    });
    setup.store.create_object(find("", "pods").unwrap(), pod).unwrap();
    assert_eq!(setup.left(), ["child(p)"]);
}
