//! Signals on their way to one guest process: what it does about each, and those it has not taken yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::runtime::Signal;

/// What a process does about a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// What the signal does by itself: it ends the process, but for CHLD and WINCH.
    Default,
    /// Nothing.
    Ignore,
    /// The process takes it from a queue.
    Catch,
}

/// What became of a delivered signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nothing: ignored, or queued for a guest that catches it.
    Handled,
    /// It ends the guest.
    Fatal,
}

/// The signals of one guest process.
#[derive(Debug, Default)]
pub(super) struct Signals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is not done by default.
    actions: Vec<(Signal, Action)>,
    /// No signal twice: further ones merge into it, as standard signals do.
    pending: VecDeque<Signal>,
    waiting: Vec<Waker>,
}

impl State {
    fn action(&self, signal: Signal) -> Action {
        self.actions.iter().find(|(known, _)| *known == signal).map_or(Action::Default, |(_, action)| *action)
    }
}

impl Signals {
    /// Those of a process that ignores `ignored` from its start.
    pub(super) fn ignoring(ignored: impl IntoIterator<Item = Signal>) -> Self {
        let actions = ignored.into_iter().map(|signal| (signal, Action::Ignore)).collect();
        Self { state: Mutex::new(State { actions, ..State::default() }) }
    }

    /// From now on only `ignored` is not done by default, as for a program that takes another's place. Gives what was
    /// pending, which is to be delivered again.
    pub(super) fn start_over(&self, ignored: impl IntoIterator<Item = Signal>) -> Vec<Signal> {
        let mut state = self.lock();
        state.actions = ignored.into_iter().map(|signal| (signal, Action::Ignore)).collect();
        std::mem::take(&mut state.pending).into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `signal` is queued for the guest instead of ending it. KILL cannot be caught.
    pub(super) fn catch(&self, signal: Signal) {
        self.set_action(signal, Action::Catch);
    }

    /// Sets what the guest does about `signal`, and returns what it did before. KILL stays as it is.
    pub(super) fn set_action(&self, signal: Signal, action: Action) -> Action {
        let mut state = self.lock();
        let before = state.action(signal);
        if signal != Signal::Kill {
            state.actions.retain(|(known, _)| *known != signal);
            if action != Action::Default {
                state.actions.push((signal, action));
            }
            if action != Action::Catch {
                state.pending.retain(|pending| *pending != signal);
            }
        }
        before
    }

    /// Delivers a signal.
    pub(super) fn deliver(&self, signal: Signal) -> Delivery {
        let mut state = self.lock();
        match state.action(signal) {
            Action::Ignore => return Delivery::Handled,
            Action::Default if matches!(signal, Signal::Chld | Signal::Winch) => return Delivery::Handled,
            Action::Default => return Delivery::Fatal,
            Action::Catch => {}
        }
        if !state.pending.contains(&signal) {
            state.pending.push_back(signal);
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Delivery::Handled
    }

    /// Takes the oldest pending signal.
    pub(super) fn take(&self) -> Option<Signal> {
        self.lock().pending.pop_front()
    }

    /// Whether a signal is pending that ends a wait for children: any but CHLD.
    pub(super) fn interrupts(&self) -> bool {
        self.lock().pending.iter().any(|signal| *signal != Signal::Chld)
    }

    /// Ready once a signal is pending.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll(context, |_| true)
    }

    /// Ready once a signal is pending that ends a wait for children.
    pub(super) fn poll_interrupted(&self, context: &mut Context<'_>) -> Poll<()> {
        self.poll(context, |signal| signal != Signal::Chld)
    }

    fn poll(&self, context: &mut Context<'_>, counts: impl Fn(Signal) -> bool) -> Poll<()> {
        let mut state = self.lock();
        if state.pending.iter().any(|signal| counts(*signal)) {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_ignored_caught_or_fatal_as_the_process_asked() {
        let signals = Signals::ignoring([Signal::Hup]);
        signals.catch(Signal::Usr1);
        let outcomes = [
            (Signal::Hup, Delivery::Handled),
            (Signal::Usr1, Delivery::Handled),
            (Signal::Term, Delivery::Fatal),
            (Signal::Pipe, Delivery::Fatal),
            (Signal::Chld, Delivery::Handled),
            (Signal::Winch, Delivery::Handled),
        ];
        for (signal, expected) in outcomes {
            assert_eq!(signals.deliver(signal), expected, "{signal:?}");
        }
        assert_eq!((signals.take(), signals.take()), (Some(Signal::Usr1), None));
    }

    #[test]
    fn only_what_is_caught_stays_pending_and_once_each() {
        let signals = Signals::default();
        signals.catch(Signal::Chld);
        signals.deliver(Signal::Chld);
        signals.deliver(Signal::Chld);
        assert!(!signals.interrupts());
        signals.catch(Signal::Int);
        signals.deliver(Signal::Int);
        assert!(signals.interrupts());
        assert_eq!(signals.set_action(Signal::Int, Action::Ignore), Action::Catch);
        assert_eq!((signals.take(), signals.take()), (Some(Signal::Chld), None));
    }

    #[test]
    fn a_program_that_takes_anothers_place_inherits_what_is_ignored_and_pending() {
        let signals = Signals::ignoring([Signal::Hup]);
        signals.catch(Signal::Usr1);
        signals.deliver(Signal::Usr1);
        assert_eq!(signals.start_over([Signal::Int]), [Signal::Usr1]);
        assert_eq!(signals.take(), None);
        let outcomes = [Signal::Int, Signal::Hup, Signal::Usr1].map(|signal| signals.deliver(signal));
        assert_eq!(outcomes, [Delivery::Handled, Delivery::Fatal, Delivery::Fatal]);
    }

    #[test]
    fn kill_cannot_be_caught_or_ignored() {
        let signals = Signals::ignoring([]);
        signals.set_action(Signal::Kill, Action::Ignore);
        assert_eq!(signals.deliver(Signal::Kill), Delivery::Fatal);
    }
}
