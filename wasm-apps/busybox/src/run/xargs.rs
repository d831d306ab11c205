//! `xargs`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::wasi::ffi::OsStringExt;

use husk_process::{Signal, Status};

use crate::failure::Failure;
use crate::find::replace;
use crate::options::{CommandLine, Item, unknown};
use crate::process::Program;

pub(crate) const USAGE: &str = "xargs [OPTION]... [PROGRAM [ARGUMENT]...]

Run PROGRAM (echo) with arguments from standard input

  -0          Arguments end with NUL    -d C       Arguments end with C
  -I TEXT     Replace TEXT by a line of input, one run for each
  -n N        At most N arguments a run            -L N    At most N lines a run
  -P N        Up to N runs at once                 -s N    At most N bytes a run
  -a FILE     Read FILE     -E WORD  WORD ends the input
  -r          No run without arguments    -t  Print commands    -x  Give up where -s is not enough

Exit code: 123: a run failed; 124: one ended with 255; 125: by a signal; 126, 127: PROGRAM cannot be run, or found";

/// How many bytes a command may have.
const MAX_SIZE: usize = 128 * 1024;
/// How many programs may run at once.
const MAX_RUNS: usize = 64;
const FAILED: u8 = 123;

struct Settings {
    delimiter: Option<u8>,
    replaced: Option<String>,
    per_run: Option<usize>,
    lines_per_run: Option<usize>,
    at_once: usize,
    max_size: usize,
    end: Option<String>,
    none_without: bool,
    trace: bool,
    file: Option<OsString>,
}

pub(crate) fn xargs(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut settings = Settings {
        delimiter: None,
        replaced: None,
        per_run: None,
        lines_per_run: None,
        at_once: 1,
        max_size: MAX_SIZE,
        end: None,
        none_without: false,
        trace: false,
        file: None,
    };
    let mut command = settings.parse(arguments)?;
    if command.is_empty() {
        command.push("echo".into());
    }
    let input: Box<dyn Read> = match &settings.file {
        Some(path) => Box::new(File::open(path).map_err(Failure::at(path))?),
        None => Box::new(io::stdin().lock()),
    };
    let mut words = Words { input: BufReader::new(input), settings: &settings, ended: false };
    let mut runs = Runs { running: 0, code: 0, settings: &settings, detached: settings.file.is_none() };
    let fixed: usize = command.iter().map(|word| word.len() + 1).sum();
    if let Some(replaced) = &settings.replaced {
        while let Some((word, _)) = words.next()? {
            runs.start(command.iter().map(|part| replace(part, replaced, &word)).collect())?;
        }
        return runs.finish();
    }
    let mut batch = command.clone();
    let (mut size, mut lines, mut any) = (fixed, 0, false);
    while let Some((word, ends_line)) = words.next()? {
        if fixed + word.len() + 1 > settings.max_size {
            return Err(Failure::usage("argument line too long"));
        }
        if size + word.len() + 1 > settings.max_size {
            runs.start(std::mem::replace(&mut batch, command.clone()))?;
            (size, lines) = (fixed, 0);
        }
        size += word.len() + 1;
        batch.push(word);
        lines += usize::from(ends_line);
        any = true;
        let full = settings.per_run.is_some_and(|most| batch.len() - command.len() >= most);
        if full || settings.lines_per_run.is_some_and(|most| lines >= most) {
            runs.start(std::mem::replace(&mut batch, command.clone()))?;
            (size, lines) = (fixed, 0);
        }
    }
    if batch.len() > command.len() || !any && !settings.none_without {
        runs.start(batch)?;
    }
    runs.finish()
}

impl Settings {
    fn parse(&mut self, arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
        let mut line = CommandLine::new(arguments);
        let positive = |count: usize| {
            if count == 0 { Err(Failure::usage("value must be at least 1")) } else { Ok(Some(count)) }
        };
        while let Some(item) = line.next()? {
            let option = match item {
                Item::Operand(first) => return line.program(first),
                Item::Option(option) => option,
            };
            match option.as_str() {
                "0" | "null" => self.delimiter = Some(0),
                "d" | "delimiter" => self.delimiter = Some(delimiter(&line.text()?)?),
                "I" | "replace" => self.replaced = Some(line.text()?),
                "i" => {
                    let text = line.optional_value().unwrap_or_else(|| "{}".into());
                    self.replaced = Some(crate::options::text(text)?);
                }
                "n" | "max-args" => self.per_run = positive(line.number()?)?,
                "L" | "max-lines" => self.lines_per_run = positive(line.number()?)?,
                "P" | "max-procs" => {
                    let count: usize = line.number()?;
                    self.at_once = if count == 0 { MAX_RUNS } else { count.min(MAX_RUNS) };
                }
                "s" | "max-chars" => self.max_size = line.number::<usize>()?.min(MAX_SIZE),
                "E" => self.end = Some(line.text()?),
                "a" | "arg-file" => self.file = Some(line.value()?),
                "r" | "no-run-if-empty" => self.none_without = true,
                "t" | "verbose" => self.trace = true,
                "x" | "exit" => {}
                _ => return Err(unknown(&option)),
            }
        }
        Ok(Vec::new())
    }
}

fn delimiter(text: &str) -> Result<u8, Failure> {
    Ok(match text {
        "\\n" => b'\n',
        "\\t" => b'\t',
        "\\0" => 0,
        "\\\\" => b'\\',
        _ if text.len() == 1 => text.as_bytes()[0],
        _ => return Err(Failure::Usage(format!("invalid input delimiter '{text}'"))),
    })
}

/// The arguments in the input.
struct Words<'a> {
    input: BufReader<Box<dyn Read>>,
    settings: &'a Settings,
    ended: bool,
}

impl Words<'_> {
    /// The next argument, and whether a line ends with it.
    fn next(&mut self) -> Result<Option<(OsString, bool)>, Failure> {
        let word = match (self.settings.delimiter, &self.settings.replaced) {
            _ if self.ended => None,
            (Some(delimiter), _) => self.delimited(delimiter)?.map(|word| (word, true)),
            (None, Some(_)) => self.line()?.map(|word| (word, true)),
            (None, None) => self.quoted(false)?,
        };
        let is_end = |word: &OsString| self.settings.end.as_ref().is_some_and(|end| *word == **end);
        self.ended |= word.as_ref().is_none_or(|(word, _)| is_end(word));
        Ok(word.filter(|_| !self.ended))
    }

    fn delimited(&mut self, delimiter: u8) -> Result<Option<OsString>, Failure> {
        let mut word = Vec::new();
        let length = self.input.by_ref().take(MAX_SIZE as u64).read_until(delimiter, &mut word)?;
        if word.last() == Some(&delimiter) {
            word.pop();
        }
        Ok((length > 0).then(|| OsString::from_vec(word)))
    }

    /// A line that is not empty, without the blanks it begins with, and without quotes.
    fn line(&mut self) -> Result<Option<OsString>, Failure> {
        Ok(self.quoted(true)?.map(|(word, _)| word))
    }

    /// A word, which blanks end unless they are quoted, or a whole line of them.
    fn quoted(&mut self, whole_line: bool) -> Result<Option<(OsString, bool)>, Failure> {
        let mut word: Option<Vec<u8>> = None;
        let mut quote = None;
        loop {
            let Some(byte) = self.input.fill_buf()?.first().copied() else {
                if quote.is_some() {
                    return Err(Failure::usage("unmatched quote; by default quotes are special unless you use -0"));
                }
                return Ok(word.map(|word| (OsString::from_vec(word), true)));
            };
            self.input.consume(1);
            match (byte, quote) {
                (b'\n', None) if word.is_some() => return Ok(word.map(|word| (OsString::from_vec(word), true))),
                (b'\n', Some(_)) => {
                    return Err(Failure::usage("unmatched quote; by default quotes are special unless you use -0"));
                }
                (b' ' | b'\t', None) if whole_line && word.is_some() => word.get_or_insert_default().push(byte),
                (b' ' | b'\t', None) if word.is_some() => {
                    let ends_line = self.only_line_end_left()?;
                    return Ok(word.map(|word| (OsString::from_vec(word), ends_line)));
                }
                (b' ' | b'\t' | b'\n', None) => {}
                (b'\'' | b'"', None) => {
                    quote = Some(byte);
                    word.get_or_insert_default();
                }
                (byte, Some(open)) if byte == open => quote = None,
                (b'\\', None) => {
                    let mut next = [0];
                    if self.input.read(&mut next)? == 1 {
                        word.get_or_insert_default().push(next[0]);
                    }
                }
                (byte, _) => word.get_or_insert_default().push(byte),
            }
            if word.as_ref().is_some_and(|word| word.len() > MAX_SIZE) {
                return Err(Failure::usage("argument line too long"));
            }
        }
    }

    /// GNU's xargs takes a line that ends with a blank to go on in the next one.
    fn only_line_end_left(&mut self) -> Result<bool, Failure> {
        Ok(self.input.fill_buf()?.is_empty())
    }
}

/// The programs under way.
struct Runs<'a> {
    running: usize,
    code: u8,
    settings: &'a Settings,
    /// Standard input is where arguments come from: programs get none.
    detached: bool,
}

impl Runs<'_> {
    fn start(&mut self, argv: Vec<OsString>) -> Result<(), Failure> {
        while self.running >= self.settings.at_once {
            self.wait()?;
        }
        if self.settings.trace {
            let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
            eprintln!("{}", words.join(" "));
        }
        io::stdout().flush()?;
        let mut program = Program::new(argv);
        if self.detached {
            program.input = Some(husk_process::memory_file()?);
        }
        program.launch()?;
        self.running += 1;
        Ok(())
    }

    /// Waits for one of them to end; an end that is final for all is a failure.
    fn wait(&mut self) -> Result<(), Failure> {
        let (pid, status) = husk_process::wait(None)?;
        self.running -= 1;
        match status {
            Status::Exited(0) => {}
            Status::Exited(255) => return Err(Failure::Code(124, "exited with status 255; aborting".to_owned())),
            Status::Exited(_) => self.code = FAILED,
            Status::Signaled(Signal(number)) => {
                return Err(Failure::Code(125, format!("process {pid} terminated by signal {number}")));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<u8, Failure> {
        while self.running > 0 {
            self.wait()?;
        }
        Ok(self.code)
    }
}
