//! The API server's way to what runs: the pods of a node in a registry, into which whoever runs them enters them, and
//! [`NodeAccess`] over it. It keeps no pod running.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::images;
use crate::api::support::RuntimeKind;
use crate::apiserver::node_access::{
    AttachRequest, Connection, ExecRequest, LogBytes, LogOptions, LogStream, Measured, NodeAccess, NodeError, PodRef,
    PodUsage, Session, TerminalSize, Usage, Via,
};
use crate::base::clock::{Clock, Timestamp};
use crate::base::pipe::{self, DEFAULT_CAPACITY, PipeReader, PipeWriter};
use crate::image::ImageStore;
use crate::node::{self, AttachError, ConnectVia, LogQuery, PodAccess};
use crate::runtime::{self, ResourceUsage, RuntimeError};

/// How often what is used is looked at (metrics-server `--metric-resolution`).
const SAMPLE_PERIOD: Duration = Duration::from_secs(15);
/// The shortest time that processor time is an average of, where there is a choice.
const MIN_WINDOW: Duration = Duration::from_secs(5);

/// The pods that run on the node, or have run and are still known. Clones are the same registry.
#[derive(Clone)]
pub(super) struct Pods(Arc<Shared>);

struct Shared {
    clock: Clock,
    images: Arc<ImageStore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pods: HashMap<PodRef, Entry>,
    /// Of this process.
    node: Samples,
    /// When it was last looked at what is used.
    sampled: Option<Timestamp>,
}

struct Entry {
    access: PodAccess,
    /// Since when the pod is known.
    since: Timestamp,
    /// By container and attempt.
    samples: HashMap<(String, u32), Samples>,
}

impl Pods {
    /// None yet, on a node with these images.
    pub(super) fn new(clock: Clock, images: Arc<ImageStore>) -> Self {
        Self(Arc::new(Shared { clock, images, state: Mutex::default() }))
    }

    /// Enters a pod; one with the same name and another UID is another pod.
    pub(super) fn insert(&self, pod: PodRef, access: PodAccess) {
        let since = self.0.clock.now();
        self.state().pods.insert(pod, Entry { access, since, samples: HashMap::new() });
    }

    /// Takes a pod out that nobody knows any more. What is under way to it ends with its `PodHandle`.
    pub(super) fn remove(&self, pod: &PodRef) {
        self.state().pods.remove(pod);
    }

    /// Tells a container's own terminal its size; one that does not run learns it when it starts.
    pub(super) fn resize(&self, pod: &PodRef, container: &str, size: runtime::TerminalSize) {
        if let Ok(access) = self.find(pod) {
            let _ = access.resize(container, size);
        }
    }

    /// Looks from time to time at what is used, for as long as this is held: what is used now is the difference.
    pub(super) fn measure(&self) -> AbortOnDropHandle<()> {
        let pods = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut period = tokio::time::interval(SAMPLE_PERIOD);
            loop {
                period.tick().await;
                pods.sample();
            }
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, pod: &PodRef) -> Result<PodAccess, NodeError> {
        self.state().pods.get(pod).map(|entry| entry.access.clone()).ok_or(NodeError::NoPod)
    }

    fn sample(&self) {
        let now = self.0.clock.now();
        let mut state = self.state();
        state.sampled = Some(now);
        state.node.push(Sample::of(now, own_usage()));
        for entry in state.pods.values_mut() {
            let usage = entry.access.usage();
            let runs = |key: &(String, u32)| usage.iter().any(|one| (&one.container, one.attempt) == (&key.0, key.1));
            entry.samples.retain(|key, _| runs(key));
            for one in usage {
                entry.samples.entry((one.container, one.attempt)).or_default().push(Sample::of(now, one.usage));
            }
        }
    }
}

/// Processor time used up to some time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Timestamp,
    cpu_time: Duration,
}

/// The last two samples, the newer one first.
#[derive(Debug, Clone, Copy, Default)]
struct Samples([Option<Sample>; 2]);

impl Sample {
    fn of(at: Timestamp, usage: ResourceUsage) -> Self {
        Self { at, cpu_time: usage.cpu_time }
    }

    fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.at)).unwrap_or_default()
    }
}

impl Samples {
    fn push(&mut self, sample: Sample) {
        self.0 = [Some(sample), self.0[0]];
    }

    /// What was used between a sample and now; `None` before there is one.
    fn measured(&self, now: Timestamp, usage: ResourceUsage) -> Option<Measured> {
        let old_enough = |sample: &&Sample| sample.age(now) >= MIN_WINDOW;
        let known = || self.0.iter().flatten();
        let since = known().find(old_enough).or_else(|| known().last())?;
        let window = since.age(now);
        let used = usage.cpu_time.saturating_sub(since.cpu_time).as_secs_f64();
        let cores = if window.is_zero() { 0.0 } else { used / window.as_secs_f64() };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and far below 2^63")]
        let cpu_nanocores = (cores * 1e9) as u64;
        Some(Measured { at: now, window, cpu_nanocores, memory_bytes: usage.memory_bytes })
    }
}

/// What this process uses, with all that runs in it.
fn own_usage() -> ResourceUsage {
    ResourceUsage { memory_bytes: resident_memory().unwrap_or(0), cpu_time: cpu_time() }
}

#[cfg(unix)]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Not known here.
#[cfg(not(unix))]
fn cpu_time() -> Duration {
    Duration::ZERO
}

/// The memory of this process that is in use, where the system tells it in a file.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl NodeAccess for Pods {
    fn logs(&self, pod: &PodRef, options: LogOptions) -> BoxFuture<'_, Result<LogBytes, NodeError>> {
        let pod = self.find(pod);
        async move {
            let query = log_query(&options, self.0.clock.now());
            let Some(reader) = pod?.logs(&options.container, options.instance, query) else {
                return Ok(futures::stream::empty().boxed());
            };
            let pieces = futures::stream::try_unfold(reader, async |mut reader| {
                let piece = reader.next().await.map_err(|error| NodeError::Log(error.to_string()))?;
                Ok(piece.map(|piece| (piece, reader)))
            });
            Ok(pieces.boxed())
        }
        .boxed()
    }

    fn check_running(&self, pod: &PodRef, container: &str) -> Result<(), NodeError> {
        self.find(pod)?.check_running(container).map_err(|error| not_reached(container, error))
    }

    fn exec(&self, pod: &PodRef, request: ExecRequest) -> BoxFuture<'_, Result<Session, NodeError>> {
        let pod = self.find(pod);
        async move { exec(&pod?, request).await }.boxed()
    }

    fn attach(&self, pod: &PodRef, request: AttachRequest) -> BoxFuture<'_, Result<Session, NodeError>> {
        let pod = self.find(pod);
        async move { attach(pod?, request) }.boxed()
    }

    fn connect(&self, pod: &PodRef, port: u16, via: Via) -> BoxFuture<'_, Result<Connection, NodeError>> {
        let pod = self.find(pod);
        let via = match via {
            Via::Loopback => ConnectVia::Loopback,
            Via::Address => ConnectVia::Node,
        };
        async move {
            let connected = pod?.connect(port, via).await;
            Ok(Box::new(connected.map_err(|error| NodeError::Connect(error.to_string()))?) as Connection)
        }
        .boxed()
    }

    fn usage(&self) -> Usage {
        let now = self.0.clock.now();
        let state = self.state();
        let pods = state.pods.iter().map(|(pod, entry)| {
            // Of which there is no sample, that did not run when they were taken: it had used nothing then.
            let before = Sample { at: entry.since.max(state.sampled.unwrap_or(entry.since)), cpu_time: Duration::ZERO };
            let measured = entry.access.usage().into_iter().filter_map(|one| {
                let samples = entry.samples.get(&(one.container.clone(), one.attempt)).copied();
                let samples = samples.unwrap_or(Samples([Some(before), None]));
                Some((one.container, samples.measured(now, one.usage)?))
            });
            let mut containers: Vec<_> = measured.collect();
            containers.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            PodUsage { pod: pod.clone(), containers }
        });
        let mut pods: Vec<_> = pods.filter(|pod| !pod.containers.is_empty()).collect();
        pods.sort_unstable_by(|one, other| one.pod.cmp(&other.pod));
        Usage { node: state.node.measured(now, own_usage()).unwrap_or_default(), pods }
    }

    fn runtime_of_image(&self, image: &str) -> Option<RuntimeKind> {
        images::runtime_of(&self.0.images, image)
    }
}

fn log_query(options: &LogOptions, now: Timestamp) -> LogQuery {
    let ago = |seconds| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
    LogQuery {
        follow: options.follow,
        tail_lines: options.tail_lines,
        // The later of the two counts (kubelet `NewLogOptions`).
        since: options.since_seconds.map(ago).max(options.since_time),
        timestamps: options.timestamps,
        limit_bytes: options.limit_bytes,
        stream: options.stream.map(|stream| match stream {
            LogStream::Stdout => node::LogStream::Stdout,
            LogStream::Stderr => node::LogStream::Stderr,
        }),
    }
}

fn not_reached(container: &str, error: AttachError) -> NodeError {
    match error {
        AttachError::NotRunning { .. } | AttachError::Runtime(RuntimeError::NotRunning(_)) => {
            NodeError::NotRunning(container.to_owned())
        }
        AttachError::Runtime(error) => NodeError::Exec(error.to_string()),
    }
}

/// A pipe for what a program prints. What nobody wants goes nowhere, and does not hold up the program.
fn output(is_wanted: bool) -> (PipeWriter, PipeReader) {
    let (writer, reader) = pipe::pipe(DEFAULT_CAPACITY);
    if !is_wanted {
        reader.discard();
    }
    (writer, reader)
}

fn size(size: TerminalSize) -> runtime::TerminalSize {
    runtime::TerminalSize { rows: size.rows, columns: size.columns }
}

async fn exec(pod: &PodAccess, request: ExecRequest) -> Result<Session, NodeError> {
    let ExecRequest { container, command, wanted } = request;
    let (stdin, from_stdin) = wanted.stdin.then(|| pipe::pipe(DEFAULT_CAPACITY)).unzip();
    let ((to_stdout, stdout), (to_stderr, stderr)) = (output(wanted.stdout), output(wanted.stderr));
    let program = runtime::ExecRequest {
        argv: command,
        stdin: from_stdin,
        stdout: to_stdout,
        stderr: to_stderr,
        tty: wanted.tty,
    };
    let process = pod.exec(&container, program).await.map_err(|error| not_reached(&container, error))?;
    let resized = Arc::clone(&process);
    let outputs = (stdout.clone(), stderr.clone());
    Ok(Session {
        stdin,
        stdout: wanted.stdout.then_some(stdout),
        stderr: wanted.stderr.then_some(stderr),
        resize: Box::new(move |to| resized.resize(size(to))),
        ended: async move {
            let code = process.wait().await.code;
            // A pipe without a reader would have ended the program.
            drop(outputs);
            code
        }
        .boxed(),
    })
}

fn attach(pod: PodAccess, request: AttachRequest) -> Result<Session, NodeError> {
    let AttachRequest { container, wanted } = request;
    let (stdin, from_stdin) = wanted.stdin.then(|| pipe::pipe(DEFAULT_CAPACITY)).unzip();
    let output = |is_wanted: bool| is_wanted.then(|| pipe::pipe(DEFAULT_CAPACITY)).unzip();
    let (to_stdout, stdout) = output(wanted.stdout);
    let (to_stderr, stderr) = output(wanted.stderr);
    let streams = node::Attach { stdin: from_stdin, stdout: to_stdout, stderr: to_stderr };
    let attached = pod.attach(&container, streams).map_err(|error| not_reached(&container, error))?;
    Ok(Session {
        stdin,
        stdout,
        stderr,
        resize: Box::new(move |to| {
            // One that has ended has no terminal.
            let _ = pod.resize(&container, size(to));
        }),
        ended: async move {
            attached.ended().await;
            0
        }
        .boxed(),
    })
}
