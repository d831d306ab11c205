//! Reading what others read as well: not a byte more is taken than asked for.

use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::rc::Rc;

use rustix::event::{PollFd, PollFlags, poll};

use crate::exec::Shell;
use crate::process::Signal;
use crate::state::Stream;
use crate::syntax::{Source, SyntaxError, echo};

/// What to read: up to and with a delimiter.
pub(crate) struct Wanted {
    pub(crate) delimiter: u8,
    pub(crate) at_most: usize,
    /// How long to wait for more.
    pub(crate) seconds: Option<f64>,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There is what was wanted.
    Wanted,
    AtEnd,
    TimeOut,
    Signal(Signal),
}

/// How long a wait for input goes without looking for signals, in milliseconds.
const SIGNAL_INTERVAL: i64 = 100;

/// Reads from a stream. Traps may be waiting when it comes back.
pub(crate) fn read_bytes(shell: &mut Shell, stream: &Stream, wanted: &Wanted) -> io::Result<(Vec<u8>, Ended)> {
    let mut file = stream.file()?;
    if let Ok(position) = file.stream_position() {
        return read_and_go_back(file, position, wanted);
    }
    let mut text = Vec::new();
    let mut left = wanted.seconds.map(|seconds| (seconds * 1000.0) as i64);
    while text.len() < wanted.at_most {
        if let Some(ended) = wait_for_input(shell, stream, &mut left)? {
            return Ok((text, ended));
        }
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return Ok((text, Ended::AtEnd)),
            Ok(_) => text.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if byte[0] == wanted.delimiter {
            break;
        }
    }
    Ok((text, Ended::Wanted))
}

/// Waits until there is something to read, or something else happens.
fn wait_for_input(shell: &mut Shell, stream: &Stream, left: &mut Option<i64>) -> io::Result<Option<Ended>> {
    if left.is_none() && !shell.catches_signals() {
        return Ok(None);
    }
    loop {
        shell.collect_signals();
        if let Some(signal) = shell.waiting_signal() {
            return Ok(Some(Ended::Signal(signal)));
        }
        let interval = left.unwrap_or(SIGNAL_INTERVAL).min(SIGNAL_INTERVAL);
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: (interval * 1_000_000) as _ };
        let fd = stream.fd()?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {}
            Ok(_) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            // What cannot be waited for is ready.
            Err(_) => return Ok(None),
        }
        if let Some(left) = left {
            *left -= interval;
            if *left <= 0 {
                return Ok(Some(Ended::TimeOut));
            }
        }
    }
}

/// Reads a file in larger parts, and sets its position behind what was wanted.
fn read_and_go_back(mut file: &std::fs::File, start: u64, wanted: &Wanted) -> io::Result<(Vec<u8>, Ended)> {
    let mut text = Vec::new();
    let mut part = [0; 1024];
    loop {
        let count = io::Read::read(&mut file, &mut part)?;
        let from = text.len();
        text.extend_from_slice(&part[..count]);
        let found = text[from..].iter().position(|byte| *byte == wanted.delimiter).map(|place| from + place + 1);
        let end = found.or((text.len() >= wanted.at_most).then_some(wanted.at_most)).map(|end| end.min(wanted.at_most));
        if let Some(end) = end {
            text.truncate(end);
            file.seek(SeekFrom::Start(start + end as u64))?;
            return Ok((text, Ended::Wanted));
        }
        if count == 0 {
            return Ok((text, Ended::AtEnd));
        }
    }
}

/// Commands read from a stream that the commands themselves may read from as well.
pub(crate) struct StreamSource {
    stream: Rc<Stream>,
    verbose: bool,
}

impl StreamSource {
    pub(crate) fn new(stream: Rc<Stream>) -> Self {
        Self { stream, verbose: false }
    }

    fn line(&self) -> io::Result<Vec<u8>> {
        let mut file = self.stream.file()?;
        if let Ok(position) = file.stream_position() {
            let wanted = Wanted { delimiter: b'\n', at_most: usize::MAX, seconds: None };
            return read_and_go_back(file, position, &wanted).map(|(text, _)| text);
        }
        let mut text = Vec::new();
        let mut byte = [0];
        while text.last() != Some(&b'\n') && self.stream.read(&mut byte)? > 0 {
            text.push(byte[0]);
        }
        Ok(text)
    }
}

impl Source for StreamSource {
    fn next_line(&mut self, _continued: bool) -> Result<Option<Vec<u8>>, SyntaxError> {
        let line = self.line().map_err(|error| SyntaxError::unreadable(&error))?;
        if self.verbose {
            echo(&line);
        }
        Ok((!line.is_empty()).then_some(line))
    }

    fn set_verbose(&mut self, verbose: bool) {
        self.verbose = verbose;
    }
}
