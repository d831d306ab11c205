//! The node's view of the cluster when the cluster is a store in this process.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, PodStatus, Secret, Service};
use tokio::sync::mpsc;

use crate::base::clock::Timestamp;
use crate::node::Cluster;
use crate::pod::EventRecord;
use crate::store::Store;

/// Changes that may wait to be shown; further ones are kept in the store but not shown.
pub(super) const QUEUE: usize = 1024;

/// Something that happened to a pod.
#[derive(Debug)]
pub(super) enum Change {
    /// A Kubernetes event was posted.
    Event {
        /// The pod.
        pod: PodKey,
        /// The event.
        event: EventRecord,
        /// When it was posted.
        at: Timestamp,
    },
    /// A new status was published.
    Status {
        /// The pod.
        pod: PodKey,
        /// The status.
        status: Box<PodStatus>,
    },
}

/// Namespace and name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PodKey {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl PodKey {
    /// The key of a pod.
    pub(super) fn of(pod: &Pod) -> Self {
        let field = |value: &Option<String>| value.clone().unwrap_or_default();
        Self { namespace: field(&pod.metadata.namespace), name: field(&pod.metadata.name) }
    }
}

/// A store as a cluster.
pub(super) struct StoreCluster {
    store: Store,
    changes: mpsc::Sender<Change>,
}

impl StoreCluster {
    /// The cluster that is `store`; what happens to its pods is also sent to `changes`.
    pub(super) fn new(store: Store, changes: mpsc::Sender<Change>) -> Self {
        Self { store, changes }
    }
}

impl Cluster for StoreCluster {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.store.get(namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.store.get(namespace, name)
    }

    fn claim(&self, namespace: &str, name: &str) -> Option<Arc<PersistentVolumeClaim>> {
        self.store.get(namespace, name)
    }

    fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        self.store.list(namespace)
    }

    fn update_status(&self, pod: &Pod, status: &PodStatus) {
        let key = PodKey::of(pod);
        // A pod that is gone needs no status.
        let _ = self.store.update::<Pod>(&key.namespace, &key.name, |pod| pod.status = Some(status.clone()));
        let _ = self.changes.try_send(Change::Status { pod: key, status: Box::new(status.clone()) });
    }

    fn post_event(&self, pod: &Pod, event: &EventRecord, at: Timestamp) {
        let _ = self.changes.try_send(Change::Event { pod: PodKey::of(pod), event: event.clone(), at });
    }
}

/// The container an event is about: `web` for the field path `spec.containers{web}`.
pub(super) fn container_of(event: &EventRecord) -> Option<&str> {
    event.field_path.as_deref()?.split_once('{')?.1.strip_suffix('}')
}
