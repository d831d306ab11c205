//! How one container is stopped: its preStop hook, its turn, SIGTERM, SIGKILL (kubelet v1.36 `killContainer`,
//! `executePreStopHook`).
//!
//! ```text
//!   since ── preStop (at most the grace period) ── [its turn] ── TERM ── what is left of the grace, ≥ 2 s ── KILL
//! ```

use jiff::SignedDuration;

use super::events::Note;
use super::instance::{HookState, Instance};
use super::plan::{Action, Draft, HookKind, StopSignal};
use super::spec::{ContainerSpec, later, later_by_seconds};
use crate::base::clock::Timestamp;

/// However little of the grace period is left, a container has this long between TERM and KILL, in seconds.
const MINIMUM_GRACE_SECONDS: i64 = 2;

/// Why an instance is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The pod is stopped.
    Pod,
    /// Its liveness probe failed.
    LivenessProbe,
    /// Its startup probe failed.
    StartupProbe,
    /// Its image was changed in the spec.
    DefinitionChanged,
    /// Its resources were changed, and its `resizePolicy` asks for a restart.
    Resize,
    /// Its `postStart` hook failed.
    PostStartHook,
    /// All containers of the pod are restarted.
    RestartAllContainers,
}

/// The stop of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Why.
    pub cause: StopCause,
    /// When it began.
    pub since: Timestamp,
    /// How long it may take from then, in seconds.
    pub grace_seconds: i64,
    /// How far its `preStop` hook is.
    pub pre_stop: HookState,
    /// When it was sent the stop signal.
    pub term_sent: Option<Timestamp>,
    /// Whether it was sent SIGKILL.
    pub kill_sent: bool,
}

/// What bears on a stop from outside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Whether its turn to get the stop signal has come.
    pub(super) turn: bool,
    /// Until when the stop has time, where that is less than its own grace period.
    pub(super) cap: Option<Timestamp>,
    /// Whether it has no time at all.
    pub(super) at_once: bool,
}

impl Circumstances {
    /// Nothing bears on it.
    pub(super) const FREE: Self = Self { turn: true, cap: None, at_once: false };
}

impl Stop {
    /// A stop that begins.
    pub(super) fn new(cause: StopCause, grace_seconds: i64, now: Timestamp) -> Self {
        let pre_stop = HookState::default();
        Self { cause, since: now, grace_seconds, pre_stop, term_sent: None, kill_sent: false }
    }

    fn has_pre_stop(&self, spec: &ContainerSpec<'_>) -> bool {
        spec.has_pre_stop() && self.cause != StopCause::RestartAllContainers
    }

    /// When the grace period ends, for hooks and for waiting in turn.
    fn deadline(&self, circumstances: Circumstances) -> Timestamp {
        let own = later_by_seconds(self.since, self.grace_seconds);
        circumstances.cap.map_or(own, |cap| own.min(cap))
    }

    /// When SIGKILL follows on a stop signal: what the hook and the wait for its turn took is deducted from the grace
    /// period in whole seconds.
    fn kill_at(&self, hook_over: Timestamp, term_sent: Timestamp, circumstances: Circumstances) -> Timestamp {
        let whole = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs().max(0);
        let left = self.grace_seconds - whole(self.since, hook_over) - whole(hook_over, term_sent);
        let own = later_by_seconds(term_sent, left.max(MINIMUM_GRACE_SECONDS));
        let least = later(term_sent, SignedDuration::from_secs(MINIMUM_GRACE_SECONDS));
        circumstances.cap.map_or(own, |cap| own.min(cap.max(least)))
    }
}

/// Begins the stop of a running instance, and tells of it.
pub(super) fn begin(
    spec: &ContainerSpec<'_>,
    instance: &Instance,
    stop: Stop,
    message: String,
    circumstances: Circumstances,
    now: Timestamp,
    draft: &mut Draft,
) {
    draft.notes.push(Note::normal(Some(spec.name()), "Killing", message));
    proceed(spec, instance, &stop, circumstances, now, draft);
    draft.memo.stops.push((spec.name().into(), stop));
}

/// Plans the next step of a stop.
pub(super) fn proceed(
    spec: &ContainerSpec<'_>,
    instance: &Instance,
    stop: &Stop,
    circumstances: Circumstances,
    now: Timestamp,
    draft: &mut Draft,
) {
    if stop.kill_sent {
        return;
    }
    let (container, attempt) = (spec.name().to_owned(), instance.attempt);
    let signal = |signal| Action::Signal { container: container.clone(), attempt, signal, cause: stop.cause };
    let cancel = || Action::CancelHook { container: container.clone(), attempt, hook: HookKind::PreStop };
    // Differs from Kubernetes, where the least is a grace of one second: 0 kills at once.
    if circumstances.at_once {
        if stop.pre_stop == HookState::Running {
            draft.actions.push(cancel());
        }
        return draft.actions.push(signal(StopSignal::Kill));
    }
    let deadline = stop.deadline(circumstances);
    let hook_over = match stop.pre_stop {
        _ if !stop.has_pre_stop(spec) => stop.since,
        HookState::Pending if stop.term_sent.is_none() && now < deadline => {
            draft.wake(deadline);
            return draft.actions.push(Action::RunHook { container, attempt, hook: HookKind::PreStop });
        }
        HookState::Running if now < deadline => return draft.wake(deadline),
        HookState::Running => {
            draft.actions.push(cancel());
            now
        }
        HookState::Over { at } | HookState::Failed { at } => at,
        HookState::Pending => stop.since,
    };
    let Some(term_sent) = stop.term_sent else {
        if !circumstances.turn && now < deadline {
            return draft.wake(deadline);
        }
        draft.actions.push(signal(StopSignal::Term));
        return draft.wake(stop.kill_at(hook_over, now, circumstances));
    };
    let kill_at = stop.kill_at(hook_over, term_sent, circumstances);
    if kill_at <= now {
        draft.actions.push(signal(StopSignal::Kill));
    } else {
        draft.wake(kill_at);
    }
}
