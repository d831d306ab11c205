//! `${…}`

use super::ast::{Anchor, Name, Operation, Parameter, Unless, Word};
use super::parser::{Parsed, Parser};
use super::words::is_name_start;

impl Parser<'_> {
    /// A parameter's name within braces.
    fn parameter_name(&mut self) -> Parsed<Option<Name>> {
        Ok(match self.peek()? {
            Some(byte) if is_name_start(byte) => Some(Name::Variable(self.name()?)),
            Some(byte) if byte.is_ascii_digit() => {
                let mut number: usize = 0;
                while let Some(digit @ b'0'..=b'9') = self.peek()? {
                    self.bump();
                    number = number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
                }
                Some(Name::Positional(number))
            }
            Some(byte) if b"@*#?-$!".contains(&byte) => {
                self.bump();
                Some(Name::Special(byte))
            }
            _ => None,
        })
    }

    /// What follows `${`, and the closing brace.
    pub(super) fn braced(&mut self, quoted: bool) -> Parsed<Parameter> {
        let mark = self.mark();
        if self.accept(b'#')? {
            if let Some(name) = self.parameter_name()?
                && self.accept(b'}')?
            {
                return Ok(Parameter { name, operation: Operation::Length });
            }
            self.rewind(mark);
        }
        let Some(name) = self.parameter_name()? else { return Err(self.error("bad substitution")) };
        let operation = self.operation(quoted)?;
        if !self.accept(b'}')? {
            return Err(self.error("bad substitution"));
        }
        Ok(Parameter { name, operation })
    }

    fn operation(&mut self, quoted: bool) -> Parsed<Operation> {
        let colon = self.accept(b':')?;
        let Some(byte) = self.peek()? else { return Err(self.error("missing '}'")) };
        let action = match byte {
            b'-' => Some(Unless::Default),
            b'=' => Some(Unless::Assign),
            b'?' => Some(Unless::Error),
            b'+' => Some(Unless::Alternative),
            _ => None,
        };
        if let Some(action) = action {
            self.bump();
            return Ok(Operation::Unless { action, colon, word: self.brace_word(quoted, 0)? });
        }
        if colon {
            let offset = self.arithmetic_to(b':')?;
            let length = if self.accept(b':')? { Some(self.arithmetic_to(b'}')?) } else { None };
            return Ok(Operation::Substring { offset, length });
        }
        match byte {
            b'}' => Ok(Operation::Value),
            b'#' | b'%' => {
                self.bump();
                let longest = self.accept(byte)?;
                Ok(Operation::Remove { suffix: byte == b'%', longest, pattern: self.brace_word(false, 0)? })
            }
            b'/' => self.replacement(),
            _ => Err(self.error("bad substitution")),
        }
    }

    fn replacement(&mut self) -> Parsed<Operation> {
        self.bump();
        let all = self.accept(b'/')?;
        let anchor = match self.peek()? {
            Some(b'#') if !all => Anchor::Start,
            Some(b'%') if !all => Anchor::End,
            _ => Anchor::None,
        };
        if anchor != Anchor::None {
            self.bump();
        }
        let pattern = self.brace_word(false, b'/')?;
        let with = if self.accept(b'/')? { self.brace_word(false, 0)? } else { Word::default() };
        Ok(Operation::Replace { all, anchor, pattern, with })
    }
}
