//! How a pod ends: why, when, and in which order its containers are stopped (kubelet v1.36 `pod_workers`,
//! `killContainersWithSyncResult`, `terminationOrdering`).
//!
//! ```text
//!   Syncing ──deleted, deadline, nothing left──▶ Terminating ──containers, sandbox, volumes gone──▶ Terminated
//!
//!   app       TERM ───────────────── kill_at (≥ 2 s after TERM): KILL
//!   sidecar   waits for the apps and the later sidecars, at most until kill_at; TERM ── 2 s ── KILL
//! ```

use super::events::Note;
use super::instance::{HookState, Instance, InstanceState, Probing};
use super::observed::{Lifecycle, Observed, SandboxState, TerminationCause, VolumesState};
use super::plan::{Action, ContainerKind, Draft, HookKind};
use super::spec::{ContainerSpec, PodView, later_by_seconds};
use super::stop::{self, Circumstances, Stop, StopCause};
use super::{sync, tend};
use crate::base::clock::Timestamp;

/// `reason` of a pod that ran into its deadline.
pub(super) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// `message` of a pod that ran into its deadline.
pub(super) const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// `reason` of a pod that is evicted.
pub(super) const EVICTED: &str = "Evicted";
/// Seconds that the containers of an evicted pod have (kubelet v1.36 `immediateEvictionGracePeriodSeconds`).
const EVICTION_GRACE_SECONDS: i64 = 1;

/// When `activeDeadlineSeconds` passes, counted from the pod's start.
pub(super) fn deadline(view: &PodView<'_>, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let seconds = view.spec.active_deadline_seconds?;
    Some(later_by_seconds(observed.started_at.unwrap_or(now), seconds))
}

/// Where the pod is in its life now.
pub(super) fn next_lifecycle(view: &PodView<'_>, observed: &Observed, now: Timestamp) -> Lifecycle {
    match observed.lifecycle {
        Lifecycle::Syncing => termination_cause(view, observed, now).map_or(Lifecycle::Syncing, |cause| {
            let grace_seconds = match cause {
                TerminationCause::Evicted => view.grace_seconds().min(EVICTION_GRACE_SECONDS),
                TerminationCause::Deleted | TerminationCause::DeadlineExceeded | TerminationCause::Completed => {
                    view.grace_seconds()
                }
            };
            let begun = Lifecycle::Terminating {
                cause,
                since: now,
                grace_seconds,
                kill_at: later_by_seconds(now, grace_seconds),
                shortened: false,
            };
            if is_gone(view, observed) { Lifecycle::Terminated { cause } } else { begun }
        }),
        Lifecycle::Terminating { cause, .. } if is_gone(view, observed) => Lifecycle::Terminated { cause },
        Lifecycle::Terminating { cause, since, grace_seconds, kill_at, .. } => {
            // Differs from Kubernetes: a shorter grace period reaches a stop in progress at once.
            let shorter = view.grace_seconds();
            if view.is_deleted() && shorter < grace_seconds {
                let kill_at = kill_at.min(later_by_seconds(now, shorter));
                return Lifecycle::Terminating { cause, since, grace_seconds: shorter, kill_at, shortened: true };
            }
            observed.lifecycle
        }
        Lifecycle::Terminated { .. } => observed.lifecycle,
    }
}

fn termination_cause(view: &PodView<'_>, observed: &Observed, now: Timestamp) -> Option<TerminationCause> {
    if view.is_deleted() {
        Some(TerminationCause::Deleted)
    } else if observed.ending.is_some() {
        observed.ending
    } else if !observed.restarting_all && sync::nothing_left(view, observed) {
        Some(TerminationCause::Completed)
    } else if deadline(view, observed, now).is_some_and(|deadline| deadline <= now) {
        Some(TerminationCause::DeadlineExceeded)
    } else {
        None
    }
}

/// Whether no container is starting or running.
pub(super) fn containers_stopped(view: &PodView<'_>, observed: &Observed) -> bool {
    !view.all().any(|spec| observed.is_live(spec.name()))
}

/// Whether the sandbox is not there, or no more.
pub(super) fn sandbox_gone(observed: &Observed) -> bool {
    matches!(
        observed.sandbox,
        SandboxState::Absent | SandboxState::Failed { .. } | SandboxState::Lost | SandboxState::Stopped
    )
}

fn is_gone(view: &PodView<'_>, observed: &Observed) -> bool {
    let volumes_gone = matches!(observed.volumes, VolumesState::Absent | VolumesState::TornDown);
    containers_stopped(view, observed) && sandbox_gone(observed) && volumes_gone
}

/// Plans the next steps of the stop: containers, then the sandbox, then the volumes.
pub(super) fn plan_stops(
    view: &PodView<'_>,
    observed: &Observed,
    lifecycle: Lifecycle,
    now: Timestamp,
    draft: &mut Draft,
) {
    let Lifecycle::Terminating { cause, .. } = lifecycle else { return };
    if observed.lifecycle == Lifecycle::Syncing {
        match cause {
            TerminationCause::DeadlineExceeded => {
                draft.notes.push(Note::normal(None, DEADLINE_EXCEEDED, DEADLINE_MESSAGE));
            }
            TerminationCause::Evicted => {
                let message = observed.eviction.clone().unwrap_or_default();
                draft.notes.push(Note::warning(None, EVICTED, message));
            }
            TerminationCause::Deleted | TerminationCause::Completed => {}
        }
    }
    for (spec, instance) in view.all().filter_map(|spec| Some((spec, observed.instance(spec.name())?))) {
        plan_stop(view, observed, lifecycle, (spec, instance), now, draft);
    }
    if !containers_stopped(view, observed) {
        return;
    }
    match observed.sandbox {
        SandboxState::Creating | SandboxState::Ready { .. } => return draft.actions.push(Action::StopSandbox),
        SandboxState::Stopping => return,
        SandboxState::Absent | SandboxState::Failed { .. } | SandboxState::Lost | SandboxState::Stopped => {}
    }
    match observed.volumes {
        VolumesState::Left | VolumesState::SettingUp | VolumesState::Failed { .. } | VolumesState::Ready => {
            draft.actions.push(Action::TearDownVolumes);
        }
        VolumesState::Absent | VolumesState::TearingDown | VolumesState::TornDown => {}
    }
}

fn plan_stop(
    view: &PodView<'_>,
    observed: &Observed,
    lifecycle: Lifecycle,
    (spec, instance): (&ContainerSpec<'_>, &Instance),
    now: Timestamp,
    draft: &mut Draft,
) {
    let Lifecycle::Terminating { since, grace_seconds, kill_at, shortened, .. } = lifecycle else { return };
    let (container, attempt) = (spec.name().to_owned(), instance.attempt);
    // Differs from Kubernetes, where a pull, start or `postStart` hook under way is waited for: it is given up.
    match instance.state {
        InstanceState::Exited(_) => return tend::cancel_hooks(spec, instance, draft),
        InstanceState::Starting if instance.cancel_sent => return,
        InstanceState::Starting => return draft.actions.push(Action::CancelStart { container, attempt }),
        InstanceState::Running { .. } => {}
    }
    if instance.post_start == HookState::Running {
        let hook = HookKind::PostStart;
        draft.actions.push(Action::CancelHook { container: container.clone(), attempt, hook });
    }
    // Of sidecars, kubelet leaves the liveness probes running here; their results have no effect any more.
    if spec.kind == ContainerKind::App && instance.probing == Probing::All {
        draft.actions.push(Action::StopProbes { container, attempt });
    }
    let circumstances = |stop: &Stop| Circumstances {
        turn: may_be_stopped(view, observed, spec),
        // Differs from Kubernetes, where it takes the time it was given: a stop that had begun before the pod's is over
        // when the pod's is.
        cap: (shortened || stop.cause != StopCause::Pod).then_some(kill_at),
        at_once: grace_seconds == 0,
    };
    if let Some(stop) = &instance.stop {
        return stop::proceed(spec, instance, stop, circumstances(stop), now, draft);
    }
    let stop = Stop::new(StopCause::Pod, grace_seconds, since);
    let circumstances = circumstances(&stop);
    stop::begin(spec, instance, stop, format!("Stopping container {}", spec.name()), circumstances, now, draft);
}

/// Whether it is a container's turn: a sidecar's comes after all app containers and all later sidecars.
fn may_be_stopped(view: &PodView<'_>, observed: &Observed, spec: &ContainerSpec<'_>) -> bool {
    if spec.kind != ContainerKind::Sidecar {
        return true;
    }
    let later_sidecars = view.sidecars().skip_while(|other| other.name() != spec.name()).skip(1);
    !view.apps.iter().chain(later_sidecars).any(|other| observed.is_live(other.name()))
}
