//! The task that owns one pod: plans, records the plan, carries it out, waits for something to happen.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument, debug, info_span};

use super::executor::{Executor, Shared};
use super::journal::PodJournal;
use super::{NodeState, Publish};
use crate::base::clock::Timestamp;
use crate::pod::{
    Correlator, Desired, Event, Instance, Lifecycle, NodeFacts, Observed, Plan, PodSnapshot, StopSignal, Survivors,
    plan,
};

/// Events that may wait for the worker; a sender then waits.
const INBOX: usize = 64;

/// `terminationGracePeriodSeconds` where a pod has none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// A worker has everything reported to it again this often (kubelet v1.36 `syncFrequency`)…
const RESYNC: Duration = Duration::from_secs(60);
/// …and up to this much less often, so that not all do at once (`workerResyncIntervalJitterFactor`).
const RESYNC_JITTER: f64 = 0.5;

/// What a worker learns from outside.
pub(super) struct Inputs {
    /// What the pod should be.
    pub(super) desired: watch::Receiver<Arc<Pod>>,
    /// That what its volumes are made from may have changed.
    pub(super) sources_changed: Arc<Notify>,
    /// That the agent ends, and how long the containers have to end before it.
    pub(super) suspended: watch::Receiver<Option<Duration>>,
}

/// The owner of one pod.
pub(super) struct Worker {
    node: Arc<NodeState>,
    inputs: Inputs,
    /// The pod as it was planned for last.
    pod: Arc<Pod>,
    observed: Observed,
    published: Option<Arc<PodStatus>>,
    /// Decides which events are posted.
    correlator: Correlator,
    inbox: mpsc::Receiver<Event>,
    resync_at: Instant,
    /// When containers that still run are killed because the agent ends.
    kill_at: Option<Instant>,
    journal: PodJournal,
    executor: Executor,
    /// How another agent has left the pod, until it is known what is still there.
    left: Option<(PodSnapshot, TaskTrackerToken)>,
}

impl Worker {
    /// The owner of a new pod, or of one that another agent has left behind.
    pub(super) fn new(
        node: Arc<NodeState>,
        inputs: Inputs,
        publish: Vec<Publish>,
        snapshot: Option<PodSnapshot>,
    ) -> Self {
        let pod = inputs.desired.borrow().clone();
        let (events, inbox) = mpsc::channel(INBOX);
        let resumed = snapshot.is_some();
        let executor = Executor::new(Arc::clone(&node), &pod, publish, resumed, events);
        let left = snapshot.clone().filter(|_| executor.may_have_left()).map(|left| (left, node.adopting.token()));
        let (mut journal, now) = (PodJournal::new(node.config.journal.clone()), node.config.clock.now());
        let observed = match snapshot {
            None => Observed::new(facts(&node), pod.status.clone().unwrap_or_default()),
            Some(snapshot) => {
                // Until it is known better, for the next agent there may be all of it.
                let survivors = if left.is_some() { snapshot.all() } else { Survivors::default() };
                Observed::restore(facts(&node), snapshot, &survivors, now)
            }
        };
        let published = pod.status.clone().filter(|_| resumed).map(Arc::new);
        if resumed {
            journal.write(&pod, &observed);
        }
        let (correlator, resync_at) = (Correlator::new(&pod.metadata), next_resync());
        let kill_at = None;
        Self { node, inputs, pod, observed, published, correlator, inbox, resync_at, kill_at, journal, executor, left }
    }

    /// What reaches the pod's containers.
    pub(super) fn executor(&self) -> Arc<Shared> {
        self.executor.shared()
    }

    /// Runs until nothing of the pod is left.
    pub(super) async fn run(self) {
        let metadata = self.pod.metadata.clone();
        let span = info_span!(
            "pod",
            ns = metadata.namespace.as_deref().unwrap_or_default(),
            name = metadata.name.as_deref().unwrap_or_default(),
            uid = metadata.uid.as_deref().unwrap_or_default(),
        );
        self.run_inner().instrument(span).await;
    }

    async fn run_inner(mut self) {
        if matches!(self.observed.lifecycle, Lifecycle::Terminated { .. }) {
            // Whoever ended it may not have come to the end of that.
            self.executor.remove_leftovers().await;
        }
        if let Some((left, _until_then)) = self.left.take() {
            let survivors = self.executor.adopt(&self.pod, &left).await;
            self.observed = Observed::restore(facts(&self.node), left, &survivors, self.node.config.clock.now());
        }
        loop {
            self.take_desired();
            if self.is_suspended() && !self.suspend().await {
                return;
            }
            let now = self.node.config.clock.now();
            let desired = Desired { pod: Arc::clone(&self.pod) };
            let plan = plan(&desired, &self.observed, now);
            self.observed.record(&plan, now);
            self.journal.write(&desired.pod, &self.observed);
            if !plan.actions.is_empty() {
                debug!(actions = ?plan.actions, "plan");
            }
            self.publish(&desired.pod, &plan, now);
            let mut happened = false;
            for action in plan.actions {
                for event in self.executor.execute(&desired.pod, action) {
                    self.apply(event);
                    happened = true;
                }
            }
            if matches!(plan.lifecycle, Lifecycle::Terminated { .. }) {
                return;
            }
            if !happened && plan.wake_at.is_none_or(|time| time > now) {
                let wake_at = plan.wake_at.map(|time| self.node.config.clock.instant_at(time));
                self.wait(wake_at).await;
            }
            // Rounds without a wait must not starve the tasks whose events they wait for.
            tokio::task::consume_budget().await;
        }
    }

    /// Whether the agent ends; notes when containers are killed then.
    fn is_suspended(&mut self) -> bool {
        let Some(limit) = *self.inputs.suspended.borrow_and_update() else { return false };
        let grace = grace_period(&self.pod).min(limit);
        // Whoever is in a hurry now may say so again.
        let kill_at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        true
    }

    /// Stops what runs as a machine does that is switched off, and leaves the pod for the next agent to go on with: its
    /// containers have ended then, and their policies decide what follows. Whether there is more to do, because nothing is
    /// left to go on with, or the pod is being terminated anyway.
    async fn suspend(&mut self) -> bool {
        if self.observed.lifecycle != Lifecycle::Syncing {
            return true;
        }
        self.executor.stop_all(StopSignal::Term);
        while self.observed.containers.values().any(|record| record.instances.iter().any(Instance::is_live)) {
            self.wait(None).await;
            // A start that was under way has come to be nevertheless, or the time is shorter now.
            self.is_suspended();
            self.executor.stop_all(StopSignal::Term);
        }
        self.take_desired();
        let now = self.node.config.clock.now();
        let desired = Desired { pod: Arc::clone(&self.pod) };
        let plan = plan(&desired, &self.observed, now);
        if plan.lifecycle != Lifecycle::Syncing {
            return true;
        }
        self.executor.end_sandbox().await;
        self.observed.status = Arc::clone(&plan.status);
        self.journal.write(&desired.pod, &self.observed);
        self.publish(&desired.pod, &plan, now);
        false
    }

    /// Takes in what the pod should be now. Its labels and annotations are what volumes may show of it.
    fn take_desired(&mut self) {
        let pod = self.inputs.desired.borrow_and_update().clone();
        let (old, new) = (&self.pod.metadata, &pod.metadata);
        if (&old.labels, &old.annotations) != (&new.labels, &new.annotations) {
            self.apply(Event::SourcesChanged);
        }
        self.pod = pod;
    }

    fn apply(&mut self, event: Event) {
        self.observed.apply(event, self.node.config.clock.now());
    }

    fn take_inbox(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            self.apply(event);
        }
    }

    /// Takes in once more what was reported, after what is on its way: what was lost is made good.
    fn resync(&mut self) {
        self.take_inbox();
        for event in self.executor.last_reports() {
            self.apply(event);
        }
        self.resync_at = next_resync();
    }

    /// Waits until something happened that calls for a new plan, and takes it in.
    async fn wait(&mut self, wake_at: Option<tokio::time::Instant>) {
        tokio::select! {
            event = self.inbox.recv() => {
                if let Some(event) = event {
                    self.apply(event);
                }
                self.take_inbox();
            }
            () = self.inputs.sources_changed.notified() => self.apply(Event::SourcesChanged),
            () = tokio::time::sleep_until(self.resync_at) => self.resync(),
            changed = self.inputs.suspended.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            () = sleep_until(self.kill_at) => {
                self.kill_at = None;
                self.executor.stop_all(StopSignal::Kill);
            }
            changed = self.inputs.desired.changed() => {
                if changed.is_err() {
                    // The handle is gone, and with it whoever wanted the pod; its tasks are aborted next.
                    std::future::pending::<()>().await;
                }
            }
            () = sleep_until(wake_at) => {}
        }
    }

    fn publish(&mut self, pod: &Pod, plan: &Plan, now: Timestamp) {
        let posted = plan.events.iter().filter_map(|event| self.correlator.observe(event.clone(), now));
        let events: Vec<_> = posted.collect();
        let is_published =
            |published: &Arc<PodStatus>| Arc::ptr_eq(published, &plan.status) || *published == plan.status;
        let status = (!self.published.as_ref().is_some_and(is_published)).then_some(&*plan.status);
        if status.is_none() && events.is_empty() {
            return;
        }
        if self.node.config.cluster.publish(pod, status, &events) && status.is_some() {
            self.published = Some(Arc::clone(&plan.status));
        }
    }
}

/// What the pod may know of its node.
fn facts(node: &NodeState) -> NodeFacts {
    NodeFacts {
        host_ips: node.config.host_ips.clone(),
        allocatable_cpu_millis: Some(node.config.allocatable_cpu_millis),
        allocatable_memory: Some(node.config.allocatable_memory),
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// How long the containers of a pod have to end, from the moment they are asked to.
fn grace_period(pod: &Pod) -> Duration {
    let of_spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = pod.metadata.deletion_grace_period_seconds.or(of_spec).unwrap_or(DEFAULT_GRACE_SECONDS);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// When everything is to be reported again next.
fn next_resync() -> Instant {
    // A new hasher has a random state, which is random enough for this.
    let random = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    Instant::now() + RESYNC.mul_f64(1.0 + RESYNC_JITTER * random)
}
