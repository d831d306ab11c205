//! Logs on disk, a file for each instance of a container:
//!
//! ```text
//! <pod>/logs/<container>/<attempt>.log         what is written to now
//!                        <attempt>.log.<n>     what was written before, in order of n
//! ```
//! A file that has grown to its limit is put aside, and of those the oldest is removed when there are too many. The log of
//! the instance before the current one is kept, as Kubernetes does; those before it are not. Nothing is synced: a log
//! survives the agent, and is found again by the next one, but perhaps not the end of the machine.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::warn;

use super::LogStream;
use super::line::{self, MAX_TEXT};
use crate::base::clock::Timestamp;
use crate::base::files::{private, private_directory};

/// The folder of a pod's logs in its directory.
pub(in crate::node) const FOLDER: &str = "logs";

/// How large the logs of one instance may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes after which a file is put aside (kubelet `containerLogMaxSize`).
    pub file_bytes: u64,
    /// Files, the current one included (kubelet `containerLogMaxFiles`).
    pub files: u64,
}

impl Default for LogLimits {
    /// Those of the kubelet.
    fn default() -> Self {
        Self { file_bytes: 10 << 20, files: 5 }
    }
}

/// A place in a log: a file, and how far into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    pub(super) file: u64,
    pub(super) offset: u64,
}

/// How far a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub(super) end: Position,
    /// Nothing more will be written.
    pub(super) complete: bool,
}

/// The logs of a pod.
#[derive(Debug)]
pub(in crate::node) struct PodLogs {
    directory: PathBuf,
    limits: LogLimits,
    /// Logs that are being written.
    open: Mutex<HashMap<(String, u32), Arc<InstanceLog>>>,
}

/// Where the log of one instance is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    directory: PathBuf,
    attempt: u32,
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct InstanceLog {
    place: Place,
    limits: LogLimits,
    state: Mutex<State>,
    extent: watch::Sender<Extent>,
}

#[derive(Debug)]
struct State {
    file: File,
    end: Position,
    /// What of each stream's last line is there.
    pending: [Vec<u8>; 2],
    /// Whether the last attempt to write failed, of which was told.
    failing: bool,
}

/// Writes the log of an instance, which is complete when this is dropped.
#[derive(Debug)]
pub(in crate::node) struct LogWriter {
    logs: Arc<PodLogs>,
    key: (String, u32),
    log: Arc<InstanceLog>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PodLogs {
    /// Those of the pod whose directory this is.
    pub(in crate::node) fn new(pod_directory: &Path, limits: LogLimits) -> Arc<Self> {
        Arc::new(Self { directory: pod_directory.join(FOLDER), limits, open: Mutex::default() })
    }

    /// Begins the log of an instance. Of the container's earlier ones only the last is kept.
    pub(super) fn begin(self: &Arc<Self>, container: &str, attempt: u32) -> io::Result<LogWriter> {
        let place = Place { directory: self.directory.join(container), attempt };
        private_directory(fs::DirBuilder::new().recursive(true)).create(&place.directory)?;
        place.remove_older_instances()?;
        let file = place.files()?.last().map_or(1, |last| last + 1);
        let log = Arc::new(InstanceLog::open(place, self.limits, file)?);
        let key = (container.to_owned(), attempt);
        lock(&self.open).insert(key.clone(), Arc::clone(&log));
        Ok(LogWriter { logs: Arc::clone(self), key, log })
    }

    /// The log of an instance if it is being written.
    pub(super) fn live(&self, container: &str, attempt: u32) -> Option<Arc<InstanceLog>> {
        lock(&self.open).get(&(container.to_owned(), attempt)).cloned()
    }

    /// Where the log of an instance is, whether or not it is there.
    pub(super) fn place(&self, container: &str, attempt: u32) -> Place {
        Place { directory: self.directory.join(container), attempt }
    }
}

impl Place {
    fn current(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.attempt))
    }

    fn aside(&self, file: u64) -> PathBuf {
        self.directory.join(format!("{}.log.{file}", self.attempt))
    }

    /// The numbers of the files that were put aside, in order.
    fn files(&self) -> io::Result<Vec<u64>> {
        let prefix = format!("{}.log.", self.attempt);
        let mut files = Vec::new();
        for entry in entries(&self.directory)? {
            files.extend(entry.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok()));
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Removes what is left of instances before the one before this.
    fn remove_older_instances(&self) -> io::Result<()> {
        for entry in entries(&self.directory)? {
            let attempt = entry.split_once(".log").and_then(|(attempt, _)| attempt.parse::<u32>().ok());
            if attempt.is_some_and(|attempt| attempt.saturating_add(1) < self.attempt) {
                fs::remove_file(self.directory.join(entry))?;
            }
        }
        Ok(())
    }

    /// How far a log goes that nobody writes; one that is not there is empty.
    pub(super) fn extent(&self) -> io::Result<Extent> {
        let file = self.files()?.last().map_or(1, |last| last + 1);
        let offset = match fs::metadata(self.current()) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Extent { end: Position { file, offset }, complete: true })
    }

    /// The first file that is there.
    pub(super) fn first(&self) -> io::Result<Option<u64>> {
        Ok(self.files()?.first().copied())
    }

    /// Opens a file of the log; `None` if it is not there any more.
    pub(super) fn open(&self, file: u64, current: u64) -> io::Result<Option<File>> {
        let path = if file == current { self.current() } else { self.aside(file) };
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The names in a directory; none if it is not there.
fn entries(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

impl InstanceLog {
    fn open(place: Place, limits: LogLimits, file: u64) -> io::Result<Self> {
        // An instance that was never told of may have had the same number.
        let opened = private(OpenOptions::new().append(true).create(true)).open(place.current())?;
        let end = Position { file, offset: opened.metadata()?.len() };
        let state = State { file: opened, end, pending: [Vec::new(), Vec::new()], failing: false };
        let extent = watch::Sender::new(Extent { end, complete: false });
        Ok(Self { place, limits, state: Mutex::new(state), extent })
    }

    /// How far it goes, and word of every change of that.
    pub(super) fn extent(&self) -> watch::Receiver<Extent> {
        self.extent.subscribe()
    }

    /// Opens one of its files. Meanwhile none is put aside.
    pub(super) fn open_file(&self, file: u64) -> io::Result<Option<File>> {
        let state = lock(&self.state);
        self.place.open(file, state.end.file)
    }

    /// Writes whole lines, and keeps the rest until it is one.
    fn append(&self, stream: LogStream, at: Timestamp, bytes: &[u8]) {
        let mut state = lock(&self.state);
        let (mut lines, time) = (Vec::with_capacity(bytes.len() + 256), line::time(at));
        let pending = &mut state.pending[stream as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if whole && pending.is_empty() && text.len() <= MAX_TEXT {
                line::write(&mut lines, &time, stream, true, text);
                continue;
            }
            pending.extend_from_slice(text);
            while pending.len() > MAX_TEXT {
                line::write(&mut lines, &time, stream, false, &pending[..MAX_TEXT]);
                pending.drain(..MAX_TEXT);
            }
            if whole {
                line::write(&mut lines, &time, stream, true, pending);
                pending.clear();
            }
        }
        self.write(&mut state, &lines);
    }

    fn write(&self, state: &mut State, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        match state.write(lines).and_then(|()| self.put_aside(state)) {
            Ok(()) => state.failing = false,
            // What is lost is only the log.
            Err(error) => {
                if !std::mem::replace(&mut state.failing, true) {
                    warn!(%error, path = %self.place.current().display(), "a log cannot be written");
                }
            }
        }
        self.extent.send_replace(Extent { end: state.end, complete: false });
    }

    /// Puts the file aside once it is large enough.
    fn put_aside(&self, state: &mut State) -> io::Result<()> {
        let Position { file, offset } = state.end;
        if offset < self.limits.file_bytes {
            return Ok(());
        }
        fs::rename(self.place.current(), self.place.aside(file))?;
        state.file = private(OpenOptions::new().append(true).create_new(true)).open(self.place.current())?;
        state.end = Position { file: file + 1, offset: 0 };
        let kept = self.limits.files.saturating_sub(1);
        for old in self.place.files()?.into_iter().filter(|old| old + kept <= file) {
            fs::remove_file(self.place.aside(old))?;
        }
        Ok(())
    }

    /// What is left of lines without an end is written as a part, so that it is read as it was printed.
    fn complete(&self, at: Timestamp) {
        let mut state = lock(&self.state);
        let (mut lines, time) = (Vec::new(), line::time(at));
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let rest = std::mem::take(&mut state.pending[stream as usize]);
            if !rest.is_empty() {
                line::write(&mut lines, &time, stream, false, &rest);
            }
        }
        self.write(&mut state, &lines);
    }
}

impl State {
    /// Writes lines, or nothing.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // What follows must not be joined to half a line.
            self.file.set_len(self.end.offset)?;
            return Err(error);
        }
        self.end.offset += lines.len() as u64;
        Ok(())
    }
}

impl LogWriter {
    /// Writes what was printed.
    pub(super) fn write(&self, stream: LogStream, at: Timestamp, bytes: &[u8]) {
        self.log.append(stream, at, bytes);
    }

    /// The instance prints nothing more.
    pub(super) fn complete(&self, at: Timestamp) {
        self.log.complete(at);
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        lock(&self.logs.open).remove(&self.key);
        self.log.extent.send_modify(|extent| extent.complete = true);
    }
}
