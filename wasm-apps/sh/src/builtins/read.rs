//! `read`.

use std::io;
use std::rc::Rc;

use bstr::ByteSlice;

use super::Outcome;
use crate::exec::Shell;
use crate::fields::split_line;
use crate::input::{Ended, Wanted, read_bytes};
use crate::process::terminal::{self, Mode};
use crate::state::Stream;
use crate::syntax::is_name;

#[derive(Default)]
struct Options {
    raw: bool,
    silent: bool,
    prompt: Vec<u8>,
    seconds: Option<f64>,
    count: Option<usize>,
    delimiter: Option<u8>,
    fd: u32,
}

/// The options, and where the names begin.
fn options(arguments: &[Vec<u8>]) -> Result<(Options, usize), String> {
    let mut options = Options::default();
    let mut index = 1;
    while let Some(letters) =
        arguments.get(index).and_then(|word| word.strip_prefix(b"-")).filter(|word| !word.is_empty())
    {
        index += 1;
        if letters == b"-" {
            break;
        }
        for (at, letter) in letters.iter().enumerate() {
            match letter {
                b'r' => options.raw = true,
                b's' => options.silent = true,
                b'p' | b't' | b'n' | b'd' | b'u' => {
                    let mut value = letters[at + 1..].to_vec();
                    if value.is_empty() {
                        value = arguments
                            .get(index)
                            .cloned()
                            .ok_or_else(|| format!("-{}: value expected", char::from(*letter)))?;
                        index += 1;
                    }
                    options.take(*letter, value)?;
                    break;
                }
                _ => return Err(format!("Illegal option -{}", char::from(*letter))),
            }
        }
    }
    Ok((options, index))
}

impl Options {
    fn take(&mut self, letter: u8, value: Vec<u8>) -> Result<(), String> {
        let wrong = || format!("Illegal number: {}", value.as_bstr());
        let text = value.to_str_lossy();
        match letter {
            b'p' => self.prompt = value,
            b'd' => self.delimiter = Some(value.first().copied().unwrap_or_default()),
            b't' => self.seconds = Some(text.parse().ok().filter(|seconds| *seconds >= 0.0).ok_or_else(wrong)?),
            b'n' => self.count = Some(text.parse().map_err(|_| wrong())?),
            _ => self.fd = text.parse().map_err(|_| wrong())?,
        }
        Ok(())
    }
}

pub(super) fn read(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let (options, index) = match options(arguments) {
        Ok(options) => options,
        Err(message) => return shell.complain(b"read", message),
    };
    let names = &arguments[index..];
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return shell.complain(b"read", format!("{}: bad variable name", name.as_bstr()));
    }
    let Some(stream) = shell.state.streams.get(options.fd).map(Rc::clone) else { return Ok(1) };
    if !options.prompt.is_empty() && stream.fd().is_ok_and(|fd| terminal::state(fd).is_ok()) {
        shell.write(2, &options.prompt)?;
    }
    let quiet = options.silent.then(|| Quiet::new(&stream)).flatten();
    let line = line(shell, &stream, &options);
    drop(quiet);
    let line = match line {
        Ok(line) => line,
        Err(error) => {
            let reason = crate::os::reason(&error);
            return shell.complain(b"read", format!("read error: {reason}")).map(|_| 1);
        }
    };
    assign(shell, names, &line)?;
    Ok(match line.ended {
        Ended::Wanted => 0,
        Ended::AtEnd => 1,
        Ended::TimeOut => 142,
        Ended::Signal(signal) => 128 + signal.0,
    })
}

/// A line, with the bytes marked that a backslash has made ordinary.
struct Line {
    text: Vec<u8>,
    escaped: Vec<bool>,
    ended: Ended,
}

fn line(shell: &mut Shell, stream: &Stream, options: &Options) -> io::Result<Line> {
    let delimiter = options.delimiter.unwrap_or(b'\n');
    let mut line = Line { text: Vec::new(), escaped: Vec::new(), ended: Ended::Wanted };
    loop {
        let wanted = match options.count {
            Some(count) if line.text.len() >= count => break,
            Some(count) => Wanted { delimiter, at_most: count - line.text.len(), seconds: options.seconds },
            None => Wanted { delimiter, at_most: usize::MAX, seconds: options.seconds },
        };
        let (mut text, ended) = read_bytes(shell, stream, &wanted)?;
        line.ended = ended;
        let complete = text.last() == Some(&delimiter);
        if complete {
            text.pop();
        }
        let continued = !options.raw && line.take(&text);
        if options.raw {
            line.escaped.resize(line.text.len() + text.len(), false);
            line.text.append(&mut text);
        }
        if !(continued && complete) || line.ended != Ended::Wanted {
            break;
        }
    }
    Ok(line)
}

impl Line {
    /// Adds text in which backslashes escape; `true` if one stands at its end.
    fn take(&mut self, text: &[u8]) -> bool {
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            let (byte, escaped) = match (byte, bytes.as_slice()) {
                (b'\\', []) => return true,
                (b'\\', _) => (bytes.next().unwrap_or(byte), true),
                _ => (byte, false),
            };
            self.text.push(*byte);
            self.escaped.push(escaped);
        }
        false
    }
}

fn assign(shell: &mut Shell, names: &[Vec<u8>], line: &Line) -> Result<(), crate::exec::Flow> {
    if names.is_empty() {
        return shell.assign("REPLY", line.text.clone());
    }
    let mut fields = split_line(&line.text, &line.escaped, &shell.separators(), names.len()).into_iter();
    for name in names {
        shell.assign(&name.to_str_lossy(), fields.next().unwrap_or_default())?;
    }
    Ok(())
}

/// Keeps a terminal from showing what is typed.
struct Quiet<'a> {
    stream: &'a Stream,
    before: Mode,
}

impl<'a> Quiet<'a> {
    fn new(stream: &'a Stream) -> Option<Self> {
        let fd = stream.fd().ok()?;
        let before = terminal::state(fd).ok()?.mode;
        terminal::set_mode(fd, Mode { echo: false, ..before }).ok()?;
        Some(Self { stream, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Ok(fd) = self.stream.fd() {
            // A terminal that is gone needs no mode.
            let _ = terminal::set_mode(fd, self.before);
        }
    }
}
