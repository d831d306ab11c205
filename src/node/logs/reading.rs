//! Reading the log of an instance, while it is written or afterwards: which lines, in which form, and how far. Whoever
//! follows a log is woken by what is written, and does not hold up the writer: it passes over what was removed meanwhile.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::LogStream;
use super::files::{Extent, InstanceLog, Place, PodLogs, Position};
use super::line::{self, Line, MAX_LINE};
use crate::base::clock::Timestamp;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;

/// What of a log is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Go on until the instance has ended.
    pub follow: bool,
    /// Begin so many lines before the end.
    pub tail_lines: Option<u64>,
    /// Leave out what was printed before.
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only what came on one of the streams.
    pub stream: Option<LogStream>,
}

/// Reads a log, piece by piece.
#[derive(Debug)]
pub struct LogReader {
    source: Source,
    /// Changes of how far the log goes, while it is written.
    extent: Option<watch::Receiver<Extent>>,
    query: LogQuery,
    /// Gone while it is lent to a thread that reads, and after an error.
    cursor: Option<Cursor>,
    /// How far to read now.
    until: Extent,
}

/// Where the files are.
#[derive(Debug, Clone)]
struct Source {
    place: Place,
    live: Option<Arc<InstanceLog>>,
}

/// How far a reader has come.
#[derive(Debug)]
struct Cursor {
    /// `None` before the place to begin at was looked for.
    at: Option<Position>,
    file: Option<File>,
    printer: Printer,
}

impl LogReader {
    /// Reads the log of an instance; of one that never ran, nothing.
    pub(in crate::node) fn new(logs: &PodLogs, container: &str, attempt: u32, query: LogQuery) -> Self {
        let source = Source { place: logs.place(container, attempt), live: logs.live(container, attempt) };
        let extent = source.live.as_ref().map(|live| live.extent());
        let cursor = Cursor { at: None, file: None, printer: Printer::new(&query) };
        Self { source, extent, query, cursor: Some(cursor), until: Extent::default() }
    }

    /// The next piece; `None` at the end, or at that of the instance if the log is followed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(mut cursor) = self.cursor.take() else { return Ok(None) };
            if cursor.printer.is_done() {
                return Ok(None);
            }
            let begins = cursor.at.is_none();
            if begins {
                self.until = self.extent_now().await?;
            }
            let (source, query, until) = (self.source.clone(), self.query, self.until.end);
            let reading = spawn_blocking(move || {
                let result = cursor.read(&source, &query, until);
                (cursor, result)
            });
            let (cursor, result) = reading.await.map_err(io::Error::other)?;
            let (piece, at_end) = result?;
            self.cursor = Some(cursor);
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
            if at_end && !self.more().await {
                self.cursor = None;
                return Ok(None);
            }
        }
    }

    async fn extent_now(&mut self) -> io::Result<Extent> {
        if let Some(extent) = &mut self.extent {
            return Ok(*extent.borrow_and_update());
        }
        let place = self.source.place.clone();
        spawn_blocking(move || place.extent()).await.map_err(io::Error::other)?
    }

    /// Waits until there is more to read; whether there is.
    async fn more(&mut self) -> bool {
        let Some(extent) = self.extent.as_mut().filter(|_| self.query.follow) else { return false };
        if self.until.complete {
            return false;
        }
        if extent.changed().await.is_ok() {
            self.until = *extent.borrow_and_update();
            return true;
        }
        // The log is gone with whoever wrote it.
        false
    }
}

impl Source {
    fn open(&self, file: u64, current: u64) -> io::Result<Option<File>> {
        match &self.live {
            Some(live) => live.open_file(file),
            None => self.place.open(file, current),
        }
    }
}

impl Cursor {
    /// Reads up to a chunk, and prints the lines that are complete with it. Whether the end was reached.
    fn read(&mut self, source: &Source, query: &LogQuery, until: Position) -> io::Result<(Bytes, bool)> {
        let mut at = match self.at {
            Some(at) => at,
            None => beginning(source, query, until)?,
        };
        while at < until {
            if self.file.is_none() {
                self.file = source.open(at.file, until.file)?;
                if let Some(file) = &mut self.file {
                    file.seek(SeekFrom::Start(at.offset))?;
                }
            }
            let left = if at.file == until.file { until.offset - at.offset } else { u64::MAX };
            let mut chunk = Vec::with_capacity(CHUNK);
            if let Some(file) = &mut self.file {
                file.take(left.min(CHUNK as u64)).read_to_end(&mut chunk)?;
            }
            if !chunk.is_empty() {
                at.offset += chunk.len() as u64;
                self.at = Some(at);
                return Ok((self.printer.print(&chunk), false));
            }
            // That file is read, or was removed before it was.
            at = Position { file: at.file + 1, offset: 0 };
            self.file = None;
        }
        self.at = Some(at);
        Ok((Bytes::new(), true))
    }
}

/// Where to begin so that the wanted lines are left.
fn beginning(source: &Source, query: &LogQuery, until: Position) -> io::Result<Position> {
    let first = Position { file: source.place.first()?.unwrap_or(until.file).min(until.file), offset: 0 };
    let Some(wanted) = query.tail_lines else { return Ok(first) };
    let mut found = 0;
    for file in (first.file..=until.file).rev() {
        let Some(opened) = source.open(file, until.file)? else { continue };
        let limit = if file == until.file { until.offset } else { u64::MAX };
        let (count, open_end) = count_lines(&opened, limit, query.stream, u64::MAX)?;
        // A line without an end is one too, at the end of the log.
        let count = count.lines + u64::from(open_end && file == until.file);
        if found + count >= wanted {
            let passed_over = found + count - wanted;
            let (place, _) = count_lines(&opened, limit, query.stream, passed_over)?;
            let place = Position { file, offset: place.offset };
            return with_its_parts(source, query, place, (first.file, until.file));
        }
        found += count;
    }
    Ok(first)
}

/// Where the line at `place` begins: its first parts may be in the files before.
fn with_its_parts(
    source: &Source,
    query: &LogQuery,
    mut place: Position,
    (first, last): (u64, u64),
) -> io::Result<Position> {
    while place.offset == 0 && place.file > first {
        let file = place.file - 1;
        let Some(opened) = source.open(file, last)? else { break };
        let (before, open_end) = count_lines(&opened, u64::MAX, query.stream, u64::MAX)?;
        if !open_end {
            break;
        }
        place = Position { file, offset: before.offset };
    }
    Ok(place)
}

/// How many lines there are up to an offset.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    lines: u64,
    /// Behind the last of them.
    offset: u64,
}

/// Counts lines of a stream, up to `enough` of them, and tells whether one begins after the last that has no end.
fn count_lines(file: &File, limit: u64, stream: Option<LogStream>, enough: u64) -> io::Result<(Counted, bool)> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = io::BufReader::with_capacity(CHUNK, file.take(limit));
    let (mut counted, mut offset, mut open) = (Counted::default(), 0, false);
    let mut line = Vec::new();
    while counted.lines < enough {
        line.clear();
        let read = io::BufRead::read_until(&mut reader, b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        offset += read as u64;
        let parsed = line.strip_suffix(b"\n").and_then(Line::parse);
        if let Some(parsed) = parsed.filter(|parsed| stream.is_none_or(|stream| stream == parsed.stream)) {
            open = !parsed.whole;
            if parsed.whole {
                counted = Counted { lines: counted.lines + 1, offset };
            }
        }
    }
    Ok((counted, open))
}

/// Turns lines of the file into what is wanted of them.
#[derive(Debug)]
struct Printer {
    since: Option<String>,
    timestamps: bool,
    stream: Option<LogStream>,
    left: u64,
    /// A line whose end was not read yet.
    rest: Vec<u8>,
    /// Whether the last line of a stream goes on.
    within: [bool; 2],
}

impl Printer {
    fn new(query: &LogQuery) -> Self {
        Self {
            since: query.since.map(line::time),
            timestamps: query.timestamps,
            stream: query.stream,
            left: query.limit_bytes.unwrap_or(u64::MAX),
            rest: Vec::new(),
            within: [false; 2],
        }
    }

    /// Whether everything was printed that may be.
    fn is_done(&self) -> bool {
        self.left == 0
    }

    fn print(&mut self, chunk: &[u8]) -> Bytes {
        let mut printed = Vec::with_capacity(chunk.len());
        let mut rest = std::mem::take(&mut self.rest);
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if rest.is_empty() => self.print_line(end, &mut printed),
                Some(end) => {
                    rest.extend_from_slice(end);
                    self.print_line(&rest, &mut printed);
                    rest.clear();
                }
                // What is longer than any line is none, and need not be kept whole to be passed over.
                None if rest.len() < MAX_LINE => rest.extend_from_slice(piece),
                None => {}
            }
        }
        self.rest = rest;
        printed.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= printed.len() as u64;
        printed.into()
    }

    fn print_line(&mut self, line: &[u8], printed: &mut Vec<u8>) {
        let Some(Line { time, stream, whole, text }) = Line::parse(line) else { return };
        let old = self.since.as_deref().is_some_and(|since| time < since);
        if old || self.stream.is_some_and(|wanted| wanted != stream) {
            return;
        }
        let goes_on = std::mem::replace(&mut self.within[stream as usize], !whole);
        // Differs from Kubernetes: the parts of a long line have one time, not one each in the middle of the line.
        if self.timestamps && !goes_on {
            printed.extend_from_slice(time.as_bytes());
            printed.push(b' ');
        }
        printed.extend_from_slice(text);
        if whole {
            printed.push(b'\n');
        }
    }
}
