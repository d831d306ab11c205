//! Probes: asks the containers of pods, again and again, whether they have started, live and serve.
//!
//! ```text
//!  Prober ──┬── startup ─────── settles success ──┐ opens        ProbeReport (a check that failed, erred or warned)
//!           ├── liveness ◀── gate ────────────────┤       ──▶    ProbeResult (a settled result that changed)
//!           └── readiness ◀─ gate ────────────────┘
//! ```
//!
//! One task per probe (`worker`) makes the checks (`check`: `exec`, `http`, `tcp`, `grpc`) when they are due; what they
//! come to is counted by `pod::ProbeState`; what follows from it the planner decides. Everything goes through the pod's
//! own network (`dial`) or its container's runtime. Hooks (`node/hook.rs`) are made of the same checks.
//!
//! Texts that users see are worded as in Kubernetes, and so are the errors of Go's libraries inside them.

mod check;
mod dial;
pub(super) mod exec;
mod grpc;
pub(super) mod http;
mod seen;
mod tcp;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod worker;

use std::sync::{Arc, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Probe};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use self::check::Check;
use self::worker::{Schedule, Worker};
use super::outcomes::Reports;
use crate::base::clock::{Clock, Timestamp};
use crate::net::PodNetwork;
use crate::pod::{ProbeKind, ProbeState};
use crate::runtime::Container;

/// The Kubernetes version that requests name in their `User-Agent`.
const VERSION: &str = "1.36";

/// The container instance that probes and hooks are about.
#[derive(Clone)]
pub(super) struct Target {
    /// The pod as kubelet prints it: `name_namespace(uid)`.
    pub(super) pod: String,
    /// The container's spec, defaulted and validated.
    pub(super) container: Arc<ContainerSpec>,
    /// The instance.
    pub(super) attempt: u32,
    /// The instance as its runtime has it. Not kept alive from here: whoever follows it to its end disposes of it then.
    pub(super) process: Weak<dyn Container>,
    /// The pod's network.
    pub(super) network: Arc<PodNetwork>,
}

/// The probes of one container instance, until dropped; a program that a check runs just then is killed.
#[derive(Debug)]
pub(super) struct Prober {
    startup: Option<AbortOnDropHandle<()>>,
    liveness: Option<AbortOnDropHandle<()>>,
    _readiness: Option<AbortOnDropHandle<()>>,
    out_of_turn: Arc<Notify>,
}

impl Prober {
    /// Starts the probes that the container has; the instance runs since `started_at`, and those with an initial delay
    /// count from so much later. Liveness and readiness wait until the startup probe has succeeded, if there is one.
    pub(super) fn start(
        target: &Arc<Target>,
        (started_at, lag): (Timestamp, Duration),
        clock: &Clock,
        events: &Reports,
    ) -> Self {
        let spec = &target.container;
        let out_of_turn = Arc::new(Notify::new());
        let started = watch::Sender::new(spec.startup_probe.is_none());
        let start = clock.instant_at(started_at);
        let run = |kind: ProbeKind, probe: &Option<Probe>| {
            let probe = probe.as_ref()?;
            let worker = Worker {
                kind,
                target: Arc::clone(target),
                check: Check::of(probe, target),
                state: ProbeState::new(kind, probe),
                schedule: Schedule::new(probe, start, lag),
                started: started.clone(),
                out_of_turn: (kind == ProbeKind::Readiness).then(|| Arc::clone(&out_of_turn)),
                events: events.clone(),
            };
            Some(AbortOnDropHandle::new(tokio::spawn(worker.run())))
        };
        Self {
            startup: run(ProbeKind::Startup, &spec.startup_probe),
            liveness: run(ProbeKind::Liveness, &spec.liveness_probe),
            _readiness: run(ProbeKind::Readiness, &spec.readiness_probe),
            out_of_turn,
        }
    }

    /// Makes a readiness check now, and the next ones every period from now on (kubelet v1.36 `worker.run`). While a
    /// check is under way, one more follows it, however often this is called. Before `initialDelaySeconds` have passed
    /// nothing is checked; before the container has started, it is checked as soon as it has.
    pub(super) fn probe_readiness_now(&self) {
        self.out_of_turn.notify_one();
    }

    /// Ends the startup and the liveness probe; readiness goes on.
    pub(super) fn stop_startup_and_liveness(&mut self) {
        self.startup = None;
        self.liveness = None;
    }
}
