//! Applets that read or write streams of text: cat, echo, head, printf, seq, tail, tee, wc, yes.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use crate::{Failure, for_each};

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// What head and tail count.
#[derive(Clone, Copy)]
enum Count {
    Lines(u64),
    Bytes(u64),
}

pub(crate) fn cat(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut number = false;
    let mut files = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('n') => number = true,
            Short('u') => {}
            Value(file) => files.push(PathBuf::from(file)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let mut output = io::stdout().lock();
    let mut line = 0;
    Ok(for_each("cat", &or_stdin(files), |path| {
        let mut input = open(path)?;
        if number { numbered(&mut input, &mut output, &mut line) } else { copy(&mut input, &mut output) }
            .map_err(Failure::at(path))
    }))
}

fn numbered(input: &mut dyn BufRead, output: &mut dyn Write, line: &mut u64) -> io::Result<()> {
    let mut text = Vec::new();
    while input.read_until(b'\n', &mut text)? > 0 {
        *line += 1;
        write!(output, "{line:6}\t")?;
        output.write_all(&text)?;
        text.clear();
    }
    output.flush()
}

fn copy(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            return output.flush();
        }
        let count = block.len();
        output.write_all(block)?;
        output.flush()?;
        input.consume(count);
    }
}

/// Opens a file, or standard input for `-`.
fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(BLOCK, io::stdin())));
    }
    // Linux opens directories and fails at the first read.
    if path.is_dir() {
        return Err(Failure::File(path.to_owned(), io::Error::other("Is a directory")));
    }
    let file = File::open(path).map_err(Failure::at(path))?;
    Ok(Box::new(BufReader::with_capacity(BLOCK, file)))
}

fn or_stdin(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    if files.is_empty() {
        files.push(PathBuf::from("-"));
    }
    files
}

pub(crate) fn echo(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut words = arguments.as_slice();
    let (mut newline, mut escapes) = (true, false);
    while let Some(flags) = words.first().and_then(|word| word.to_str()?.strip_prefix('-'))
        && !flags.is_empty()
        && flags.chars().all(|flag| "neE".contains(flag))
    {
        for flag in flags.chars() {
            match flag {
                'n' => newline = false,
                other => escapes = other == 'e',
            }
        }
        words = &words[1..];
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let mut text = words.join(" ");
    let mut more = true;
    if escapes {
        (text, more) = unescape(&text);
    }
    if newline && more {
        text.push('\n');
    }
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(0)
}

/// Replaces backslash escapes; the flag is false after `\c`, which ends all output.
fn unescape(text: &str) -> (String, bool) {
    let mut result = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => result.push('\n'),
            Some('t') => result.push('\t'),
            Some('r') => result.push('\r'),
            Some('a') => result.push('\x07'),
            Some('e') => result.push('\x1b'),
            Some('\\') => result.push('\\'),
            Some('c') => return (result, false),
            Some(digit @ '0'..='7') => {
                let mut value = digit.to_digit(8).unwrap_or(0);
                while let Some(next) = characters.peek().and_then(|next| next.to_digit(8)).filter(|_| value < 32) {
                    value = value * 8 + next;
                    characters.next();
                }
                result.extend(char::from_u32(value));
            }
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    (result, true)
}

pub(crate) fn head(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (count, files, _) = selection(arguments)?;
    let several = files.len() > 1;
    let mut output = io::stdout().lock();
    Ok(for_each("head", &files, |path| {
        let mut input = open(path)?;
        if several {
            writeln!(output, "==> {} <==", path.display())?;
        }
        match count {
            Count::Bytes(bytes) => copy(&mut BufReader::new(input.take(bytes)), &mut output)?,
            Count::Lines(lines) => {
                let mut line = Vec::new();
                for _ in 0..lines {
                    line.clear();
                    if input.read_until(b'\n', &mut line).map_err(Failure::at(path))? == 0 {
                        break;
                    }
                    output.write_all(&line)?;
                }
            }
        }
        Ok(())
    }))
}

pub(crate) fn tail(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (count, files, follow) = selection(arguments)?;
    let several = files.len() > 1;
    let mut output = io::stdout().lock();
    let code = for_each("tail", &files, |path| {
        if several {
            writeln!(output, "==> {} <==", path.display())?;
        }
        let mut contents = Vec::new();
        open(path)?.read_to_end(&mut contents).map_err(Failure::at(path))?;
        output.write_all(&contents[tail_start(&contents, count)..])?;
        output.flush()?;
        Ok(())
    });
    match files.as_slice() {
        [path] if follow && path != Path::new("-") => follow_growth(path, &mut output),
        _ => Ok(code),
    }
}

/// Where the last lines or bytes begin.
fn tail_start(contents: &[u8], count: Count) -> usize {
    let wanted = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    match count {
        Count::Bytes(bytes) => contents.len().saturating_sub(wanted(bytes)),
        Count::Lines(0) => contents.len(),
        Count::Lines(lines) => {
            let body = contents.strip_suffix(b"\n").unwrap_or(contents);
            let newlines = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
            newlines.map(|(index, _)| index + 1).nth(wanted(lines) - 1).unwrap_or(0)
        }
    }
}

/// Prints what is appended to a file, forever. Starts over when the file shrinks.
fn follow_growth(path: &Path, output: &mut dyn Write) -> Result<u8, Failure> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path).map_err(Failure::at(path))?;
    let mut position = file.seek(SeekFrom::End(0)).map_err(Failure::at(path))?;
    loop {
        let length = file.metadata().map_err(Failure::at(path))?.len();
        if length < position {
            position = 0;
        }
        if length > position {
            file.seek(SeekFrom::Start(position)).map_err(Failure::at(path))?;
            position += io::copy(&mut file, output)?;
            output.flush()?;
        } else {
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

/// The options head and tail share: `-n N`, `-c N`, `-N`, `-f`; ten lines by default.
fn selection(arguments: Vec<OsString>) -> Result<(Count, Vec<PathBuf>, bool), Failure> {
    let (mut count, mut follow, mut files) = (Count::Lines(10), false, Vec::new());
    let arguments =
        arguments.into_iter().map(|argument| match argument.to_str().and_then(|text| text.strip_prefix('-')) {
            Some(digits) if digits.parse::<u64>().is_ok() => OsString::from(format!("-n{digits}")),
            _ => argument,
        });
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('n') => count = Count::Lines(parser.value()?.parse()?),
            Short('c') => count = Count::Bytes(parser.value()?.parse()?),
            Short('f' | 'F') => follow = true,
            Value(file) => files.push(PathBuf::from(file)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok((count, or_stdin(files), follow))
}

pub(crate) fn wc(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let (mut lines, mut words, mut bytes) = (false, false, false);
    let mut files = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('l') => lines = true,
            Short('w') => words = true,
            Short('c') => bytes = true,
            Value(file) => files.push(PathBuf::from(file)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if !(lines || words || bytes) {
        (lines, words, bytes) = (true, true, true);
    }
    let row = |counts: [u64; 3], name: Option<&Path>| {
        let shown =
            counts.iter().zip([lines, words, bytes]).filter(|(_, show)| *show).map(|(count, _)| count.to_string());
        let mut columns: Vec<_> = shown.collect();
        columns.extend(name.map(|name| name.display().to_string()));
        println!("{}", columns.join(" "));
    };
    let mut total = [0; 3];
    let anonymous = files.is_empty();
    let files = or_stdin(files);
    let code = for_each("wc", &files, |path| {
        let counts = count_in(open(path)?).map_err(Failure::at(path))?;
        row(counts, (!anonymous).then_some(path));
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        Ok(())
    });
    if files.len() > 1 {
        row(total, Some(Path::new("total")));
    }
    Ok(code)
}

/// Lines, words and bytes.
fn count_in(mut input: Box<dyn BufRead>) -> io::Result<[u64; 3]> {
    let [mut lines, mut words, mut bytes] = [0; 3];
    let mut in_word = false;
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            return Ok([lines, words, bytes]);
        }
        for byte in block {
            lines += u64::from(*byte == b'\n');
            let space = byte.is_ascii_whitespace();
            words += u64::from(!space && !in_word);
            in_word = !space;
        }
        let count = block.len();
        bytes += count as u64;
        input.consume(count);
    }
}

pub(crate) fn tee(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut append = false;
    let mut files = Vec::new();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('a') => append = true,
            Value(file) => files.push(PathBuf::from(file)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let mut outputs: Vec<(PathBuf, File)> = Vec::new();
    let code = for_each("tee", &files, |path| {
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).append(append).truncate(!append);
        outputs.push((path.to_owned(), options.open(path).map_err(Failure::at(path))?));
        Ok(())
    });
    let (mut input, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            return Ok(code);
        }
        let count = block.len();
        stdout.write_all(block)?;
        stdout.flush()?;
        for (path, output) in &mut outputs {
            output.write_all(block).map_err(Failure::at(&*path))?;
        }
        input.consume(count);
    }
}

pub(crate) fn yes(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let line = if words.is_empty() { "y\n".to_owned() } else { words.join(" ") + "\n" };
    let block = line.repeat((8192 / line.len()).max(1));
    let mut output = io::stdout().lock();
    loop {
        output.write_all(block.as_bytes())?;
    }
}

pub(crate) fn seq(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let numbers: Result<Vec<i64>, _> = arguments.iter().map(|word| word.to_string_lossy().parse()).collect();
    let numbers = numbers.map_err(|_| Failure::Usage("whole numbers expected".to_owned()))?;
    let (first, step, last) = match numbers.as_slice() {
        [last] => (1, 1, *last),
        [first, last] => (*first, 1, *last),
        [first, step, last] if *step != 0 => (*first, *step, *last),
        _ => return Err(Failure::Usage("usage: seq [FIRST [STEP]] LAST".to_owned())),
    };
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut number = first;
    while if step > 0 { number <= last } else { number >= last } {
        writeln!(output, "{number}")?;
        match number.checked_add(step) {
            Some(next) => number = next,
            None => break,
        }
    }
    output.flush()?;
    Ok(0)
}

pub(crate) fn printf(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((format, mut values)) = words.split_first().map(|(format, values)| (format, values.iter())) else {
        return Err(Failure::Usage("usage: printf FORMAT [ARGUMENT]...".to_owned()));
    };
    let mut output = String::new();
    // The format is used again for as long as there are values left and it takes any.
    loop {
        let before = values.len();
        let (text, more) = formatted(format, &mut values)?;
        output.push_str(&text);
        if !more || values.len() == 0 || values.len() == before {
            break;
        }
    }
    io::stdout().lock().write_all(output.as_bytes())?;
    Ok(0)
}

/// One pass over a printf format; the flag is false after `\c`.
fn formatted(format: &str, values: &mut std::slice::Iter<'_, String>) -> Result<(String, bool), Failure> {
    let mut result = String::new();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        let (text, more) = unescape(&rest[..percent]);
        result.push_str(&text);
        if !more {
            return Ok((result, false));
        }
        rest = &rest[percent + 1..];
        let end = rest.find(|character: char| !"-0123456789".contains(character)).unwrap_or(rest.len());
        let (flags, conversion) = (&rest[..end], rest[end..].chars().next());
        rest = &rest[end + conversion.map_or(0, char::len_utf8)..];
        let value = match conversion {
            Some('%') => "%".to_owned(),
            Some('s') => values.next().cloned().unwrap_or_default(),
            Some('b') => unescape(values.next().map_or("", String::as_str)).0,
            Some('c') => values.next().and_then(|value| value.chars().next()).map(String::from).unwrap_or_default(),
            Some('d' | 'i' | 'u') => integer(values.next())?.to_string(),
            Some('x') => format!("{:x}", integer(values.next())?),
            Some('o') => format!("{:o}", integer(values.next())?),
            _ => return Err(Failure::Usage(format!("%{}: invalid directive", conversion.unwrap_or_default()))),
        };
        pad(&mut result, flags, &value);
    }
    let (text, more) = unescape(rest);
    result.push_str(&text);
    Ok((result, more))
}

fn integer(value: Option<&String>) -> Result<i64, Failure> {
    value.map_or(Ok(0), |value| value.parse().map_err(|_| Failure::Usage(format!("{value}: invalid number"))))
}

/// Appends `value` padded as flags such as `-10` or `03` say. Widths beyond 4096 count as 4096.
fn pad(result: &mut String, flags: &str, value: &str) {
    let width = flags.trim_start_matches(['-', '0']).parse::<usize>().unwrap_or(0).min(4096);
    match flags.as_bytes().first() {
        Some(b'-') => result.push_str(&format!("{value:<width$}")),
        Some(b'0') => result.push_str(&format!("{value:0>width$}")),
        _ => result.push_str(&format!("{value:>width$}")),
    }
}
