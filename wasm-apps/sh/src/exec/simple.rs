//! Simple commands: assignments, built-in commands, functions and programs.

use std::rc::Rc;

use bstr::ByteSlice;

use super::{Flow, Run, Shell};
use crate::builtins::{self, Builtin};
use crate::process::Status;
use crate::state::{Flag, Locals};
use crate::syntax::ast::{Assignment, Piece, Redirect, Simple, Word};
use crate::syntax::is_name;
use crate::text::quote_if_needed;

impl Shell {
    pub(super) fn simple(&mut self, simple: &Simple) -> Run {
        self.state.line = simple.line;
        self.substitution_status = None;
        let fields = self.expand_command(simple)?;
        let Some(name) = fields.first() else { return self.assignments_only(simple) };
        if let Some(builtin) = builtins::find(name).filter(|builtin| builtin.special) {
            return self.special(builtin, simple, &fields);
        }
        let function = name.to_str().ok().and_then(|name| self.state.functions.get(name).map(Rc::clone));
        self.with_assignments(&simple.assignments, |shell| {
            shell.trace(&simple.assignments, &fields);
            shell.redirected(&simple.redirects, |shell| match function {
                Some(body) => shell.call_function(&body, &fields),
                None => match builtins::find(&fields[0]) {
                    Some(builtin) => shell.run_builtin(builtin, &fields),
                    None if simple.last && !shell.interactive && !shell.state.traps.has_actions() => {
                        // It only comes back where nothing was run.
                        shell.state.status = shell.become_program(&fields).map_or_else(|status| status, Status::code);
                        Ok(())
                    }
                    None => shell.external(&fields),
                },
            })
        })
    }

    pub(super) fn run_builtin(&mut self, builtin: Builtin, fields: &[Vec<u8>]) -> Run {
        self.state.status = (builtin.run)(self, fields)?;
        Ok(())
    }

    /// The fields of a command. What is assigned by `export` and the like is not split.
    pub(super) fn expand_command(&mut self, simple: &Simple) -> Result<Vec<Vec<u8>>, Flow> {
        let declares = simple.words.first().and_then(Word::plain).is_some_and(builtins::declares);
        if !declares {
            return self.expand_fields(&simple.words);
        }
        let mut fields = Vec::new();
        for word in &simple.words {
            if is_assignment(word) {
                fields.push(self.expand_to_text(word)?);
            } else {
                fields.extend(self.expand_fields([word])?);
            }
        }
        Ok(fields)
    }

    fn assignments_only(&mut self, simple: &Simple) -> Run {
        let streams = self.state.streams.clone();
        let redirected = self.redirect(&simple.redirects);
        self.state.streams = streams;
        if !redirected? {
            self.state.status = 1;
            return Ok(());
        }
        self.assign_all(&simple.assignments, None)?;
        self.trace(&simple.assignments, &[]);
        self.state.status = self.substitution_status.unwrap_or_default();
        Ok(())
    }

    fn assign_all(&mut self, assignments: &[Assignment], mut locals: Option<&mut Locals>) -> Run {
        for assignment in assignments {
            let mut value = self.expand_to_text(&assignment.value)?;
            if assignment.append {
                let mut whole = self.variable(&assignment.name).unwrap_or_default().into_owned();
                whole.append(&mut value);
                value = whole;
            }
            if let Some(locals) = &mut locals {
                self.state.variables.save(&assignment.name, locals);
            }
            self.assign(&assignment.name, value)?;
            if locals.is_some() {
                Rc::make_mut(&mut self.state.variables).entry(&assignment.name).exported = true;
            }
        }
        Ok(())
    }

    /// Runs with variables that are the command's own.
    pub(super) fn with_assignments(&mut self, assignments: &[Assignment], run: impl FnOnce(&mut Self) -> Run) -> Run {
        if assignments.is_empty() {
            return run(self);
        }
        let mut locals = Locals::default();
        let assigned = self.assign_all(assignments, Some(&mut locals));
        let result = assigned.and_then(|()| run(self));
        Rc::make_mut(&mut self.state.variables).restore(locals);
        if assignments.iter().any(|assignment| assignment.name == "PATH") {
            self.hashed.clear();
        }
        result
    }

    /// Special built-in commands: assignments stay, and errors end the shell.
    fn special(&mut self, builtin: Builtin, simple: &Simple, fields: &[Vec<u8>]) -> Run {
        self.assign_all(&simple.assignments, None)?;
        self.trace(&simple.assignments, fields);
        let streams = self.state.streams.clone();
        if !self.redirect(&simple.redirects)? {
            self.state.streams = streams;
            self.state.status = 2;
            return Err(Flow::Abort);
        }
        let result = self.run_builtin(builtin, fields);
        let stays = fields[0] == b"exec" && fields.len() == 1;
        if !stays {
            self.state.streams = streams;
        }
        result
    }

    /// What `set -x` prints.
    pub(super) fn trace(&mut self, assignments: &[Assignment], fields: &[Vec<u8>]) {
        if !self.state.options.has(Flag::XTrace) {
            return;
        }
        let mut line = self.prompt("PS4", "+ ");
        let assigned = assignments.iter().map(|assignment| {
            let value = self.state.variables.get(&assignment.name).unwrap_or_default();
            [assignment.name.as_bytes(), b"=", &quote_if_needed(value)].concat()
        });
        let words: Vec<_> = assigned.chain(fields.iter().map(|field| quote_if_needed(field))).collect();
        line.extend(words.join(&b' '));
        line.push(b'\n');
        if let Some(stream) = self.state.streams.get(2) {
            // Nowhere is left to say that this fails.
            let _ = stream.write(&line);
        }
    }

    /// Whether redirections include one of this descriptor.
    pub(super) fn redirects_fd(redirects: &[Redirect], fd: u32) -> bool {
        redirects.iter().any(|redirect| redirect.fd == fd)
    }
}

fn is_assignment(word: &Word) -> bool {
    match word.0.first() {
        Some(Piece::Literal(text)) => {
            text.iter().position(|byte| *byte == b'=').is_some_and(|equals| is_name(&text[..equals]))
        }
        _ => false,
    }
}
