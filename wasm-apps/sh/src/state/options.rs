//! The options of `set`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    AllExport,
    ErrExit,
    NoGlob,
    Interactive,
    Monitor,
    NoExec,
    Stdin,
    NoUnset,
    Verbose,
    XTrace,
    NoClobber,
    PipeFail,
    IgnoreEof,
    NoLog,
    Notify,
}

/// Letter (if there is one) and name of each.
const FLAGS: &[(Flag, Option<char>, &str)] = &[
    (Flag::AllExport, Some('a'), "allexport"),
    (Flag::ErrExit, Some('e'), "errexit"),
    (Flag::NoGlob, Some('f'), "noglob"),
    (Flag::Interactive, Some('i'), "interactive"),
    (Flag::Monitor, Some('m'), "monitor"),
    (Flag::NoExec, Some('n'), "noexec"),
    (Flag::Stdin, Some('s'), "stdin"),
    (Flag::NoUnset, Some('u'), "nounset"),
    (Flag::Verbose, Some('v'), "verbose"),
    (Flag::XTrace, Some('x'), "xtrace"),
    (Flag::NoClobber, Some('C'), "noclobber"),
    (Flag::PipeFail, None, "pipefail"),
    (Flag::IgnoreEof, None, "ignoreeof"),
    (Flag::NoLog, None, "nolog"),
    (Flag::Notify, Some('b'), "notify"),
];

impl Flag {
    pub(crate) fn of_letter(letter: char) -> Option<Self> {
        FLAGS.iter().find(|(_, own, _)| *own == Some(letter)).map(|(flag, ..)| *flag)
    }

    pub(crate) fn of_name(name: &[u8]) -> Option<Self> {
        FLAGS.iter().find(|(.., own)| own.as_bytes() == name).map(|(flag, ..)| *flag)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Options(u32);

impl Options {
    pub(crate) fn has(self, flag: Flag) -> bool {
        self.0 & flag.bit() != 0
    }

    pub(crate) fn set(&mut self, flag: Flag, on: bool) {
        if on {
            self.0 |= flag.bit();
        } else {
            self.0 &= !flag.bit();
        }
    }

    /// `$-`
    pub(crate) fn letters(self) -> String {
        FLAGS.iter().filter(|(flag, ..)| self.has(*flag)).filter_map(|(_, letter, _)| *letter).collect()
    }

    /// What `set -o` prints, or with `reusable` what `set +o` does.
    pub(crate) fn listing(self, reusable: bool) -> String {
        let line = |(flag, _, name): &(Flag, Option<char>, &str)| {
            let on = self.has(*flag);
            if reusable {
                format!("set {}o {name}\n", if on { '-' } else { '+' })
            } else {
                format!("{name:16}{}\n", if on { "on" } else { "off" })
            }
        };
        let listing: String = FLAGS.iter().map(line).collect();
        if reusable { listing } else { format!("Current option settings\n{listing}") }
    }
}
