//! What the checks of a probe come to: results settle once enough checks in a row agree. When checks are made, and of
//! what, is not decided here. Source of the rules: kubelet v1.36 `prober/worker.go`.

use k8s_openapi::api::core::v1::Probe;

use super::observed::ProbeKind;

/// What counts as a probe's result before its first one settles: a container is not ready, is alive, and is neither
/// started nor failed (`None`). It counts only for containers that have the probe.
pub fn initial_result(kind: ProbeKind) -> Option<bool> {
    match kind {
        ProbeKind::Startup => None,
        ProbeKind::Readiness => Some(false),
        ProbeKind::Liveness => Some(true),
    }
}

/// One probe of one container instance: its settled result, and the checks since that disagree with it.
// Differs from Kubernetes: checks are counted anew for each instance; kubelet's worker outlives instances and carries
// the last one's run of failures over to the next.
#[derive(Debug, Clone)]
pub struct ProbeState {
    kind: ProbeKind,
    success_threshold: u32,
    failure_threshold: u32,
    settled: Option<bool>,
    last: Option<bool>,
    /// How many checks in a row came to `last`.
    run: u32,
    on_hold: bool,
}

impl ProbeState {
    /// The state before the first check of a defaulted probe.
    pub fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let threshold = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(1).max(1);
        Self {
            kind,
            success_threshold: threshold(probe.success_threshold),
            failure_threshold: threshold(probe.failure_threshold),
            settled: initial_result(kind),
            last: None,
            run: 0,
            on_hold: false,
        }
    }

    /// Whether no more checks are to be made: liveness has failed, or the container has started or failed to.
    pub fn is_on_hold(&self) -> bool {
        self.on_hold
    }

    /// Takes in the result of a check, and returns the settled result if that has changed. Checks that could not be
    /// made count neither way and are not recorded.
    pub fn record(&mut self, success: bool) -> Option<bool> {
        self.run = if self.last == Some(success) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.run < threshold {
            return None;
        }
        self.on_hold = match self.kind {
            ProbeKind::Startup => true,
            ProbeKind::Liveness => !success,
            ProbeKind::Readiness => false,
        };
        let changed = self.settled != Some(success);
        self.settled = Some(success);
        changed.then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays checks (`+` success, `-` failure) and notes after each: the settled result if it changed (`S` or `F`),
    /// else `.`; a `|` once the probe is on hold.
    fn play(kind: ProbeKind, thresholds: (i32, i32), checks: &str) -> String {
        let (success_threshold, failure_threshold) = (Some(thresholds.0), Some(thresholds.1));
        let mut state = ProbeState::new(kind, &Probe { success_threshold, failure_threshold, ..Probe::default() });
        let mut notes = String::new();
        for check in checks.chars() {
            notes.push(match state.record(check == '+') {
                Some(true) => 'S',
                Some(false) => 'F',
                None => '.',
            });
            if state.is_on_hold() {
                notes.push('|');
                break;
            }
        }
        notes
    }

    #[test]
    fn results_settle_after_enough_checks_in_a_row() {
        use ProbeKind::{Liveness, Readiness, Startup};
        for (kind, thresholds, checks, expected) in [
            // Not ready at first: failing changes nothing, the first success does.
            (Readiness, (1, 3), "---+---+", "...S..FS"),
            (Readiness, (3, 1), "++-+++-", ".....SF"),
            (Readiness, (2, 2), "+-+-++-+--", ".....S...F"),
            // Alive at first; a failure is for good.
            (Liveness, (1, 3), "++--+---+", ".......F|"),
            (Liveness, (1, 1), "-", "F|"),
            // Neither at first; any result is for good.
            (Startup, (1, 3), "--+", "..S|"),
            (Startup, (1, 3), "---", "..F|"),
            (Startup, (1, 1), "+", "S|"),
            (Startup, (1, 1), "-", "F|"),
        ] {
            assert_eq!(play(kind, thresholds, checks), expected, "{kind:?} {thresholds:?} {checks}");
        }
    }
}
