//! The one clock. It is derived from tokio's, so that a test which pauses tokio pauses timestamps too.

pub use jiff::Timestamp;
use tokio::time::Instant;

/// A source of wall-clock time that advances with tokio's timer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_time: Timestamp,
}

impl Clock {
    /// A clock that starts at the machine's current time. Must be called inside a tokio runtime.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that starts at `origin_time`, for tests that assert exact timestamps.
    pub fn starting_at(origin_time: Timestamp) -> Self {
        Self { origin: Instant::now(), origin_time }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        let elapsed = jiff::SignedDuration::try_from(self.origin.elapsed()).unwrap_or(jiff::SignedDuration::MAX);
        self.origin_time.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// The tokio instant at which this clock shows `time`, for `sleep_until`. Times in the past give the present.
    pub fn instant_at(&self, time: Timestamp) -> Instant {
        let ahead = time.duration_since(self.origin_time);
        self.origin + std::time::Duration::try_from(ahead).unwrap_or_default()
    }
}
