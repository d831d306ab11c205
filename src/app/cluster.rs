//! The node's view of the cluster when the cluster is a store in this process.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, EventSource, ObjectReference, PersistentVolumeClaim, Pod, PodStatus, Secret, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::sync::mpsc;

use crate::base::clock::{Clock, Timestamp};
use crate::node::Cluster;
use crate::pod::{Correlator, EventRecord, EventType, PostedEvent};
use crate::store::Store;

/// Changes that may wait to be shown; further ones are kept in the store but not shown.
pub(super) const QUEUE: usize = 1024;
/// Hours an event stays after it was last posted (kube-apiserver v1.36 `--event-ttl`). As a pod can post only so many
/// in that time, this is what keeps the store from growing while a pod crashes for days.
const EVENT_HOURS: i64 = 1;
/// Who posts what happens to a pod on its node.
const KUBELET: &str = "kubelet";
/// Who posts that a pod has got a node.
const SCHEDULER: &str = "default-scheduler";

/// Something that happened to a pod.
#[derive(Debug)]
pub(super) enum Change {
    /// A Kubernetes event was posted.
    Event {
        /// The pod.
        pod: PodKey,
        /// The event.
        event: Box<PostedEvent>,
    },
    /// A new status was published.
    Status {
        /// The pod.
        pod: PodKey,
        /// The status.
        status: Box<PodStatus>,
        /// When.
        at: Timestamp,
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
    node: String,
    clock: Clock,
    changes: mpsc::Sender<Change>,
    histories: Mutex<HashMap<PodKey, History>>,
}

/// What is remembered of a pod beside its object.
#[derive(Debug, Default)]
struct History {
    /// Its events in the store, the one posted longest ago first.
    events: VecDeque<(Timestamp, String)>,
    stop: Option<Stop>,
}

/// The beginning of a pod's end.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    /// The pod just before.
    pub(super) before: Arc<Pod>,
    /// Its events just before, the one posted longest ago first: what fails from then on may fail because of the stop.
    pub(super) events: Vec<Arc<Event>>,
    /// What was stopped.
    pub(super) what: Stopped,
}

/// What is stopped at the end of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The pod, from outside.
    Pod,
    /// What still ran of a pod that had come to its end by itself.
    Containers(BTreeSet<String>),
}

impl StoreCluster {
    /// The cluster that is `store`, with one node; what happens to its pods is also sent to `changes`.
    pub(super) fn new(store: Store, node: String, clock: Clock, changes: mpsc::Sender<Change>) -> Self {
        Self { store, node, clock, changes, histories: Mutex::default() }
    }

    /// Posts that a pod has got its node, as the scheduler does.
    pub(super) fn post_scheduled(&self, pod: &Pod) {
        let PodKey { namespace, name } = PodKey::of(pod);
        let message = format!("Successfully assigned {namespace}/{name} to {}", self.node);
        let record = EventRecord { type_: EventType::Normal, reason: "Scheduled", message, field_path: None };
        if let Some(event) = Correlator::new(&pod.metadata).observe(record, self.clock.now()) {
            self.post(pod, &event, SCHEDULER);
        }
    }

    /// Remembers a pod as it is, because it is about to be stopped from outside.
    pub(super) fn remember(&self, key: &PodKey) {
        let mut histories = self.histories();
        self.begin_stop(key, histories.entry(key.clone()).or_default(), Stopped::Pod);
    }

    /// Remembers a pod as it is, unless its stop has begun before; gives what is stopped.
    fn begin_stop<'h>(&self, key: &PodKey, history: &'h mut History, what: Stopped) -> Option<&'h mut Stopped> {
        if history.stop.is_none() {
            let before = self.store.get(&key.namespace, &key.name)?;
            history.stop = Some(Stop { before, events: self.stored(key, history), what });
        }
        history.stop.as_mut().map(|stop| &mut stop.what)
    }

    /// How the end of a pod began, if something of it was stopped.
    pub(super) fn stop(&self, key: &PodKey) -> Option<Stop> {
        self.histories().get(key)?.stop.clone()
    }

    /// The events of a pod that are still there, the one posted longest ago first.
    pub(super) fn events(&self, key: &PodKey) -> Vec<Arc<Event>> {
        self.histories().get(key).map(|history| self.stored(key, history)).unwrap_or_default()
    }

    fn stored(&self, key: &PodKey, history: &History) -> Vec<Arc<Event>> {
        history.events.iter().filter_map(|(_, name)| self.store.get(&key.namespace, name)).collect()
    }

    fn histories(&self) -> MutexGuard<'_, HashMap<PodKey, History>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, pod: &Pod, event: &PostedEvent, component: &str) {
        let key = PodKey::of(pod);
        // client-go changes nothing else of a series (`eventLogger.eventObserve`).
        let updated = self.store.update::<Event>(&key.namespace, &event.name, |stored| {
            stored.count = i32::try_from(event.count).ok();
            stored.last_timestamp = Some(seconds(event.last));
            stored.message = Some(event.record.message.clone());
        });
        if updated.is_err() {
            let _ = self.store.create(self.event_object(pod, event, component));
        }
        self.keep(&key, event);
        let _ = self.changes.try_send(Change::Event { pod: key, event: Box::new(event.clone()) });
    }

    /// Notes that an event is in the store and whether a pod's end begins with it, and takes those events out that have
    /// been there for too long.
    fn keep(&self, key: &PodKey, event: &PostedEvent) {
        let mut histories = self.histories();
        let history = histories.entry(key.clone()).or_default();
        history.events.retain(|(_, name)| *name != event.name);
        history.events.push_back((event.last, event.name.clone()));
        let age = |posted: &Timestamp| event.last.duration_since(*posted);
        while let Some((_, name)) =
            history.events.pop_front_if(|(posted, _)| age(posted) > SignedDuration::from_hours(EVENT_HOURS))
        {
            let _ = self.store.delete::<Event>(&key.namespace, &name);
        }
        let stopped = stopped_container(&event.record);
        if (stopped.is_some() || event.record.reason == "DeadlineExceeded")
            && let Some(Stopped::Containers(containers)) =
                self.begin_stop(key, history, Stopped::Containers(BTreeSet::new()))
        {
            containers.extend(stopped.map(str::to_owned));
        }
    }

    fn event_object(&self, pod: &Pod, event: &PostedEvent, component: &str) -> Event {
        let PostedEvent { record, name, count, first, last } = event;
        let kind = match record.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let on_node = component == KUBELET;
        let instance = if on_node { self.node.clone() } else { format!("{component}-{}", self.node) };
        Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: pod.metadata.namespace.clone(),
                creation_timestamp: Some(seconds(*last)),
                ..ObjectMeta::default()
            },
            type_: Some(kind.to_owned()),
            reason: Some(record.reason.to_owned()),
            message: Some(record.message.clone()),
            count: i32::try_from(*count).ok(),
            first_timestamp: Some(seconds(*first)),
            last_timestamp: Some(seconds(*last)),
            source: Some(EventSource {
                component: Some(component.to_owned()),
                host: on_node.then(|| self.node.clone()),
            }),
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                uid: pod.metadata.uid.clone(),
                resource_version: pod.metadata.resource_version.clone(),
                field_path: record.field_path.clone(),
            },
            reporting_component: Some(component.to_owned()),
            reporting_instance: Some(instance),
            ..Event::default()
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

    fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        self.store.list(namespace)
    }

    fn update_status(&self, pod: &Pod, status: &PodStatus) {
        let key = PodKey::of(pod);
        // A pod that is gone needs no status.
        let _ = self.store.update::<Pod>(&key.namespace, &key.name, |pod| pod.status = Some(status.clone()));
        let (status, at) = (Box::new(status.clone()), self.clock.now());
        let _ = self.changes.try_send(Change::Status { pod: key, status, at });
    }

    fn post_event(&self, pod: &Pod, event: &PostedEvent) {
        self.post(pod, event, KUBELET);
    }
}

/// A time as Kubernetes' objects have it: whole seconds.
fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Setup {
        cluster: StoreCluster,
        store: Store,
        pod: Arc<Pod>,
        correlator: Correlator,
        changes: mpsc::Receiver<Change>,
    }

    fn setup() -> Setup {
        let store = Store::default();
        let metadata = ObjectMeta {
            name: Some("p".into()),
            namespace: Some("ns".into()),
            uid: Some("u".into()),
            ..ObjectMeta::default()
        };
        let pod = store.create(Pod { metadata, ..Pod::default() }).unwrap();
        let (sender, changes) = mpsc::channel(QUEUE);
        let cluster = StoreCluster::new(store.clone(), "n".into(), Clock::starting_at(at(0)), sender);
        let correlator = Correlator::new(&pod.metadata);
        Setup { cluster, store, pod, correlator, changes }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    impl Setup {
        fn post(&mut self, seconds: i64, reason: &'static str, message: &str) {
            let field_path = Some("spec.containers{c}".to_owned());
            let record = EventRecord { type_: EventType::Warning, reason, message: message.to_owned(), field_path };
            if let Some(event) = self.correlator.observe(record, at(seconds)) {
                self.cluster.post_event(&self.pod, &event);
            }
        }

        fn stored(&self) -> Vec<Arc<Event>> {
            self.store.list("ns")
        }
    }

    #[tokio::test]
    async fn an_event_is_kept_as_kubelet_writes_it() {
        let mut setup = setup();
        setup.post(1, "BackOff", "Back-off");
        setup.post(9, "BackOff", "Back-off");
        let [event] = &setup.stored()[..] else { panic!("{:#?}", setup.stored()) };
        let name = event.metadata.name.clone().unwrap();
        let mut shown = serde_json::to_value(&**event).unwrap();
        shown["metadata"]["resourceVersion"].take();
        let expected = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": name, "namespace": "ns", "creationTimestamp": "2027-01-15T08:00:01Z", "resourceVersion": null
            },
            "type": "Warning",
            "reason": "BackOff",
            "message": "Back-off",
            "count": 2,
            "firstTimestamp": "2027-01-15T08:00:01Z",
            "lastTimestamp": "2027-01-15T08:00:09Z",
            "source": {"component": "kubelet", "host": "n"},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1",
                "fieldPath": "spec.containers{c}"
            },
            "reportingComponent": "kubelet",
            "reportingInstance": "n",
        });
        assert_eq!(shown, expected);
        let counts: Vec<u32> = std::iter::from_fn(|| match setup.changes.try_recv() {
            Ok(Change::Event { event, .. }) => Some(event.count),
            _ => None,
        })
        .collect();
        assert_eq!(counts, [1, 2]);
    }

    #[tokio::test]
    async fn the_scheduler_is_the_first_to_tell() {
        let setup = setup();
        setup.cluster.post_scheduled(&setup.pod);
        let [event] = &setup.stored()[..] else { panic!("{:#?}", setup.stored()) };
        assert_eq!(event.message.as_deref(), Some("Successfully assigned ns/p to n"));
        let source = event.source.clone().unwrap();
        assert_eq!((source.component.as_deref(), source.host), (Some("default-scheduler"), None));
        assert_eq!(event.type_.as_deref(), Some("Normal"));
    }

    /// Three days of a pod that never has the same to tell twice.
    #[tokio::test]
    async fn a_pod_that_fails_for_days_does_not_fill_the_store() {
        let mut setup = setup();
        let reasons = ["Failed", "Unhealthy", "BackOff", "FailedMount"];
        for number in 0..3 * 24 * 60_i64 {
            setup.post(number * 60, reasons[number as usize % reasons.len()], &format!("message {number}"));
        }
        let kept = setup.stored().len();
        assert!((1..=25 + 12).contains(&kept), "{kept}");
        assert_eq!(setup.cluster.events(&PodKey::of(&setup.pod)).len(), kept);
    }

    #[tokio::test]
    async fn an_event_that_was_taken_out_comes_back_with_its_count() {
        let mut setup = setup();
        setup.post(0, "BackOff", "Back-off");
        setup.post(3601, "Failed", "Error");
        assert_eq!(setup.stored().len(), 1);
        setup.post(3602, "BackOff", "Back-off");
        let [_, event] = &setup.cluster.events(&PodKey::of(&setup.pod))[..] else { panic!("{:#?}", setup.stored()) };
        assert_eq!((event.reason.as_deref(), event.count), (Some("BackOff"), Some(2)));
    }

    #[tokio::test]
    async fn the_pod_is_remembered_as_it_was_before_its_stop_began() {
        let mut setup = setup();
        let key = PodKey::of(&setup.pod);
        let status = |phase: &str| PodStatus { phase: Some(phase.into()), ..PodStatus::default() };
        setup.cluster.update_status(&setup.pod, &status("Running"));
        setup.post(0, "Killing", "Container c failed liveness probe, will be restarted");
        setup.post(0, "Killing", "Stopping container c to restart all containers");
        assert!(setup.cluster.stop(&key).is_none(), "only restarts");
        setup.post(1, "Killing", "Stopping container c");
        setup.cluster.update_status(&setup.pod, &status("Failed"));
        setup.cluster.remember(&key);
        setup.post(2, "Unhealthy", "Readiness probe failed: it is stopping");
        let Stop { before, events, what } = setup.cluster.stop(&key).unwrap();
        assert_eq!(before.status, Some(status("Running")));
        let events: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
        assert_eq!(events, ["Killing"; 3], "nothing that came after");
        assert_eq!(what, Stopped::Containers(BTreeSet::from(["c".to_owned()])));
    }
}
