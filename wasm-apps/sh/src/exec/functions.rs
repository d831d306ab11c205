//! Functions.

use std::rc::Rc;

use super::shell::Nested;
use super::{Flow, Run, Shell};
use crate::state::Locals;
use crate::syntax::ast::Command;

impl Shell {
    pub(super) fn define_function(&mut self, name: &str, body: &Rc<Command>) {
        Rc::make_mut(&mut self.state.functions).insert(name.to_owned(), Rc::clone(body));
        self.state.status = 0;
    }

    pub(super) fn call_function(&mut self, body: &Command, arguments: &[Vec<u8>]) -> Run {
        let parameters = std::mem::replace(&mut self.state.positional, Rc::new(arguments[1..].to_vec()));
        self.locals.push(Locals::default());
        let result = self.frame(|shell| shell.command(body));
        self.state.positional = parameters;
        if let Some(locals) = self.locals.pop() {
            Rc::make_mut(&mut self.state.variables).restore(locals);
        }
        result
    }

    /// Runs what `return` returns from, and what loops outside do not matter to.
    pub(crate) fn frame(&mut self, run: impl FnOnce(&mut Self) -> Run) -> Run {
        let loops = std::mem::take(&mut self.state.loops);
        self.state.frames += 1;
        let result = self.deeper(Nested::Function, run);
        self.state.frames -= 1;
        self.state.loops = loops;
        match result {
            Err(Flow::Return) => Ok(()),
            other => other,
        }
    }

    /// Makes a variable the running function's own; `false` outside of functions.
    pub(crate) fn make_local(&mut self, name: &str) -> bool {
        let Some(locals) = self.locals.last_mut() else { return false };
        self.state.variables.save(name, locals);
        true
    }
}
