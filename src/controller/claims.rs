//! PersistentVolumeClaims: each is bound as soon as it is there, to a directory of its own, and one that a pod uses stays
//! until the pod has ended (Kubernetes v1.36 `persistentvolume`, `pvcprotection`).
// Differs from Kubernetes: there are no PersistentVolumes. A claim is a directory kept under its name, which stays when
// the claim is deleted: it is somebody's data.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};
use tracing::warn;

use super::informer::Informer;
use super::objects::{self, ObjectKey, resource_of};
use crate::store::{Store, StoreError, WatchEvent};

/// The finalizer of claims that may be in use.
pub const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// What says that a claim has been bound.
const BOUND: &str = "pv.kubernetes.io/bind-completed";

/// Binds claims for as long as it is polled.
pub async fn run(store: Store) {
    let mut binder = Binder::new(store);
    loop {
        let event = binder.next().await;
        binder.take_in(&event);
        binder.catch_up();
    }
}

struct Binder {
    store: Store,
    claims: Informer,
    pods: Informer,
    touched: BTreeSet<(String, String)>,
}

impl Binder {
    fn new(store: Store) -> Self {
        let claims = Informer::new(&store, resource_of::<PersistentVolumeClaim>());
        let pods = Informer::new(&store, resource_of::<Pod>());
        Self { store, claims, pods, touched: BTreeSet::new() }
    }

    async fn next(&mut self) -> WatchEvent {
        tokio::select! {
            event = self.claims.next() => event,
            event = self.pods.next() => event,
        }
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let object = &event.object;
        if object.resource().kind == "PersistentVolumeClaim" {
            self.touched.insert((object.namespace().to_owned(), object.name().to_owned()));
        } else if let Some(pod) = object.typed::<Pod>() {
            let touched = claims_of(&pod).map(|name| (object.namespace().to_owned(), name.to_owned()));
            self.touched.extend(touched);
        }
    }

    fn catch_up(&mut self) {
        while let Some(event) = self.claims.try_next().or_else(|| self.pods.try_next()) {
            self.take_in(&event);
        }
        for (namespace, name) in std::mem::take(&mut self.touched) {
            if let Err(error) = self.sync(&namespace, &name) {
                warn!(%error, namespace, name, "the claim is not bound");
            }
        }
    }

    fn sync(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let resource = resource_of::<PersistentVolumeClaim>();
        let Some(claim) = self.store.get_object(resource, namespace, name) else { return Ok(()) };
        let key = ObjectKey::of(&claim);
        let is_protected = claim.metadata().finalizers.iter().any(|finalizer| finalizer == PROTECTION);
        let changed = if claim.metadata().deletion_timestamp.is_some() {
            if !is_protected || self.is_used(namespace, name) {
                return Ok(());
            }
            objects::edit(&self.store, resource, &key, |claim| objects::remove_finalizer(claim, PROTECTION))
        } else {
            objects::edit(&self.store, resource, &key, |claim| {
                bind(claim);
                if !is_protected {
                    objects::add_finalizer(claim, PROTECTION);
                }
            })
        };
        changed.map(drop)
    }

    /// Whether a pod that has a node, and has not ended, has the claim.
    fn is_used(&self, namespace: &str, name: &str) -> bool {
        let mut pods = self.store.list::<Pod>(namespace).into_iter();
        pods.any(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let is_placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            is_placed && !matches!(phase, Some("Succeeded" | "Failed")) && claims_of(&pod).any(|used| used == name)
        })
    }
}

/// The names of the claims a pod has.
fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// Writes into a claim what it has got, unless that is there.
fn bind(claim: &mut Value) {
    if claim["status"]["phase"] == "Bound" && claim["spec"]["volumeName"].is_string() {
        return;
    }
    let uid = claim["metadata"]["uid"].as_str().unwrap_or_default();
    let volume = format!("pvc-{uid}");
    if !claim["spec"]["volumeName"].is_string() {
        claim["spec"]["volumeName"] = volume.into();
    }
    claim["metadata"]["annotations"][BOUND] = "yes".into();
    let (modes, capacity) = (claim["spec"]["accessModes"].clone(), claim["spec"]["resources"]["requests"].clone());
    claim["status"] = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::deletion::DeleteOptions;
    use crate::api::resources::find;
    use crate::base::clock::Timestamp;

    fn setup() -> (Store, Binder) {
        let store = Store::default();
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "ns", "name": "c", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"},
        });
        store.create_object(find("", "persistentvolumeclaims").unwrap(), claim).unwrap();
        let binder = Binder::new(store.clone());
        (store, binder)
    }

    fn delete(store: &Store) {
        let key = ObjectKey { namespace: "ns".into(), name: "c".into(), uid: "u".into() };
        let (resource, now) = (resource_of::<PersistentVolumeClaim>(), Timestamp::from_second(1_800_000_000).unwrap());
        objects::delete(store, resource, &key, &DeleteOptions::default(), now, |_| true).unwrap();
    }

    #[test]
    fn a_claim_is_bound_at_once() {
        let (store, mut binder) = setup();
        binder.catch_up();
        let claim = store.get::<PersistentVolumeClaim>("ns", "c").unwrap();
        let (status, spec) = (claim.status.clone().unwrap(), claim.spec.clone().unwrap());
        assert_eq!((status.phase.as_deref(), spec.volume_name.as_deref()), (Some("Bound"), Some("pvc-u")));
        assert_eq!(status.capacity.unwrap()["storage"].0, "1Gi");
        assert_eq!(status.access_modes.unwrap(), ["ReadWriteOnce"]);
        let revision = store.revision();
        binder.catch_up();
        assert_eq!(store.revision(), revision);
        delete(&store);
        binder.catch_up();
        assert!(store.get::<PersistentVolumeClaim>("ns", "c").is_none());
    }

    #[test]
    fn a_claim_stays_until_its_pods_have_ended() {
        let (store, mut binder) = setup();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "ns", "name": "p", "uid": "p"},
            "spec": {"nodeName": "n", "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
            "status": {"phase": "Running"},
        });
        store.create_object(find("", "pods").unwrap(), pod).unwrap();
        binder.catch_up();
        delete(&store);
        binder.catch_up();
        let claim = store.get::<PersistentVolumeClaim>("ns", "c").unwrap();
        assert!(claim.metadata.deletion_timestamp.is_some());
        store.update::<Pod>("ns", "p", |pod| pod.status.as_mut().unwrap().phase = Some("Succeeded".into())).unwrap();
        binder.catch_up();
        assert!(store.get::<PersistentVolumeClaim>("ns", "c").is_none());
    }
}
