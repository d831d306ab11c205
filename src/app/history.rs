//! What `husk run` remembers of its pods beside their objects, to tell it while they live and to explain their end.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Event, Pod, PodStatus};
use tokio::sync::mpsc;

use super::cluster::{Observer, PodKey, stopped_container};
use crate::base::clock::Timestamp;
use crate::controller::events::LIFETIME;
use crate::pod::PostedEvent;
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

/// What is remembered of all pods.
pub(super) struct Histories {
    store: Store,
    changes: mpsc::Sender<Change>,
    histories: Mutex<HashMap<PodKey, History>>,
}

/// What is remembered of a pod.
#[derive(Debug, Default)]
struct History {
    /// Its events in the store, the one posted longest ago first.
    events: VecDeque<(Timestamp, String)>,
    stop: Option<Stop>,
    /// The pod as it was when its last status was published.
    last: Option<Arc<Pod>>,
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

impl Histories {
    /// Nothing yet; what happens to the pods in `store` is also sent to `changes`.
    pub(super) fn new(store: Store, changes: mpsc::Sender<Change>) -> Self {
        Self { store, changes, histories: Mutex::default() }
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

    /// A pod as it was when its last status was published, whether or not it is still there.
    pub(super) fn last(&self, key: &PodKey) -> Option<Arc<Pod>> {
        self.histories().get(key)?.last.clone()
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

    /// Notes that an event is in the store and whether a pod's end begins with it, and takes those events out that have
    /// been there for too long. As a pod can post only so many in that time, this is what keeps the store from growing
    /// while a pod crashes for days.
    fn keep(&self, key: &PodKey, event: &PostedEvent) {
        let mut histories = self.histories();
        let history = histories.entry(key.clone()).or_default();
        history.events.retain(|(_, name)| *name != event.name);
        history.events.push_back((event.last, event.name.clone()));
        let age = |posted: &Timestamp| event.last.duration_since(*posted);
        while let Some((_, name)) = history.events.pop_front_if(|(posted, _)| age(posted) > LIFETIME) {
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
}

impl Observer for Histories {
    fn status(&self, pod: &Pod, status: &PodStatus, at: Timestamp) {
        let key = PodKey::of(pod);
        if let Some(stored) = self.store.get::<Pod>(&key.namespace, &key.name)
            && stored.metadata.uid == pod.metadata.uid
        {
            self.histories().entry(key.clone()).or_default().last = Some(stored);
        }
        let change = Change::Status { pod: key, status: Box::new(status.clone()), at };
        let _ = self.changes.try_send(change);
    }

    fn event(&self, pod: &Pod, event: &PostedEvent) {
        let key = PodKey::of(pod);
        self.keep(&key, event);
        let _ = self.changes.try_send(Change::Event { pod: key, event: Box::new(event.clone()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::cluster::StoreCluster;
    use crate::base::clock::Clock;
    use crate::node::Cluster;
    use crate::pod::{Correlator, EventRecord, EventType};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    struct Setup {
        cluster: StoreCluster,
        histories: Arc<Histories>,
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
        let histories = Arc::new(Histories::new(store.clone(), sender));
        let observer = Arc::clone(&histories) as Arc<dyn Observer>;
        let cluster = StoreCluster::new(store.clone(), "n".into(), Clock::starting_at(at(0)), observer);
        let correlator = Correlator::new(&pod.metadata);
        Setup { cluster, histories, store, pod, correlator, changes }
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
        assert!(shown["metadata"].as_object_mut().unwrap().shift_remove("uid").is_some());
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
        assert_eq!(setup.histories.events(&PodKey::of(&setup.pod)).len(), kept);
    }

    #[tokio::test]
    async fn an_event_that_was_taken_out_comes_back_with_its_count() {
        let mut setup = setup();
        setup.post(0, "BackOff", "Back-off");
        setup.post(3601, "Failed", "Error");
        assert_eq!(setup.stored().len(), 1);
        setup.post(3602, "BackOff", "Back-off");
        let [_, event] = &setup.histories.events(&PodKey::of(&setup.pod))[..] else { panic!("{:#?}", setup.stored()) };
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
        assert!(setup.histories.stop(&key).is_none(), "only restarts");
        setup.post(1, "Killing", "Stopping container c");
        setup.cluster.update_status(&setup.pod, &status("Failed"));
        setup.histories.remember(&key);
        setup.post(2, "Unhealthy", "Readiness probe failed: it is stopping");
        let Stop { before, events, what } = setup.histories.stop(&key).unwrap();
        assert_eq!(before.status, Some(status("Running")));
        let events: Vec<_> = events.iter().filter_map(|event| event.reason.as_deref()).collect();
        assert_eq!(events, ["Killing"; 3], "nothing that came after");
        assert_eq!(what, Stopped::Containers(BTreeSet::from(["c".to_owned()])));
    }
}
