//! Subshells: within this process as long as that makes no difference, else in another process of this shell, which is
//! told what this one knows.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::shell::Nested;
use super::spawn::Place;
use super::{Flow, Run, Shell};
use crate::process::{self, Group, Pid};
use crate::state::{Locals, State, Stream, Streams};
use crate::syntax::ast::{AndOr, Command, List, Pipeline, RedirectKind};

/// The argument that makes a shell run what descriptor says that the next one names.
pub(crate) const SUBSHELL: &str = "--subshell";

/// What a shell in another process is told.
#[derive(Serialize, Deserialize)]
struct Message<S, C> {
    state: S,
    commands: C,
    /// Which descriptors it has.
    descriptors: Vec<u32>,
    /// Messages name the line.
    names_lines: bool,
}

impl Shell {
    /// Runs with a copy of the state. The status is all that is left of it.
    pub(super) fn subshell(&mut self, run: impl FnOnce(&mut Self) -> Run) {
        let outer = self.state.clone();
        let jobs = std::mem::take(&mut self.jobs);
        // The function that runs may make variables its own here as well.
        let own = self.locals.iter().take(1).map(|_| Locals::default()).collect();
        let locals = std::mem::replace(&mut self.locals, own);
        let actions_changed = std::mem::take(&mut self.actions_changed);
        self.enter_subshell();
        self.subshells += 1;
        // However it ends, it ends here.
        let _ = self.deeper(Nested::Whole, run);
        let status = self.finish();
        self.subshells -= 1;
        if self.state.umask != outer.umask {
            process::files::set_umask(outer.umask);
        }
        self.state = outer;
        self.state.status = status;
        self.jobs = jobs;
        self.locals = locals;
        self.hashed.clear();
        if std::mem::replace(&mut self.actions_changed, actions_changed) {
            self.set_actions();
        }
    }

    fn enter_subshell(&mut self) {
        self.state.traps = Rc::new(self.state.traps.for_subshell());
        self.state.loops = 0;
    }

    /// What commands print, without the newlines at the end.
    pub(crate) fn command_substitution(&mut self, list: &List) -> Result<Vec<u8>, Flow> {
        let capture = Rc::new(Stream::capture());
        let outer = self.capture.replace(Rc::clone(&capture));
        let status = self.state.status;
        self.subshell(|shell| {
            shell.state.tested = 0;
            // This number is not too large.
            let _ = shell.state.streams.set(1, Some(Rc::clone(&capture)));
            let result = match file_to_print(list) {
                Some(command) => shell.print_file(command, &capture),
                None => shell.list(list),
            };
            shell.wait_for_captured();
            result
        });
        self.capture = outer;
        self.substitution_status = Some(std::mem::replace(&mut self.state.status, status));
        let mut text = match capture.captured() {
            Ok(text) => text,
            Err(error) => return Err(self.fatal(format!("cannot read the output of a command: {error}"))),
        };
        text.retain(|byte| *byte != 0);
        let length = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        text.truncate(length);
        Ok(text)
    }

    /// `$(<file)`
    fn print_file(&mut self, command: &Command, capture: &Stream) -> Run {
        let Command::Simple(simple) = command else { return Ok(()) };
        self.state.status = 1;
        if self.redirect(&simple.redirects)?
            && let Some(stream) = self.state.streams.get(0)
        {
            let copied = stream.file().and_then(|mut file| {
                let mut text = Vec::new();
                io::Read::read_to_end(&mut file, &mut text)?;
                capture.write(&text)
            });
            self.state.status = u8::from(copied.is_err());
        }
        Ok(())
    }

    fn wait_for_captured(&mut self) {
        let status = self.state.status;
        let pids: Vec<_> = self.jobs.iter().filter(|job| job.captured).map(|job| job.pid).collect();
        for pid in pids {
            self.wait_for(pid);
        }
        self.state.status = status;
    }

    /// Runs commands in the background.
    pub(super) fn background(&mut self, and_or: &AndOr) -> Run {
        let text = and_or.describe();
        let captured = match (self.state.streams.get(1), &self.capture) {
            (Some(output), Some(capture)) => Rc::ptr_eq(output, capture) && !and_or.redirects_output(),
            _ => false,
        };
        let group = self.new_group();
        let program = match (&and_or.first.stages[..], and_or.rest.is_empty() && !and_or.first.negated) {
            ([stage], true) if self.starts_program(stage) => Some(stage),
            _ => None,
        };
        let pid = match program {
            Some(stage) => self.start_stage(stage, Place::Background, group),
            None => self.start_subshell(and_or, Place::Background, group),
        };
        match pid {
            Ok(pid) => {
                self.add_job(pid, (group == Group::New).then_some(pid), text, captured);
                self.state.status = 0;
                if self.interactive && self.subshells == 0 {
                    let number = self.jobs.last().map_or(0, |job| job.number);
                    self.write(2, format!("[{number}] {pid}\n").as_bytes())?;
                }
            }
            Err(status) => self.state.status = status,
        }
        self.run_traps()
    }

    /// Starts another process of this shell for commands. The status tells why that failed, as does a message.
    pub(super) fn start_subshell(&mut self, commands: &AndOr, place: Place, group: Group) -> Result<Pid, u8> {
        let fd = self.state.streams.unused();
        let mut descriptors: Vec<u32> = self.state.streams.iter().map(|(fd, _)| fd).collect();
        if place == Place::Background && self.own_group.is_none() {
            descriptors.retain(|fd| *fd != 0);
        }
        let message = Message { state: &self.state, commands, descriptors, names_lines: self.names_lines };
        let started = postcard::to_allocvec(&message)
            .map_err(io::Error::other)
            .and_then(|message| Stream::of_text(&message))
            .and_then(|message| {
                let fd_text = fd.to_string();
                let argv = [OsStr::new("sh"), OsStr::new(SUBSHELL), OsStr::new(&fd_text)];
                self.spawn(None, &argv, place, group, Some((fd, &message)))
            });
        started.map_err(|error| {
            self.report(format!("cannot start a subshell: {}", crate::os::reason(&error)));
            2
        })
    }
}

/// What the other process does: runs what descriptor `fd` tells, and gives the status to end with.
pub(crate) fn run_subshell(fd: i32) -> u8 {
    // SAFETY: whoever uses this argument has opened the descriptor for it.
    let message = Stream::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut text = Vec::new();
    let read = message.file().and_then(|mut file| io::Read::read_to_end(&mut file, &mut text));
    let Ok(Ok(message)) = read.map(|_| postcard::from_bytes::<Message<State, AndOr>>(&text)) else { return 2 };
    let mut shell = Shell::with_state(message.state);
    shell.names_lines = message.names_lines;
    let mut streams = Streams::default();
    for fd in message.descriptors {
        // SAFETY: the other shell has opened these for this one, and nothing else uses them.
        let stream = unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) };
        // Numbers that are too large have been refused there.
        let _ = streams.set(fd, Some(Rc::new(Stream::from(stream))));
    }
    shell.state.streams = streams;
    shell.enter_subshell();
    shell.take_over_signals();
    // However it ends, it ends here.
    let _ = shell.and_or(&message.commands);
    shell.finish()
}

fn file_to_print(list: &List) -> Option<&Command> {
    let [item] = &list.items[..] else { return None };
    let [stage @ Command::Simple(simple)] = &item.and_or.first.stages[..] else { return None };
    let only_reads = matches!(&simple.redirects[..], [redirect] if redirect.fd == 0 && matches!(redirect.kind, RedirectKind::Read(_)));
    (only_reads && simple.words.is_empty() && simple.assignments.is_empty() && item.and_or.rest.is_empty())
        .then_some(stage)
}

impl AndOr {
    pub(super) fn of(command: &Command) -> Self {
        Self { first: Pipeline { negated: false, stages: vec![command.clone()] }, rest: Vec::new() }
    }

    fn redirects_output(&self) -> bool {
        match self.first.stages.last() {
            Some(Command::Simple(simple)) => Shell::redirects_fd(&simple.redirects, 1),
            Some(Command::Compound(_, redirects)) => Shell::redirects_fd(redirects, 1),
            _ => false,
        }
    }

    /// What `jobs` calls it: the words it begins with.
    fn describe(&self) -> String {
        let stages = self.first.stages.iter().map(|stage| match stage {
            Command::Simple(simple) => {
                simple.words.iter().map(|word| word.plain().unwrap_or("…")).collect::<Vec<_>>().join(" ")
            }
            Command::Compound(..) => "{ … }".to_owned(),
            Command::Function(name, _) => format!("{name}()"),
        });
        stages.collect::<Vec<_>>().join(" | ")
    }
}
