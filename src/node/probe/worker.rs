//! The task behind one probe: when its checks are due, and telling what they came to.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Target;
use super::check::{Check, CheckError, Outcome, seconds};
use crate::node::outcomes::Reports;
use crate::pod::{Event, ProbeKind, ProbeReport, ProbeState};

/// When the checks of a probe are due: every `periodSeconds`, counted from the container's start, and not before
/// `initialDelaySeconds` have passed since. Ticks missed during a long check come to a single one right after it, as
/// with Go's `Ticker`.
// Differs from Kubernetes: kubelet counts the periods from when it first heard of the pod, so that a check may fall a
// moment short of the initial delay and wait for another period. Nor does the first check wait for a random part of the
// period: kubelet spreads its load like this after a restart, which no WebAssembly container survives.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// What periods are counted from.
    origin: Instant,
    period: Duration,
    /// The end of the initial delay.
    earliest: Instant,
}

impl Schedule {
    /// The schedule of a probe of a container that started at `start`; one with an initial delay comes later by `lag`.
    pub(super) fn new(probe: &Probe, start: Instant, lag: Duration) -> Self {
        let period = seconds(probe.period_seconds).max(Duration::from_secs(1));
        let delay = seconds(probe.initial_delay_seconds);
        let origin = if delay.is_zero() { start } else { start + lag };
        Self { origin, period, earliest: start + delay }
    }

    /// The first check, asked for at `now`: at once, if the initial delay is over.
    fn first(&self, now: Instant) -> Instant {
        if self.is_early(now) { self.next(now) } else { now }
    }

    /// The check after the one at `now`.
    fn next(&self, now: Instant) -> Instant {
        // A tick at the very end of the initial delay counts.
        let just_early = self.earliest.checked_sub(Duration::from_nanos(1)).unwrap_or(self.earliest);
        let after = now.max(just_early);
        let passed = after.saturating_duration_since(self.origin);
        let into_period = u64::try_from(passed.as_nanos() % self.period.as_nanos()).unwrap_or_default();
        after + (self.period - Duration::from_nanos(into_period))
    }

    /// Counts periods from `now` on.
    fn restart(&mut self, now: Instant) {
        self.origin = now;
    }

    /// Whether fewer whole seconds than the initial delay have passed since the container's start.
    fn is_early(&self, now: Instant) -> bool {
        now < self.earliest
    }
}

/// One probe of one container instance.
pub(super) struct Worker {
    pub(super) kind: ProbeKind,
    pub(super) target: Arc<Target>,
    pub(super) check: Check,
    pub(super) state: ProbeState,
    pub(super) schedule: Schedule,
    /// Whether the container counts as started: what startup probes find out and the others wait for.
    pub(super) started: watch::Sender<bool>,
    /// Asks for a check out of turn.
    pub(super) out_of_turn: Option<Arc<Notify>>,
    pub(super) events: Reports,
}

/// Whether there is anything left to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Tick,
    End,
}

impl Worker {
    /// Makes checks until the probe is on hold or the container has ended.
    pub(super) async fn run(mut self) {
        let first = if self.kind == ProbeKind::Startup || *self.started.borrow() {
            self.schedule.first(Instant::now())
        } else {
            // The sender is our own, so there is always a next value to wait for.
            let _ = self.started.subscribe().wait_for(|started| *started).await;
            self.schedule.next(Instant::now())
        };
        let mut tick = pin!(sleep_until(first));
        loop {
            let out_of_turn = tokio::select! {
                biased;
                () = notified(self.out_of_turn.as_deref()) => true,
                () = &mut tick => false,
            };
            let now = Instant::now();
            if out_of_turn {
                self.schedule.restart(now);
            }
            let next = self.schedule.next(now);
            if !self.schedule.is_early(now) && self.make_check().await == Next::End {
                return;
            }
            tick.as_mut().reset(next);
        }
    }

    async fn make_check(&mut self) -> Next {
        let success = match self.check.run(&self.target).await {
            Ok(Outcome::Success) => true,
            Ok(Outcome::Warning(warning)) => {
                self.report(ProbeReport::Warned(warning)).await;
                true
            }
            Ok(Outcome::Failure(output)) => {
                self.report(ProbeReport::Failed(output)).await;
                false
            }
            Err(CheckError::Errored(error)) => {
                self.report(ProbeReport::Errored(error)).await;
                return Next::Tick;
            }
            Err(CheckError::NotRunning) => return Next::End,
        };
        if let Some(success) = self.state.record(success) {
            if self.kind == ProbeKind::Startup && success {
                self.started.send_replace(true);
            }
            let (container, attempt) = self.instance();
            self.send(Event::ProbeResult { container, attempt, kind: self.kind, success }).await;
        }
        if self.state.is_on_hold() { Next::End } else { Next::Tick }
    }

    async fn report(&self, report: ProbeReport) {
        let (container, attempt) = self.instance();
        self.send(Event::ProbeReport { container, attempt, kind: self.kind, report }).await;
    }

    fn instance(&self) -> (String, u32) {
        (self.target.container.name.clone(), self.target.attempt)
    }

    async fn send(&self, event: Event) {
        self.events.send(event).await;
    }
}

async fn notified(notify: Option<&Notify>) {
    match notify {
        Some(notify) => notify.notified().await,
        None => std::future::pending().await,
    }
}
