//! `-printf`.

use std::fs;
use std::io::{self, Write};
use std::os::wasi::ffi::OsStrExt;

use super::Entry;
use super::evaluate::time_text;
use super::question::Stamp;
use crate::accounts;
use crate::attributes::{self, type_letter};

/// A format, in parts.
pub(super) struct Format {
    parts: Vec<Part>,
}

enum Part {
    Text(Vec<u8>),
    /// Flags and width, then what to print, and the letter of a time's format.
    Field {
        padding: Padding,
        field: char,
        time: char,
    },
    /// `\c`: nothing more.
    Flush,
}

#[derive(Debug, Clone, Copy, Default)]
struct Padding {
    left: bool,
    zeros: bool,
    width: usize,
}

impl Format {
    /// Reads a format; what makes no sense stands for itself.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(character) = rest.next() {
            let part = match character {
                '\\' => escape(&mut rest, &mut plain),
                '%' => field(&mut rest, &mut plain),
                other => {
                    push(&mut plain, other);
                    None
                }
            };
            if let Some(part) = part {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(part);
            }
        }
        parts.push(Part::Text(plain));
        Self { parts }
    }

    /// Prints what a file is like.
    pub(super) fn write(&self, entry: &Entry, output: &mut impl Write) -> io::Result<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => output.write_all(text)?,
                Part::Flush => {
                    output.flush()?;
                    break;
                }
                Part::Field { padding, field, time } => {
                    let value = value(entry, *field, *time);
                    padding.write(&value, output)?;
                }
            }
        }
        Ok(())
    }
}

impl Padding {
    fn write(self, value: &[u8], output: &mut impl Write) -> io::Result<()> {
        let missing = self.width.saturating_sub(value.len());
        let fill = if self.zeros && !self.left { "0" } else { " " }.repeat(missing);
        if self.left {
            output.write_all(value)?;
            output.write_all(fill.as_bytes())
        } else {
            output.write_all(fill.as_bytes())?;
            output.write_all(value)
        }
    }
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn push(text: &mut Vec<u8>, character: char) {
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(rest: &mut Characters<'_>, plain: &mut Vec<u8>) -> Option<Part> {
    let Some(character) = rest.next() else {
        plain.push(b'\\');
        return None;
    };
    match character {
        'n' => plain.push(b'\n'),
        't' => plain.push(b'\t'),
        'r' => plain.push(b'\r'),
        'a' => plain.push(7),
        'b' => plain.push(8),
        'f' => plain.push(12),
        'v' => plain.push(11),
        '\\' => plain.push(b'\\'),
        'c' => return Some(Part::Flush),
        digit if digit.is_digit(8) => {
            let mut value = digit.to_digit(8).unwrap_or_default();
            for _ in 0..2 {
                let Some(digit) = rest.peek().and_then(|next| next.to_digit(8)) else { break };
                value = value * 8 + digit;
                rest.next();
            }
            plain.push((value & 0xff) as u8);
        }
        other => {
            plain.push(b'\\');
            push(plain, other);
        }
    }
    None
}

fn field(rest: &mut Characters<'_>, plain: &mut Vec<u8>) -> Option<Part> {
    let mut padding = Padding::default();
    while let Some(flag) = rest.next_if(|next| "-0+ #".contains(*next)) {
        padding.left |= flag == '-';
        padding.zeros |= flag == '0';
    }
    while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
        padding.width = (padding.width * 10 + digit as usize).min(4096);
        rest.next();
    }
    match rest.next() {
        Some('%') | None => plain.push(b'%'),
        Some(field @ ('A' | 'C' | 'T')) => {
            return Some(Part::Field { padding, field, time: rest.next().unwrap_or('c') });
        }
        Some(field) if "acdDfFgGhHiklmMnpPsStuUyYb".contains(field) => {
            return Some(Part::Field { padding, field, time: ' ' });
        }
        Some(other) => {
            plain.push(b'%');
            push(plain, other);
        }
    }
    None
}

fn value(entry: &Entry, field: char, time: char) -> Vec<u8> {
    let path = entry.path.as_os_str().as_bytes();
    match field {
        'p' => return path.to_vec(),
        'f' => return entry.name().to_vec(),
        'H' => return entry.root.as_os_str().as_bytes().to_vec(),
        'P' => {
            let below = entry.path.strip_prefix(&entry.root).map(|below| below.as_os_str().as_bytes().to_vec());
            return below.unwrap_or_default();
        }
        'h' => {
            let slash = path.iter().rposition(|byte| *byte == b'/');
            return slash.map_or(b".".to_vec(), |slash| path[..slash].to_vec());
        }
        'd' => return entry.depth.to_string().into_bytes(),
        'l' => return fs::read_link(&entry.path).map_or_else(|_| Vec::new(), |to| to.as_os_str().as_bytes().to_vec()),
        _ => {}
    }
    let Some(attributes) = entry.attributes() else { return Vec::new() };
    let text = match field {
        's' => attributes.size.to_string(),
        'k' => attributes.blocks().div_ceil(2).to_string(),
        'b' => attributes.blocks().to_string(),
        'm' => format!("{:o}", attributes.mode),
        'M' => attributes.mode_text(),
        'n' => attributes.links.to_string(),
        'i' => attributes.inode.to_string(),
        'D' => attributes.device.to_string(),
        'u' => accounts::user_name(attributes.uid),
        'U' => attributes.uid.to_string(),
        'g' => accounts::group_name(attributes.gid),
        'G' => attributes.gid.to_string(),
        'y' => type_letter(attributes.kind, 'f').to_string(),
        'Y' => attributes::of(&entry.path, true).map_or('N', |target| type_letter(target.kind, 'f')).to_string(),
        'a' | 'A' => time_field(Stamp::Accessed.of(attributes), time),
        'c' | 'C' => time_field(Stamp::Changed.of(attributes), time),
        't' | 'T' => time_field(Stamp::Modified.of(attributes), time),
        _ => String::new(),
    };
    text.into_bytes()
}

fn time_field(time: attributes::Time, letter: char) -> String {
    match letter {
        ' ' | 'c' => time_text(time, "%a %b %e %H:%M:%S") + &format!(".{:09}0 ", time.1) + &time_text(time, "%Y"),
        '@' => format!("{}.{:09}0", time.0, time.1),
        '+' => time_text(time, "%Y-%m-%d+%H:%M:%S") + &format!(".{:09}0", time.1),
        'T' | 'S' => time_text(time, &format!("%{letter}")) + &format!(".{:09}0", time.1),
        letter => time_text(time, &format!("%{letter}")),
    }
}
