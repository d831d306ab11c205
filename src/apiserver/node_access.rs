//! What the API server needs of the node that runs the pods, beyond the objects that both know: their logs, a way into
//! their containers, connections into their network, and what they use. Whoever puts the two together implements it.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::support::RuntimeKind;
use crate::base::clock::Timestamp;
use crate::base::pipe::{PipeReader, PipeWriter};

/// A pod as the node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`: another pod of the name is another pod.
    pub uid: String,
}

/// The node.
pub trait NodeAccess: Send + Sync {
    /// What an instance of a container has printed, in pieces that are lines mostly.
    fn logs(&self, pod: &PodRef, options: LogOptions) -> BoxFuture<'_, Result<LogBytes, NodeError>>;

    /// Whether a container runs now.
    ///
    /// # Errors
    /// It does not: the error that [`NodeAccess::exec`] would give.
    fn check_running(&self, pod: &PodRef, container: &str) -> Result<(), NodeError>;

    /// Runs a program in a container.
    fn exec(&self, pod: &PodRef, request: ExecRequest) -> BoxFuture<'_, Result<Session, NodeError>>;

    /// Attaches to the program that a container runs.
    fn attach(&self, pod: &PodRef, request: AttachRequest) -> BoxFuture<'_, Result<Session, NodeError>>;

    /// Connects to a TCP port of a pod.
    fn connect(&self, pod: &PodRef, port: u16, via: Via) -> BoxFuture<'_, Result<Connection, NodeError>>;

    /// What the node and its pods use now.
    fn usage(&self) -> Usage;

    /// Which runtime the programs of an image are for; `None` if the image is not here, or cannot be read.
    fn runtime_of_image(&self, image: &str) -> Option<RuntimeKind>;
}

/// Which part of what a container has printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// The container.
    pub container: String,
    /// Which instance of it, counting restarts from 0.
    pub instance: u32,
    /// Go on with what it prints until it has ended.
    pub follow: bool,
    /// Begin so many lines before the end.
    pub tail_lines: Option<u64>,
    /// Leave out what is older than this, in seconds.
    pub since_seconds: Option<i64>,
    /// Leave out what was printed before.
    pub since_time: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only what came on one of the streams.
    pub stream: Option<LogStream>,
}

/// A stream that a container prints on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A log, piece by piece.
pub type LogBytes = BoxStream<'static, Result<Bytes, NodeError>>;

/// Which streams of a program a client wants to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// It feeds standard input.
    pub stdin: bool,
    /// It takes standard output.
    pub stdout: bool,
    /// It takes standard error.
    pub stderr: bool,
    /// All three are a terminal.
    pub tty: bool,
}

/// A program to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The container.
    pub container: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its streams. What is not wanted is at its end, or goes nowhere.
    pub wanted: Wanted,
}

/// A container to attach to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// The container.
    pub container: String,
    /// The streams that are wanted.
    pub wanted: Wanted,
}

/// A program that a client is connected to. Dropping it kills a program that was executed, and leaves alone one that was
/// attached to.
pub struct Session {
    /// Takes its standard input, where that is wanted.
    pub stdin: Option<PipeWriter>,
    /// Has its standard output, where that is wanted.
    pub stdout: Option<PipeReader>,
    /// Has its standard error.
    pub stderr: Option<PipeReader>,
    /// Tells its terminal, if there is one, its size.
    pub resize: Box<dyn Fn(TerminalSize) + Send + Sync>,
    /// Resolves when it has ended, with its exit code.
    pub ended: BoxFuture<'static, i32>,
}

/// How large a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// How to get to a port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// As the pod itself gets to it, by its loopback: `port-forward` does so.
    Loopback,
    /// As others do, by the pod's address: `proxy` does so.
    Address,
}

/// A connection into a pod's network.
pub type Connection = Box<dyn ByteStream>;

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// What is used now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Usage {
    /// By the node itself, its pods included.
    pub node: Measured,
    /// By each pod that has containers running.
    pub pods: Vec<PodUsage>,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq)]
pub struct PodUsage {
    /// The pod.
    pub pod: PodRef,
    /// Its containers that run, by name.
    pub containers: Vec<(String, Measured)>,
}

/// What something uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// When that was seen.
    pub at: Timestamp,
    /// The time up to then that the processor time is an average of.
    pub window: Duration,
    /// Billionths of a processor.
    pub cpu_nanocores: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl Default for Measured {
    fn default() -> Self {
        Self { at: Timestamp::UNIX_EPOCH, window: Duration::ZERO, cpu_nanocores: 0, memory_bytes: 0 }
    }
}

/// Why the node cannot do it. The texts are kubelet's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The node does not run such a pod.
    #[error("pod does not exist")]
    NoPod,
    /// The container does not run: not yet, not any more, or there is none.
    #[error("container not found ({0:?})")]
    NotRunning(String),
    /// The program could not be started in the container.
    #[error("failed to exec in container: {0}")]
    Exec(String),
    /// The pod does not take the connection: why, as `connect` says it.
    #[error("connect: {0}")]
    Connect(String),
    /// The log cannot be read.
    #[error("failed to read the log: {0}")]
    Log(String),
}
