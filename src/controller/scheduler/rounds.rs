//! The scheduler at work: it follows pods, the node, claims and namespaces, and whenever something has changed that may
//! matter to pods which wait, decides about them anew, the most important first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolumeClaim, Pod};
use tracing::warn;

use super::decision::{Claim, Decision, Surroundings, decide, priority};
use super::occupancy::Occupancy;
use super::placement::NamespaceLabels;
use super::verdicts::{self, Verdict};
use super::{NAME, has_ended};
use crate::api::deletion::{DeleteOptions, is_deleted};
use crate::base::clock::{Clock, Timestamp};
use crate::controller::events::Recorder;
use crate::controller::informer::Informer;
use crate::controller::objects::{self, ObjectKey, resource_of};
use crate::pod::{Correlator, EventRecord, EventType};
use crate::store::{Store, StoreError, WatchEvent, WatchKind};

/// A pod that waits is looked at again after this time even if nothing has changed, and the event that says why it waits
/// is posted again (scheduler v1.36 `DefaultPodMaxInUnschedulablePodsDuration`).
const LEFTOVER: SignedDuration = SignedDuration::from_mins(5);

/// Gives pods the node `node` for as long as it is polled.
pub async fn run(store: Store, clock: Clock, node: String) {
    let mut scheduler = Scheduler::new(store, clock, node);
    loop {
        let leftovers = scheduler.next_leftover().map(|at| clock.instant_at(at));
        let wait = async {
            match leftovers {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = scheduler.sources.next() => scheduler.take_in(&event),
            () = wait => {}
        }
        scheduler.round();
    }
}

/// What the scheduler follows.
struct Sources {
    pods: Informer,
    nodes: Informer,
    claims: Informer,
    namespaces: Informer,
}

impl Sources {
    async fn next(&mut self) -> WatchEvent {
        tokio::select! {
            event = self.nodes.next() => event,
            event = self.claims.next() => event,
            event = self.namespaces.next() => event,
            event = self.pods.next() => event,
        }
    }

    fn try_next(&mut self) -> Option<WatchEvent> {
        let all = [&mut self.nodes, &mut self.claims, &mut self.namespaces, &mut self.pods];
        all.into_iter().find_map(Informer::try_next)
    }
}

struct Scheduler {
    store: Store,
    clock: Clock,
    node_name: String,
    recorder: Recorder,
    sources: Sources,
    node: Option<Arc<Node>>,
    occupancy: Occupancy,
    namespaces: NamespaceLabels,
    waiting: BTreeMap<ObjectKey, Waiting>,
    /// Whether something has changed that may help pods which wait.
    changed: bool,
}

/// A pod without a node.
struct Waiting {
    pod: Arc<Pod>,
    /// Decides which events about it are posted.
    correlator: Correlator,
    /// What was decided last, and when that was told.
    verdict: Option<(Verdict, Timestamp)>,
}

impl Scheduler {
    fn new(store: Store, clock: Clock, node_name: String) -> Self {
        let sources = Sources {
            pods: Informer::new(&store, resource_of::<Pod>()),
            nodes: Informer::new(&store, resource_of::<Node>()),
            claims: Informer::new(&store, resource_of::<PersistentVolumeClaim>()),
            namespaces: Informer::new(&store, resource_of::<Namespace>()),
        };
        let recorder = Recorder::of_cluster(store.clone(), NAME, &node_name);
        Self {
            store,
            clock,
            node_name,
            recorder,
            sources,
            node: None,
            occupancy: Occupancy::default(),
            namespaces: NamespaceLabels::new(),
            waiting: BTreeMap::new(),
            changed: false,
        }
    }

    fn next_leftover(&self) -> Option<Timestamp> {
        let told = self.waiting.values().filter_map(|waiting| waiting.verdict.as_ref());
        let told = told.filter(|(verdict, _)| verdict.reason == UNSCHEDULABLE).map(|(_, at)| *at).min()?;
        told.checked_add(LEFTOVER).ok()
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let (object, gone) = (&event.object, event.kind == WatchKind::Deleted);
        match object.resource().kind {
            "Pod" => {
                if let Some(pod) = object.typed::<Pod>() {
                    self.take_pod(ObjectKey::of(object), pod, gone);
                }
            }
            "Node" if object.name() == self.node_name => {
                let node = object.typed::<Node>().filter(|_| !gone);
                self.changed |= !same_node(self.node.as_deref(), node.as_deref());
                self.node = node;
            }
            "Namespace" => {
                let labels = (!gone).then(|| object.labels().clone());
                let before = match &labels {
                    Some(labels) => self.namespaces.insert(object.name().to_owned(), labels.clone()),
                    None => self.namespaces.remove(object.name()),
                };
                self.changed |= before != labels;
            }
            "PersistentVolumeClaim" => self.changed |= event.kind != WatchKind::Modified,
            _ => {}
        }
    }

    fn take_pod(&mut self, key: ObjectKey, pod: Arc<Pod>, gone: bool) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let placed = node == self.node_name;
        if placed && !gone && !has_ended(&pod) {
            self.changed |= !self.occupancy.get(&key.uid).is_some_and(|before| takes_the_same(before, &pod));
            self.occupancy.put(&pod);
        } else if self.occupancy.remove(&key.uid).is_some() {
            self.changed = true;
        }
        let ours = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(NAME) == NAME;
        if gone || !node.is_empty() || !ours || pod.metadata.deletion_timestamp.is_some() || has_ended(&pod) {
            self.waiting.remove(&key);
            return;
        }
        match self.waiting.get_mut(&key) {
            Some(waiting) => {
                if !asks_the_same(&waiting.pod, &pod) {
                    // What is asked for now, nobody has decided about.
                    waiting.verdict = None;
                }
                waiting.pod = pod;
            }
            None => {
                let correlator = Correlator::new(&pod.metadata);
                self.waiting.insert(key, Waiting { pod, correlator, verdict: None });
            }
        }
    }

    /// Takes in what else has happened, and decides about those that may have a chance now.
    fn round(&mut self) {
        while let Some(event) = self.sources.try_next() {
            self.take_in(&event);
        }
        let (everybody, now) = (std::mem::take(&mut self.changed), self.clock.now());
        let is_due = |waiting: &Waiting| match &waiting.verdict {
            None => true,
            Some((_, at)) => everybody || now.duration_since(*at) >= LEFTOVER,
        };
        let mut due: Vec<_> = self.waiting.iter().filter(|(_, waiting)| is_due(waiting)).collect();
        // `PrioritySort`: the more important first, then who has waited longer.
        due.sort_by_key(|(key, Waiting { pod, .. })| {
            let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (Reverse(priority(pod)), created, (*key).clone())
        });
        let due: Vec<ObjectKey> = due.into_iter().map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Err(error) = self.attempt(&key, now) {
                warn!(%error, pod = format!("{}/{}", key.namespace, key.name), "the pod is not scheduled");
            }
        }
    }

    fn attempt(&mut self, key: &ObjectKey, now: Timestamp) -> Result<(), StoreError> {
        let Some(waiting) = self.waiting.get(key) else { return Ok(()) };
        let pod = Arc::clone(&waiting.pod);
        let is_gated = |pod: &Pod| {
            let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
            gates.is_some_and(|gates| !gates.is_empty())
        };
        if is_gated(&pod) {
            let message = "Scheduling is blocked due to non-empty scheduling gates".to_owned();
            return self.tell(key, Verdict { reason: "SchedulingGated", message, nominated: false }, now);
        }
        let Some(node) = self.node.clone() else {
            let message = "no nodes available to schedule pods".to_owned();
            return self.tell(key, Verdict { reason: UNSCHEDULABLE, message, nominated: false }, now);
        };
        match self.decide(&pod, &node) {
            Decision::Bind => self.bind(key, &pod, now),
            Decision::Wait(misfit) => {
                let message = misfit.to_string();
                self.tell(key, Verdict { reason: UNSCHEDULABLE, message, nominated: false }, now)
            }
            Decision::Preempt(misfit, victims) => {
                for victim in victims {
                    self.preempt(&victim, &pod, now)?;
                }
                let message = misfit.to_string();
                self.tell(key, Verdict { reason: UNSCHEDULABLE, message, nominated: true }, now)
            }
        }
    }

    fn decide(&self, pod: &Pod, node: &Node) -> Decision {
        let claim = |namespace: &str, name: &str| match self.sources.claims.get(namespace, name) {
            None => Claim::Missing,
            Some(claim) if claim.metadata().deletion_timestamp.is_some() => Claim::Going,
            Some(_) => Claim::There,
        };
        let with_nominated = self.with_nominated(pod);
        let occupancy = with_nominated.as_ref().unwrap_or(&self.occupancy);
        decide(pod, &Surroundings { node, occupancy, namespaces: &self.namespaces, claim: &claim })
    }

    /// The node as it will be when those have come for whom others give way, if they are more important than `pod`: what
    /// is made free for them is not for others (`RunFilterPluginsWithNominatedPods`).
    fn with_nominated(&self, pod: &Pod) -> Option<Occupancy> {
        let is_nominated = |other: &Pod| {
            let nominated = other.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
            nominated == Some(&self.node_name) && other.metadata.uid != pod.metadata.uid
        };
        let others = self.waiting.values().map(|waiting| &waiting.pod);
        let nominated: Vec<_> =
            others.filter(|other| priority(other) >= priority(pod) && is_nominated(other)).cloned().collect();
        if nominated.is_empty() {
            return None;
        }
        let mut occupancy = self.occupancy.clone();
        nominated.iter().for_each(|pod| occupancy.put(pod));
        Some(occupancy)
    }

    fn bind(&mut self, key: &ObjectKey, pod: &Pod, now: Timestamp) -> Result<(), StoreError> {
        let bound = verdicts::bind(&self.store, key, &self.node_name, now)?;
        let Some(mut waiting) = self.waiting.remove(key).filter(|_| bound) else { return Ok(()) };
        // Those that follow must not count on what it takes.
        let mut placed = pod.clone();
        placed.spec.get_or_insert_default().node_name = Some(self.node_name.clone());
        self.occupancy.put(&Arc::new(placed));
        let message = format!("Successfully assigned {}/{} to {}", key.namespace, key.name, self.node_name);
        self.post(&mut waiting, EventType::Normal, "Scheduled", message, now);
        Ok(())
    }

    /// Says why a pod has to wait, if that is news, or was told long ago.
    fn tell(&mut self, key: &ObjectKey, verdict: Verdict, now: Timestamp) -> Result<(), StoreError> {
        let Some(mut waiting) = self.waiting.remove(key) else { return Ok(()) };
        let is_news = waiting.verdict.as_ref().is_none_or(|(before, _)| *before != verdict);
        let is_old = waiting.verdict.as_ref().is_some_and(|(_, at)| now.duration_since(*at) >= LEFTOVER);
        let mut result = Ok(());
        if is_news {
            result = verdicts::publish(&self.store, key, &self.node_name, &verdict, now);
        }
        if is_news || is_old {
            if verdict.reason == UNSCHEDULABLE {
                self.post(&mut waiting, EventType::Warning, "FailedScheduling", verdict.message.clone(), now);
            }
            waiting.verdict = Some((verdict, now));
        }
        self.waiting.insert(key.clone(), waiting);
        result
    }

    fn preempt(&self, victim: &Pod, pod: &Pod, now: Timestamp) -> Result<(), StoreError> {
        let key = ObjectKey::of_metadata(&victim.metadata);
        verdicts::disrupt(&self.store, &key, now)?;
        let options = DeleteOptions::default();
        objects::delete(&self.store, resource_of::<Pod>(), &key, &options, now, |pod| !is_deleted(pod))?;
        let message =
            format!("Preempted by pod {} on node {}", ObjectKey::of_metadata(&pod.metadata).uid, self.node_name);
        let record = EventRecord { type_: EventType::Normal, reason: "Preempted", message, field_path: None };
        if let Some(event) = Correlator::new(&victim.metadata).observe(record, now) {
            self.recorder.post(victim, &event);
        }
        Ok(())
    }

    fn post(&self, waiting: &mut Waiting, type_: EventType, reason: &'static str, message: String, now: Timestamp) {
        let record = EventRecord { type_, reason, message, field_path: None };
        if let Some(event) = waiting.correlator.observe(record, now) {
            self.recorder.post(&*waiting.pod, &event);
        }
    }
}

/// The reason of the condition of pods that do not fit.
const UNSCHEDULABLE: &str = "Unschedulable";

/// Whether two states of the node are the same to pods.
fn same_node(before: Option<&Node>, after: Option<&Node>) -> bool {
    let matters = |node: &Node| {
        let status = node.status.as_ref();
        (
            node.metadata.labels.clone(),
            node.spec.clone(),
            status.and_then(|status| status.allocatable.clone()),
            status.and_then(|status| status.capacity.clone()),
        )
    };
    before.map(matters) == after.map(matters)
}

/// Whether two states of a pod on the node are the same to others.
fn takes_the_same(before: &Pod, after: &Pod) -> bool {
    before.metadata.labels == after.metadata.labels
        && before.metadata.generation == after.metadata.generation
        && before.metadata.deletion_timestamp.is_some() == after.metadata.deletion_timestamp.is_some()
}

/// Whether two states of a pod without a node ask for the same.
fn asks_the_same(before: &Pod, after: &Pod) -> bool {
    before.metadata.labels == after.metadata.labels && before.spec == after.spec
}

#[cfg(test)]
#[path = "tests/rounds.rs"]
mod tests;
