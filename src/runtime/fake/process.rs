//! A fake container, or a program executed in one, at work.

use std::future::pending;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::sleep;

use super::script::{OnTerm, Script};
use super::{Call, Execution, Shared, creation, lock, nth_script};
use crate::base::id::ContainerId;
use crate::base::pipe::PipeWriter;
use crate::net::{NetError, PodNetwork, TcpListener};
use crate::runtime::{
    Container, ContainerConfig, ExecRequest, ExitReason, ExitStatus, PodSandbox, ResourceLimits, ResourceUsage,
    RuntimeError, Signal, TerminalSize,
};
use crate::vfs::{Errno, MountTable, OpenOptions, Opened};

/// Connections waiting to be accepted.
const BACKLOG: usize = 16;

/// The handle of a container, or of a program executed in one.
pub(super) struct FakeContainer {
    id: ContainerId,
    mounts: MountTable,
    network: Arc<PodNetwork>,
    script: Script,
    process: Arc<Process>,
}

/// What outlives the handle: how it fares, and who is told.
struct Process {
    name: String,
    stdout: PipeWriter,
    stderr: PipeWriter,
    /// Whether its output ends with it, as a real program's does.
    closes_output: bool,
    shared: Arc<Shared>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Created,
    Running,
    Ended(ExitStatus),
}

/// The status of something that did not survive a signal.
fn killed(signal: Signal) -> ExitStatus {
    ExitStatus { code: 128 + signal.number(), reason: ExitReason::Signaled(signal), message: None }
}

impl Process {
    fn new(name: String, stdout: PipeWriter, stderr: PipeWriter, script: &Script, shared: Arc<Shared>) -> Arc<Self> {
        let state = watch::Sender::new(State::Created);
        Arc::new(Self { name, stdout, stderr, closes_output: !script.keeps_output_open, shared, state })
    }

    fn end(&self, status: ExitStatus) {
        let code = status.code;
        let first = self.state.send_if_modified(|state| {
            let first = !matches!(state, State::Ended(_));
            if first {
                *state = State::Ended(status);
            }
            first
        });
        if first {
            self.shared.record(Call::End(self.name.clone(), code));
            if self.closes_output {
                self.stdout.close();
                self.stderr.close();
            }
        }
    }

    async fn ended(&self) -> ExitStatus {
        let mut state = self.state.subscribe();
        loop {
            if let State::Ended(status) = &*state.borrow_and_update() {
                return status.clone();
            }
            // The sender is `self`, so there is always a next state to wait for.
            let _ = state.changed().await;
        }
    }

    /// Runs `work` in a task of its own until the process has ended.
    fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let process = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = work => {}
                _ = process.ended() => {}
            }
        });
    }

    fn end_after(self: &Arc<Self>, after: Duration, status: ExitStatus) {
        let process = Arc::clone(self);
        self.spawn(async move {
            sleep(after).await;
            process.end(status);
        });
    }

    /// Prints what the script says, then ends as it says.
    fn work(self: &Arc<Self>, script: &Script, network: &Arc<PodNetwork>) {
        let found = find(Arc::clone(network), script.awaited.clone());
        let output = print(&self.stdout, script.output.clone());
        let error_output = print(&self.stderr, script.error_output.clone());
        let (process, end) = (Arc::clone(self), script.end.clone());
        self.spawn(async move {
            tokio::join!(output, error_output, found);
            match end {
                Some((after, status)) => {
                    sleep(after).await;
                    process.end(status);
                }
                None => pending().await,
            }
        });
    }
}

/// Looks a name up until it is found.
async fn find(network: Arc<PodNetwork>, awaited: Option<(String, Duration)>) {
    let Some((name, pause)) = awaited else { return };
    while network.resolve(&name).await.is_err() {
        sleep(pause).await;
    }
}

/// Writes as much as fits at once; the future writes the rest.
fn print(writer: &PipeWriter, mut output: Bytes) -> impl Future<Output = ()> + Send + 'static {
    if !output.is_empty() {
        // What cannot be written now is tried again below.
        let _ = output.split_to(writer.try_write(&output).unwrap_or(0));
    }
    let writer = writer.clone();
    async move {
        if !output.is_empty() {
            // A reader that has gone does not end the program.
            let _ = writer.write_all(output).await;
        }
    }
}

impl FakeContainer {
    pub(super) fn new(sandbox: &PodSandbox, config: ContainerConfig, script: Script, shared: Arc<Shared>) -> Self {
        let process = Process::new(config.name, config.stdout, config.stderr, &script, shared);
        Self { id: config.id, mounts: config.mounts, network: Arc::clone(&sandbox.network), script, process }
    }

    fn write_files(&self) -> Result<(), Errno> {
        let options = OpenOptions { write: true, create: true, follow: true, mode: 0o644, ..OpenOptions::default() };
        for (path, contents) in &self.script.files {
            let Opened::File(file) = self.mounts.root().open(path, options)? else { return Err(Errno::IsDirectory) };
            file.write_at(contents, 0)?;
        }
        Ok(())
    }

    pub(super) fn read(&self, path: &str) -> Result<String, Errno> {
        let options = OpenOptions { read: true, follow: true, ..OpenOptions::default() };
        let Opened::File(file) = self.mounts.root().open(path, options)? else { return Err(Errno::IsDirectory) };
        Ok(String::from_utf8_lossy(&file.contents()?).into_owned())
    }

    /// Opens the script's ports, at once or when their time comes.
    fn open_ports(&self) -> Result<(), NetError> {
        for (port, delay) in self.script.ports.iter().copied() {
            if delay == Duration::ZERO {
                self.process.spawn(accept_all(listen(&self.network, port)?));
                continue;
            }
            let network = Arc::clone(&self.network);
            self.process.spawn(async move {
                sleep(delay).await;
                if let Ok(listener) = listen(&network, port) {
                    accept_all(listener).await;
                }
            });
        }
        Ok(())
    }

    fn run(&self) -> Result<(), RuntimeError> {
        if let Some(error) = &self.script.start_error {
            return Err(RuntimeError::Failed(error.clone()));
        }
        if *self.process.state.borrow() != State::Created {
            return Err(RuntimeError::NotRunning(self.id.clone()));
        }
        self.write_files().map_err(|errno| RuntimeError::Failed(errno.to_string()))?;
        self.open_ports().map_err(|error| RuntimeError::Failed(error.to_string()))?;
        self.process.state.send_replace(State::Running);
        self.process.work(&self.script, &self.network);
        Ok(())
    }

    async fn run_exec(&self, request: ExecRequest) -> Result<Arc<dyn Container>, RuntimeError> {
        let Process { name, shared, state, .. } = &*self.process;
        if *state.borrow() != State::Running {
            return Err(RuntimeError::NotRunning(self.id.clone()));
        }
        shared.record(Call::Exec(name.clone(), request.argv.clone()));
        let index = lock(&shared.executions).get(name).map_or(0, Vec::len);
        let script = nth_script(&shared.exec_scripts, name, index).unwrap_or_else(|| Script::exits(Duration::ZERO, 0));
        let exec_name = format!("{name}/exec-{index}");
        let process = Process::new(exec_name, request.stdout, request.stderr, &script, Arc::clone(shared));
        let execution = Execution { argv: request.argv, state: process.state.subscribe() };
        lock(&shared.executions).entry(name.clone()).or_default().push(execution);
        creation(&script).await?;
        let program = Self {
            id: ContainerId::random(),
            mounts: self.mounts.clone(),
            network: Arc::clone(&self.network),
            script,
            process,
        };
        program.run()?;
        let (container, process) = (Arc::clone(&self.process), Arc::clone(&program.process));
        program.process.spawn(async move {
            container.ended().await;
            process.end(killed(Signal::Kill));
        });
        Ok(Arc::new(program))
    }
}

fn listen(network: &Arc<PodNetwork>, port: u16) -> Result<TcpListener, NetError> {
    // The unspecified IPv6 address takes IPv4 as well.
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    network.bind_tcp(address).and_then(|binding| network.listen(binding, BACKLOG))
}

/// Accepts connections and closes them, until the pod's network is gone.
async fn accept_all(listener: TcpListener) {
    while listener.accept().await.is_ok() {}
}

impl Container for FakeContainer {
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        self.process.shared.record(Call::Start(self.process.name.clone()));
        Box::pin(async { self.run() })
    }

    fn signal(&self, signal: Signal) {
        self.process.shared.record(Call::Signal(self.process.name.clone(), signal));
        match self.script.term {
            OnTerm::SurvivesAll => {}
            OnTerm::Ignores if signal != Signal::Kill => {}
            OnTerm::Exits { after, code } if signal == Signal::Term => {
                self.process.end_after(after, ExitStatus { code, reason: ExitReason::Exited, message: None });
            }
            OnTerm::Dies | OnTerm::Ignores | OnTerm::Exits { .. } => self.process.end(killed(signal)),
        }
    }

    fn resize(&self, _size: TerminalSize) {}

    fn update_limits(&self, limits: ResourceLimits) -> Result<(), RuntimeError> {
        let Process { name, shared, state, .. } = &*self.process;
        shared.record(Call::Update(name.clone(), limits));
        if matches!(*state.borrow(), State::Ended(_)) {
            return Err(RuntimeError::NotRunning(self.id.clone()));
        }
        shared.next_update(name).map_err(RuntimeError::Failed)
    }

    fn usage(&self) -> ResourceUsage {
        self.script.usage
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(self.run_exec(request))
    }

    fn wait(&self) -> BoxFuture<'_, ExitStatus> {
        Box::pin(self.process.ended())
    }
}

impl Drop for FakeContainer {
    fn drop(&mut self) {
        if *self.process.state.borrow() == State::Running {
            self.process.shared.record(Call::Drop(self.process.name.clone()));
            self.process.end(killed(Signal::Kill));
        }
    }
}
