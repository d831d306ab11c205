//! A container: a main process, and those that are executed in its context. All share the container's files, network,
//! environment and limits, and none outlives the main process or the handle.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::RuntimeCore;
use super::container_context::{ContainerContext, Launch, MemoryFiles, Prepared, Relations, wait_until_running};
use super::cpu::CpuQuota;
use super::limits::MemoryAccount;
use super::p1::{Descriptor, Input, Output};
use super::process::Process;
use super::process_table::{Group, ProcessTable};
use super::procfs::ProcFs;
use super::program;
use super::signals::Signals;
use super::stdio::{InputSource, OutputSink};
use super::terminal::Terminal;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::runtime::{
    Container, ContainerConfig, ExecRequest, ExitStatus, PodSandbox, ResourceLimits, ResourceUsage, RuntimeError,
    Signal, TerminalSize,
};
use crate::vfs::GeneratedFs;

/// A container, or a process executed in one: both are waited for and signalled alike.
pub(super) struct WasmContainer {
    context: Arc<ContainerContext>,
    process: Arc<Process>,
    /// What is to be started; gone once it was.
    pending: Mutex<Option<Prepared>>,
    /// Its terminal, which goes with the last process that has it open.
    terminal: Weak<Terminal>,
    is_main: bool,
}

/// Where a process reads and writes.
struct Stdio {
    stdin: Option<PipeReader>,
    stdout: PipeWriter,
    stderr: PipeWriter,
    tty: bool,
}

impl Stdio {
    /// As the first three descriptors of a process, and the terminal that is behind them, if one is. Only who has it open
    /// keeps it.
    fn descriptors(self, processes: &Arc<ProcessTable>) -> (Vec<(u32, Descriptor)>, Weak<Terminal>) {
        let input = |source| Descriptor::Input(Input { source, flags: 0 });
        let output = |sink| Descriptor::Output(Output { sink, flags: 0 });
        if !self.tty {
            let stdin = self.stdin.map_or(InputSource::Empty, InputSource::Pipe);
            let [stdout, stderr] = [self.stdout, self.stderr].map(|writer| output(OutputSink::Pipe(writer)));
            return (vec![(0, input(stdin)), (1, stdout), (2, stderr)], Weak::new());
        }
        let (terminal, printed) = Terminal::new(processes);
        tokio::spawn(Terminal::show(printed, self.stdout));
        let stdin = match self.stdin {
            Some(keyboard) => {
                tokio::spawn(Terminal::listen(Arc::downgrade(&terminal), keyboard));
                InputSource::Terminal(Arc::clone(&terminal))
            }
            None => InputSource::Empty,
        };
        let [stdout, stderr] = [&terminal; 2].map(|terminal| output(OutputSink::Terminal(Arc::clone(terminal))));
        (vec![(0, input(stdin)), (1, stdout), (2, stderr)], Arc::downgrade(&terminal))
    }
}

impl WasmContainer {
    /// A container that is ready to start: its program is found, compiled and linked.
    pub(super) async fn create(
        core: &Arc<RuntimeCore>,
        sandbox: &PodSandbox,
        config: ContainerConfig,
    ) -> Result<Self, RuntimeError> {
        let processes =
            if sandbox.share_process_namespace { core.shared_tables.of_pod(&sandbox.uid) } else { ProcessTable::new() };
        let memory = MemoryAccount::new(config.memory_limit);
        let proc = GeneratedFs::new(Arc::new(ProcFs::new(&processes, &memory)));
        let mounts = config.mounts.with("/proc", proc).map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let context = Arc::new(ContainerContext {
            id: config.id,
            core: Arc::clone(core),
            env: config.env,
            working_dir: config.working_dir,
            mounts,
            network: Arc::clone(&sandbox.network),
            ports: config.ports,
            memory,
            quota: CpuQuota::new(config.cpu_limit_millis),
            processes,
            memory_files: MemoryFiles::default(),
            gone: CancellationToken::new(),
        });
        let stdio = Stdio { stdin: config.stdin, stdout: config.stdout, stderr: config.stderr, tty: config.tty };
        let container = Self::new(context, config.argv, stdio, true).await?;
        if let Some(size) = config.terminal_size {
            container.resize(size);
        }
        Ok(container)
    }

    async fn new(
        context: Arc<ContainerContext>,
        argv: Vec<String>,
        stdio: Stdio,
        is_main: bool,
    ) -> Result<Self, RuntimeError> {
        let name = argv.first().cloned().unwrap_or_default();
        let (loaded, executable) = context.load(&name, argv, &context.env, &context.working_dir).await?;
        if !is_main && loaded.is_server() {
            return Err(program::not_executable(
                &name,
                "an HTTP handler, which can only be a container's main program",
            ));
        }
        let (descriptors, terminal) = stdio.descriptors(&context.processes);
        let launch =
            Launch { env: context.env.clone(), working_dir: context.working_dir.clone(), descriptors, is_main };
        let relations = Relations { signals: Signals::default(), parent: 0, group: Group::New };
        let prepared = context.prepare(loaded, executable, launch, relations);
        let prepared = prepared.map_err(|error| RuntimeError::Failed(error.to_string()))?;
        let process = Arc::clone(&prepared.process);
        if let Some(terminal) = terminal.upgrade() {
            terminal.set_foreground(process.pid());
        }
        Ok(Self { context, process, pending: Mutex::new(Some(prepared)), terminal, is_main })
    }

    async fn start_process(&self) -> Result<(), RuntimeError> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let not_running = || RuntimeError::NotRunning(self.context.id.clone());
        // The container is gone as soon as the main process's future is, however it ended.
        let gone_with_main = self.is_main.then(|| self.context.gone.clone().drop_guard());
        let running = pending.and_then(|prepared| prepared.start(gone_with_main)).ok_or_else(not_running)?;
        wait_until_running(running).await
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
        let stdio = Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, tty: request.tty };
        let process = Self::new(Arc::clone(context), request.argv, stdio, false).await?;
        if !self.is_alive() {
            return Err(RuntimeError::NotRunning(context.id.clone()));
        }
        process.start_process().await?;
        Ok(Arc::new(process))
    }
}

#[cfg(test)]
impl WasmContainer {
    /// The container's files.
    pub(super) fn root(&self) -> crate::vfs::Dir {
        self.context.mounts.root()
    }

    /// Whether its processor time is limited.
    pub(super) fn has_cpu_limit(&self) -> bool {
        self.context.quota.is_limited()
    }
}

impl Container for WasmContainer {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(self.start_process())
    }

    fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = self.terminal.upgrade() {
            terminal.resize(size);
        }
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

    fn usage(&self) -> ResourceUsage {
        let (_, memory_bytes) = self.context.memory.limit_and_usage();
        ResourceUsage { memory_bytes, cpu_time: self.context.quota.used() }
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
