//! Running what was parsed.

mod children;
mod compound;
mod functions;
mod messages;
mod paths;
mod pipelines;
mod redirects;
mod shell;
mod signals;
mod simple;
mod spawn;
mod subshells;

use crate::state::Flag;
use crate::syntax::ast::{AndOr, Command, Compound, Connector, List, Pipeline};
use crate::syntax::{Parser, Source};

pub(crate) use children::{Job, Waited};
pub(crate) use paths::{join, may_execute};
use shell::Nested;
pub(crate) use shell::Shell;
pub(crate) use subshells::{SUBSHELL, run_subshell};

/// Why the commands that follow are not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Out of that many loops.
    Break(u32),
    /// To the next turn of the loop that many levels out.
    Continue(u32),
    /// Out of the function or sourced file.
    Return,
    /// Out of the shell, or subshell.
    Exit,
    /// After an error: back to the prompt, or out of the shell where there is none.
    Abort,
}

/// Commands leave their status in the state.
pub(crate) type Run = Result<(), Flow>;

impl Shell {
    /// Runs a script up to its end.
    pub(crate) fn run_source(&mut self, source: &mut dyn Source, line: u32) -> Run {
        self.run_commands(source, line, false)
    }

    /// Runs a script with whose end this process ends, too: its last command is run in the shell's place.
    pub(crate) fn run_last_source(&mut self, source: &mut dyn Source) -> Run {
        self.run_commands(source, 1, true)
    }

    fn run_commands(&mut self, source: &mut dyn Source, line: u32, last: bool) -> Run {
        let mut parser = Parser::new(source).at_line(line);
        loop {
            parser.set_aliases(&self.state.aliases);
            parser.set_verbose(self.state.options.has(Flag::Verbose));
            match parser.next_command() {
                Ok(None) => return Ok(()),
                Ok(Some(_)) if self.state.options.has(Flag::NoExec) && !self.interactive => {}
                Ok(Some(mut list)) => {
                    if last
                        && parser.is_at_end()
                        && let Some(simple) = list.last_simple()
                    {
                        simple.last = true;
                    }
                    self.list(&list)?;
                }
                Err(error) => return Err(self.syntax_error(&error)),
            }
        }
    }

    pub(crate) fn list(&mut self, list: &List) -> Run {
        for item in &list.items {
            if item.background {
                self.background(&item.and_or)?;
            } else {
                self.and_or(&item.and_or)?;
            }
        }
        Ok(())
    }

    pub(crate) fn and_or(&mut self, and_or: &AndOr) -> Run {
        self.pipeline(&and_or.first, !and_or.rest.is_empty())?;
        for (index, (connector, pipeline)) in and_or.rest.iter().enumerate() {
            if (self.state.status == 0) == (*connector == Connector::And) {
                self.pipeline(pipeline, index + 1 < and_or.rest.len())?;
            }
        }
        Ok(())
    }

    /// `tested`: something looks at its status, so that a failure is no reason to exit.
    fn pipeline(&mut self, pipeline: &Pipeline, tested: bool) -> Run {
        let tested = tested || pipeline.negated;
        self.state.tested += u32::from(tested);
        let result = match &pipeline.stages[..] {
            [stage] => self.command(stage),
            stages => self.stages(stages),
        };
        self.state.tested -= u32::from(tested);
        result?;
        if pipeline.negated {
            self.state.status = u8::from(self.state.status == 0);
        } else if self.state.status != 0
            && self.state.tested == 0
            && !tested
            && self.state.options.has(Flag::ErrExit)
            && exits_on_failure(&pipeline.stages)
        {
            return Err(Flow::Exit);
        }
        self.run_traps()
    }

    /// Runs commands whose status is looked at.
    pub(crate) fn condition(&mut self, list: &List) -> Run {
        self.state.tested += 1;
        let result = self.list(list);
        self.state.tested -= 1;
        result
    }

    pub(crate) fn command(&mut self, command: &Command) -> Run {
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(compound, redirects) if redirects.is_empty() => {
                self.deeper(Nested::Compound, |shell| shell.compound(compound))
            }
            Command::Compound(compound, redirects) => {
                self.redirected(redirects, |shell| shell.deeper(Nested::Compound, |shell| shell.compound(compound)))
            }
            Command::Function(name, body) => {
                self.define_function(name, body);
                Ok(())
            }
        }
    }
}

/// What fails within a compound command has been looked at there already.
fn exits_on_failure(stages: &[Command]) -> bool {
    match stages {
        [Command::Compound(compound, _)] => {
            matches!(**compound, Compound::Subshell(_) | Compound::Condition(_) | Compound::Arithmetic(_))
        }
        _ => true,
    }
}
