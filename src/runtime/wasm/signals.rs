//! Signals on their way to one guest process: which it catches, and those it has not taken yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::runtime::Signal;

/// Pending signals a guest may leave untaken; further ones merge into them, as standard signals do.
const MAX_PENDING: usize = 8;

/// What happens to a delivered signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The guest asked for it and will be told.
    Caught,
    /// Nobody asked: the default action applies, which ends the guest.
    Default,
}

/// The signals of one guest process.
#[derive(Debug, Default)]
pub(super) struct Signals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    caught: Vec<Signal>,
    pending: VecDeque<Signal>,
    waiting: Vec<Waker>,
}

impl Signals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `signal` is queued for the guest instead of ending it. KILL cannot be caught.
    pub(super) fn catch(&self, signal: Signal) {
        let mut state = self.lock();
        if signal != Signal::Kill && !state.caught.contains(&signal) {
            state.caught.push(signal);
        }
    }

    /// Delivers a signal.
    pub(super) fn deliver(&self, signal: Signal) -> Delivery {
        let mut state = self.lock();
        if !state.caught.contains(&signal) {
            return Delivery::Default;
        }
        if !state.pending.contains(&signal) && state.pending.len() < MAX_PENDING {
            state.pending.push_back(signal);
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Delivery::Caught
    }

    /// Takes the oldest pending signal.
    pub(super) fn take(&self) -> Option<Signal> {
        self.lock().pending.pop_front()
    }

    /// Ready once a signal is pending.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.pending.is_empty() {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
