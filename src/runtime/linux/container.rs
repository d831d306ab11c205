//! A native container, or a program executed in one: both are started, waited for and signalled alike.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cgroup::Cgroup;
use super::mount_namespace::MountNamespace;
use super::process::leftovers;
use super::protocol::{ExecSpec, Failure, FailureKind, Key, Operation, ProcessSpec, RunSpec, Started};
use super::sandbox::{Sandbox, SandboxError};
use super::stdio;
use crate::base::id::ContainerId;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::runtime::{
    Container, ExecRequest, ExitReason, ExitStatus, ResourceLimits, ResourceUsage, RuntimeError, RuntimeWarning,
    Signal, TerminalSize,
};

/// How long a process's output is awaited once it has ended: what it started may have its streams open for good.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the node reads and writes.
pub(super) struct Streams {
    pub(super) stdin: Option<PipeReader>,
    pub(super) stdout: PipeWriter,
    pub(super) stderr: PipeWriter,
}

/// What is to be started.
enum Start {
    Container(Box<RunSpec>),
    Program(Box<ExecSpec>),
}

/// What all processes of a container share.
pub(super) struct Shared {
    pub(super) id: ContainerId,
    pub(super) sandbox: Arc<Sandbox>,
    /// Of the main process.
    pub(super) main: Key,
    /// What a program executed in the container has in common with the main one.
    pub(super) template: Template,
    pub(super) cgroup: Cgroup,
    /// Where what the container changes is kept, which goes when it has ended.
    pub(super) scratch: PathBuf,
    /// What tells its processes from others, while it runs.
    pub(super) namespace: Mutex<Option<MountNamespace>>,
    /// The same, kept, where what the container starts may outlive even the sandbox process.
    pub(super) kept_namespace: Mutex<Option<OwnedFd>>,
    /// What could not be done as asked.
    pub(super) warnings: Vec<RuntimeWarning>,
}

/// How programs are executed in a container. It is kept in a file for the next agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Template {
    pub(super) process: ProcessSpec,
    /// Where its control groups are.
    pub(super) cgroup: Cgroup,
    /// What the main process gets instead of TERM.
    pub(super) stop_signal: Option<i32>,
}

impl Template {
    /// Writes it down in a container's directory. Environments may have secrets in them.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(TEMPLATE_FILE))?;
        Ok(serde_json::to_writer(file, self)?)
    }

    /// What was written down.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(directory.join(TEMPLATE_FILE))?)?)
    }
}

/// A container, or a process executed in one.
pub(super) struct LinuxContainer {
    shared: Arc<Shared>,
    key: Key,
    /// What is to be started; gone once it was.
    pending: Mutex<Option<(Start, Streams)>>,
    terminal: OnceLock<Arc<AsyncFd<OwnedFd>>>,
    wanted_size: Mutex<Option<TerminalSize>>,
    exit: watch::Sender<Option<ExitStatus>>,
}

impl LinuxContainer {
    /// A container that is ready to start.
    pub(super) fn new(shared: Shared, spec: RunSpec, streams: Streams) -> Self {
        Self::pending(Arc::new(shared), spec.key, Start::Container(Box::new(spec)), streams)
    }

    fn pending(shared: Arc<Shared>, key: Key, start: Start, streams: Streams) -> Self {
        let (exit, _) = watch::channel(None);
        Self {
            shared,
            key,
            pending: Mutex::new(Some((start, streams))),
            terminal: OnceLock::new(),
            wanted_size: Mutex::default(),
            exit,
        }
    }

    /// A container that runs, or has ended, in a sandbox that was taken up.
    pub(super) fn adopted(
        shared: Shared,
        started: Started,
        descriptors: Vec<OwnedFd>,
        streams: Streams,
        status: Option<i32>,
    ) -> Result<Self, RuntimeError> {
        let key = shared.main;
        let (exit, _) = watch::channel(None);
        let container = Self {
            shared: Arc::new(shared),
            key,
            pending: Mutex::default(),
            terminal: OnceLock::new(),
            wanted_size: Mutex::default(),
            exit,
        };
        let end = match status {
            Some(status) => {
                let (sender, receiver) = oneshot::channel();
                let _ = sender.send(status);
                receiver
            }
            None => container.shared.sandbox.end_of(key),
        };
        container.accompany(started, descriptors, streams, end)?;
        Ok(container)
    }

    fn not_running(&self) -> RuntimeError {
        RuntimeError::NotRunning(self.shared.id.clone())
    }

    fn is_main(&self) -> bool {
        self.key == self.shared.main
    }

    async fn start_process(&self) -> Result<(), RuntimeError> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (start, streams) = pending.ok_or_else(|| self.not_running())?;
        let sandbox = &self.shared.sandbox;
        let end = sandbox.end_of(self.key);
        let (program, started) = match start {
            Start::Container(spec) => (program_of(&spec.process), sandbox.run(*spec).await),
            Start::Program(spec) => (program_of(&spec.process), sandbox.exec(*spec).await),
        };
        match started {
            Ok((started, descriptors)) => self.accompany(started, descriptors, streams, end),
            Err(error) => {
                if self.is_main() {
                    self.shared.clean_up().await;
                }
                let failed = runtime_error(&self.shared.id, &program, error);
                self.exit.send_replace(Some(never_ran(&failed)));
                Err(failed)
            }
        }
    }

    /// Copies what the process reads and prints, and awaits its end.
    fn accompany(
        &self,
        started: Started,
        descriptors: Vec<OwnedFd>,
        streams: Streams,
        end: oneshot::Receiver<i32>,
    ) -> Result<(), RuntimeError> {
        let failed = |error: io::Error| RuntimeError::Failed(format!("cannot read what the container prints: {error}"));
        if self.is_main() {
            *self.shared.namespace.lock().unwrap_or_else(PoisonError::into_inner) = MountNamespace::of(started.pid);
            let process = PathBuf::from(format!("/proc/{}", started.pid));
            let kept = self.shared.sandbox.has_host_processes().then(|| MountNamespace::keep(&process).ok()).flatten();
            *self.shared.kept_namespace.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
        let mut files = descriptors.into_iter().map(stdio::asynchronous);
        let mut next = || files.next().transpose().map_err(failed);
        let mut outputs = JoinSet::new();
        let (first, input) = if started.terminal {
            let terminal = next()?;
            if let Some(terminal) = &terminal {
                let _ = self.terminal.set(Arc::clone(terminal));
                if let Some(size) = *self.wanted_size.lock().unwrap_or_else(PoisonError::into_inner) {
                    stdio::resize(terminal, size);
                }
            }
            streams.stderr.close();
            (terminal.clone(), terminal)
        } else {
            let first = next()?;
            if let Some(file) = next()? {
                outputs.spawn(stdio::copy_out(file, streams.stderr));
            }
            (first, next()?)
        };
        if let Some(file) = first {
            outputs.spawn(stdio::copy_out(file, streams.stdout));
        }
        let feeding = streams.stdin.zip(input).map(|(from, to)| {
            let (shared, key, is_terminal) = (Arc::clone(&self.shared), self.key, started.terminal);
            tokio::spawn(async move {
                stdio::copy_in(from, to).await;
                if !is_terminal {
                    shared.sandbox.post(Operation::CloseStdin { key });
                }
            })
        });
        let (shared, exit, key) = (Arc::clone(&self.shared), self.exit.clone(), self.key);
        self.shared.sandbox.tasks().spawn(async move {
            let status = end.await.ok();
            if status.is_none() && shared.sandbox.is_left() {
                // It goes on, and is the next agent's.
                return;
            }
            if let Some(feeding) = feeding {
                feeding.abort();
            }
            let drained = async { while outputs.join_next().await.is_some() {} };
            let _ = timeout(DRAIN_TIMEOUT, drained).await;
            let ended = shared.exit_status(status, key == shared.main);
            if key == shared.main {
                *shared.namespace.lock().unwrap_or_else(PoisonError::into_inner) = None;
                let kept = shared.kept_namespace.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(kept) = kept.filter(|_| status.is_none()) {
                    // Among the host's processes, what a container has started does not end with a sandbox that was killed.
                    let _ = tokio::task::spawn_blocking(move || leftovers::kill_all(&kept)).await;
                }
            }
            shared.sandbox.post(Operation::Forget { key });
            exit.send_replace(Some(ended));
            if key == shared.main {
                shared.clean_up().await;
            }
        });
        Ok(())
    }

    async fn exec_process(&self, request: ExecRequest) -> Result<Arc<dyn Container>, RuntimeError> {
        if self.exit.borrow().is_some() {
            return Err(self.not_running());
        }
        let key = self.shared.sandbox.new_key();
        let process = ProcessSpec {
            argv: request.argv,
            terminal: request.tty.then_some((0, 0)),
            stdin: request.stdin.is_some(),
            ..self.shared.template.process.clone()
        };
        let spec = ExecSpec { key, container: self.shared.main, process };
        let streams = Streams { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr };
        let started = Self::pending(Arc::clone(&self.shared), key, Start::Program(Box::new(spec)), streams);
        started.start_process().await?;
        Ok(Arc::new(started))
    }
}

fn program_of(process: &ProcessSpec) -> String {
    process.argv.first().cloned().unwrap_or_default()
}

/// What is said of the end of a container that was never there.
fn never_ran(error: &RuntimeError) -> ExitStatus {
    let code = match error {
        RuntimeError::ProgramNotFound { .. } => 127,
        RuntimeError::NotExecutable { .. } => 126,
        RuntimeError::Failed(_) | RuntimeError::NotRunning(_) => 128,
    };
    ExitStatus { code, reason: ExitReason::Exited, message: Some(error.to_string()) }
}

/// What the node is told of a failed start.
pub(super) fn runtime_error(id: &ContainerId, program: &str, error: SandboxError) -> RuntimeError {
    let program = program.to_owned();
    match error {
        SandboxError::Failed(Failure { kind: FailureKind::ProgramNotFound, what, .. }) => {
            RuntimeError::ProgramNotFound { program, detail: what }
        }
        SandboxError::Failed(failure) if failure.kind == FailureKind::NotExecutable => {
            RuntimeError::NotExecutable { program, detail: failure.to_string() }
        }
        SandboxError::Failed(Failure { kind: FailureKind::NotRunning, .. }) | SandboxError::Gone => {
            RuntimeError::NotRunning(id.clone())
        }
        SandboxError::Failed(_) | SandboxError::Spawn(_) | SandboxError::Connect(_) | SandboxError::Stuck => {
            RuntimeError::Failed(error.to_string())
        }
    }
}

impl Shared {
    /// How a process has ended, whose status is unknown if its sandbox went first.
    fn exit_status(&self, status: Option<i32>, is_main: bool) -> ExitStatus {
        let Some(status) = status else {
            let message = Some("the pod's sandbox has ended".to_owned());
            return ExitStatus { code: 137, reason: ExitReason::Signaled(Signal::Kill), message };
        };
        let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
        let by_signal = (!libc::WIFEXITED(status)).then(|| Signal::from_number(libc::WTERMSIG(status))).flatten();
        if code != 0 && is_main && self.cgroup.has_run_out_of_memory() {
            return ExitStatus { code, reason: ExitReason::OomKilled, message: None };
        }
        ExitStatus { code, reason: by_signal.map_or(ExitReason::Exited, ExitReason::Signaled), message: None }
    }

    /// Removes what only a running container needs.
    async fn clean_up(&self) {
        let (cgroup, scratch) = (self.cgroup.clone(), self.scratch.clone());
        let _ = tokio::task::spawn_blocking(move || {
            cgroup.remove();
            remove_scratch(&scratch);
        })
        .await;
    }
}

/// Removes what a container has changed, and what its root was mounted on.
pub(super) fn remove_scratch(scratch: &Path) {
    for name in ["upper", "work", "root", "empty"] {
        let path = scratch.join(name);
        if let Err(error) = std::fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "what a container changed cannot be removed");
        }
    }
    let _ = std::fs::remove_file(scratch.join(TEMPLATE_FILE));
    // Others may keep something there.
    let _ = std::fs::remove_dir(scratch);
}

/// The file, beside what a container changes, that says how programs are executed in it.
pub(super) const TEMPLATE_FILE: &str = "exec.json";

impl Container for LinuxContainer {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.start_process())
    }

    fn signal(&self, signal: Signal) {
        if self.exit.borrow().is_none() {
            let number = match (signal, self.shared.template.stop_signal) {
                (Signal::Term, Some(instead)) if self.is_main() => instead,
                (signal, _) => signal.number(),
            };
            self.shared.sandbox.post(Operation::Signal { key: self.key, signal: number });
        }
    }

    fn resize(&self, size: TerminalSize) {
        *self.wanted_size.lock().unwrap_or_else(PoisonError::into_inner) = Some(size);
        if let Some(terminal) = self.terminal.get() {
            stdio::resize(terminal, size);
        }
    }

    fn update_limits(&self, limits: ResourceLimits) -> Result<(), RuntimeError> {
        if self.exit.borrow().is_some() {
            return Err(self.not_running());
        }
        self.shared.cgroup.update(limits).map_err(|error| RuntimeError::Failed(error.to_string()))
    }

    fn usage(&self) -> ResourceUsage {
        let (memory_bytes, cpu_time) = self.shared.cgroup.figures();
        if let (Some(memory_bytes), Some(cpu_time)) = (memory_bytes, cpu_time) {
            return ResourceUsage { memory_bytes, cpu_time };
        }
        let namespace = *self.shared.namespace.lock().unwrap_or_else(PoisonError::into_inner);
        let of_processes = namespace.map(MountNamespace::usage).unwrap_or_default();
        ResourceUsage {
            memory_bytes: memory_bytes.unwrap_or(of_processes.memory_bytes),
            cpu_time: cpu_time.unwrap_or(of_processes.cpu_time),
        }
    }

    fn warnings(&self) -> &[RuntimeWarning] {
        if self.is_main() { &self.shared.warnings } else { &[] }
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(self.exec_process(request))
    }

    fn wait(&self) -> BoxFuture<'_, ExitStatus> {
        let mut exit = self.exit.subscribe();
        Box::pin(async move {
            match exit.wait_for(Option::is_some).await {
                Ok(status) => status.clone(),
                Err(_closed) => None,
            }
            .unwrap_or(ExitStatus { code: 137, reason: ExitReason::Signaled(Signal::Kill), message: None })
        })
    }
}

impl Drop for LinuxContainer {
    fn drop(&mut self) {
        let never_started = self.pending.get_mut().is_ok_and(|pending| pending.is_some());
        if never_started && self.is_main() {
            self.shared.cgroup.remove();
            remove_scratch(&self.shared.scratch);
        } else if self.exit.borrow().is_none() && !self.shared.sandbox.is_left() {
            self.shared.sandbox.post(Operation::Signal { key: self.key, signal: Signal::Kill.number() });
        }
    }
}
