//! What a runtime is to the rest: sandboxes, containers, programs executed in them, signals, ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{LinuxContainerConfig, LinuxPodSandboxConfig};
use crate::base::id::{ContainerId, PodUid};
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::net::PodNetwork;
use crate::vfs::MountTable;

/// What the containers of one pod share.
#[derive(Debug, Clone)]
pub struct PodSandbox {
    /// The pod's UID.
    pub uid: PodUid,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// What `hostname` says inside.
    pub hostname: String,
    /// The pod's network.
    pub network: Arc<PodNetwork>,
    /// `spec.shareProcessNamespace`: containers see each other's processes.
    pub share_process_namespace: bool,
    /// What native containers need of the pod; `None` where it has none.
    pub linux: Option<LinuxPodSandboxConfig>,
}

/// A declared port of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// `ports[].containerPort`.
    pub port: u16,
    /// Whether it is UDP (else TCP).
    pub udp: bool,
}

/// One container instance to create.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// Identifies the instance.
    pub id: ContainerId,
    /// The container's name in the pod.
    pub name: String,
    /// 0 for the first instance, counting restarts.
    pub attempt: u32,
    /// The program and its arguments; `argv[0]` is looked up on `PATH` in the container's own filesystem unless it
    /// contains a slash.
    pub argv: Vec<String>,
    /// The whole environment, in order.
    pub env: Vec<(String, String)>,
    /// The absolute working directory.
    pub working_dir: String,
    /// The container's filesystem.
    pub mounts: MountTable,
    /// Standard input; `None` reads as end of file at once.
    pub stdin: Option<PipeReader>,
    /// Standard output.
    pub stdout: PipeWriter,
    /// Standard error.
    pub stderr: PipeWriter,
    /// Whether standard input, output and error are a terminal.
    pub tty: bool,
    /// The size of the terminal, where it is known from the start.
    pub terminal_size: Option<TerminalSize>,
    /// Declared ports, in order: where 0.1 modules get listening sockets and `wasi:http` handlers are served.
    pub ports: Vec<ContainerPort>,
    /// `resources.limits.memory` in bytes.
    pub memory_limit: Option<u64>,
    /// `resources.limits.cpu` in thousandths of a core.
    pub cpu_limit_millis: Option<u64>,
    /// What a native container is beyond this; `None` for one of WebAssembly.
    pub linux: Option<Box<LinuxContainerConfig>>,
}

/// What the processes of a container may use together; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceLimits {
    /// `resources.limits.memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `resources.limits.cpu` in thousandths of a core.
    pub cpu_millis: Option<u64>,
}

/// What the processes of a container use together, and have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Bytes of memory that they have now.
    pub memory_bytes: u64,
    /// Processor time since the container was created.
    pub cpu_time: Duration,
}

/// How large a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A program to run in the context of a running container.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Standard input.
    pub stdin: Option<PipeReader>,
    /// Standard output.
    pub stdout: PipeWriter,
    /// Standard error.
    pub stderr: PipeWriter,
    /// Whether the three are a terminal.
    pub tty: bool,
}

/// The signals husk delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// SIGHUP, 1.
    Hup,
    /// SIGINT, 2.
    Int,
    /// SIGQUIT, 3.
    Quit,
    /// SIGKILL, 9; cannot be caught.
    Kill,
    /// SIGUSR1, 10.
    Usr1,
    /// SIGUSR2, 12.
    Usr2,
    /// SIGPIPE, 13: a write to a pipe that nobody reads.
    Pipe,
    /// SIGTERM, 15.
    Term,
    /// SIGCHLD, 17: a child ended. Ignored unless caught.
    Chld,
    /// SIGWINCH, 28: the terminal's size changed. Ignored unless caught.
    Winch,
}

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 10] = [
        Self::Hup,
        Self::Int,
        Self::Quit,
        Self::Kill,
        Self::Usr1,
        Self::Usr2,
        Self::Pipe,
        Self::Term,
        Self::Chld,
        Self::Winch,
    ];

    /// The signal with Linux's number `number`.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.number() == number)
    }

    /// Linux's number.
    pub fn number(self) -> i32 {
        match self {
            Self::Hup => 1,
            Self::Int => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::Usr1 => 10,
            Self::Usr2 => 12,
            Self::Pipe => 13,
            Self::Term => 15,
            Self::Chld => 17,
            Self::Winch => 28,
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitStatus {
    /// 0..=255; 128+n for a signal, 134 for a trap.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// What the runtime has to say of it, such as a trap's message and backtrace.
    pub message: Option<String>,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// The program ended by itself with this code.
    Exited,
    /// A signal it did not catch.
    Signaled(Signal),
    /// A WebAssembly trap.
    Trapped,
    /// It asked for more memory than its limit.
    OomKilled,
}

/// Why a container could not be created or started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// `argv[0]` is not in the container's filesystem.
    #[error("exec: {program:?}: {detail}")]
    ProgramNotFound {
        /// What was looked for.
        program: String,
        /// As Linux would say it, such as `executable file not found in $PATH`.
        detail: String,
    },
    /// The file is no program this runtime can run.
    #[error("exec: {program:?}: {detail}")]
    NotExecutable {
        /// The program.
        program: String,
        /// Why, and what to do about it.
        detail: String,
    },
    /// The runtime itself could not do it (instantiation, memory, ports).
    #[error("{0}")]
    Failed(String),
    /// The container is not in a state for this.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
}

/// Something a runtime could not do as asked, although the container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeWarning {
    /// The `reason` of the event that tells of it.
    pub reason: &'static str,
    /// What, and why.
    pub message: String,
}

/// A container that has outlived its agent, whether it still runs or not. WebAssembly containers die with theirs.
pub struct AdoptedContainer {
    /// The instance.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: String,
    /// Its attempt.
    pub attempt: u32,
    /// The container, which was started; if it has ended meanwhile, waiting for it says how.
    pub container: Arc<dyn Container>,
    /// What feeds its standard input, if it has one that is still open.
    pub stdin: Option<PipeWriter>,
    /// Its standard output, from where the earlier agent has left off.
    pub stdout: PipeReader,
    /// Its standard error.
    pub stderr: PipeReader,
}

/// Creates containers of one kind.
pub trait ContainerRuntime: Send + Sync {
    /// The scheme of container IDs, such as `wasm`.
    fn name(&self) -> &'static str;

    /// Makes a container ready to start: finds its program, compiles it where needed.
    fn create<'a>(
        &'a self,
        sandbox: &'a PodSandbox,
        config: ContainerConfig,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, RuntimeError>>;

    /// The pod's containers that have outlived an agent; each is taken up but once. `None` if nothing of the pod has.
    fn adopt<'a>(&'a self, sandbox: &'a PodSandbox) -> BoxFuture<'a, Option<Vec<AdoptedContainer>>> {
        let _ = sandbox;
        Box::pin(std::future::ready(None))
    }

    /// Ends what an agent has left of a pod that nobody wants any more. `directory` is its sandbox's.
    fn remove_left<'a>(&'a self, uid: &'a PodUid, directory: &'a Path) -> BoxFuture<'a, ()> {
        let _ = (uid, directory);
        Box::pin(std::future::ready(()))
    }

    /// Removes what agents that are dead have left of containers beside their pods' files. To be called once the pods that
    /// outlived them were taken up.
    fn remove_leftovers(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The pod has come to its end: what its containers shared goes, and with it whatever still runs in it.
    fn remove_sandbox<'a>(&'a self, uid: &'a PodUid) -> BoxFuture<'a, ()> {
        let _ = uid;
        Box::pin(std::future::ready(()))
    }
}

/// One container instance. Dropping the last handle of a running container kills it.
pub trait Container: Send + Sync {
    /// Starts the program; returns once it runs.
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>>;

    /// Delivers a signal; to a container that has ended, nothing happens.
    fn signal(&self, signal: Signal);

    /// Tells the program's terminal its size; nothing happens without a terminal.
    fn resize(&self, size: TerminalSize);

    /// Replaces both limits of the container (`memory_limit` and `cpu_limit_millis` of its configuration) while it runs,
    /// for everything that runs in it now or later.
    ///
    /// # Errors
    ///
    /// `Failed` if the memory limit is below what is in use already, and then neither limit has changed; `NotRunning` if
    /// the container has ended.
    fn update_limits(&self, limits: ResourceLimits) -> Result<(), RuntimeError>;

    /// What the container's processes use together; of a program executed in it, the same.
    fn usage(&self) -> ResourceUsage;

    /// What the runtime could not do as asked although the container runs, for the pod's events.
    fn warnings(&self) -> &[RuntimeWarning] {
        &[]
    }

    /// Runs another program in the container's context: same filesystem, network, limits and environment.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>>;

    /// Resolves when the program has ended, always, with the same answer to every caller.
    fn wait(&self) -> BoxFuture<'_, ExitStatus>;
}
