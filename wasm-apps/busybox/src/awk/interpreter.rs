//! Runs awk programs: variables and rules here, the input in [`super::input`], statements in [`super::statements`],
//! expressions in [`super::evaluate`], functions in [`super::builtins`].

use std::io::{self, Write};
use std::os::wasi::ffi::OsStrExt;
use std::rc::Rc;

use super::input::Input;
use super::program::{Expression, Pattern, Program, Rule, SPECIAL, Variable, special};
use super::record::{self, Record};
use super::regex::Regexes;
use super::statements::Flow;
use super::streams::{Separator, Streams};
use super::value::{Array, Text, Value};
use crate::failure::Failure;

/// How deeply functions may call each other.
pub(super) const MAX_CALLS: usize = 400;

/// Why the usual course of a program ends early.
pub(super) enum Interrupt {
    Next,
    NextFile,
    Exit,
    Failure(Failure),
}

impl From<Failure> for Interrupt {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Interrupt {
    fn from(error: io::Error) -> Self {
        Self::Failure(Failure::Stream(error))
    }
}

impl From<String> for Interrupt {
    fn from(problem: String) -> Self {
        Self::Failure(Failure::Usage(problem))
    }
}

/// What a variable holds.
#[derive(Clone, Default)]
pub(super) enum Cell {
    #[default]
    Unset,
    Value(Value),
    Array(Array),
}

pub(super) struct Interpreter<'p> {
    pub(super) program: &'p Program,
    pub(super) globals: Vec<Cell>,
    /// The parameters of the functions under way.
    pub(super) frames: Vec<Vec<Cell>>,
    pub(super) record: Record,
    pub(super) streams: Streams,
    pub(super) regexes: Regexes,
    pub(super) random: super::builtins::Random,
    pub(super) records: f64,
    pub(super) file_records: f64,
    /// What ends records.
    pub(super) separator: Separator,
    pub(super) input: Input,
    /// Which rules are within their range.
    ranges: Vec<bool>,
    pub(super) exit_code: u8,
    /// A file could not be read.
    pub(super) trouble: bool,
}

impl<'p> Interpreter<'p> {
    /// `operands` is `ARGV`.
    pub(super) fn new(program: &'p Program, operands: &[Vec<u8>]) -> Self {
        let mut interpreter = Self {
            program,
            globals: vec![Cell::Unset; program.globals.len()],
            frames: Vec::new(),
            record: Record::new(),
            streams: Streams::new(),
            regexes: Regexes::default(),
            random: super::builtins::Random::default(),
            records: 0.0,
            file_records: 0.0,
            separator: Separator::Byte(b'\n'),
            input: Input::default(),
            ranges: vec![false; program.rules.len()],
            exit_code: 0,
            trouble: false,
        };
        let initial: [(usize, &[u8]); 7] = [
            (special::FS, b" "),
            (special::OFS, b" "),
            (special::ORS, b"\n"),
            (special::RS, b"\n"),
            (special::SUBSEP, b"\x1c"),
            (special::CONVFMT, b"%.6g"),
            (special::OFMT, b"%.6g"),
        ];
        for (number, text) in initial {
            interpreter.globals[number] = Cell::Value(Value::text(text));
        }
        let environment = Array::default();
        for (name, value) in std::env::vars_os() {
            environment.borrow_mut().insert(Rc::from(name.as_bytes()), Value::input(value.as_bytes()));
        }
        interpreter.globals[special::ENVIRON] = Cell::Array(environment);
        let arguments = Array::default();
        for (number, operand) in operands.iter().enumerate() {
            arguments.borrow_mut().insert(Rc::from(number.to_string().into_bytes()), Value::input(operand));
        }
        interpreter.globals[special::ARGV] = Cell::Array(arguments);
        interpreter.globals[special::ARGC] = Cell::Value(Value::Number(operands.len() as f64));
        interpreter
    }

    /// Runs the program; its exit code.
    pub(super) fn run(&mut self) -> Result<u8, Failure> {
        let program = self.program;
        let result = program.begin.iter().try_for_each(|block| self.block(block).map(drop));
        let result = match result {
            Ok(()) if !(program.rules.is_empty() && program.end.is_empty()) => self.records(),
            other => other,
        };
        match result {
            Ok(()) | Err(Interrupt::Exit) => {}
            Err(Interrupt::Failure(failure)) => return Err(failure),
            Err(Interrupt::Next | Interrupt::NextFile) => return Err(Failure::usage("next used outside of a rule")),
        }
        match program.end.iter().try_for_each(|block| self.block(block).map(drop)) {
            Ok(()) | Err(Interrupt::Exit) => {}
            Err(Interrupt::Failure(failure)) => return Err(failure),
            Err(Interrupt::Next | Interrupt::NextFile) => return Err(Failure::usage("next used in END")),
        }
        self.streams.finish()?;
        Ok(if self.trouble && self.exit_code == 0 { 2 } else { self.exit_code })
    }

    fn records(&mut self) -> Result<(), Interrupt> {
        let program = self.program;
        while self.next_record()? {
            for (number, rule) in program.rules.iter().enumerate() {
                match self.rule(number, rule) {
                    Ok(()) => {}
                    Err(Interrupt::Next) => break,
                    Err(Interrupt::NextFile) => {
                        self.input.reader = None;
                        break;
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(())
    }

    fn rule(&mut self, number: usize, rule: &'p Rule) -> Result<(), Interrupt> {
        let matched = match &rule.pattern {
            Pattern::Always => true,
            Pattern::When(condition) => self.evaluate(condition)?.is_true(),
            Pattern::Range(first, last) => {
                let within = self.ranges[number] || self.evaluate(first)?.is_true();
                self.ranges[number] = within && !self.evaluate(last)?.is_true();
                within
            }
        };
        match &rule.action {
            Some(block) if matched => match self.block(block)? {
                Flow::Normal => Ok(()),
                Flow::Break | Flow::Continue | Flow::Return(_) => {
                    Err(Failure::usage("break, continue or return outside of a loop or function").into())
                }
            },
            None if matched => {
                let text = self.record_text();
                self.streams.stdout.write_all(&text)?;
                let end = self.special_text(special::ORS);
                Ok(self.streams.stdout.write_all(&end)?)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn cell(&mut self, variable: Variable) -> &mut Cell {
        match (variable, self.frames.last_mut()) {
            (Variable::Local(number), Some(frame)) => &mut frame[number],
            (Variable::Local(number) | Variable::Global(number), _) => &mut self.globals[number],
        }
    }

    pub(super) fn global(&self, number: usize) -> Value {
        match &self.globals[number] {
            Cell::Value(value) => value.clone(),
            Cell::Unset | Cell::Array(_) => Value::Unset,
        }
    }

    pub(super) fn special_text(&self, number: usize) -> Text {
        match &self.globals[number] {
            Cell::Value(value) => value.to_text(b"%.6g"),
            Cell::Unset | Cell::Array(_) => Text::default(),
        }
    }

    pub(super) fn variable(&mut self, variable: Variable) -> Result<Value, Interrupt> {
        match variable {
            Variable::Global(special::NF) => return Ok(Value::Number(self.record.count() as f64)),
            Variable::Global(special::NR) => return Ok(Value::Number(self.records)),
            Variable::Global(special::FNR) => return Ok(Value::Number(self.file_records)),
            _ => {}
        }
        match self.cell(variable) {
            Cell::Value(value) => Ok(value.clone()),
            Cell::Unset => Ok(Value::Unset),
            Cell::Array(_) => Err(format!("array {} used as a value", self.name(variable)).into()),
        }
    }

    pub(super) fn set_variable(&mut self, variable: Variable, value: Value) -> Result<(), Interrupt> {
        if let Variable::Global(number) = variable
            && number < SPECIAL.len()
        {
            self.set_special(number, &value)?;
        }
        let cell = self.cell(variable);
        if matches!(cell, Cell::Array(_)) {
            return Err(format!("array {} used as a variable", self.name(variable)).into());
        }
        *cell = Cell::Value(value);
        Ok(())
    }

    /// Does what setting a special variable means.
    fn set_special(&mut self, number: usize, value: &Value) -> Result<(), Interrupt> {
        match number {
            special::NF => {
                let count = value.to_number();
                if count < 0.0 {
                    return Err("NF set to a negative value".to_owned().into());
                }
                self.record.set_count(count as usize)?;
            }
            special::NR => self.records = value.to_number(),
            special::FNR => self.file_records = value.to_number(),
            special::FS => self.set_field_separator(&value.to_text(b"%.6g"))?,
            special::RS => {
                let text = value.to_text(b"%.6g");
                self.separator = match &*text {
                    b"" => Separator::Paragraphs,
                    [byte] => Separator::Byte(*byte),
                    _ => Separator::Regex(self.regexes.get(&text)?),
                };
                let separator = self.special_text(special::FS);
                self.set_field_separator(&separator)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_field_separator(&mut self, text: &[u8]) -> Result<(), Interrupt> {
        let mut separator = record::Separator::parse(text, &mut self.regexes)?;
        if let (Separator::Paragraphs, false) = (&self.separator, matches!(separator, record::Separator::Blanks)) {
            // Newlines separate fields, too, where records may have several lines.
            let pattern = match text {
                [byte] => [b"[", &[*byte][..], b"]|\n"].concat(),
                _ => [b"(", text, b")|\n"].concat(),
            };
            separator = record::Separator::Regex(self.regexes.get(&pattern)?);
        }
        self.record.set_separator(separator);
        Ok(())
    }

    /// A variable as an array, which it becomes if it was nothing yet.
    pub(super) fn array(&mut self, variable: Variable) -> Result<Array, Interrupt> {
        match self.cell(variable) {
            Cell::Array(array) => Ok(Rc::clone(array)),
            cell @ Cell::Unset => {
                let array = Array::default();
                *cell = Cell::Array(Rc::clone(&array));
                Ok(array)
            }
            Cell::Value(_) => Err(format!("{} used as an array", self.name(variable)).into()),
        }
    }

    fn name(&self, variable: Variable) -> &str {
        match variable {
            Variable::Global(number) => &self.program.globals[number],
            Variable::Local(_) => "a parameter",
        }
    }

    /// The record's text.
    pub(super) fn record_text(&mut self) -> Text {
        let (between, format) = (&self.globals[special::OFS], &self.globals[special::CONVFMT]);
        let text = |cell: &Cell| match cell {
            Cell::Value(value) => value.to_text(b"%.6g"),
            Cell::Unset | Cell::Array(_) => Text::default(),
        };
        Rc::from(self.record.text(|| (text(between), text(format))))
    }

    /// The key of an element: its indices with `SUBSEP` between.
    pub(super) fn key(&mut self, indices: &'p [Expression]) -> Result<Text, Interrupt> {
        let format = self.special_text(special::CONVFMT);
        if let [index] = indices {
            return Ok(self.evaluate(index)?.to_text(&format));
        }
        let mut texts = Vec::with_capacity(indices.len());
        for index in indices {
            texts.push(self.evaluate(index)?.to_text(&format));
        }
        Ok(Rc::from(texts.join(&self.special_text(special::SUBSEP)[..])))
    }
}
