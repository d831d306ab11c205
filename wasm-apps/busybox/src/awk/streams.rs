//! Files and commands that awk programs read and write.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::wasi::ffi::OsStrExt;

use husk_process::Pid;
use regex::bytes::Regex;

use super::program::Redirection;
use crate::failure::Failure;
use crate::process::{Program, wait_for};

/// How many files and commands may be open at once.
const MAX_OPEN: usize = 200;
const BLOCK: usize = 64 * 1024;

/// What ends a record.
#[derive(Clone)]
pub(super) enum Separator {
    Byte(u8),
    /// Empty lines, however many.
    Paragraphs,
    Regex(std::rc::Rc<Regex>),
}

/// Reads records.
pub(super) struct Reader {
    input: Box<dyn Read>,
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    /// The command that writes what is read.
    command: Option<Pid>,
}

impl Reader {
    pub(super) fn new(input: Box<dyn Read>) -> Self {
        Self { input, buffer: Vec::new(), start: 0, ended: false, command: None }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + BLOCK.max(length), 0);
        let read = self.input.read(&mut self.buffer[length..]);
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }

    /// The next record, without what ends it.
    pub(super) fn record(&mut self, separator: &Separator) -> io::Result<Option<Vec<u8>>> {
        self.record_after(separator, || Ok(()))
    }

    /// As [`Reader::record`]; `before_read` is called before more input is waited for.
    pub(super) fn record_after(
        &mut self,
        separator: &Separator,
        mut before_read: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Option<Vec<u8>>> {
        if matches!(separator, Separator::Paragraphs) {
            self.skip_newlines()?;
        }
        let mut searched = 0;
        loop {
            let rest = &self.buffer[self.start..];
            if let Some((end, next)) = separator.find(rest, searched, self.ended) {
                let record = rest[..end].to_vec();
                self.start += next;
                return Ok(Some(record));
            }
            if self.ended {
                let mut record = self.buffer.split_off(self.start);
                self.buffer.clear();
                self.start = 0;
                if matches!(separator, Separator::Paragraphs) && record.last() == Some(&b'\n') {
                    record.pop();
                }
                return Ok(Some(record).filter(|record| !record.is_empty()));
            }
            searched = rest.len();
            before_read()?;
            self.fill()?;
        }
    }

    fn skip_newlines(&mut self) -> io::Result<()> {
        loop {
            let newlines = self.buffer[self.start..].iter().take_while(|byte| **byte == b'\n').count();
            self.start += newlines;
            if self.start < self.buffer.len() || self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }
}

impl Separator {
    /// Where the first record of a text ends, and where the next one begins. Up to `searched` there is no end.
    fn find(&self, text: &[u8], searched: usize, all: bool) -> Option<(usize, usize)> {
        match self {
            Self::Byte(byte) => {
                let end = searched + text.get(searched..)?.iter().position(|found| found == byte)?;
                Some((end, end + 1))
            }
            Self::Paragraphs => {
                let end = text.windows(2).position(|pair| pair == b"\n\n")?;
                let newlines = text[end..].iter().take_while(|byte| **byte == b'\n').count();
                (all || end + newlines < text.len()).then_some((end, end + newlines))
            }
            Self::Regex(regex) => {
                let found = regex.find_iter(text).find(|found| !found.is_empty())?;
                // What reaches the end of what is known may reach further.
                (all || found.end() < text.len()).then_some((found.start(), found.end()))
            }
        }
    }
}

/// Something to write to.
struct Output {
    writer: BufWriter<Box<dyn Write>>,
    command: Option<Pid>,
}

/// What a program has open, by the names it calls it.
pub(super) struct Streams {
    pub(super) stdout: BufWriter<io::Stdout>,
    readers: HashMap<Vec<u8>, Reader>,
    outputs: HashMap<Vec<u8>, Output>,
}

impl Streams {
    pub(super) fn new() -> Self {
        let stdout = BufWriter::with_capacity(BLOCK, io::stdout());
        Self { stdout, readers: HashMap::new(), outputs: HashMap::new() }
    }

    /// Where `print > name` or `print | name` goes.
    pub(super) fn output(&mut self, redirection: Redirection, name: &[u8]) -> Result<&mut dyn Write, Failure> {
        if redirection != Redirection::Pipe && matches!(name, b"/dev/stdout" | b"-") {
            return Ok(&mut self.stdout);
        }
        if !self.outputs.contains_key(name) {
            self.check_room()?;
            let path = OsStr::from_bytes(name);
            let mut command = None;
            let writer: Box<dyn Write> = match (redirection, name) {
                (Redirection::Pipe, _) => {
                    self.flush()?;
                    let (reading, writing) = husk_process::pipe()?;
                    let mut program = Program::shell(path);
                    program.input = Some(reading);
                    command = Some(program.launch()?);
                    Box::new(File::from(writing))
                }
                (_, b"/dev/stderr") => Box::new(io::stderr()),
                (Redirection::File, _) => Box::new(File::create(path).map_err(Failure::at(path))?),
                (Redirection::Append, _) => {
                    let file = OpenOptions::new().create(true).append(true).open(path);
                    Box::new(file.map_err(Failure::at(path))?)
                }
            };
            self.outputs.insert(name.to_vec(), Output { writer: BufWriter::new(writer), command });
        }
        match self.outputs.get_mut(name) {
            Some(output) => Ok(&mut output.writer),
            None => Err(Failure::usage("an output just opened is gone")),
        }
    }

    /// What `getline < name` or `name | getline` reads; `None` if there is no such file.
    pub(super) fn reader(&mut self, is_command: bool, name: &[u8]) -> Result<Option<&mut Reader>, Failure> {
        if !self.readers.contains_key(name) {
            self.check_room()?;
            let path = OsStr::from_bytes(name);
            let reader = if is_command {
                self.flush()?;
                let (reading, writing) = husk_process::pipe()?;
                let mut program = Program::shell(path);
                program.output = Some(writing);
                let pid = program.launch()?;
                let mut reader = Reader::new(Box::new(File::from(reading)));
                reader.command = Some(pid);
                reader
            } else if matches!(name, b"-" | b"/dev/stdin") {
                Reader::new(Box::new(io::stdin()))
            } else {
                match File::open(path) {
                    Ok(file) => Reader::new(Box::new(file)),
                    Err(_) => return Ok(None),
                }
            };
            self.readers.insert(name.to_vec(), reader);
        }
        Ok(self.readers.get_mut(name))
    }

    fn check_room(&self) -> Result<(), Failure> {
        if self.readers.len() + self.outputs.len() >= MAX_OPEN {
            return Err(Failure::usage("too many open files; close() those that are done with"));
        }
        Ok(())
    }

    /// Closes what has a name: the exit code of its command, 0 for a file, -1 if nothing is called so.
    pub(super) fn close(&mut self, name: &[u8]) -> Result<i32, Failure> {
        let mut code = -1;
        if let Some(Output { mut writer, command }) = self.outputs.remove(name) {
            writer.flush()?;
            drop(writer);
            code = ended(command)?;
        }
        if let Some(reader) = self.readers.remove(name) {
            let command = reader.command;
            drop(reader);
            code = ended(command)?;
        }
        Ok(code)
    }

    /// Writes what is buffered. Commands that read no more are of no concern.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush()?;
        self.outputs.values_mut().try_for_each(|output| output.writer.flush())?;
        Ok(())
    }

    /// Closes everything, and waits for all commands.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.flush()?;
        let names: Vec<Vec<u8>> = self.outputs.keys().chain(self.readers.keys()).cloned().collect();
        names.iter().try_for_each(|name| self.close(name).map(drop))
    }
}

fn ended(command: Option<Pid>) -> Result<i32, Failure> {
    match command {
        Some(pid) => Ok(wait_for(pid)?.code().into()),
        None => Ok(0),
    }
}
