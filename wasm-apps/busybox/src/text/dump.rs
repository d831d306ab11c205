//! `hexdump` and `xxd`.

use std::ffi::OsString;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;

use super::open;
use crate::failure::Failure;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const HEXDUMP_USAGE: &str = "hexdump [-bcCdovx] [-n COUNT] [-s OFFSET] [FILE]...

Print bytes as numbers

  -C  Bytes, and as text    -b  Octal bytes    -c  Characters    -d  Decimal words    -o  Octal words    -x  Words
  -v  Repeated lines, too   -n COUNT  So many bytes    -s OFFSET  From there on";

pub(crate) const XXD_USAGE: &str = "xxd [-pru] [-c COLUMNS] [-g SIZE] [-l COUNT] [-s OFFSET] [FILE]

Print bytes as hexadecimal numbers and text, or -r read them

  -p  Only numbers    -r  The other way round    -u  Capital letters";

fn number(text: &str) -> Result<u64, Failure> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| Failure::Usage(format!("invalid number '{text}'")))
}

/// All files one after the other, from an offset on.
fn input(files: &[PathBuf], skip: u64, count: u64) -> Result<Box<dyn Read>, Failure> {
    let mut all: Box<dyn Read> = Box::new(io::empty());
    for path in files {
        all = Box::new(all.chain(open(path)?));
    }
    if files.is_empty() {
        all = Box::new(io::stdin().lock());
    }
    io::copy(&mut all.by_ref().take(skip), &mut io::sink())?;
    Ok(Box::new(all.take(count)))
}

/// Up to 16 bytes, fewer only at the end.
fn row(input: &mut dyn Read, length: usize) -> io::Result<Vec<u8>> {
    let mut row = Vec::with_capacity(length);
    input.take(length as u64).read_to_end(&mut row)?;
    Ok(row)
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

pub(crate) fn hexdump(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut format, mut every, mut count, mut skip, mut files) = ('w', false, u64::MAX, 0, Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(file) => files.push(PathBuf::from(file)),
            Item::Option(option) => match option.as_str() {
                "b" | "c" | "C" | "d" | "o" | "x" => format = option.chars().next().unwrap_or(format),
                "v" => every = true,
                "n" => count = number(&line.text()?)?,
                "s" => skip = number(&line.text()?)?,
                _ => return Err(unknown(&option)),
            },
        }
    }
    let mut input = input(&files, skip, count)?;
    let mut output = BufWriter::new(io::stdout().lock());
    let (mut offset, mut last, mut starred) = (skip, Vec::new(), false);
    let width = if format == 'C' { 8 } else { 7 };
    loop {
        let bytes = row(&mut input, 16)?;
        if bytes.is_empty() {
            break;
        }
        if bytes == last && bytes.len() == 16 && !every {
            if !starred {
                writeln!(output, "*")?;
            }
            starred = true;
        } else {
            starred = false;
            writeln!(output, "{offset:0width$x}{}", columns(format, &bytes))?;
        }
        offset += bytes.len() as u64;
        last = bytes;
    }
    if offset > skip {
        writeln!(output, "{offset:0width$x}")?;
    }
    output.flush()?;
    Ok(0)
}

/// A line of `hexdump` behind its offset.
fn columns(format: char, bytes: &[u8]) -> String {
    let mut line = String::new();
    if format == 'C' {
        for place in 0..16 {
            line.push_str(if place % 8 == 0 { "  " } else { " " });
            line.push_str(&bytes.get(place).map_or("  ".to_owned(), |byte| format!("{byte:02x}")));
        }
        let text: String = bytes.iter().map(|byte| printable(*byte)).collect();
        return line + "  |" + &text + "|";
    }
    if matches!(format, 'b' | 'c') {
        for byte in bytes {
            line.push_str(&match (format, byte) {
                ('b', _) => format!(" {byte:03o}"),
                (_, b'\0') => "  \\0".to_owned(),
                (_, b'\n') => "  \\n".to_owned(),
                (_, b'\t') => "  \\t".to_owned(),
                (_, b'\r') => "  \\r".to_owned(),
                (_, byte) if byte.is_ascii_graphic() || *byte == b' ' => format!("   {}", char::from(*byte)),
                _ => format!(" {byte:03o}"),
            });
        }
        return line;
    }
    for pair in bytes.chunks(2) {
        let word = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]);
        line.push_str(&match format {
            'd' => format!("   {word:05}"),
            'o' => format!("  {word:06o}"),
            'x' => format!("    {word:04x}"),
            _ => format!(" {word:04x}"),
        });
    }
    line
}

pub(crate) fn xxd(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut plain, mut reverse, mut upper, mut columns, mut group) = (false, false, false, None, 2_usize);
    let (mut count, mut skip, mut files) = (u64::MAX, 0, Vec::new());
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(file) => files.push(PathBuf::from(file)),
            Item::Option(option) => match option.as_str() {
                "p" => plain = true,
                "r" => reverse = true,
                "u" => upper = true,
                "c" => columns = Some(line.number::<usize>()?.clamp(1, 256)),
                "g" => group = line.number()?,
                "l" => count = number(&line.text()?)?,
                "s" => skip = number(&line.text()?)?,
                _ => return Err(unknown(&option)),
            },
        }
    }
    let mut input = input(&files, skip, count)?;
    let mut output = BufWriter::new(io::stdout().lock());
    if reverse {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        text.lines().try_for_each(|line| output.write_all(&bytes_of(line, plain)))?;
        output.flush()?;
        return Ok(0);
    }
    let length = columns.unwrap_or(if plain { 30 } else { 16 });
    let group = if group == 0 { length } else { group };
    let hex = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
    let mut offset = skip;
    loop {
        let bytes = row(&mut input, length)?;
        if bytes.is_empty() {
            break;
        }
        if plain {
            writeln!(output, "{}", bytes.iter().map(hex).collect::<String>())?;
            continue;
        }
        let groups: Vec<String> = bytes.chunks(group).map(|group| group.iter().map(hex).collect()).collect();
        let width = length * 2 + length.div_ceil(group) - 1;
        let text: String = bytes.iter().map(|byte| printable(*byte)).collect();
        writeln!(output, "{offset:08x}: {:<width$}  {text}", groups.join(" "))?;
        offset += bytes.len() as u64;
    }
    output.flush()?;
    Ok(0)
}

/// The bytes of a line that `xxd` has printed.
fn bytes_of(line: &str, plain: bool) -> Vec<u8> {
    let numbers = match line.split_once(": ") {
        Some((_, rest)) if !plain => rest.split("  ").next().unwrap_or_default(),
        _ => line,
    };
    let digits: Vec<u32> = numbers.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
