//! Pipelines. Programs are started; of the stages that are not programs, one runs in this process and each other one in
//! a process of its own.

use std::io;
use std::rc::Rc;

use bstr::ByteSlice;

use super::spawn::Place;
use super::{Run, Shell};
use crate::builtins;
use crate::process::{self, Group, Pid};
use crate::state::{Flag, Stream};
use crate::syntax::ast::{AndOr, Command};

/// A stage under way.
enum Stage {
    Process(Pid),
    /// It ran here, or could not be started.
    Ended(u8),
    /// The one that is to run here.
    Here {
        input: Option<Rc<Stream>>,
        output: Option<Rc<Stream>>,
    },
}

impl Shell {
    pub(super) fn stages(&mut self, stages: &[Command]) -> Run {
        let programs: Vec<bool> = stages.iter().map(|stage| self.starts_program(stage)).collect();
        let here = programs.iter().rposition(|is_program| !is_program);
        let mut running = Vec::new();
        let mut group = None;
        let mut input: Option<Rc<Stream>> = None;
        for (index, stage) in stages.iter().enumerate() {
            let last = index + 1 == stages.len();
            if index == 0 && here != Some(0) && !programs[0] && self.prints_only(stage) {
                let (status, text) = self.printed(stage);
                running.push(Stage::Ended(status));
                input = Some(text);
                continue;
            }
            let [output, next_input] = match self.pipe(last) {
                Ok(ends) => ends,
                Err(error) => return Err(self.fatal(format!("cannot create a pipe: {error}"))),
            };
            let own_input = std::mem::replace(&mut input, next_input);
            if here == Some(index) {
                running.push(Stage::Here { input: own_input, output });
                continue;
            }
            let place = self.new_group();
            let place = group.map_or(place, |group| if place == Group::New { Group::Join(group) } else { place });
            let started = self.start_between(stage, programs[index], own_input, output, place);
            if place == Group::New {
                group = started.as_ref().ok().copied();
            }
            running.push(started.map_or_else(Stage::Ended, Stage::Process));
        }
        drop(input);
        self.finish_stages(stages, running, group);
        Ok(())
    }

    /// The ends of the pipe behind a stage, the one to write to first, unless it is the last stage.
    fn pipe(&self, last: bool) -> io::Result<[Option<Rc<Stream>>; 2]> {
        if last {
            return Ok([None, None]);
        }
        let (reading, writing) = process::pipe()?;
        Ok([Some(Rc::new(writing.into())), Some(Rc::new(reading.into()))])
    }

    fn finish_stages(&mut self, stages: &[Command], running: Vec<Stage>, group: Option<Pid>) {
        self.give_terminal(group);
        let mut ended = Vec::new();
        for (stage, command) in running.into_iter().zip(stages) {
            ended.push(match stage {
                Stage::Here { input, output } => {
                    self.subshell(|shell| {
                        shell.connect(input, output);
                        shell.command(command)
                    });
                    Stage::Ended(self.state.status)
                }
                other => other,
            });
        }
        let pids: Vec<Pid> =
            ended.iter().filter_map(|stage| if let Stage::Process(pid) = stage { Some(*pid) } else { None }).collect();
        let mut of_processes = self.wait_in_foreground(&pids, group).into_iter();
        let statuses: Vec<u8> = ended
            .iter()
            .map(|stage| match stage {
                Stage::Ended(status) => *status,
                _ => of_processes.next().unwrap_or_default(),
            })
            .collect();
        let last = statuses.last().copied().unwrap_or_default();
        let failure = statuses.iter().rfind(|status| **status != 0).copied().unwrap_or_default();
        self.state.status = if self.state.options.has(Flag::PipeFail) { failure } else { last };
    }

    fn connect(&mut self, input: Option<Rc<Stream>>, output: Option<Rc<Stream>>) {
        for (fd, stream) in [(0, input), (1, output)] {
            if stream.is_some() {
                // These numbers are not too large.
                let _ = self.state.streams.set(fd, stream);
            }
        }
    }

    fn start_between(
        &mut self,
        stage: &Command,
        is_program: bool,
        input: Option<Rc<Stream>>,
        output: Option<Rc<Stream>>,
        group: Group,
    ) -> Result<Pid, u8> {
        let streams = self.state.streams.clone();
        self.connect(input, output);
        let started = if is_program {
            self.start_stage(stage, Place::Foreground, group)
        } else {
            self.start_subshell(&AndOr::of(stage), Place::Foreground, group)
        };
        self.state.streams = streams;
        started
    }

    /// Whether a command does nothing but start a program, so that no shell is needed for it.
    pub(super) fn starts_program(&mut self, command: &Command) -> bool {
        let Command::Simple(simple) = command else { return false };
        let Some(first) = simple.words.first() else { return false };
        let words = simple.words.iter().chain(simple.assignments.iter().map(|assignment| &assignment.value));
        if words.into_iter().any(|word| word.runs_commands()) {
            return false;
        }
        let name = match first.plain() {
            Some(name) => Some(name.as_bytes().to_vec()),
            None => {
                let mut name = None;
                let stderr = self.state.streams.get(2).map(Rc::clone);
                self.subshell(|shell| {
                    // Should it fail, it fails again where it is run.
                    let _ = shell.state.streams.set(2, None);
                    name = shell.expand_fields([first])?.into_iter().next();
                    Ok(())
                });
                drop(stderr);
                name
            }
        };
        name.is_some_and(|name| {
            let is_function = name.to_str().is_ok_and(|name| self.state.functions.contains_key(name));
            !is_function && builtins::find(&name).is_none()
        })
    }

    /// Starts the program of a stage.
    pub(super) fn start_stage(&mut self, stage: &Command, place: Place, group: Group) -> Result<Pid, u8> {
        let Command::Simple(simple) = stage else { return Err(2) };
        let mut started = Err(0);
        let streams = self.state.streams.clone();
        self.subshell(|shell| {
            shell.state.streams = streams;
            shell.state.line = simple.line;
            let fields = shell.expand_command(simple)?;
            shell.with_assignments(&simple.assignments, |shell| {
                shell.trace(&simple.assignments, &fields);
                shell.redirected(&simple.redirects, |shell| {
                    started = shell.start_program(&fields, place, group);
                    shell.state.status = started.err().unwrap_or_default();
                    Ok(())
                })
            })
        });
        started.map_err(|_| self.state.status)
    }

    /// Runs a command that only prints, and gives its status and what it printed.
    fn printed(&mut self, command: &Command) -> (u8, Rc<Stream>) {
        let capture = Rc::new(Stream::capture());
        self.subshell(|shell| {
            shell.connect(None, Some(Rc::clone(&capture)));
            shell.command(command)
        });
        let text = capture.captured().unwrap_or_default();
        let status = self.state.status;
        match Stream::of_text(&text) {
            Ok(stream) => (status, Rc::new(stream)),
            Err(error) => {
                self.report(format!("cannot keep the output of a command: {error}"));
                (1, capture)
            }
        }
    }

    /// Whether a command prints a bounded text and does nothing else.
    fn prints_only(&self, command: &Command) -> bool {
        let Command::Simple(simple) = command else { return false };
        let name = simple.words.first().and_then(|word| word.plain()).unwrap_or_default();
        matches!(name, "echo" | "printf") && !self.state.functions.contains_key(name) && simple.redirects.is_empty()
    }
}
