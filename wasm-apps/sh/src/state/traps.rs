//! What the script does about signals and its own end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::process::{SIGNALS, Signal};

/// What a trap waits for, by its number: 0 is the shell's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Condition(u8);

impl Condition {
    pub(crate) const EXIT: Self = Self(0);

    pub(crate) fn of(signal: Signal) -> Self {
        Self(signal.0)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "0" || text.eq_ignore_ascii_case("EXIT") {
            return Some(Self::EXIT);
        }
        Signal::parse(text).map(Self::of).or_else(|| {
            // Signals that husk never delivers can be named all the same.
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            OTHERS
                .iter()
                .find(|(number, own)| *own == name || name.parse() == Ok(*number))
                .map(|(number, _)| Self(*number))
        })
    }

    pub(crate) fn signal(self) -> Option<Signal> {
        SIGNALS.iter().map(|(signal, _)| *signal).find(|signal| signal.0 == self.0)
    }

    pub(crate) fn name(self) -> &'static str {
        match self.signal() {
            Some(signal) => signal.name(),
            None => OTHERS.iter().find(|(number, _)| *number == self.0).map_or("EXIT", |(_, name)| name),
        }
    }
}

const OTHERS: &[(u8, &str)] = &[
    (4, "ILL"),
    (5, "TRAP"),
    (6, "ABRT"),
    (7, "BUS"),
    (8, "FPE"),
    (11, "SEGV"),
    (14, "ALRM"),
    (18, "CONT"),
    (19, "STOP"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
];

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Traps(BTreeMap<Condition, Vec<u8>>);

impl Traps {
    /// The commands of a trap; empty if the signal is ignored.
    pub(crate) fn get(&self, condition: Condition) -> Option<&[u8]> {
        self.0.get(&condition).map(Vec::as_slice)
    }

    pub(crate) fn set(&mut self, condition: Condition, action: Option<Vec<u8>>) {
        match action {
            Some(action) => self.0.insert(condition, action),
            None => self.0.remove(&condition),
        };
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Condition, &[u8])> {
        self.0.iter().map(|(condition, action)| (*condition, action.as_slice()))
    }

    /// Whether there is something to run when a signal or the end comes.
    pub(crate) fn has_actions(&self) -> bool {
        self.iter().any(|(_, action)| !action.is_empty())
    }

    pub(crate) fn ignored(&self) -> impl Iterator<Item = Signal> {
        self.iter().filter(|(_, action)| action.is_empty()).filter_map(|(condition, _)| condition.signal())
    }

    /// What is left of them in a subshell: what is ignored stays so.
    pub(crate) fn for_subshell(&self) -> Self {
        let ignored = self.iter().filter(|(condition, action)| *condition != Condition::EXIT && action.is_empty());
        Self(ignored.map(|(condition, action)| (condition, action.to_vec())).collect())
    }
}
