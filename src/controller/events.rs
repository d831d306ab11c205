//! Kubernetes events as objects: how they are written, and that they go after an hour. What is worth an event, and how
//! often it is counted, others decide (`pod::Correlator`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, Namespace, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::{Metadata, Resource};
use tracing::warn;

use super::informer::Informer;
use super::objects::{self, ObjectKey, resource_of, seconds, stamp};
use crate::base::clock::Clock;
use crate::pod::{EventType, PostedEvent};
use crate::store::{Change, Store, WatchEvent, WatchKind};

/// How long an event stays after it was last posted (kube-apiserver v1.36 `--event-ttl`).
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// Posts events in the name of one component.
#[derive(Debug, Clone)]
pub struct Recorder {
    store: Store,
    component: &'static str,
    /// The host of the node, for components that run on each.
    host: Option<String>,
    instance: String,
}

impl Recorder {
    /// For the agent of a node.
    pub fn on_node(store: Store, component: &'static str, node: &str) -> Self {
        Self { store, component, host: Some(node.to_owned()), instance: node.to_owned() }
    }

    /// For a component that is there once, on a node.
    pub fn of_cluster(store: Store, component: &'static str, node: &str) -> Self {
        Self { store, component, host: None, instance: format!("{component}-{node}") }
    }

    /// Posts an event about an object: a new one, or the next of a series. One that cannot be stored is lost, as it is in
    /// a cluster.
    pub fn post<T: Resource + Metadata<Ty = ObjectMeta>>(&self, subject: &T, event: &PostedEvent) {
        let metadata = subject.metadata();
        let namespace = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default");
        // client-go changes nothing else of a series (`eventLogger.eventObserve`).
        let updated = self.store.update::<Event>(namespace, &event.name, |stored| {
            stored.count = i32::try_from(event.count).ok();
            stored.last_timestamp = Some(seconds(event.last));
            stored.message = Some(event.record.message.clone());
        });
        // What is posted into a namespace that ends would outlive it.
        let ends = || {
            let found = self.store.get::<Namespace>("", namespace);
            found.is_some_and(|found| found.metadata.deletion_timestamp.is_some())
        };
        if updated.is_err() && !ends() {
            let _ = self.store.create(self.object(subject, namespace, event));
        }
    }

    fn object<T: Resource + Metadata<Ty = ObjectMeta>>(
        &self,
        subject: &T,
        namespace: &str,
        event: &PostedEvent,
    ) -> Event {
        let PostedEvent { record, name, count, first, last } = event;
        let type_ = match record.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let about = subject.metadata();
        let (name, namespace) = (Some(name.clone()), Some(namespace.to_owned()));
        let mut metadata = ObjectMeta { name, namespace, ..ObjectMeta::default() };
        stamp(&mut metadata, *last);
        Event {
            metadata,
            type_: Some(type_.to_owned()),
            reason: Some(record.reason.to_owned()),
            message: Some(record.message.clone()),
            count: i32::try_from(*count).ok(),
            first_timestamp: Some(seconds(*first)),
            last_timestamp: Some(seconds(*last)),
            source: Some(EventSource { component: Some(self.component.to_owned()), host: self.host.clone() }),
            involved_object: ObjectReference {
                api_version: Some(T::API_VERSION.to_owned()),
                kind: Some(T::KIND.to_owned()),
                name: about.name.clone(),
                namespace: about.namespace.clone(),
                uid: about.uid.clone(),
                resource_version: about.resource_version.clone(),
                field_path: record.field_path.clone(),
            },
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// Takes events out when their time is over, for as long as it is polled.
pub async fn expire(store: Store, clock: Clock) {
    let mut expiry = Expiry::new(store, clock);
    loop {
        let due = expiry.next_due().map(|due| clock.instant_at(due));
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = expiry.events.next() => expiry.take_in(&event),
            () = wait => expiry.remove_due(),
        }
    }
}

struct Expiry {
    store: Store,
    clock: Clock,
    events: Informer,
    /// When the time of which event is over.
    due: BTreeSet<(Timestamp, ObjectKey)>,
    known: BTreeMap<ObjectKey, Timestamp>,
}

impl Expiry {
    fn new(store: Store, clock: Clock) -> Self {
        let events = Informer::new(&store, resource_of::<Event>());
        Self { store, clock, events, due: BTreeSet::new(), known: BTreeMap::new() }
    }

    fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    fn take_in(&mut self, told: &WatchEvent) {
        let key = ObjectKey::of(&told.object);
        if let Some(due) = self.known.remove(&key) {
            self.due.remove(&(due, key.clone()));
        }
        if told.kind != WatchKind::Deleted {
            let posted = told.object.typed::<Event>().and_then(|event| last_posted(&event));
            // Nobody's clock decides that an event stays for ever.
            let now = self.clock.now();
            let due = posted.unwrap_or(now).min(now).saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
            self.due.insert((due, key.clone()));
            self.known.insert(key, due);
        }
    }

    fn remove_due(&mut self) {
        let now = self.clock.now();
        while let Some((due, key)) = self.due.pop_first() {
            if due > now {
                self.due.insert((due, key));
                return;
            }
            self.known.remove(&key);
            if let Err(error) = objects::change(&self.store, resource_of::<Event>(), &key, |_| Change::Remove) {
                warn!(%error, "an event stays although its time is over");
            }
        }
    }
}

/// When an event was posted last, as far as it says.
fn last_posted(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let of_event = event.event_time.as_ref().map(|time| time.0);
    [series, time(&event.last_timestamp), of_event, time(&event.metadata.creation_timestamp)]
        .into_iter()
        .flatten()
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::EventRecord;
    use k8s_openapi::api::core::v1::Pod;
    use std::time::Duration;

    fn posted(name: &str, at: Timestamp, count: u32) -> PostedEvent {
        let record = EventRecord { type_: EventType::Warning, reason: "R", message: "m".to_owned(), field_path: None };
        PostedEvent { record, name: name.to_owned(), count, first: at, last: at }
    }

    fn pod() -> Pod {
        let metadata = ObjectMeta {
            name: Some("p".into()),
            namespace: Some("ns".into()),
            uid: Some("u".into()),
            ..Default::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    fn names(store: &Store) -> Vec<String> {
        store.list_all::<Event>().iter().filter_map(|event| event.metadata.name.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn events_go_an_hour_after_they_were_last_posted() {
        let store = Store::default();
        let clock = Clock::starting_at(Timestamp::from_second(1_800_000_000).unwrap());
        let recorder = Recorder::on_node(store.clone(), "kubelet", "n");
        recorder.post(&pod(), &posted("once", clock.now(), 1));
        recorder.post(&pod(), &posted("again", clock.now(), 1));
        let expiring = tokio::spawn(expire(store.clone(), clock));
        tokio::time::sleep(Duration::from_secs(1800)).await;
        recorder.post(&pod(), &posted("again", clock.now(), 2));
        tokio::time::sleep(Duration::from_secs(1790)).await;
        assert_eq!(names(&store), ["again", "once"]);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(names(&store), ["again"]);
        tokio::time::sleep(Duration::from_secs(1800)).await;
        assert_eq!(names(&store), [""; 0]);
        expiring.abort();
    }

    #[tokio::test]
    async fn nothing_is_posted_into_a_namespace_that_ends() {
        let store = Store::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let metadata =
            ObjectMeta { name: Some("ns".into()), deletion_timestamp: Some(seconds(now)), ..ObjectMeta::default() };
        store.create(Namespace { metadata, ..Namespace::default() }).unwrap();
        Recorder::of_cluster(store.clone(), "default-scheduler", "n").post(&pod(), &posted("e", now, 1));
        assert_eq!(names(&store), [""; 0]);
    }
}
