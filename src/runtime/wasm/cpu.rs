//! How guests share the processor: every guest yields at epoch ticks, and a container with a CPU limit pays for its
//! processor time out of a quota that its processes share.
//!
//! The quota is a bucket as Linux's CFS bandwidth control has it: it fills at the limit's rate, holds what one period
//! allows, and processes of a container in debt wait until the debt is paid. Time is what the guest's thread consumed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep};
use wasmtime::{Store, UpdateDeadline};

use super::engine::Ticker;

/// The quota's period (Linux's default): a container that was idle may use a whole period's share at once.
const PERIOD: Duration = Duration::from_millis(100);

/// Thousandths of a core in one core.
const MILLIS_PER_CORE: u64 = 1000;

/// A container's CPU limit.
#[derive(Debug)]
pub(super) struct CpuQuota {
    /// Cores the container may use on average.
    cores: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// CPU seconds that may still be used; negative in debt.
    balance: f64,
    filled_at: Instant,
    /// CPU time used so far.
    used: Duration,
}

impl CpuQuota {
    /// A quota of `millis` thousandths of a core, with a full bucket. At least one thousandth.
    pub(super) fn new(millis: u64) -> Arc<Self> {
        #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
        let cores = millis.max(1) as f64 / MILLIS_PER_CORE as f64;
        let bucket = Bucket { balance: cores * PERIOD.as_secs_f64(), filled_at: Instant::now(), used: Duration::ZERO };
        Arc::new(Self { cores, bucket: Mutex::new(bucket) })
    }

    /// CPU time used so far.
    #[cfg(test)]
    pub(super) fn used(&self) -> Duration {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).used
    }

    /// Takes `used` CPU time out of the bucket; returns when the container may go on, if not at once.
    fn charge(&self, used: Duration, now: Instant) -> Option<Instant> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(bucket.filled_at).as_secs_f64() * self.cores;
        let most = self.cores * PERIOD.as_secs_f64();
        bucket.balance = (bucket.balance + earned).min(most) - used.as_secs_f64();
        bucket.filled_at = now;
        bucket.used += used;
        (bucket.balance < 0.0).then(|| now + Duration::from_secs_f64(-bucket.balance / self.cores))
    }
}

/// Makes a store's guest yield at epoch ticks. The ticks are counted from when it was last polled, so that a guest
/// that wakes up for a short while isn't interrupted at once.
pub(super) fn yield_at_ticks<T: 'static>(store: &mut Store<T>, schedule: &Schedule) {
    let schedule = schedule.clone();
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if schedule.ticker.now() <= schedule.polled_at.load(Ordering::Relaxed) {
            return Ok(UpdateDeadline::Continue(1));
        }
        // Tokio's own yield lets the other tasks run and the timers and sockets be looked after first.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
}

/// What one guest process is scheduled by.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    ticker: Arc<Ticker>,
    polled_at: Arc<AtomicU64>,
    quota: Option<Arc<CpuQuota>>,
}

impl Schedule {
    /// The schedule of a new process in a container with `quota`.
    pub(super) fn new(ticker: &Arc<Ticker>, quota: Option<Arc<CpuQuota>>) -> Self {
        Self { ticker: Arc::clone(ticker), polled_at: Arc::default(), quota }
    }

    /// Runs a guest's future under this schedule.
    pub(super) fn run<F: Future>(&self, future: F) -> Scheduled<F> {
        Scheduled { schedule: self.clone(), future: Box::pin(future), throttled: None }
    }
}

/// A guest's future that pays for its CPU time.
pub(super) struct Scheduled<F> {
    schedule: Schedule,
    future: Pin<Box<F>>,
    throttled: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Scheduled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if let Some(sleep) = &mut this.throttled {
            std::task::ready!(sleep.as_mut().poll(context));
            this.throttled = None;
        }
        let tick = this.schedule.ticker.guest_runs();
        this.schedule.polled_at.store(tick, Ordering::Relaxed);
        let Some(quota) = &this.schedule.quota else {
            return this.future.as_mut().poll(context);
        };
        let before = thread_cpu_time();
        let result = this.future.as_mut().poll(context);
        let used = thread_cpu_time().saturating_sub(before);
        if let Some(until) = quota.charge(used, Instant::now()) {
            this.throttled = Some(Box::pin(tokio::time::sleep_until(until)));
        }
        result
    }
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_allows_a_period_at_once_and_then_the_rate() {
        let quota = CpuQuota::new(100);
        let start = Instant::now();
        assert_eq!(quota.charge(Duration::from_millis(9), start), None);
        let until = quota.charge(Duration::from_millis(3), start).unwrap();
        assert_eq!(until.duration_since(start).as_millis(), 20);
        assert_eq!(quota.charge(Duration::ZERO, until), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_container_saves_no_more_than_one_period() {
        let quota = CpuQuota::new(500);
        let later = Instant::now() + Duration::from_secs(60);
        let until = quota.charge(Duration::from_millis(60), later).unwrap();
        assert_eq!(until.duration_since(later).as_millis(), 20);
    }
}
