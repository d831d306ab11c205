//! Reaching into a container that runs: executing programs in it, and attaching to its own streams.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::PodHandle;
use super::logs::LogStream;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::runtime::{Container, ExecRequest, RuntimeError, TerminalSize};

/// Bytes passed on at once.
const CHUNK: usize = 64 * 1024;

/// How long somebody who is attached may hold up a container's output by not taking it.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Why a container could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It does not run: not yet, not any more, or there is no such container in the pod.
    #[error("container {container:?} is not running in pod {pod:?}")]
    NotRunning {
        /// The container's name.
        container: String,
        /// The pod's name.
        pod: String,
    },
    /// The program could not be started.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl PodHandle {
    /// Runs a program in a container: with its files, network, limits and environment. Dropping what this returns kills
    /// it.
    ///
    /// # Errors
    ///
    /// The container does not run, or the program is not found or cannot be run.
    pub async fn exec(&self, container: &str, request: ExecRequest) -> Result<Arc<dyn Container>, AttachError> {
        let (process, _) = self.reach(container)?;
        Ok(process.exec(request).await?)
    }

    /// Attaches to a container's own streams until it has ended, or this future is dropped. Whoever does not take its
    /// output for ten seconds is left out from then on.
    ///
    /// # Errors
    ///
    /// The container does not run.
    pub async fn attach(&self, container: &str, attach: Attach) -> Result<(), AttachError> {
        let (_, streams) = self.reach(container)?;
        let Attach { stdin, stdout, stderr } = attach;
        let _attached = streams.add(stdout, stderr);
        let feeding = async {
            if let (Some(from), Some(to)) = (stdin, &streams.stdin) {
                to.feed(&from).await;
            }
        };
        tokio::join!(streams.ended.cancelled(), async {
            tokio::select! {
                () = feeding => {}
                () = streams.ended.cancelled() => {}
            }
        });
        Ok(())
    }

    /// Tells a container's own terminal its size.
    ///
    /// # Errors
    ///
    /// The container does not run.
    pub fn resize(&self, container: &str, size: TerminalSize) -> Result<(), AttachError> {
        self.reach(container)?.0.resize(size);
        Ok(())
    }

    fn reach(&self, container: &str) -> Result<(Arc<dyn Container>, Arc<Streams>), AttachError> {
        let missing = || {
            let pod = self.desired.borrow().metadata.name.clone().unwrap_or_default();
            AttachError::NotRunning { container: container.to_owned(), pod }
        };
        self.executor.upgrade().and_then(|executor| executor.running(container)).ok_or_else(missing)
    }
}

/// The streams of a container instance, for those who attach.
#[derive(Debug)]
pub(super) struct Streams {
    stdin: Option<Stdin>,
    outlets: Mutex<Vec<Outlet>>,
    next: AtomicU64,
    ended: CancellationToken,
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

impl Streams {
    /// Those of an instance that begins.
    pub(super) fn new(stdin: Option<Stdin>) -> Arc<Self> {
        let (outlets, next) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { stdin, outlets, next, ended: CancellationToken::new() })
    }

    fn add(self: &Arc<Self>, stdout: Option<PipeWriter>, stderr: Option<PipeWriter>) -> Attached {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.outlets().push(Outlet { id, stdout, stderr });
        Attached { streams: Arc::clone(self), id }
    }

    fn remove(&self, id: u64) {
        self.outlets().retain(|outlet| outlet.id != id);
    }

    fn outlets(&self) -> MutexGuard<'_, Vec<Outlet>> {
        self.outlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives those who are attached what the container has printed.
    pub(super) async fn pass_on(&self, stream: LogStream, bytes: &Bytes) {
        let attached = self.outlets().clone();
        for outlet in attached {
            let writer = match stream {
                LogStream::Stdout => outlet.stdout,
                LogStream::Stderr => outlet.stderr,
            };
            let Some(writer) = writer else { continue };
            if !matches!(timeout(PATIENCE, writer.write_all(bytes.clone())).await, Ok(Ok(()))) {
                self.remove(outlet.id);
            }
        }
    }

    /// Nothing more will be printed.
    pub(super) fn end(&self) {
        self.outlets().clear();
        self.ended.cancel();
    }
}

/// Somebody who is attached for as long as this is held.
struct Attached {
    streams: Arc<Streams>,
    id: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.streams.remove(self.id);
    }
}
