//! What is done for a container while it runs: its hooks, its probes, other limits. Ends with the container.

use std::sync::Arc;

use k8s_openapi::api::core::v1::LifecycleHandler;
use tokio_util::task::AbortOnDropHandle;

use super::executor::Shared;
use super::hook::{self, HookOutcome};
use super::instance::catch_panic;
use super::probe::{Prober, Target};
use crate::base::clock::Timestamp;
use crate::pod::{Event, HookKind, ResourceLimits};
use crate::runtime::{self, Container};

/// One container instance that runs.
pub(super) struct Upkeep {
    /// What its probes and hooks are about.
    pub(super) target: Arc<Target>,
    /// Since when it runs.
    pub(super) started_at: Timestamp,
    prober: Option<Prober>,
    post_start: Option<AbortOnDropHandle<()>>,
    pre_stop: Option<AbortOnDropHandle<()>>,
}

impl Upkeep {
    /// Nothing is done yet.
    pub(super) fn new(target: Target, started_at: Timestamp) -> Self {
        Self { target: Arc::new(target), started_at, prober: None, post_start: None, pre_stop: None }
    }

    fn hook(&mut self, hook: HookKind) -> &mut Option<AbortOnDropHandle<()>> {
        match hook {
            HookKind::PostStart => &mut self.post_start,
            HookKind::PreStop => &mut self.pre_stop,
        }
    }

    /// Runs a hook in a task of its own, which reports `HookFinished`.
    pub(super) fn run_hook(&mut self, hook: HookKind, shared: &Arc<Shared>) {
        // A hook that goes on must not keep its own container, which `shared` holds, from ending with the pod's worker.
        let (target, shared) = (Arc::clone(&self.target), Arc::downgrade(shared));
        let handler = handler(&target, hook).cloned().unwrap_or_default();
        let task = tokio::spawn(async move {
            let outcome = catch_panic(hook::run(&target, &handler)).await;
            let HookOutcome { error, warning } =
                outcome.unwrap_or_else(|panic| HookOutcome { error: Some(panic), warning: None });
            let (container, attempt) = (target.container.name.clone(), target.attempt);
            if let Some(shared) = shared.upgrade() {
                shared.report(Event::HookFinished { container, attempt, hook, error, warning }).await;
            }
        });
        *self.hook(hook) = Some(AbortOnDropHandle::new(task));
    }

    /// Gives a hook up; a program that it runs is killed.
    pub(super) fn cancel_hook(&mut self, hook: HookKind) {
        *self.hook(hook) = None;
    }

    /// Runs its probes from now on.
    pub(super) fn start_probes(&mut self, shared: &Shared) {
        let config = &shared.node.config;
        let begin = (self.started_at, config.probe_lag);
        self.prober = Some(Prober::start(&self.target, begin, &config.clock, shared.reports()));
    }

    /// Makes a readiness check out of turn.
    pub(super) fn probe_readiness_now(&self) {
        if let Some(prober) = &self.prober {
            prober.probe_readiness_now();
        }
    }

    /// Ends its startup and liveness probes.
    pub(super) fn stop_startup_and_liveness(&mut self) {
        if let Some(prober) = &mut self.prober {
            prober.stop_startup_and_liveness();
        }
    }
}

fn handler(target: &Target, hook: HookKind) -> Option<&LifecycleHandler> {
    let lifecycle = target.container.lifecycle.as_ref()?;
    match hook {
        HookKind::PostStart => lifecycle.post_start.as_ref(),
        HookKind::PreStop => lifecycle.pre_stop.as_ref(),
    }
}

/// Gives a running container other limits, and tells how that went.
pub(super) fn update_resources(
    process: Option<&Arc<dyn Container>>,
    container: String,
    attempt: u32,
    limits: ResourceLimits,
) -> Event {
    let ResourceLimits { memory, cpu_millis } = limits;
    let limits = runtime::ResourceLimits { memory_bytes: memory, cpu_millis };
    let error = match process.map(|process| process.update_limits(limits)) {
        None => Some(format!("container {container} is not running")),
        Some(result) => result.err().map(|error| error.to_string()),
    };
    Event::ResourcesUpdated { container, attempt, error }
}
