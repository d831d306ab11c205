//! Waiting: one `wasi:io/poll.poll` for everything that tasks wait for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use wasip2::clocks::monotonic_clock;
use wasip2::io::poll::{Pollable, poll};

use crate::timer;

thread_local! {
    static WAITS: RefCell<Slab<Wait>> = RefCell::default();
    static TICK: Cell<u64> = const { Cell::new(0) };
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// One pollable, and who waits for it.
struct Wait {
    pollable: Pollable,
    waker: Option<Waker>,
    /// It became ready and nobody has been told yet.
    ready: bool,
    /// Called when it is ready, before any task runs.
    first: Option<Rc<dyn OnReady>>,
}

/// Something to do as soon as a pollable is ready.
pub(crate) trait OnReady {
    fn on_ready(&self);
}

/// The number of times the program has waited so far.
pub fn tick() -> u64 {
    TICK.get()
}

/// The monotonic clock, in nanoseconds, at the beginning of this tick.
pub fn now() -> u64 {
    if NOW.get() == 0 {
        NOW.set(monotonic_clock::now());
    }
    NOW.get()
}

/// Blocks until something that a task waits for has come, and wakes those tasks.
pub(crate) fn wait() {
    let mut ready_sources = Vec::new();
    let woken: Vec<Waker> = WAITS.with_borrow_mut(|waits| {
        let places: Vec<usize> =
            waits.iter().filter(|(_, wait)| wait.waker.is_some()).map(|(place, _)| place).collect();
        let ready = timer::with_next(|next| {
            let waited_for: Vec<&Pollable> = places.iter().map(|&place| &waits[place].pollable).chain(next).collect();
            assert!(!waited_for.is_empty(), "no task can ever go on");
            poll(&waited_for)
        });
        let ready = ready.into_iter().filter_map(|index| places.get(index as usize));
        ready
            .filter_map(|&place| {
                let wait = &mut waits[place];
                wait.ready = true;
                ready_sources.extend(wait.first.clone());
                wait.waker.take()
            })
            .collect()
    });
    TICK.set(TICK.get() + 1);
    NOW.set(monotonic_clock::now());
    ready_sources.iter().for_each(|source| source.on_ready());
    woken.into_iter().for_each(Waker::wake);
    timer::fire(now());
}

/// A pollable that a task can wait for.
pub struct Readiness(usize);

impl Readiness {
    /// To be dropped before what the pollable belongs to.
    pub fn new(pollable: Pollable) -> Self {
        Self::with(pollable, None)
    }

    pub(crate) fn with(pollable: Pollable, first: Option<Rc<dyn OnReady>>) -> Self {
        let wait = Wait { pollable, waker: None, ready: false, first };
        Self(WAITS.with_borrow_mut(|waits| waits.insert(wait)))
    }

    /// Whether it has become ready since the last time it was found so; if not, the task is woken when it does. The
    /// first answer is always no: ask when there was nothing to do.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        WAITS.with_borrow_mut(|waits| {
            let wait = &mut waits[self.0];
            if std::mem::take(&mut wait.ready) {
                return Poll::Ready(());
            }
            match &mut wait.waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => wait.waker = Some(context.waker().clone()),
            }
            Poll::Pending
        })
    }

    /// Waits until it is ready.
    pub async fn wait(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// Nobody waits any more: what was waited for has been taken already.
    pub(crate) fn forget(&self) {
        WAITS.with_borrow_mut(|waits| {
            let wait = &mut waits[self.0];
            (wait.waker, wait.ready) = (None, false);
        });
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let wait = WAITS.with_borrow_mut(|waits| waits.remove(self.0));
        drop(wait);
    }
}
