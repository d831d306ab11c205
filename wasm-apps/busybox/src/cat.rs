//! `cat`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, StdoutLock, Write};
use std::path::Path;

use crate::failure::{Failure, for_each};
use crate::options::flags;

pub(crate) const USAGE: &str = "cat [-nbsETAvetu] [FILE]...

Print FILEs, or standard input, one after the other

  -n  Number lines    -b  Number lines that are not empty    -s  No more than one empty line in a row
  -E  Show ends of lines as $    -T  Show tabs as ^I    -v  Show other characters as ^X and M-x
  -A  As -vET    -e  As -vE    -t  As -vT";

const LONG: &[(&str, char)] = &[
    ("number", 'n'),
    ("number-nonblank", 'b'),
    ("squeeze-blank", 's'),
    ("show-ends", 'E'),
    ("show-tabs", 'T'),
    ("show-nonprinting", 'v'),
    ("show-all", 'A'),
];

pub(crate) fn cat(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (flags, mut operands) = flags(arguments, "nbsETvAetu", LONG)?;
    if operands.is_empty() {
        operands.push("-".into());
    }
    let has = |letters: &str| flags.contains(|flag| letters.contains(flag));
    let mut output = Output {
        number: has("n") && !has("b"),
        number_filled: has("b"),
        squeeze: has("s"),
        ends: has("EAe"),
        tabs: has("TAt"),
        visible: has("vAet"),
        line: 0,
        at_start: true,
        empty_lines: 0,
        writer: io::stdout().lock(),
    };
    let plain = flags.trim_matches('u').is_empty();
    for_each("cat", &operands, |name| {
        let path = Path::new(name);
        let mut input: Box<dyn Read> = if name == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(path).map_err(Failure::at(path))?)
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) if plain => output.writer.write_all(&buffer[..length])?,
                Ok(length) => output.decorated(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::at(path)(error)),
            }
            output.writer.flush()?;
        }
    })
}

struct Output {
    number: bool,
    number_filled: bool,
    squeeze: bool,
    ends: bool,
    tabs: bool,
    visible: bool,
    line: u64,
    /// Nothing of the line has been printed yet.
    at_start: bool,
    /// How many empty lines came last.
    empty_lines: u64,
    writer: StdoutLock<'static>,
}

impl Output {
    fn decorated(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut text = Vec::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let empty = self.at_start && *byte == b'\n';
            self.empty_lines = if empty { self.empty_lines + 1 } else { 0 };
            if empty && self.squeeze && self.empty_lines > 1 {
                continue;
            }
            if self.at_start && (self.number || self.number_filled && !empty) {
                self.line += 1;
                write!(text, "{:6}\t", self.line)?;
            }
            self.at_start = *byte == b'\n';
            match *byte {
                b'\n' if self.ends => text.write_all(b"$\n")?,
                b'\n' => text.write_all(b"\n")?,
                b'\t' if self.tabs => text.write_all(b"^I")?,
                b'\t' => text.write_all(b"\t")?,
                byte if self.visible => visible(&mut text, byte)?,
                byte => text.write_all(&[byte])?,
            }
        }
        self.writer.write_all(&text)
    }
}

/// Control characters as `^X`, those of the upper half with `M-` before them.
fn visible(text: &mut impl Write, byte: u8) -> io::Result<()> {
    let lower = byte & 0x7f;
    if byte != lower {
        text.write_all(b"M-")?;
    }
    match lower {
        0..0x20 | 0x7f => text.write_all(&[b'^', lower ^ 0x40]),
        _ => text.write_all(&[lower]),
    }
}
