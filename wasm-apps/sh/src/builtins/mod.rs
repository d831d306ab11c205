//! Commands that are part of the shell.

mod condition;
mod control;
mod directories;
mod jobs;
mod limits;
mod lookup;
mod options;
mod output;
mod printf;
mod read;
mod signals;
mod variables;

use crate::exec::{Flow, Shell};

pub(crate) use condition::condition;
pub(crate) use jobs::announce_ended;
pub(crate) use options::set_options;

/// What a built-in command gives: its status.
type Outcome = Result<u8, Flow>;

#[derive(Clone, Copy)]
pub(crate) struct Builtin {
    /// The first argument is the name it is called by.
    pub(crate) run: fn(&mut Shell, &[Vec<u8>]) -> Outcome,
    /// POSIX's special ones: no function comes before them, assignments stay, and errors end the shell.
    pub(crate) special: bool,
}

/// The command of this name.
pub(crate) fn find(name: &[u8]) -> Option<Builtin> {
    let special = |run| Some(Builtin { run, special: true });
    let regular = |run| Some(Builtin { run, special: false });
    match name {
        b":" => special(control::nothing),
        b"." | b"source" => special(control::source),
        b"break" | b"continue" => special(control::leave_loop),
        b"eval" => special(control::eval),
        b"exec" => special(control::exec),
        b"exit" => special(control::exit),
        b"return" => special(control::return_),
        b"shift" => special(control::shift),
        b"times" => special(limits::times),
        b"set" => special(options::set),
        b"trap" => special(signals::trap),
        b"export" | b"readonly" => special(variables::export),
        b"unset" => special(variables::unset),
        b"true" => regular(control::nothing),
        b"false" => regular(control::fail),
        b"local" => regular(variables::local),
        b"let" => regular(variables::let_),
        b"getopts" => regular(variables::getopts),
        b"read" => regular(read::read),
        b"echo" => regular(output::echo),
        b"printf" => regular(printf::printf),
        b"test" | b"[" => regular(condition::test),
        b"cd" => regular(directories::cd),
        b"pwd" => regular(directories::pwd),
        b"type" => regular(lookup::type_),
        b"command" => regular(lookup::command),
        b"hash" => regular(lookup::hash),
        b"alias" => regular(lookup::alias),
        b"unalias" => regular(lookup::unalias),
        b"umask" => regular(limits::umask),
        b"ulimit" => regular(limits::ulimit),
        b"jobs" => regular(jobs::jobs),
        b"fg" => regular(jobs::foreground),
        b"bg" => regular(jobs::background),
        b"wait" => regular(jobs::wait),
        b"kill" => regular(signals::kill),
        _ => None,
    }
}

/// All names, for completion.
pub(crate) const NAMES: &[&str] = &[
    ".", ":", "[", "alias", "bg", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit", "export",
    "false", "fg", "getopts", "hash", "jobs", "kill", "let", "local", "printf", "pwd", "read", "readonly", "return",
    "set", "shift", "source", "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait",
];

/// Whether arguments that look like assignments are treated as such.
pub(crate) fn declares(name: &str) -> bool {
    matches!(name, "export" | "readonly" | "local")
}

impl Shell {
    /// Reports what a built-in command complains about, and gives the status of usage errors.
    fn complain(&mut self, name: &[u8], message: impl AsRef<str>) -> Outcome {
        self.report(format!("{}: {}", bstr::BStr::new(name), message.as_ref()));
        Ok(2)
    }

    /// The same for special ones: an error ends a shell nobody types at.
    fn refuse(&mut self, name: &[u8], message: impl AsRef<str>) -> Outcome {
        Err(self.fatal(format!("{}: {}", bstr::BStr::new(name), message.as_ref())))
    }
}

/// Numbers as arguments of built-in commands.
fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}
