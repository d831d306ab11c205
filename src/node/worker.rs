//! The task that owns one pod: plans, records the plan, carries it out, waits for something to happen.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{mpsc, watch};
use tracing::{Instrument, debug, info_span};

use super::executor::Executor;
use super::{NodeState, Publish};
use crate::base::clock::Timestamp;
use crate::pod::{Correlator, Desired, Event, Lifecycle, NodeFacts, Observed, Plan, plan};

/// Events that may wait for the worker; a sender then waits.
const INBOX: usize = 64;

/// The owner of one pod.
pub(super) struct Worker {
    node: Arc<NodeState>,
    desired: watch::Receiver<Arc<Pod>>,
    observed: Observed,
    published: Option<Arc<PodStatus>>,
    /// Decides which events are posted.
    correlator: Correlator,
    inbox: mpsc::Receiver<Event>,
    executor: Executor,
}

impl Worker {
    pub(super) fn new(node: Arc<NodeState>, desired: watch::Receiver<Arc<Pod>>, publish: Vec<Publish>) -> Self {
        let pod = desired.borrow().clone();
        let (events, inbox) = mpsc::channel(INBOX);
        let facts = NodeFacts {
            host_ips: node.config.host_ips.clone(),
            allocatable_cpu_millis: Some(node.config.allocatable_cpu_millis),
            allocatable_memory: Some(node.config.allocatable_memory),
        };
        let observed = Observed::new(facts, pod.status.clone().unwrap_or_default());
        let correlator = Correlator::new(&pod.metadata);
        let executor = Executor::new(Arc::clone(&node), pod, publish, events);
        Self { node, desired, observed, published: None, correlator, inbox, executor }
    }

    /// Runs until nothing of the pod is left.
    pub(super) async fn run(self) {
        let metadata = self.desired.borrow().metadata.clone();
        let span = info_span!(
            "pod",
            ns = metadata.namespace.as_deref().unwrap_or_default(),
            name = metadata.name.as_deref().unwrap_or_default(),
            uid = metadata.uid.as_deref().unwrap_or_default(),
        );
        self.run_inner().instrument(span).await;
    }

    async fn run_inner(mut self) {
        loop {
            let pod = self.desired.borrow_and_update().clone();
            let now = self.node.config.clock.now();
            let desired = Desired { pod };
            let plan = plan(&desired, &self.observed, now);
            self.observed.record(&plan, now);
            if !plan.actions.is_empty() {
                debug!(actions = ?plan.actions, "plan");
            }
            self.publish(&desired.pod, &plan, now);
            let mut happened = false;
            for action in plan.actions {
                for event in self.executor.execute(&desired.pod, action) {
                    self.observed.apply(event, self.node.config.clock.now());
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

    /// Waits until something happened that calls for a new plan, and takes it in.
    async fn wait(&mut self, wake_at: Option<tokio::time::Instant>) {
        let sleep = async {
            match wake_at {
                Some(instant) => tokio::time::sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.inbox.recv() => {
                if let Some(event) = event {
                    self.observed.apply(event, self.node.config.clock.now());
                }
                while let Ok(event) = self.inbox.try_recv() {
                    self.observed.apply(event, self.node.config.clock.now());
                }
            }
            changed = self.desired.changed() => {
                if changed.is_err() {
                    // The handle is gone, and with it whoever wanted the pod; its tasks are aborted next.
                    std::future::pending::<()>().await;
                }
            }
            () = sleep => {}
        }
    }

    fn publish(&mut self, pod: &Pod, plan: &Plan, now: Timestamp) {
        for event in &plan.events {
            if let Some(event) = self.correlator.observe(event.clone(), now) {
                self.node.config.cluster.post_event(pod, &event);
            }
        }
        let is_published =
            |published: &Arc<PodStatus>| Arc::ptr_eq(published, &plan.status) || *published == plan.status;
        if !self.published.as_ref().is_some_and(is_published) {
            self.node.config.cluster.update_status(pod, &plan.status);
            self.published = Some(Arc::clone(&plan.status));
        }
    }
}
