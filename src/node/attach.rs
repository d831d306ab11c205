//! The streams of a container that runs, for those who attach to them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::logs::LogStream;
use crate::base::pipe::{PipeReader, PipeWriter};

/// Bytes passed on at once.
const CHUNK: usize = 64 * 1024;

/// How long somebody who is attached may hold up a container's output by not taking it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of output kept for the first who attaches.
const BACKLOG: usize = 64 * 1024;

/// Who wants what of a container's streams.
#[derive(Debug, Default)]
pub struct Attach {
    /// What the container is to read; ignored where the container has no standard input (`stdin: true`).
    pub stdin: Option<PipeReader>,
    /// Takes its standard output from now on; with a terminal, all it prints.
    pub stdout: Option<PipeWriter>,
    /// Takes its standard error from now on.
    pub stderr: Option<PipeWriter>,
}

/// The streams of a container instance, for those who attach.
#[derive(Debug)]
pub(super) struct Streams {
    stdin: Option<Stdin>,
    audience: Mutex<Audience>,
    next: AtomicU64,
    ended: CancellationToken,
}

/// Who is attached, and what nobody has seen yet.
#[derive(Debug, Default)]
struct Audience {
    outlets: Vec<Outlet>,
    /// What was printed before somebody attached for the first time; `None` where that is not kept, or not any more.
    backlog: Option<Backlog>,
}

/// The last output, at most [`BACKLOG`] bytes of it.
#[derive(Debug, Default)]
struct Backlog {
    pieces: VecDeque<(LogStream, Bytes)>,
    bytes: usize,
}

impl Backlog {
    fn push(&mut self, stream: LogStream, bytes: Bytes) {
        self.bytes += bytes.len();
        self.pieces.push_back((stream, bytes));
        while self.bytes > BACKLOG
            && let Some((_, oldest)) = self.pieces.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }
}

/// The way to a container's standard input.
#[derive(Debug)]
pub(super) struct Stdin {
    pub(super) writer: PipeWriter,
    /// `stdinOnce`: it ends with the first who is attached.
    pub(super) once: bool,
}

#[derive(Debug, Clone)]
struct Outlet {
    id: u64,
    stdout: Option<PipeWriter>,
    stderr: Option<PipeWriter>,
}

impl Stdin {
    async fn feed(&self, from: &PipeReader) {
        while let Ok(Some(bytes)) = from.read(CHUNK).await {
            if self.writer.write_all(bytes).await.is_err() {
                return;
            }
        }
        if self.once {
            self.writer.close();
        }
    }
}

impl Outlet {
    fn writer(&self, stream: LogStream) -> Option<&PipeWriter> {
        match stream {
            LogStream::Stdout => self.stdout.as_ref(),
            LogStream::Stderr => self.stderr.as_ref(),
        }
    }
}

impl Streams {
    /// Those of an instance that begins.
    // Differs from Kubernetes: what a container with `stdin: true` prints before somebody has attached for the first time
    // is kept for them, so that `kubectl run -i` shows the beginning too of a program that starts faster than kubectl
    // attaches.
    pub(super) fn new(stdin: Option<Stdin>) -> Arc<Self> {
        let backlog = stdin.is_some().then(Backlog::default);
        let audience = Mutex::new(Audience { outlets: Vec::new(), backlog });
        Arc::new(Self { stdin, audience, next: AtomicU64::new(0), ended: CancellationToken::new() })
    }

    fn add(&self, stdout: Option<PipeWriter>, stderr: Option<PipeWriter>) -> u64 {
        let outlet = Outlet { id: self.next.fetch_add(1, Ordering::Relaxed), stdout, stderr };
        let id = outlet.id;
        let mut audience = self.audience();
        for (stream, bytes) in audience.backlog.take().into_iter().flat_map(|backlog| backlog.pieces) {
            // It fits into a pipe.
            let _ = outlet.writer(stream).map(|writer| writer.try_write(&bytes));
        }
        audience.outlets.push(outlet);
        id
    }

    fn remove(&self, id: u64) {
        self.audience().outlets.retain(|outlet| outlet.id != id);
    }

    fn audience(&self) -> MutexGuard<'_, Audience> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives those who are attached what the container has printed.
    pub(super) async fn pass_on(&self, stream: LogStream, bytes: &Bytes) {
        let attached = {
            let mut audience = self.audience();
            if let Some(backlog) = &mut audience.backlog {
                backlog.push(stream, bytes.clone());
            }
            audience.outlets.clone()
        };
        for outlet in attached {
            let Some(writer) = outlet.writer(stream) else { continue };
            if !matches!(timeout(PATIENCE, writer.write_all(bytes.clone())).await, Ok(Ok(()))) {
                self.remove(outlet.id);
            }
        }
    }

    /// Nothing more will be printed.
    pub(super) fn end(&self) {
        self.audience().outlets.clear();
        self.ended.cancel();
    }
}

/// Somebody who is attached for as long as this is held.
pub struct Attached {
    streams: Arc<Streams>,
    id: u64,
    stdin: Option<PipeReader>,
}

impl Attached {
    pub(super) fn new(streams: Arc<Streams>, attach: Attach) -> Self {
        let Attach { stdin, stdout, stderr } = attach;
        let id = streams.add(stdout, stderr);
        Self { streams, id, stdin }
    }

    /// Passes on what the container is to read, until it has ended.
    pub async fn ended(mut self) {
        let (stdin, streams) = (self.stdin.take(), Arc::clone(&self.streams));
        let feeding = async {
            if let (Some(from), Some(to)) = (stdin, &streams.stdin) {
                to.feed(&from).await;
            }
            // Its output goes on.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = feeding => {}
            () = streams.ended.cancelled() => {}
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.streams.remove(self.id);
    }
}
