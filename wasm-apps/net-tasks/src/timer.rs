//! Deadlines. They move often and pass seldom, so moving one later costs no more than writing it down: its place in
//! the queue is corrected when its former time comes.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use wasip2::clocks::monotonic_clock::subscribe_instant;
use wasip2::io::poll::Pollable;

use crate::reactor::now;

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::default();
}

#[derive(Default)]
struct Timers {
    entries: Slab<Entry>,
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    /// What was waited for last: good as long as it is not later than the first of the queue.
    next: Option<(u64, Pollable)>,
}

#[derive(Default)]
struct Entry {
    deadline: Option<u64>,
    /// The time it stands in the queue for.
    queued: Option<u64>,
    waker: Option<Waker>,
}

/// A deadline that can be moved.
pub struct Timer(usize);

impl Default for Timer {
    fn default() -> Self {
        Self(TIMERS.with_borrow_mut(|timers| timers.entries.insert(Entry::default())))
    }
}

impl Timer {
    /// A timer that goes off after `duration`.
    pub fn after(duration: Duration) -> Self {
        let timer = Self::default();
        timer.set(duration);
        timer
    }

    /// Goes off after `duration` from now, and not before.
    pub fn set(&self, duration: Duration) {
        let deadline = now().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        TIMERS.with_borrow_mut(|timers| {
            let entry = &mut timers.entries[self.0];
            entry.deadline = Some(deadline);
            if entry.queued.is_none_or(|queued| queued > deadline) {
                entry.queued = Some(deadline);
                timers.queue.push(Reverse((deadline, self.0)));
            }
        });
    }

    /// Ready when the deadline has passed.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        TIMERS.with_borrow_mut(|timers| {
            let entry = &mut timers.entries[self.0];
            if entry.deadline.is_some_and(|deadline| deadline <= now()) {
                return Poll::Ready(());
            }
            match &mut entry.waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => entry.waker = Some(context.waker().clone()),
            }
            Poll::Pending
        })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        TIMERS.with_borrow_mut(|timers| timers.entries.remove(self.0));
    }
}

/// Calls `then` with a pollable for the first deadline, if there is one.
pub(crate) fn with_next<T>(then: impl FnOnce(Option<&Pollable>) -> T) -> T {
    TIMERS.with_borrow_mut(|timers| {
        let first = timers.queue.peek().map(|Reverse((deadline, _))| *deadline);
        match (first, &timers.next) {
            (None, _) => timers.next = None,
            (Some(first), Some((time, _))) if *time <= first && *time > now() => {}
            (Some(first), _) => timers.next = Some((first, subscribe_instant(first))),
        }
        then(timers.next.as_ref().map(|(_, pollable)| pollable))
    })
}

/// Wakes the tasks whose deadline has passed.
pub(crate) fn fire(now: u64) {
    TIMERS.with_borrow_mut(|timers| {
        while let Some(&Reverse((time, place))) = timers.queue.peek() {
            if time > now {
                return;
            }
            timers.queue.pop();
            let Some(entry) = timers.entries.get_mut(place).filter(|entry| entry.queued == Some(time)) else {
                continue;
            };
            entry.queued = None;
            match entry.deadline {
                Some(deadline) if deadline > now => {
                    entry.queued = Some(deadline);
                    timers.queue.push(Reverse((deadline, place)));
                }
                Some(_) => entry.waker.take().into_iter().for_each(Waker::wake),
                None => {}
            }
        }
    });
}

/// Waits for so long.
pub async fn sleep(duration: Duration) {
    let timer = Timer::after(duration);
    poll_fn(|context| timer.poll(context)).await;
}

/// Lets everything go on that is ready by now, for tasks that have much to do.
pub async fn yield_now() {
    sleep(Duration::from_nanos(1)).await;
}

/// What `future` gives, unless it takes longer than `limit`.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (timer, mut future) = (Timer::after(limit), pin!(future));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => timer.poll(context).map(|()| None),
    })
    .await
}
