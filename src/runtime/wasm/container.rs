//! A container: a main process, and those that are executed in its context. All share the container's files, network,
//! environment and limits, and none outlives the main process or the handle.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cpu::{CpuQuota, Schedule};
use super::engine::Ticker;
use super::http_workers::WorkerPool;
use super::limits::{MemoryAccount, ProcessLimits};
use super::process::Process;
use super::program::{self, Program};
use super::signals::Signals;
use super::state::ProcessContext;
use super::{Loaded, RuntimeCore, command, http};
use crate::base::id::ContainerId;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::net::PodNetwork;
use crate::runtime::{
    Container, ContainerConfig, ContainerPort, ExecRequest, ExitStatus, PodSandbox, ResourceLimits, RuntimeError,
    Signal,
};
use crate::vfs::MountTable;

/// Processes that may be executed in one container at the same time, besides its main process.
const MAX_EXECUTED: usize = 64;

/// How long a start waits for the instance; a program that is busy in its initialisers counts as running after that.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// What the processes of a container share.
struct ContainerContext {
    id: ContainerId,
    core: Arc<RuntimeCore>,
    env: Vec<(String, String)>,
    working_dir: String,
    mounts: MountTable,
    network: Arc<PodNetwork>,
    memory: Arc<MemoryAccount>,
    quota: Arc<CpuQuota>,
    executed: Arc<Semaphore>,
    /// Cancelled when the main process has ended or nobody holds the container any more.
    gone: CancellationToken,
}

/// What a process is made of. A server makes one guest process of it per instance, a command a single one.
#[derive(Clone)]
pub(super) struct ProcessSeed {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    working_dir: String,
    mounts: MountTable,
    /// The pod's network.
    pub(super) network: Arc<PodNetwork>,
    /// Declared ports.
    pub(super) ports: Vec<ContainerPort>,
    stdin: Option<PipeReader>,
    stdout: PipeWriter,
    /// Standard error.
    pub(super) stderr: PipeWriter,
    tty: bool,
    /// Where signals arrive.
    pub(super) signals: Arc<Signals>,
    memory: Arc<MemoryAccount>,
    quota: Arc<CpuQuota>,
    ticker: Arc<Ticker>,
}

impl ProcessSeed {
    /// The context of a new guest process.
    pub(super) fn context(&self) -> ProcessContext {
        ProcessContext {
            argv: self.argv.clone(),
            env: self.env.clone(),
            working_dir: self.working_dir.clone(),
            root: self.mounts.root(),
            network: Arc::clone(&self.network),
            ports: self.ports.clone(),
            stdin: self.stdin.clone(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            tty: self.tty,
            signals: Arc::clone(&self.signals),
        }
    }

    /// The limits of a new guest process.
    pub(super) fn limits(&self) -> ProcessLimits {
        ProcessLimits::new(&self.memory)
    }

    /// The schedule of a new guest process.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(&self.ticker, Arc::clone(&self.quota))
    }
}

/// A container, or a process executed in one: both are waited for and signalled alike.
pub(super) struct WasmContainer {
    context: Arc<ContainerContext>,
    process: Arc<Process>,
    /// What is to be started; gone once it was.
    pending: Mutex<Option<Pending>>,
    is_main: bool,
}

struct Pending {
    loaded: Loaded,
    seed: ProcessSeed,
    /// Held by a process executed in a container, of which there may be only so many.
    permit: Option<OwnedSemaphorePermit>,
}

/// Where a process reads and writes.
struct Stdio {
    stdin: Option<PipeReader>,
    stdout: PipeWriter,
    stderr: PipeWriter,
    tty: bool,
}

impl WasmContainer {
    /// A container that is ready to start: its program is found, compiled and linked.
    pub(super) async fn create(
        core: &Arc<RuntimeCore>,
        sandbox: &PodSandbox,
        config: ContainerConfig,
    ) -> Result<Self, RuntimeError> {
        let context = Arc::new(ContainerContext {
            id: config.id,
            core: Arc::clone(core),
            env: config.env,
            working_dir: config.working_dir,
            mounts: config.mounts,
            network: Arc::clone(&sandbox.network),
            memory: MemoryAccount::new(config.memory_limit),
            quota: CpuQuota::new(config.cpu_limit_millis),
            executed: Arc::new(Semaphore::new(MAX_EXECUTED)),
            gone: CancellationToken::new(),
        });
        let stdio = Stdio { stdin: config.stdin, stdout: config.stdout, stderr: config.stderr, tty: config.tty };
        let loaded = context.load(&config.argv).await?;
        Ok(Self::new(context, loaded, config.argv, config.ports, stdio, None))
    }

    fn new(
        context: Arc<ContainerContext>,
        loaded: Loaded,
        argv: Vec<String>,
        ports: Vec<ContainerPort>,
        stdio: Stdio,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let process = Process::new();
        let seed = ProcessSeed {
            argv,
            env: context.env.clone(),
            working_dir: context.working_dir.clone(),
            mounts: context.mounts.clone(),
            network: Arc::clone(&context.network),
            ports,
            stdin: stdio.stdin,
            stdout: stdio.stdout,
            stderr: stdio.stderr,
            tty: stdio.tty,
            signals: Arc::clone(process.signals()),
            memory: Arc::clone(&context.memory),
            quota: Arc::clone(&context.quota),
            ticker: Arc::clone(loaded.host.engine.ticker()),
        };
        let is_main = permit.is_none();
        Self { context, process, pending: Mutex::new(Some(Pending { loaded, seed, permit })), is_main }
    }

    async fn start_process(&self) -> Result<(), RuntimeError> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let not_running = || RuntimeError::NotRunning(self.context.id.clone());
        let Pending { loaded: Loaded { program, host, room }, seed, permit } = pending.ok_or_else(not_running)?;
        let engine = host.engine.engine().clone();
        let (started, running) = oneshot::channel();
        // The container is gone as soon as the main process's future is, however it ended.
        let gone_with_main = self.is_main.then(|| self.context.gone.clone().drop_guard());
        let spawned = self.process.start(self.context.gone.clone(), async move {
            let _held = (gone_with_main, permit, room);
            if let Program::Server(_) = &*program {
                let pool_seed = seed.clone();
                let pool = |control| WorkerPool::new(engine, program, pool_seed, control);
                http::serve(pool, seed, started).await
            } else {
                command::run(engine, program, seed, started).await
            }
        });
        if !spawned {
            return Err(not_running());
        }
        match timeout(START_PATIENCE, running).await {
            Ok(Ok(outcome)) => outcome,
            // Killed before it ran, or busy in its initialisers: either way `wait` has the rest of the story.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Whether neither it nor its container has ended.
    fn is_alive(&self) -> bool {
        !self.context.gone.is_cancelled() && !self.process.has_ended()
    }

    async fn exec_process(&self, request: ExecRequest) -> Result<Arc<dyn Container>, RuntimeError> {
        let context = &self.context;
        if !self.is_alive() {
            return Err(RuntimeError::NotRunning(context.id.clone()));
        }
        let permit = Arc::clone(&context.executed).try_acquire_owned().map_err(|_| {
            RuntimeError::Failed(format!("too many processes: {MAX_EXECUTED} are being executed in the container"))
        })?;
        let loaded = context.load(&request.argv).await?;
        if matches!(*loaded.program, Program::Server(_)) {
            let name = request.argv.first().map(String::as_str).unwrap_or_default();
            return Err(program::not_executable(name, "an HTTP handler, which can only be a container's main program"));
        }
        if !self.is_alive() {
            return Err(RuntimeError::NotRunning(context.id.clone()));
        }
        let stdio = Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, tty: request.tty };
        let process = Self::new(Arc::clone(context), loaded, request.argv, Vec::new(), stdio, Some(permit));
        process.start_process().await?;
        Ok(Arc::new(process))
    }
}

#[cfg(test)]
impl WasmContainer {
    /// CPU time the container has used while it had a limit.
    pub(super) fn cpu_time_used(&self) -> Duration {
        self.context.quota.used()
    }
}

impl ContainerContext {
    /// Finds, compiles and links the program `argv[0]` names.
    async fn load(&self, argv: &[String]) -> Result<Loaded, RuntimeError> {
        let name = argv.first().cloned().unwrap_or_default();
        let source = program::find(&self.mounts.root(), argv, &self.env, &self.working_dir)?;
        self.core.load(source).await.map_err(|error| program::refused(&name, &error))
    }
}

impl Container for WasmContainer {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.start_process())
    }

    fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    fn update_limits(&self, limits: ResourceLimits) -> Result<(), RuntimeError> {
        let context = &self.context;
        if !self.is_alive() {
            return Err(RuntimeError::NotRunning(context.id.clone()));
        }
        context.memory.set_limit(limits.memory_bytes).map_err(|error| RuntimeError::Failed(error.to_string()))?;
        context.quota.set_limit(limits.cpu_millis);
        Ok(())
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(self.exec_process(request))
    }

    fn wait(&self) -> BoxFuture<'_, ExitStatus> {
        Box::pin(self.process.wait())
    }
}

impl Drop for WasmContainer {
    fn drop(&mut self) {
        self.process.signal(Signal::Kill);
        if self.is_main {
            self.context.gone.cancel();
        }
    }
}
