//! Starting programs.

use std::ffi::OsStr;
use std::io;

use bstr::ByteSlice;

use super::{Run, Shell, Waited};
use crate::os;
use crate::process::{self, Group, Pid, Signal, Spawn, Status, terminal};

/// How a new process differs from those that are waited for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Foreground,
    Background,
    /// In this process, whose program ends with that.
    Here,
}

/// Status of a command that was found and cannot be run.
const CANNOT_EXECUTE: u8 = 126;
/// Status of a command that was not found.
const NOT_FOUND: u8 = 127;

impl Shell {
    /// Runs a program to its end.
    pub(crate) fn external(&mut self, arguments: &[Vec<u8>]) -> Run {
        match self.start_program(arguments, Place::Foreground, self.new_group()) {
            Ok(pid) => {
                let group = self.own_group.map(|_| pid);
                self.wait_in_foreground(&[pid], group);
            }
            Err(status) => self.state.status = status,
        }
        Ok(())
    }

    /// The group of a job's first process.
    pub(super) fn new_group(&self) -> Group {
        if self.own_group.is_some() && self.subshells == 0 { Group::New } else { Group::Inherit }
    }

    /// Waits for the processes of a pipeline; the last one's status counts, or with `pipefail` the last failure.
    pub(super) fn wait_in_foreground(&mut self, pids: &[Pid], group: Option<Pid>) -> Vec<u8> {
        self.give_terminal(group);
        let mut statuses = Vec::new();
        let mut interrupted = false;
        for pid in pids {
            let status = self.wait_for_job(*pid, group);
            interrupted |= status == Some(Status::Signaled(Signal::INT));
            statuses.push(status.map_or(NOT_FOUND, Status::code));
        }
        self.give_terminal(group.and(self.own_group));
        if interrupted && group.is_some() {
            // The shell did not get the signal itself, being in another group.
            self.pending.push(Signal::INT);
        }
        self.state.status = statuses.last().copied().unwrap_or_default();
        statuses
    }

    /// Waits for a process of a job that has the terminal. A Ctrl-C that came before it had is the job's all the same.
    fn wait_for_job(&mut self, pid: Pid, group: Option<Pid>) -> Option<Status> {
        loop {
            self.collect_signals();
            if let Some(group) = group.filter(|_| self.pending.contains(&Signal::INT)) {
                self.pending.retain(|signal| *signal != Signal::INT);
                // It may have ended just now.
                let _ = process::kill(process::Target::Group(group), Some(Signal::INT));
            }
            match self.wait_or_signal(pid) {
                Waited::Ended(status) => return Some(status),
                Waited::Unknown => return None,
                // Its trap runs after the command.
                Waited::Interrupted(_) => {}
            }
        }
    }

    pub(crate) fn give_terminal(&mut self, group: Option<Pid>) {
        if let Some(group) = group
            && let Some(Ok(fd)) = self.state.streams.get(2).map(|stream| stream.fd())
        {
            // Without a terminal there is nothing to give.
            let _ = terminal::set_foreground(fd, group);
        }
    }

    /// Starts a program with the script's descriptors. The status tells why that failed, as does a message.
    pub(super) fn start_program(&mut self, arguments: &[Vec<u8>], place: Place, group: Group) -> Result<Pid, u8> {
        let name = &arguments[0];
        let shown = name.as_bstr();
        let Some(path) = self.find_program(name) else {
            self.report(format!("{shown}: not found"));
            return Err(NOT_FOUND);
        };
        let argv: Vec<&OsStr> = arguments.iter().map(|argument| os::os_str(argument)).collect();
        let started = self.spawn(Some(os::os_str(&path)), &argv, place, group, None);
        let started = match started {
            Err(error) if is_no_program(&error) => self.interpret(&path, arguments, place, group, error),
            other => other,
        };
        started.map_err(|error| {
            let (reason, status) = match error.kind() {
                io::ErrorKind::NotFound => ("not found".to_owned(), NOT_FOUND),
                _ => (os::reason(&error), CANNOT_EXECUTE),
            };
            self.report(format!("{shown}: {reason}"));
            status
        })
    }

    /// A text file that does not say who interprets it is a script for this shell.
    fn interpret(
        &mut self,
        path: &[u8],
        arguments: &[Vec<u8>],
        place: Place,
        group: Group,
        error: io::Error,
    ) -> io::Result<Pid> {
        let text = std::fs::read(os::os_str(path))?;
        if text[..text.len().min(256)].contains(&0) {
            return Err(error);
        }
        let mut argv = vec![OsStr::new("sh"), os::os_str(path)];
        argv.extend(arguments[1..].iter().map(|argument| os::os_str(argument)));
        self.spawn(None, &argv, place, group, None)
    }

    /// Starts a process. `more`: a descriptor beyond the script's own.
    pub(super) fn spawn(
        &mut self,
        program: Option<&OsStr>,
        argv: &[&OsStr],
        place: Place,
        group: Group,
        more: Option<(u32, &crate::state::Stream)>,
    ) -> io::Result<Pid> {
        let mut environment: Vec<_> =
            self.state.variables.environment().filter(|entry| !entry.starts_with(b"PWD=")).collect();
        environment.push([b"PWD=", self.state.directory.as_slice()].concat());
        let environment: Vec<_> = environment.iter().map(|entry| os::os_str(entry)).collect();
        let detached = place == Place::Background && self.own_group.is_none();
        let mut descriptors = Vec::new();
        for (fd, stream) in self.state.streams.iter() {
            // What runs in the background must not take what is typed.
            if fd != 0 || !detached {
                descriptors.push((fd, stream.fd()?));
            }
        }
        if let Some((fd, stream)) = more {
            descriptors.push((fd, stream.fd()?));
        }
        let mut ignored = self.ignored();
        if detached {
            ignored = ignored | Signal::INT | Signal::QUIT;
        }
        let start = Spawn {
            program,
            argv,
            env: &environment,
            working_directory: os::os_str(&self.state.directory),
            descriptors: &descriptors,
            ignored,
            group,
        };
        let pid = if place == Place::Here { return Err(start.exec()) } else { start.spawn()? };
        self.add_child(pid);
        Ok(pid)
    }

    /// Puts a program in this shell's place, or in that of a subshell, which has no process of its own: there it is a child,
    /// whose end is the subshell's.
    pub(crate) fn become_program(&mut self, arguments: &[Vec<u8>]) -> Result<Status, u8> {
        let place = if self.subshells == 0 { Place::Here } else { Place::Foreground };
        let pid = self.start_program(arguments, place, Group::Inherit)?;
        // Nothing of this subshell is to keep pipes open.
        self.state.streams = crate::state::Streams::default();
        self.wait_for(pid).ok_or(NOT_FOUND)
    }
}

/// Whether this is `ENOEXEC`.
fn is_no_program(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}
