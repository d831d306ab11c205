//! What the processes of a container share, and how one of them comes to be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cpu::{CpuQuota, Schedule};
use super::engine::Ticker;
use super::http_workers::WorkerPool;
use super::limits::{MemoryAccount, ProcessLimits};
use super::process::Process;
use super::process_table::{Group, Pid, ProcessError, ProcessTable};
use super::program::{self, Found};
use super::signals::Signals;
use super::state::ProcessContext;
use super::{Loaded, RuntimeCore, command, http, p1};
use crate::base::id::{ContainerId, PodUid};
use crate::net::PodNetwork;
use crate::runtime::{ContainerPort, RuntimeError};
use crate::vfs::{Errno, File, MountTable, OpenOptions, Opened, TreeFs};

/// How long a start waits for the instance; a program that is busy in its initialisers counts as running after that.
const START_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes a container's files without a name may have together.
const MEMORY_FILES_BYTES: u64 = 64 << 20;

/// What the processes of a container share.
pub(super) struct ContainerContext {
    /// The container.
    pub(super) id: ContainerId,
    /// The runtime.
    pub(super) core: Arc<RuntimeCore>,
    /// The environment of its first process and of those executed from outside.
    pub(super) env: Vec<(String, String)>,
    /// Their working directory.
    pub(super) working_dir: String,
    /// The filesystem.
    pub(super) mounts: MountTable,
    /// The pod's network.
    pub(super) network: Arc<PodNetwork>,
    /// Declared ports.
    pub(super) ports: Vec<ContainerPort>,
    /// What all processes may allocate together.
    pub(super) memory: Arc<MemoryAccount>,
    /// What they may compute.
    pub(super) quota: Arc<CpuQuota>,
    /// The processes, and those of other containers of a pod with a shared process namespace.
    pub(super) processes: Arc<ProcessTable>,
    /// Files without a name.
    pub(super) memory_files: MemoryFiles,
    /// Cancelled when the main process has ended or nobody holds the container any more.
    pub(super) gone: CancellationToken,
}

/// Files of a container that have no name and are gone with their last descriptor. All together are bounded.
#[derive(Default)]
pub(super) struct MemoryFiles {
    table: OnceLock<MountTable>,
    made: AtomicU64,
}

impl MemoryFiles {
    /// A new file, to read and write.
    pub(super) fn create(&self) -> Result<File, Errno> {
        let root = match self.table.get() {
            Some(table) => table.root(),
            None => {
                let table = MountTable::builder(TreeFs::in_memory(MEMORY_FILES_BYTES)).build();
                let table = table.map_err(|error| error.errno)?;
                self.table.get_or_init(|| table).root()
            }
        };
        let name = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let options = OpenOptions {
            read: true,
            write: true,
            create: true,
            exclusive: true,
            mode: 0o600,
            ..OpenOptions::default()
        };
        let Opened::File(file) = root.open(&name, options)? else { return Err(Errno::Io) };
        root.unlink(&name)?;
        Ok(file)
    }
}

/// A program to start in a container.
pub(super) struct Launch {
    /// Its environment.
    pub(super) env: Vec<(String, String)>,
    /// Its working directory, absolute.
    pub(super) working_dir: String,
    /// Its descriptors by number.
    pub(super) descriptors: Vec<(u32, p1::Descriptor)>,
    /// Whether it is the container's first.
    pub(super) is_main: bool,
}

/// How a new process stands to others.
pub(super) struct Relations {
    /// What it does about signals.
    pub(super) signals: Signals,
    /// Who waits for it; 0 for nobody in the container.
    pub(super) parent: Pid,
    /// Its process group.
    pub(super) group: Group,
}

/// A process that is listed but does not run yet, or what it is to run instead of what it does.
pub(super) struct Prepared {
    /// The process.
    pub(super) process: Arc<Process>,
    /// Its program.
    pub(super) loaded: Loaded,
    /// What it is made of.
    pub(super) seed: ProcessSeed,
}

impl ContainerContext {
    /// Finds, compiles and links the program that `program` (or its interpreter) is.
    pub(super) async fn load(
        &self,
        program: &str,
        argv: Vec<String>,
        env: &[(String, String)],
        working_dir: &str,
    ) -> Result<(Loaded, Executable), RuntimeError> {
        let Found { source, path, argv } = program::find(&self.mounts.root(), program, argv, env, working_dir)?;
        let loaded = self.core.load(source).await.map_err(|error| program::refused(program, &error))?;
        Ok((loaded, Executable { path, argv }))
    }

    /// Lists a process of a loaded program, ready to start.
    ///
    /// # Errors
    ///
    /// There are too many processes, or the group to join is gone.
    pub(super) fn prepare(
        self: &Arc<Self>,
        loaded: Loaded,
        executable: Executable,
        launch: Launch,
        relations: Relations,
    ) -> Result<Prepared, ProcessError> {
        let process = Process::new(relations.signals);
        self.processes.add(&process, relations.parent, relations.group, &executable.argv)?;
        Ok(self.prepared(loaded, executable, launch, &process))
    }

    /// A loaded program for a process that runs already.
    pub(super) fn replace(
        self: &Arc<Self>,
        loaded: Loaded,
        executable: Executable,
        launch: Launch,
        process: &Arc<Process>,
    ) -> Prepared {
        self.processes.rename(process.pid(), &executable.argv);
        self.prepared(loaded, executable, launch, process)
    }

    fn prepared(
        self: &Arc<Self>,
        loaded: Loaded,
        executable: Executable,
        launch: Launch,
        process: &Arc<Process>,
    ) -> Prepared {
        let seed = ProcessSeed {
            container: Arc::clone(self),
            path: executable.path,
            argv: executable.argv,
            env: launch.env,
            working_dir: launch.working_dir,
            descriptors: launch.descriptors,
            is_main: launch.is_main,
            process: Arc::clone(process),
            ticker: Arc::clone(loaded.host.engine.ticker()),
        };
        Prepared { process: Arc::clone(process), loaded, seed }
    }
}

/// The file a process is made of, and its arguments: those of the interpreter, where the program is a script.
pub(super) struct Executable {
    path: String,
    argv: Vec<String>,
}

impl Prepared {
    /// Starts it. `held` is let go when it has ended. Returns what tells that it runs, or why it does not; `None` if it
    /// was killed before.
    pub(super) fn start<H: Send + 'static>(self, held: H) -> Option<oneshot::Receiver<Result<(), RuntimeError>>> {
        let Self { process, loaded, seed } = self;
        let (started, running) = oneshot::channel();
        let gone = seed.container.gone.clone();
        let spawned = process.start(gone, async move {
            let _held = held;
            if !loaded.is_server() {
                return command::run(loaded, seed, started).await;
            }
            let Loaded { program, host, room: _room } = loaded;
            let engine = host.engine.engine().clone();
            let pool_seed = seed.clone();
            let pool = |control| WorkerPool::new(engine, program, pool_seed, control);
            http::serve(pool, seed, started).await
        });
        spawned.then_some(running)
    }
}

/// Waits until a process runs, or is known not to.
pub(super) async fn wait_until_running(
    running: oneshot::Receiver<Result<(), RuntimeError>>,
) -> Result<(), RuntimeError> {
    match timeout(START_PATIENCE, running).await {
        Ok(Ok(outcome)) => outcome,
        // Killed before it ran, or busy in its initialisers: either way its exit status has the rest of the story.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// What a process is made of. A server makes one guest process of it per instance, a command a single one.
#[derive(Clone)]
pub(super) struct ProcessSeed {
    container: Arc<ContainerContext>,
    path: String,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    working_dir: String,
    descriptors: Vec<(u32, p1::Descriptor)>,
    is_main: bool,
    /// How others see it.
    pub(super) process: Arc<Process>,
    ticker: Arc<Ticker>,
}

impl ProcessSeed {
    /// The pod's network.
    pub(super) fn network(&self) -> &Arc<PodNetwork> {
        &self.container.network
    }

    /// Declared ports.
    pub(super) fn ports(&self) -> &[ContainerPort] {
        &self.container.ports
    }

    /// The context of a new guest process.
    pub(super) fn context(&self) -> ProcessContext {
        ProcessContext {
            path: self.path.clone(),
            argv: self.argv.clone(),
            env: self.env.clone(),
            working_dir: self.working_dir.clone(),
            root: self.container.mounts.root(),
            network: Arc::clone(&self.container.network),
            ports: self.container.ports.clone(),
            descriptors: self.descriptors.clone(),
            is_main: self.is_main,
            process: Arc::clone(&self.process),
            container: Some(Arc::clone(&self.container)),
        }
    }

    /// Writes a line to standard error, as far as there is room.
    pub(super) fn complain(&self, line: String) {
        let sink = self.descriptors.iter().find_map(|(number, descriptor)| match descriptor {
            p1::Descriptor::Output(output) if *number == 2 => output.sink.pipe(),
            _ => None,
        });
        if let Some(writer) = sink {
            // Nobody may be reading.
            let _ = writer.try_write(&line.into());
        }
    }

    /// The limits of a new guest process.
    pub(super) fn limits(&self) -> ProcessLimits {
        ProcessLimits::new(&self.container.memory)
    }

    /// The schedule of a new guest process.
    pub(super) fn schedule(&self) -> Schedule {
        Schedule::new(&self.ticker, Arc::clone(&self.container.quota))
    }
}

/// The process tables of pods that share their process namespace.
#[derive(Debug, Default)]
pub(super) struct SharedTables(Mutex<Vec<(PodUid, Weak<ProcessTable>)>>);

impl SharedTables {
    /// The table of this pod, which lives as long as one of its containers.
    pub(super) fn of_pod(&self, uid: &PodUid) -> Arc<ProcessTable> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|(_, table)| table.strong_count() > 0);
        if let Some(table) = tables.iter().find(|(known, _)| known == uid).and_then(|(_, table)| table.upgrade()) {
            return table;
        }
        let table = ProcessTable::shared();
        tables.push((uid.clone(), Arc::downgrade(&table)));
        table
    }
}
