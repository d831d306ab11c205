//! How one process of a container starts another, becomes another program, and waits for its children. Both fronts stand
//! on this.

use std::future::poll_fn;
use std::sync::Arc;

use super::Loaded;
use super::container_context::{ContainerContext, Executable, Launch, Prepared, Relations};
use super::p1::Descriptor;
use super::process::Process;
use super::process_table::{Group, Pid, ProcessError, Reaped};
use super::signals::Signals;
use crate::runtime::{RuntimeError, Signal};

/// A program a process wants started.
pub(super) struct SpawnRequest {
    /// A path, or a name to be looked for on `PATH` of `env`.
    pub(super) program: String,
    /// What it is called as, and its arguments.
    pub(super) argv: Vec<String>,
    /// Its environment.
    pub(super) env: Vec<(String, String)>,
    /// Its working directory, absolute.
    pub(super) working_dir: String,
    /// Its descriptors by number.
    pub(super) descriptors: Vec<(u32, Descriptor)>,
    /// Signals it ignores; it does the default about all others.
    pub(super) ignored: Vec<Signal>,
    /// Its process group; who becomes another program stays in its own.
    pub(super) group: Group,
}

/// Why a program was not started, in POSIX's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpawnError {
    /// `ENOENT`.
    #[error("no such file or directory")]
    NotFound,
    /// `EACCES`: it may not be executed.
    #[error("permission denied")]
    Denied,
    /// `ENOEXEC`: it is no program that runs here.
    #[error("exec format error")]
    NotExecutable,
    /// `EAGAIN`: there are too many processes.
    #[error("resource temporarily unavailable")]
    TooMany,
    /// `EPERM`: there is no such group to join.
    #[error("operation not permitted")]
    NoSuchGroup,
    /// `ENOMEM`: the host could not make it.
    #[error("cannot allocate memory")]
    NoMemory,
}

impl SpawnRequest {
    /// Starts it as a child of `parent`.
    pub(super) async fn spawn(
        mut self,
        container: &Arc<ContainerContext>,
        parent: &Process,
    ) -> Result<Arc<Process>, SpawnError> {
        let (loaded, executable) = self.load(container).await?;
        let relations = Relations { signals: Signals::ignoring(self.ignored), parent: parent.pid(), group: self.group };
        let launch =
            Launch { env: self.env, working_dir: self.working_dir, descriptors: self.descriptors, is_main: false };
        let prepared = container.prepare(loaded, executable, launch, relations)?;
        let process = Arc::clone(&prepared.process);
        process.set_umask(parent.umask());
        // One that cannot be instantiated, or was killed before it ran, ends with a status like any other.
        let _running = prepared.start(());
        Ok(process)
    }

    /// Makes it what `process` runs from now on, as `execve` does: number, parent, children, group and umask stay. Whoever
    /// calls this ends the old program, for which there is no way back.
    pub(super) async fn replace(
        mut self,
        container: &Arc<ContainerContext>,
        process: &Arc<Process>,
        is_main: bool,
    ) -> Result<Prepared, SpawnError> {
        let (loaded, executable) = self.load(container).await?;
        let launch = Launch { env: self.env, working_dir: self.working_dir, descriptors: self.descriptors, is_main };
        let prepared = container.replace(loaded, executable, launch, process);
        for pending in process.signals().start_over(self.ignored) {
            process.signal(pending);
        }
        Ok(prepared)
    }

    async fn load(&mut self, container: &ContainerContext) -> Result<(Loaded, Executable), SpawnError> {
        let argv = std::mem::take(&mut self.argv);
        let loaded = container.load(&self.program, argv, &self.env, &self.working_dir).await;
        let (loaded, executable) = loaded.map_err(|error| {
            tracing::debug!(program = self.program, %error, "not spawned");
            refusal(&error)
        })?;
        if loaded.is_server() { Err(SpawnError::NotExecutable) } else { Ok((loaded, executable)) }
    }
}

fn refusal(error: &RuntimeError) -> SpawnError {
    match error {
        RuntimeError::ProgramNotFound { .. } => SpawnError::NotFound,
        RuntimeError::NotExecutable { detail, .. } if detail == "permission denied" || detail == "is a directory" => {
            SpawnError::Denied
        }
        RuntimeError::NotExecutable { .. } => SpawnError::NotExecutable,
        RuntimeError::Failed(_) | RuntimeError::NotRunning(_) => SpawnError::NoMemory,
    }
}

impl From<ProcessError> for SpawnError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::TooMany => Self::TooMany,
            ProcessError::NoSuchGroup | ProcessError::NotFound => Self::NoSuchGroup,
        }
    }
}

/// Takes an ended child of `parent`, `child` or any, once there is one if `hang`. `None`: a signal the parent catches
/// came first.
pub(super) async fn wait_for_child(parent: &Process, child: Option<Pid>, hang: bool) -> Option<Reaped> {
    let Some(table) = parent.table() else { return Some(Reaped::NoChild) };
    loop {
        // Made before looking, so that it hears of every later end.
        let child_ended = parent.child_ended().notified();
        let reaped = table.reap(parent.pid(), child);
        if reaped != Reaped::NotYet || !hang {
            return Some(reaped);
        }
        if parent.signals().interrupts() {
            return None;
        }
        tokio::select! {
            () = child_ended => {}
            () = poll_fn(|context| parent.signals().poll_interrupted(context)) => {}
        }
    }
}
