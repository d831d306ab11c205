//! The shell of this process.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::Flow;
use super::children::{Children, Job};
use crate::process::{self, Pid, Signal};
use crate::state::{Locals, Options, ReadOnly, State, Stream, Streams, Traps, Variables};

/// What may nest, in units of about a kilobyte of stack, of which there is a megabyte: parsing needs some of it as well.
const MAX_DEPTH: u32 = 700;

/// How much stack something that is run within something else needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nested {
    Compound = 1,
    Function = 2,
    /// Text that is parsed first, and subshells.
    Whole = 3,
}

pub(crate) struct Shell {
    /// What a subshell has its own copy of.
    pub(crate) state: State,
    /// Jobs of this subshell environment.
    pub(crate) jobs: Vec<Job>,
    pub(super) children: Children,
    /// Caught signals whose traps have not run yet.
    pub(super) pending: Vec<Signal>,
    /// Signals that were ignored when the shell was started: children ignore them as well.
    pub(super) ignored_at_start: Vec<Signal>,
    /// Where programs were found.
    pub(crate) hashed: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What variables were outside of each function that runs.
    pub(super) locals: Vec<Locals>,
    /// A user types the commands.
    pub(crate) interactive: bool,
    /// Messages name the line.
    pub(crate) names_lines: bool,
    /// The process group to give the terminal back to, if children get groups of their own.
    pub(crate) own_group: Option<Pid>,
    /// The status of the last command substitution of the command under way.
    pub(super) substitution_status: Option<u8>,
    /// What captures the output of the innermost command substitution.
    pub(super) capture: Option<Rc<Stream>>,
    pub(super) subshells: u32,
    /// Signals are caught.
    pub(super) catching: bool,
    /// Traps have been set since the innermost subshell began.
    pub(super) actions_changed: bool,
    /// `$?` before the trap that runs, which is what `exit` in it exits with.
    pub(crate) status_before_trap: Option<u8>,
    depth: u32,
    random: u32,
}

impl Shell {
    pub(crate) fn new(name: Vec<u8>, streams: Streams) -> Self {
        let pid = process::identity().pid;
        let state = State {
            variables: Rc::new(Variables::default()),
            functions: Rc::default(),
            aliases: Rc::default(),
            options: Options::default(),
            traps: Rc::new(Traps::default()),
            name: Rc::new(name),
            positional: Rc::default(),
            directory: Rc::new(b"/".to_vec()),
            umask: process::files::umask(),
            status: 0,
            pid,
            last_background: None,
            option_offset: 0,
            loops: 0,
            frames: 0,
            tested: 0,
            line: 1,
            streams,
        };
        Self::with_state(state)
    }

    pub(crate) fn with_state(state: State) -> Self {
        Self {
            random: process::identity().pid.wrapping_mul(2_654_435_761) | 1,
            state,
            jobs: Vec::new(),
            children: Children::default(),
            pending: Vec::new(),
            ignored_at_start: Vec::new(),
            hashed: BTreeMap::new(),
            locals: Vec::new(),
            interactive: false,
            names_lines: false,
            own_group: None,
            substitution_status: None,
            capture: None,
            subshells: 0,
            catching: false,
            actions_changed: false,
            status_before_trap: None,
            depth: 0,
        }
    }

    /// Runs something that may contain itself, unless that has gone too deep.
    pub(crate) fn deeper<T>(
        &mut self,
        nested: Nested,
        run: impl FnOnce(&mut Self) -> Result<T, Flow>,
    ) -> Result<T, Flow> {
        if self.depth + nested as u32 > MAX_DEPTH {
            return Err(self.fatal("commands nested too many levels deep"));
        }
        self.depth += nested as u32;
        let result = run(self);
        self.depth -= nested as u32;
        result
    }

    /// Sets a variable. An error has been reported.
    pub(crate) fn assign(&mut self, name: &str, value: Vec<u8>) -> Result<(), Flow> {
        let export = self.state.options.has(crate::state::Flag::AllExport);
        let variables = Rc::make_mut(&mut self.state.variables);
        if variables.set(name, value) == Err(ReadOnly) {
            return Err(self.fatal(format!("{name}: is read only")));
        }
        if export {
            variables.entry(name).exported = true;
        }
        match name {
            "PATH" => self.hashed.clear(),
            "OPTIND" => self.state.option_offset = 0,
            _ => {}
        }
        Ok(())
    }

    /// Whether signals are caught rather than end the process.
    pub(crate) fn catches_signals(&self) -> bool {
        self.catching
    }

    /// A number from 0 to 32767.
    pub(crate) fn random(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(1_103_515_245).wrapping_add(12345);
        self.random >> 16 & 0x7fff
    }

    /// Writes for a built-in command. If nobody reads it any more, the command ends as PIPE would end it.
    pub(crate) fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<bool, Flow> {
        let stream = self.state.streams.get(fd).map(Rc::clone);
        let written = match stream {
            Some(stream) => stream.write(bytes),
            None => Err(io::Error::other("Bad file descriptor")),
        };
        let Err(error) = written else { return Ok(true) };
        if error.kind() == io::ErrorKind::BrokenPipe && !self.ignores(Signal::PIPE) {
            self.state.status = 128 + Signal::PIPE.0;
            return Err(Flow::Exit);
        }
        if fd != 2 {
            self.report(format!("write error: {}", crate::os::reason(&error)));
        }
        Ok(false)
    }

    /// Writes the output of a built-in command that has nothing else to fail at.
    pub(crate) fn print(&mut self, text: impl AsRef<[u8]>) -> Result<u8, Flow> {
        self.write(1, text.as_ref()).map(|written| u8::from(!written))
    }
}
