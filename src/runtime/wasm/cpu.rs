//! How guests share the processor: every guest yields at epoch ticks, and a container with a CPU limit pays for its
//! processor time out of a quota that its processes share.
//!
//! The quota is a bucket as Linux's CFS bandwidth control has it: it fills at the limit's rate, holds what one period
//! allows, and processes of a container in debt wait until the debt is paid. Time is what the guest's thread consumed.
//! A new limit begins with a full bucket and lets those who wait go on, as it does there.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::{Instant, sleep_until};
use wasmtime::{Store, UpdateDeadline};

use super::engine::Ticker;

/// The quota's period (Linux's default): a container that was idle may use a whole period's share at once.
const PERIOD: Duration = Duration::from_millis(100);

/// Thousandths of a core in one core.
const MILLIS_PER_CORE: f64 = 1000.0;

/// A container's CPU limit, or that it has none.
#[derive(Debug)]
pub(super) struct CpuQuota {
    /// Whether there is a limit.
    limited: AtomicBool,
    /// Billionths of a second of CPU time used so far.
    used: AtomicU64,
    bucket: Mutex<Bucket>,
    /// Told when the limit changes.
    changed: Arc<Notify>,
}

/// How long a container in debt waits: until a time, or until its limit changes.
#[derive(Debug)]
struct Pause {
    until: Instant,
    changed: OwnedNotified,
}

impl Pause {
    async fn over(self) {
        tokio::select! {
            () = sleep_until(self.until) => {}
            () = self.changed => {}
        }
    }
}

#[derive(Debug)]
struct Bucket {
    /// Cores the container may use on average.
    cores: f64,
    /// CPU seconds that may still be used; negative in debt.
    balance: f64,
    filled_at: Instant,
}

/// Thousandths of a core in cores. At least one thousandth.
fn cores(millis: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    let millis = millis.max(1) as f64;
    millis / MILLIS_PER_CORE
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        self.balance = self.most();
        self.filled_at = now;
    }

    /// What it holds at most.
    fn most(&self) -> f64 {
        self.cores * PERIOD.as_secs_f64()
    }

    /// Adds what was earned, takes `used` away, and says when the balance will not be negative any more, if it is.
    fn charge(&mut self, used: Duration, now: Instant) -> Option<Instant> {
        let earned = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.cores;
        self.balance = (self.balance + earned).min(self.most()) - used.as_secs_f64();
        self.filled_at = now;
        (self.balance < 0.0).then(|| now + Duration::from_secs_f64(-self.balance / self.cores))
    }
}

impl CpuQuota {
    /// A quota of so many thousandths of a core, with a full bucket; or none, which is no limit.
    pub(super) fn new(millis: Option<u64>) -> Arc<Self> {
        let empty = Bucket { cores: 0.0, balance: 0.0, filled_at: Instant::now() };
        let (limited, used) = (AtomicBool::new(false), AtomicU64::new(0));
        let quota = Self { limited, used, bucket: Mutex::new(empty), changed: Arc::default() };
        quota.set_limit(millis);
        Arc::new(quota)
    }

    /// Replaces the limit.
    pub(super) fn set_limit(&self, millis: Option<u64>) {
        let mut bucket = self.lock();
        bucket.cores = millis.map_or(0.0, cores);
        bucket.refill(Instant::now());
        self.limited.store(millis.is_some(), Ordering::Relaxed);
        drop(bucket);
        self.changed.notify_waiters();
    }

    /// CPU time used so far.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn count(&self, used: Duration) {
        self.used.fetch_add(u64::try_from(used.as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Takes `used` CPU time out of the bucket; returns how long the container has to wait, if it does.
    fn charge(&self, used: Duration, now: Instant) -> Option<Pause> {
        let mut bucket = self.lock();
        if !self.is_limited() {
            // The limit was taken away while that time was used.
            return None;
        }
        let until = bucket.charge(used, now)?;
        // Made with the lock held, so that it hears of every later change.
        Some(Pause { until, changed: Arc::clone(&self.changed).notified_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
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
    quota: Arc<CpuQuota>,
}

impl Schedule {
    /// The schedule of a new process in a container with `quota`.
    pub(super) fn new(ticker: &Arc<Ticker>, quota: Arc<CpuQuota>) -> Self {
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
    throttled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<F: Future> Future for Scheduled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.throttled {
            std::task::ready!(pause.as_mut().poll(context));
            this.throttled = None;
        }
        let tick = this.schedule.ticker.guest_runs();
        this.schedule.polled_at.store(tick, Ordering::Relaxed);
        let quota = &this.schedule.quota;
        let before = thread_cpu_time();
        let result = this.future.as_mut().poll(context);
        let used = thread_cpu_time().saturating_sub(before);
        quota.count(used);
        if quota.is_limited()
            && let Some(pause) = quota.charge(used, Instant::now())
        {
            this.throttled = Some(Box::pin(pause.over()));
        }
        result
    }
}

#[cfg(unix)]
fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Windows counts a thread's time in steps as long as many polls take. Time by the clock is no less than what was used.
#[cfg(not(unix))]
fn thread_cpu_time() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_allows_a_period_at_once_and_then_the_rate() {
        let quota = CpuQuota::new(Some(100));
        let start = Instant::now();
        assert!(quota.charge(Duration::from_millis(9), start).is_none());
        let until = quota.charge(Duration::from_millis(3), start).unwrap().until;
        assert_eq!(until.duration_since(start).as_millis(), 20);
        assert!(quota.charge(Duration::ZERO, until).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_container_saves_no_more_than_one_period() {
        let quota = CpuQuota::new(Some(500));
        let later = Instant::now() + Duration::from_secs(60);
        let until = quota.charge(Duration::from_millis(60), later).unwrap().until;
        assert_eq!(until.duration_since(later).as_millis(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_holds_at_once_and_ends_the_wait_for_the_old_one() {
        let quota = CpuQuota::new(None);
        let start = Instant::now();
        assert!(quota.charge(Duration::from_secs(5), start).is_none(), "no limit");
        quota.set_limit(Some(10));
        let slow = quota.charge(Duration::from_millis(101), start).unwrap();
        assert_eq!(slow.until.duration_since(start).as_secs(), 10);
        quota.set_limit(Some(500));
        slow.over().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let pause = quota.charge(Duration::from_millis(60), start).unwrap();
        assert_eq!(pause.until.duration_since(start).as_millis(), 20);
        quota.set_limit(None);
        pause.over().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
