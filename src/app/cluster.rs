//! The node's view of the cluster when the cluster is a store in this process: for `husk run` and `husk serve` alike.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, PodStatus, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use tracing::warn;

use crate::base::clock::{Clock, Timestamp};
use crate::controller::events::Recorder;
use crate::controller::scheduler;
use crate::node::Cluster;
use crate::pod::{Correlator, EventRecord, EventType, PostedEvent, merge_status};
use crate::store::{Store, StoreError};
use crate::volume::{IssuedToken, TokenRequest};

/// Who posts what happens to a pod on its node.
const KUBELET: &str = "kubelet";

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

/// Is told of everything that the node tells the cluster, once that is in the store.
pub(super) trait Observer: Send + Sync {
    /// A new status was published.
    fn status(&self, pod: &Pod, status: &PodStatus, at: Timestamp);
    /// A Kubernetes event was posted.
    fn event(&self, pod: &Pod, event: &PostedEvent);
}

/// Nobody is told.
impl Observer for () {
    fn status(&self, _pod: &Pod, _status: &PodStatus, _at: Timestamp) {}
    fn event(&self, _pod: &Pod, _event: &PostedEvent) {}
}

/// Issues tokens of service accounts.
pub(super) type TokenIssuer = dyn Fn(&Pod, &TokenRequest) -> Result<IssuedToken, String> + Send + Sync;

/// A store as a cluster.
pub(super) struct StoreCluster {
    store: Store,
    node: String,
    clock: Clock,
    kubelet: Recorder,
    observer: Arc<dyn Observer>,
    tokens: Option<Box<TokenIssuer>>,
}

impl StoreCluster {
    /// The cluster that is `store`, with one node. There are no tokens in it.
    pub(super) fn new(store: Store, node: String, clock: Clock, observer: Arc<dyn Observer>) -> Self {
        let kubelet = Recorder::on_node(store.clone(), KUBELET, &node);
        Self { store, node, clock, kubelet, observer, tokens: None }
    }

    /// The same with tokens.
    pub(super) fn with_tokens(self, issue: Box<TokenIssuer>) -> Self {
        Self { tokens: Some(issue), ..self }
    }

    /// Posts that a pod has got its node, as the scheduler does.
    pub(super) fn post_scheduled(&self, pod: &Pod) {
        let PodKey { namespace, name } = PodKey::of(pod);
        let message = format!("Successfully assigned {namespace}/{name} to {}", self.node);
        let record = EventRecord { type_: EventType::Normal, reason: "Scheduled", message, field_path: None };
        if let Some(event) = Correlator::new(&pod.metadata).observe(record, self.clock.now()) {
            Recorder::of_cluster(self.store.clone(), scheduler::NAME, &self.node).post(pod, &event);
            self.observer.event(pod, &event);
        }
    }

    /// Whether the status of a pod is stored; of one that is gone, it need not be.
    fn store_status(&self, pod: &Pod, status: &PodStatus) -> bool {
        let PodKey { namespace, name } = PodKey::of(pod);
        let updated = self.store.update::<Pod>(&namespace, &name, |stored| {
            // Of another pod of that name, this is not the status.
            if stored.metadata.uid == pod.metadata.uid {
                stored.status = Some(merge_status(stored.status.as_ref(), status));
            }
        });
        match updated {
            Ok(_) | Err(StoreError::NotFound { .. }) => true,
            Err(error) => {
                warn!(%error, namespace, name, "the status of a pod is not published");
                false
            }
        }
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

    fn runtime_class(&self, name: &str) -> Option<Arc<RuntimeClass>> {
        self.store.get("", name)
    }

    fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        self.store.list(namespace)
    }

    fn service_account_token(&self, pod: &Pod, request: &TokenRequest) -> Result<IssuedToken, String> {
        let issue = self.tokens.as_ref().ok_or("there is no API server that could issue tokens")?;
        issue(pod, request)
    }

    fn post_event(&self, pod: &Pod, event: &PostedEvent) {
        self.kubelet.post(pod, event);
        self.observer.event(pod, event);
    }

    fn publish(&self, pod: &Pod, status: Option<&PodStatus>, events: &[PostedEvent]) -> bool {
        let stored = status.is_none_or(|status| self.store_status(pod, status));
        events.iter().for_each(|event| self.post_event(pod, event));
        // A story tells first what was done, and then what came of it.
        if let Some(status) = status.filter(|_| stored) {
            self.observer.status(pod, status, self.clock.now());
        }
        stored
    }
}

/// The container an event is about: `web` for the field path `spec.containers{web}`.
pub(super) fn container_of(field_path: Option<&str>) -> Option<&str> {
    field_path?.split_once('{')?.1.strip_suffix('}')
}

/// The container that an event says is stopped because its pod ends.
pub(super) fn stopped_container(event: &EventRecord) -> Option<&str> {
    let container = container_of(event.field_path.as_deref())?;
    let stopped = event.reason == "Killing" && event.message.strip_prefix("Stopping container ") == Some(container);
    stopped.then_some(container)
}
