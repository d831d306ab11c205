//! Searches one stream after the other, block by block, and prints what the options want to see.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Read, StdoutLock, Write};

use super::patterns::Find;
use crate::failure::Failure;

/// How much is read at once.
const BLOCK: usize = 64 * 1024;
/// What begins the name, the separators, the numbers and the matches in colour, and what ends it.
const COLORS: Colors =
    Colors { name: "\x1b[35m", mark: "\x1b[36m", number: "\x1b[32m", found: "\x1b[01;31m", end: "\x1b[m" };

struct Colors {
    name: &'static str,
    mark: &'static str,
    number: &'static str,
    found: &'static str,
    end: &'static str,
}

/// What is printed of the lines that are selected.
#[derive(Debug)]
pub(super) struct Show {
    pub(super) invert: bool,
    pub(super) count: bool,
    pub(super) files_with: bool,
    pub(super) files_without: bool,
    pub(super) line_numbers: bool,
    pub(super) offsets: bool,
    pub(super) only_matching: bool,
    pub(super) quiet: bool,
    pub(super) names: bool,
    pub(super) nul_after_name: bool,
    pub(super) binary_is_text: bool,
    pub(super) skip_binary: bool,
    pub(super) line_buffered: bool,
    pub(super) color: bool,
    pub(super) max_count: Option<u64>,
    pub(super) before: usize,
    pub(super) after: usize,
    /// What ends a line.
    pub(super) terminator: u8,
    /// What standard input is called.
    pub(super) label: String,
}

impl Default for Show {
    fn default() -> Self {
        Self {
            invert: false,
            count: false,
            files_with: false,
            files_without: false,
            line_numbers: false,
            offsets: false,
            only_matching: false,
            quiet: false,
            names: false,
            nul_after_name: false,
            binary_is_text: false,
            skip_binary: false,
            line_buffered: false,
            color: false,
            max_count: None,
            before: 0,
            after: 0,
            terminator: b'\n',
            label: "(standard input)".to_owned(),
        }
    }
}

impl Show {
    /// Whether one selected line says all there is to say about a stream.
    fn first_is_enough(&self) -> bool {
        self.quiet || self.files_with || self.files_without
    }

    fn prints_lines(&self) -> bool {
        !self.first_is_enough() && !self.count
    }
}

pub(super) struct Search<'a> {
    matcher: &'a dyn Find,
    pub(super) show: Show,
    pub(super) output: BufWriter<StdoutLock<'static>>,
    pub(super) any_selected: bool,
    /// Whether a group of lines with context was printed: the next one is set apart.
    any_printed: bool,
}

/// Where the search of a stream is.
#[derive(Default)]
struct Progress {
    selected: u64,
    line: u64,
    offset: u64,
    /// Lines seen but not printed, with their numbers and offsets.
    before: VecDeque<(u64, u64, Vec<u8>)>,
    /// How many more lines are context.
    after: usize,
    /// The number of the last line printed.
    printed: u64,
    binary: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(matcher: &'a dyn Find, show: Show) -> Self {
        let output = BufWriter::with_capacity(BLOCK, io::stdout().lock());
        Self { matcher, show, output, any_selected: false, any_printed: false }
    }

    /// Searches a stream; fails with `Failure::File` if it cannot be read.
    pub(super) fn stream(&mut self, input: &mut dyn Read, name: &str) -> Result<(), Failure> {
        let mut progress = Progress::default();
        let mut buffer = Vec::with_capacity(BLOCK);
        let mut searching = self.show.max_count != Some(0);
        while searching {
            // Whoever waits for output sees it before more input is waited for.
            self.output.flush()?;
            let read = read_block(input, &mut buffer).map_err(Failure::at(name))?;
            let ended = read == 0;
            let complete = match buffer.iter().rposition(|byte| *byte == self.show.terminator) {
                _ if ended => buffer.len(),
                Some(last) => last + 1,
                None => continue,
            };
            if !progress.binary && self.show.terminator == b'\n' && buffer[..complete].contains(&0) {
                progress.binary = !self.show.binary_is_text;
                searching = !(progress.binary && self.show.skip_binary);
            }
            searching = searching && self.block(&buffer[..complete], name, &mut progress)? && !ended;
            buffer.drain(..complete);
        }
        self.finish(name, &progress)
    }

    /// What is known of a stream only at its end.
    fn finish(&mut self, name: &str, progress: &Progress) -> Result<(), Failure> {
        let found = progress.selected > 0;
        let listed = self.show.files_with && found || self.show.files_without && !found;
        self.any_selected |= found;
        if self.show.quiet {
            return Ok(());
        }
        if listed {
            self.output.write_all(name.as_bytes())?;
            self.output.write_all(if self.show.nul_after_name { b"\0" } else { b"\n" })?;
        } else if self.show.count && !self.show.first_is_enough() {
            self.name(name, b':')?;
            writeln!(self.output, "{}", progress.selected)?;
        }
        Ok(())
    }

    /// Searches whole lines. False: nothing more is to be found out about the stream.
    fn block(&mut self, lines: &[u8], name: &str, progress: &mut Progress) -> Result<bool, Failure> {
        let by_block = self.matcher.takes_many_lines() && self.show.terminator == b'\n' && !self.show.invert;
        let mut start = 0;
        // The line that holds the next match, once it is known.
        let mut next_match = None;
        while start < lines.len() {
            if by_block && next_match.is_none_or(|at| at < start) {
                next_match = Some(self.matcher.find(lines, start).map_or(usize::MAX, |(from, _)| from));
            }
            let end = lines[start..].iter().position(|byte| *byte == self.show.terminator);
            let (end, next) = end.map_or((lines.len(), lines.len()), |at| (start + at, start + at + 1));
            let line = &lines[start..end];
            let matched = match next_match {
                Some(at) => at <= end && at != usize::MAX,
                None => self.matcher.find(line, 0).is_some(),
            };
            progress.line += 1;
            if !self.line(line, matched != self.show.invert, name, progress)? {
                return Ok(false);
            }
            progress.offset += (next - start) as u64;
            start = next;
            if next_match.is_some_and(|at| at < start) {
                next_match = None;
            }
        }
        Ok(true)
    }

    fn line(&mut self, line: &[u8], selected: bool, name: &str, progress: &mut Progress) -> Result<bool, Failure> {
        let full = self.show.max_count.is_some_and(|most| progress.selected >= most);
        if selected && !full {
            progress.selected += 1;
            return self.selected(line, name, progress);
        }
        if progress.after > 0 {
            progress.after -= 1;
            self.print(line, (progress.line, progress.offset), false, name)?;
            progress.printed = progress.line;
        } else if full {
            return Ok(false);
        } else if self.show.before > 0 {
            if progress.before.len() == self.show.before {
                progress.before.pop_front();
            }
            progress.before.push_back((progress.line, progress.offset, line.to_vec()));
        }
        Ok(!full || progress.after > 0)
    }

    fn selected(&mut self, line: &[u8], name: &str, progress: &mut Progress) -> Result<bool, Failure> {
        if self.show.first_is_enough() {
            return Ok(false);
        }
        if self.show.prints_lines() {
            if progress.binary {
                writeln!(self.output, "grep: {name}: binary file matches")?;
                return Ok(false);
            }
            let first = progress.before.front().map_or(progress.line, |(number, ..)| *number);
            let with_context = self.show.before + self.show.after > 0 && !self.show.only_matching;
            if with_context && self.any_printed && (progress.printed == 0 || first != progress.printed + 1) {
                let (mark, end) = if self.show.color { (COLORS.mark, COLORS.end) } else { ("", "") };
                writeln!(self.output, "{mark}--{end}")?;
            }
            for (number, offset, line) in std::mem::take(&mut progress.before) {
                self.print(&line, (number, offset), false, name)?;
            }
            self.print(line, (progress.line, progress.offset), true, name)?;
            (self.any_printed, progress.printed, progress.after) = (true, progress.line, self.show.after);
        }
        let full = self.show.max_count.is_some_and(|most| progress.selected >= most);
        Ok(!full || progress.after > 0)
    }

    fn print(&mut self, line: &[u8], place: (u64, u64), selected: bool, name: &str) -> Result<(), Failure> {
        let mark = if selected { b':' } else { b'-' };
        if self.show.only_matching {
            if selected && !self.show.invert {
                self.matches(line, place, name)?;
            }
            return Ok(());
        }
        self.prefix(name, place, mark)?;
        if self.show.color && selected != self.show.invert {
            self.colored(line)?;
        } else {
            self.output.write_all(line)?;
        }
        self.end_line()
    }

    /// Each match of a line that is not empty, as a line.
    fn matches(&mut self, line: &[u8], (number, offset): (u64, u64), name: &str) -> Result<(), Failure> {
        let mut from = 0;
        while let Some((start, end)) = self.matcher.find(line, from).filter(|_| from <= line.len()) {
            if end > start {
                self.prefix(name, (number, offset + start as u64), b':')?;
                let (mark, after) = if self.show.color { (COLORS.found, COLORS.end) } else { ("", "") };
                write!(self.output, "{mark}")?;
                self.output.write_all(&line[start..end])?;
                write!(self.output, "{after}")?;
                self.end_line()?;
            }
            from = end.max(start + 1);
            if from > line.len() {
                break;
            }
        }
        Ok(())
    }

    fn colored(&mut self, line: &[u8]) -> Result<(), Failure> {
        let (mut from, mut written) = (0, 0);
        while from <= line.len() {
            let Some((start, end)) = self.matcher.find(line, from) else { break };
            if end > start {
                self.output.write_all(&line[written..start])?;
                write!(self.output, "{}", COLORS.found)?;
                self.output.write_all(&line[start..end])?;
                write!(self.output, "{}", COLORS.end)?;
                written = end;
            }
            from = end.max(start + 1);
        }
        Ok(self.output.write_all(&line[written..])?)
    }

    fn prefix(&mut self, name: &str, (number, offset): (u64, u64), mark: u8) -> Result<(), Failure> {
        self.name(name, mark)?;
        let shown = [(self.show.line_numbers, number), (self.show.offsets, offset)];
        for (_, number) in shown.into_iter().filter(|(wanted, _)| *wanted) {
            let mark = char::from(mark);
            if self.show.color {
                let Colors { number: color, mark: mark_color, end, .. } = COLORS;
                write!(self.output, "{color}{number}{end}{mark_color}{mark}{end}")?;
            } else {
                write!(self.output, "{number}{mark}")?;
            }
        }
        Ok(())
    }

    fn name(&mut self, name: &str, mark: u8) -> Result<(), Failure> {
        if !self.show.names {
            return Ok(());
        }
        let mark = if self.show.nul_after_name { '\0' } else { char::from(mark) };
        if self.show.color {
            let Colors { name: color, mark: mark_color, end, .. } = COLORS;
            write!(self.output, "{color}{name}{end}{mark_color}{mark}{end}")?;
        } else {
            write!(self.output, "{name}{mark}")?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Failure> {
        self.output.write_all(&[self.show.terminator])?;
        if self.show.line_buffered {
            self.output.flush()?;
        }
        Ok(())
    }
}

/// Reads once, behind what `buffer` holds; 0 is the end.
fn read_block(input: &mut dyn Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let (length, room) = (buffer.len(), BLOCK.max(buffer.len()));
    buffer.resize(length + room, 0);
    let read = loop {
        match input.read(&mut buffer[length..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    buffer.truncate(length + *read.as_ref().unwrap_or(&0));
    read
}
