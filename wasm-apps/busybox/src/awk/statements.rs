//! What awk's statements do.

use std::io::Write;

use super::format::sprintf;
use super::interpreter::{Interpreter, Interrupt};
use super::program::{Expression, Redirection, Statement, special};
use super::value::Value;

/// How the statement after one is found.
pub(super) enum Flow {
    Normal,
    Break,
    Continue,
    Return(Value),
}

impl<'p> Interpreter<'p> {
    pub(super) fn block(&mut self, statements: &'p [Statement]) -> Result<Flow, Interrupt> {
        for statement in statements {
            match self.statement(statement)? {
                Flow::Normal => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::Normal)
    }

    fn statement(&mut self, statement: &'p Statement) -> Result<Flow, Interrupt> {
        match statement {
            Statement::Expression(expression) => {
                self.evaluate(expression)?;
            }
            Statement::Print { arguments, output } => self.print(arguments, output.as_ref())?,
            Statement::Printf { arguments, output } => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.evaluate(argument)?);
                }
                let number_format = self.special_text(special::CONVFMT);
                let format = values.remove(0).to_text(&number_format);
                let text = sprintf(&format, &values, &number_format);
                self.write(&text, output.as_ref())?;
            }
            Statement::If(condition, then, otherwise) => {
                if self.evaluate(condition)?.is_true() {
                    return self.statement(then);
                } else if let Some(otherwise) = otherwise {
                    return self.statement(otherwise);
                }
            }
            Statement::Block(statements) => return self.block(statements),
            Statement::Delete(array, None) => self.array(*array)?.borrow_mut().clear(),
            Statement::Delete(array, Some(indices)) => {
                let key = self.key(indices)?;
                self.array(*array)?.borrow_mut().swap_remove(&key);
            }
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
            Statement::Next => return Err(Interrupt::Next),
            Statement::NextFile => return Err(Interrupt::NextFile),
            Statement::Exit(code) => {
                if let Some(code) = code {
                    self.exit_code = (self.evaluate(code)?.to_number() as i64 & 0xff) as u8;
                }
                return Err(Interrupt::Exit);
            }
            Statement::Return(value) => {
                let value = value.as_ref().map_or(Ok(Value::Unset), |value| self.evaluate(value))?;
                return Ok(Flow::Return(value));
            }
            Statement::While(..) | Statement::Do(..) | Statement::For(..) | Statement::ForIn(..) => {
                return self.repetition(statement);
            }
        }
        Ok(Flow::Normal)
    }

    fn repetition(&mut self, statement: &'p Statement) -> Result<Flow, Interrupt> {
        match statement {
            Statement::While(condition, body) => {
                while self.evaluate(condition)?.is_true() {
                    match self.statement(body)? {
                        Flow::Break => break,
                        flow @ Flow::Return(_) => return Ok(flow),
                        Flow::Normal | Flow::Continue => {}
                    }
                }
            }
            Statement::Do(body, condition) => loop {
                match self.statement(body)? {
                    Flow::Break => break,
                    flow @ Flow::Return(_) => return Ok(flow),
                    Flow::Normal | Flow::Continue => {}
                }
                if !self.evaluate(condition)?.is_true() {
                    break;
                }
            },
            Statement::For(first, condition, step, body) => {
                if let Some(first) = first {
                    self.statement(first)?;
                }
                while condition
                    .as_ref()
                    .map_or(Ok(true), |condition| self.evaluate(condition).map(|value| value.is_true()))?
                {
                    match self.statement(body)? {
                        Flow::Break => break,
                        flow @ Flow::Return(_) => return Ok(flow),
                        Flow::Normal | Flow::Continue => {}
                    }
                    if let Some(step) = step {
                        self.statement(step)?;
                    }
                }
            }
            Statement::ForIn(variable, array, body) => {
                let array = self.array(*array)?;
                let keys: Vec<_> = array.borrow().keys().cloned().collect();
                for key in keys {
                    self.assign(variable, Value::input(&key))?;
                    match self.statement(body)? {
                        Flow::Break => break,
                        flow @ Flow::Return(_) => return Ok(flow),
                        Flow::Normal | Flow::Continue => {}
                    }
                }
            }
            _ => {}
        }
        Ok(Flow::Normal)
    }

    fn print(
        &mut self,
        arguments: &'p [Expression],
        output: Option<&'p (Redirection, Expression)>,
    ) -> Result<(), Interrupt> {
        let mut line = Vec::new();
        if arguments.is_empty() {
            line.extend_from_slice(&self.record_text());
        } else {
            let number_format = self.special_text(special::OFMT);
            let between = self.special_text(special::OFS);
            for (number, argument) in arguments.iter().enumerate() {
                if number > 0 {
                    line.extend_from_slice(&between);
                }
                line.extend_from_slice(&self.evaluate(argument)?.to_text(&number_format));
            }
        }
        line.extend_from_slice(&self.special_text(special::ORS));
        self.write(&line, output)
    }

    fn write(&mut self, text: &[u8], output: Option<&'p (Redirection, Expression)>) -> Result<(), Interrupt> {
        let Some((redirection, name)) = output else {
            return Ok(self.streams.stdout.write_all(text)?);
        };
        let name = self.text(name)?;
        let output = self.streams.output(*redirection, &name)?;
        output.write_all(text)?;
        // What goes to standard error is to be seen at once.
        if &*name == b"/dev/stderr" {
            output.flush()?;
        }
        Ok(())
    }
}
