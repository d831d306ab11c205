//! Signals, traps, and the shell's end.

use std::rc::Rc;

use super::shell::Nested;
use super::{Flow, Run, Shell};
use crate::process::{self, Action, SIGNALS, Signal, SignalSet};
use crate::state::{Condition, Flag};
use crate::syntax::Text;

impl Shell {
    /// Finds out what is ignored already, and sets up the rest.
    pub(crate) fn take_over_signals(&mut self) {
        for (signal, _) in SIGNALS {
            if *signal != Signal::KILL
                && let Ok(Action::Ignore) = process::set_action(*signal, Action::Default)
            {
                self.ignored_at_start.push(*signal);
            }
        }
        self.set_actions();
    }

    /// Does about each signal what traps and options say.
    pub(crate) fn set_actions(&mut self) {
        self.catching = false;
        for (signal, _) in SIGNALS {
            if *signal == Signal::KILL {
                continue;
            }
            let trap = self.state.traps.get(Condition::of(*signal));
            let action = match trap {
                Some([]) => Action::Ignore,
                Some(_) => Action::Catch,
                None if self.ignored_at_start.contains(signal) => Action::Ignore,
                None if self.interactive && *signal == Signal::INT => Action::Catch,
                None if self.interactive && matches!(*signal, Signal::QUIT | Signal::TERM) => Action::Ignore,
                // Writes fail instead, which ends the command and not the whole process.
                None if *signal == Signal::PIPE => Action::Ignore,
                None => Action::Default,
            };
            self.catching |= action == Action::Catch;
            // Nothing can be done about a signal that this host does not know.
            let _ = process::set_action(*signal, action);
        }
    }

    pub(crate) fn set_trap(&mut self, condition: Condition, action: Option<Vec<u8>>) {
        Rc::make_mut(&mut self.state.traps).set(condition, action);
        if condition != Condition::EXIT {
            self.set_actions();
            self.actions_changed = true;
        }
    }

    /// Whether the script ignores a signal, or whoever started the shell has.
    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        self.state.traps.get(Condition::of(signal)).is_some_and(<[u8]>::is_empty)
            || self.ignored_at_start.contains(&signal)
    }

    /// What children ignore.
    pub(super) fn ignored(&self) -> SignalSet {
        self.state.traps.ignored().chain(self.ignored_at_start.iter().copied()).collect()
    }

    /// Takes the signals that have arrived.
    pub(crate) fn collect_signals(&mut self) {
        while let Some(signal) = process::take_signal() {
            if !self.pending.contains(&signal) {
                self.pending.push(signal);
            }
        }
    }

    /// A signal that has arrived and is of interest here and now.
    pub(crate) fn waiting_signal(&self) -> Option<Signal> {
        self.pending.iter().copied().find(|signal| self.handles(*signal))
    }

    /// A signal that has arrived and has a trap.
    fn waiting_trap(&self) -> Option<Signal> {
        let trap = |signal: Signal| self.state.traps.get(Condition::of(signal));
        self.pending.iter().copied().find(|signal| trap(*signal).is_some_and(|action| !action.is_empty()))
    }

    fn handles(&self, signal: Signal) -> bool {
        match self.state.traps.get(Condition::of(signal)) {
            Some(action) => !action.is_empty(),
            None => self.interactive && self.subshells == 0 && signal == Signal::INT,
        }
    }

    /// Runs the traps of signals that have arrived; only then does a Ctrl-C without one end what is under way.
    pub(crate) fn run_traps(&mut self) -> Run {
        if !self.catching {
            return Ok(());
        }
        self.collect_signals();
        while let Some(signal) = self.waiting_trap().or_else(|| self.waiting_signal()) {
            self.pending.retain(|pending| *pending != signal);
            match self.state.traps.get(Condition::of(signal)).map(<[u8]>::to_vec) {
                Some(action) => self.run_trap(action)?,
                None => {
                    self.state.status = 128 + signal.0;
                    return Err(Flow::Abort);
                }
            }
        }
        Ok(())
    }

    fn run_trap(&mut self, action: Vec<u8>) -> Run {
        let status = self.state.status;
        let outer = self.status_before_trap.replace(status);
        let line = self.state.line;
        let result = self.run_text(action);
        self.status_before_trap = outer;
        self.state.line = line;
        if result.is_ok() {
            self.state.status = status;
        }
        result
    }

    /// Runs commands given as text.
    pub(crate) fn run_text(&mut self, text: Vec<u8>) -> Run {
        let line = self.state.line;
        self.deeper(Nested::Whole, |shell| shell.run_source(&mut Text::new(text), line))
    }

    /// Runs the trap of the shell's end, and gives the status to end with.
    pub(crate) fn finish(&mut self) -> u8 {
        if let Some(action) = self.state.traps.get(Condition::EXIT).map(<[u8]>::to_vec) {
            Rc::make_mut(&mut self.state.traps).set(Condition::EXIT, None);
            self.state.options.set(Flag::ErrExit, false);
            // However it ends, this is the end.
            let _ = self.run_trap(action);
        }
        self.state.status
    }
}
