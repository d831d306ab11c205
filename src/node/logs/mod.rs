//! What containers print, on its way out: to those who are attached, into files (`files`) from which it can be read
//! (`reading`), as chunks to whoever shows it at once, and the tail that a termination message may need.

mod files;
mod line;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use self::files::LogLimits;
pub(super) use self::files::{FOLDER, LogWriter, PodLogs};
pub use self::reading::{LogQuery, LogReader};
use super::attach::Streams;
use crate::base::clock::{Clock, Timestamp};
use crate::base::pipe::PipeReader;

/// Bytes of output kept for `FallbackToLogsOnError` (kubelet v1.36: the last 2048 bytes or 80 lines).
const TAIL_BYTES: usize = 2048;
/// Lines of output kept for `FallbackToLogsOnError`.
const TAIL_LINES: usize = 80;
/// Largest chunk passed on, in bytes.
const CHUNK: usize = 64 * 1024;
/// How long a stream that stays open after its container's end may be silent before it counts as ended too.
const LINGER: Duration = Duration::from_secs(1);

/// Which stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something a container printed, or the end of what an instance prints.
#[derive(Debug, Clone)]
pub struct LogChunk {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Which stream; `None` says that the instance has ended and nothing follows.
    pub stream: Option<LogStream>,
    /// When it was taken from the container.
    pub time: Timestamp,
    /// The bytes, lines or not.
    pub bytes: Bytes,
}

/// The last output of one container instance. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct LogTail(Arc<Mutex<VecDeque<u8>>>);

impl LogTail {
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let excess = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..excess);
    }

    /// The last lines, within both limits.
    pub(super) fn text(&self) -> String {
        let tail: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&tail);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].concat()
    }
}

/// Which instance of which container prints.
#[derive(Debug, Clone)]
pub(super) struct LogSource {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) attempt: u32,
}

/// Where it goes.
pub(super) struct LogSinks {
    /// Those who are attached.
    pub(super) streams: Arc<Streams>,
    pub(super) tail: LogTail,
    /// Its file.
    pub(super) log: Option<LogWriter>,
    /// Whoever shows it at once.
    pub(super) shown: Option<mpsc::Sender<LogChunk>>,
}

impl LogSource {
    fn chunk(&self, stream: Option<LogStream>, time: Timestamp, bytes: Bytes) -> LogChunk {
        let Self { namespace, pod, container, .. } = self.clone();
        LogChunk { namespace, pod, container, stream, time, bytes }
    }

    /// Begins the log's file. Without it the container runs all the same.
    pub(super) fn begin(&self, files: Option<&Arc<PodLogs>>) -> Option<LogWriter> {
        let begun = files?.begin(&self.container, self.attempt);
        begun.inspect_err(|error| warn!(%error, container = self.container, "a log cannot be kept")).ok()
    }

    /// Passes on everything that comes out of both streams, until both end; then says so. `ended` tells that the
    /// container has ended: a stream that somebody keeps open is not waited for then.
    pub(super) async fn pump(
        self,
        (stdout, stderr): (PipeReader, PipeReader),
        sinks: LogSinks,
        clock: Clock,
        ended: CancellationToken,
    ) {
        futures::join!(
            self.pump_one(LogStream::Stdout, &stdout, &sinks, clock, &ended),
            self.pump_one(LogStream::Stderr, &stderr, &sinks, clock, &ended),
        );
        let LogSinks { streams, log, shown, .. } = sinks;
        if let Some(log) = log {
            log.complete(clock.now());
        }
        streams.end();
        if let Some(shown) = shown {
            let _ = shown.send(self.chunk(None, clock.now(), Bytes::new())).await;
        }
    }

    async fn pump_one(
        &self,
        stream: LogStream,
        reader: &PipeReader,
        sinks: &LogSinks,
        clock: Clock,
        ended: &CancellationToken,
    ) {
        loop {
            let read = tokio::select! {
                biased;
                read = reader.read(CHUNK) => read,
                () = lingered(ended) => return,
            };
            let Ok(Some(bytes)) = read else { return };
            sinks.tail.push(&bytes);
            let now = clock.now();
            if let Some(log) = &sinks.log {
                log.write(stream, now, &bytes);
            }
            sinks.streams.pass_on(stream, &bytes).await;
            if let Some(shown) = &sinks.shown
                && shown.send(self.chunk(Some(stream), now, bytes)).await.is_err()
            {
                return;
            }
        }
    }
}

async fn lingered(ended: &CancellationToken) {
    ended.cancelled().await;
    tokio::time::sleep(LINGER).await;
}

#[cfg(test)]
mod tail_tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_80_lines_within_2048_bytes() {
        let tail = LogTail::default();
        for number in 0..100 {
            tail.push(format!("{number}\n").as_bytes());
        }
        assert!(tail.text().starts_with("20\n"));
        assert!(tail.text().ends_with("99\n"));
        tail.push(&[b'x'; 5000]);
        assert_eq!(tail.text().len(), 2048);
    }
}
