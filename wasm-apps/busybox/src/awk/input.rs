//! The input of awk programs: files, standard input, and operands that set variables.

use std::fs::File;
use std::io::{self, Write};
use std::os::wasi::ffi::OsStrExt;
use std::path::PathBuf;

use super::interpreter::{Cell, Interpreter, Interrupt};
use super::lexer::unescaped;
use super::program::{Variable, special};
use super::streams::Reader;
use super::value::Value;
use crate::failure::reason;

/// Where in the operands the input is.
#[derive(Default)]
pub(super) struct Input {
    pub(super) reader: Option<Reader>,
    argument: usize,
    /// A file was named.
    named: bool,
    ended: bool,
}

impl Interpreter<'_> {
    /// Reads the next record of the input into the record; false at its end.
    pub(super) fn next_record(&mut self) -> Result<bool, Interrupt> {
        match self.read_input()? {
            Some(record) => {
                self.record.set(record);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The next record of the input, which is counted.
    pub(super) fn read_input(&mut self) -> Result<Option<Vec<u8>>, Interrupt> {
        loop {
            if let Some(reader) = &mut self.input.reader {
                let stdout = &mut self.streams.stdout;
                if let Some(record) = reader.record_after(&self.separator, || stdout.flush())? {
                    self.records += 1.0;
                    self.file_records += 1.0;
                    return Ok(Some(record));
                }
                self.input.reader = None;
            }
            if self.input.ended || !self.open_next()? {
                self.input.ended = true;
                return Ok(None);
            }
        }
    }

    /// Opens the next operand that is a file, or standard input if there is none; false if there is no more.
    fn open_next(&mut self) -> Result<bool, Interrupt> {
        let Cell::Array(operands) = self.globals[special::ARGV].clone() else { return Ok(false) };
        let count = self.global(special::ARGC).to_number() as usize;
        while self.input.argument + 1 < count {
            self.input.argument += 1;
            let key = self.input.argument.to_string().into_bytes();
            let operand = operands.borrow().get(&key[..]).map(|operand| operand.to_text(b"%.6g")).unwrap_or_default();
            if operand.is_empty() || self.assign_operand(&operand)? {
                continue;
            }
            self.input.named = true;
            if &*operand == b"-" {
                return Ok(self.begin_file(Box::new(io::stdin()), b""));
            }
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(&operand));
            let opened = File::open(&path).and_then(|file| match path.is_dir() {
                true => Err(io::Error::other("Is a directory")),
                false => Ok(file),
            });
            match opened {
                Ok(file) => return Ok(self.begin_file(Box::new(file), &operand)),
                Err(error) => {
                    self.streams.flush()?;
                    eprintln!("awk: cannot open \"{}\" ({})", path.display(), reason(&error));
                    self.trouble = true;
                }
            }
        }
        if self.input.named {
            return Ok(false);
        }
        self.input.named = true;
        Ok(self.begin_file(Box::new(io::stdin()), b""))
    }

    fn begin_file(&mut self, input: Box<dyn io::Read>, name: &[u8]) -> bool {
        self.input.reader = Some(Reader::new(input));
        self.file_records = 0.0;
        self.globals[special::FILENAME] = Cell::Value(Value::text(name));
        true
    }

    /// Does what an operand such as `name=value` says; false if it is none.
    pub(super) fn assign_operand(&mut self, operand: &[u8]) -> Result<bool, Interrupt> {
        let Some(at) = operand.iter().position(|byte| *byte == b'=') else { return Ok(false) };
        let name = &operand[..at];
        let is_name = name.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if !is_name {
            return Ok(false);
        }
        // A variable the program does not name is nobody's.
        if let Some(number) = self.program.globals.iter().position(|known| known.as_bytes() == name) {
            self.set_variable(Variable::Global(number), Value::input(&unescaped(&operand[at + 1..])))?;
        }
        Ok(true)
    }
}
