//! The one clock. It is derived from tokio's, so that a test which pauses tokio pauses timestamps too.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;
pub use jiff::Timestamp;
use tokio::time::Instant;

/// How far all system clocks are ahead of where they would be by tokio's, in nanoseconds: tokio's stands still while the
/// machine sleeps, and does not notice when its clock is set.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// A difference that is put right; less is the machine's clock being kept in step.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// A source of wall-clock time that advances with tokio's timer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_time: Timestamp,
    /// Whether it shows the machine's time.
    is_system: bool,
}

impl Clock {
    /// A clock that starts at the machine's current time. Must be called inside a tokio runtime.
    pub fn system() -> Self {
        let ahead = SignedDuration::from_nanos(AHEAD.load(Ordering::Relaxed));
        let origin_time = Timestamp::now().saturating_sub(ahead).unwrap_or(Timestamp::MIN);
        Self { is_system: true, ..Self::starting_at(origin_time) }
    }

    /// A clock that starts at `origin_time`, for tests that assert exact timestamps.
    pub fn starting_at(origin_time: Timestamp) -> Self {
        Self { origin: Instant::now(), origin_time, is_system: false }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        self.origin_time.saturating_add(elapsed.saturating_add(self.ahead())).unwrap_or(Timestamp::MAX)
    }

    /// The tokio instant at which this clock shows `time`, for `sleep_until`. Times in the past give the present.
    pub fn instant_at(&self, time: Timestamp) -> Instant {
        let ahead = time.duration_since(self.origin_time).saturating_sub(self.ahead());
        self.origin + std::time::Duration::try_from(ahead).unwrap_or_default()
    }

    /// Sets all system clocks by the machine's, if it has slept or was set: to be called now and then where a process lives
    /// for long. By how much, if they were wrong.
    pub fn follow_system(&self) -> Option<SignedDuration> {
        let by = correction(self.now(), Timestamp::now()).filter(|_| self.is_system)?;
        AHEAD.fetch_add(i64::try_from(by.as_nanos()).ok()?, Ordering::Relaxed);
        Some(by)
    }

    fn ahead(&self) -> SignedDuration {
        if self.is_system { SignedDuration::from_nanos(AHEAD.load(Ordering::Relaxed)) } else { SignedDuration::ZERO }
    }
}

fn correction(shown: Timestamp, actual: Timestamp) -> Option<SignedDuration> {
    let by = actual.duration_since(shown);
    (by.abs() > TOLERANCE).then_some(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_set_when_the_machine_has_slept_and_not_for_trifles() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (shown, actual, by) in [(100, 100, None), (100, 101, None), (100, 3700, Some(3600)), (100, 50, Some(-50))] {
            assert_eq!(correction(at(shown), at(actual)), by.map(SignedDuration::from_secs));
        }
    }
}
