//! The Linux runtime: containers of native programs, with root and without.
//!
//! ```text
//!  LinuxRuntime ─▶ sandbox ══ channel, protocol ══ process: the sandbox process of a pod, which starts containers
//!       │             │
//!       └─▶ container ┴─ stdio, cgroup             spec, capability, seccomp: what a container may do
//! ```
//! The agent has many threads and so never forks; each pod has a process of one thread that does ([`sandbox_process`]).
//! Whatever needs the pod's namespaces is asked of it, so that an agent without root, or one that takes up what another
//! has left, does exactly the same as any other.
//!
//! `sys` is the only file with unsafe code.

mod adopt;
mod capability;
mod cgroup;
mod channel;
mod container;
mod memory_volume;
mod mount_namespace;
mod process;
mod protocol;
mod sandbox;
mod seccomp;
mod spec;
mod stdio;
mod support;
mod sys;
mod user_namespace;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use self::cgroup::{Cgroup, Hierarchies};
use self::container::{LinuxContainer, Shared, Streams, Template};
pub use self::memory_volume::{mount_memory, unmount_below};
pub use self::protocol::{Failure, FailureKind, Route, TunConfig};
pub use self::sandbox::{OWN_PROGRAM, Sandbox, SandboxConfig, SandboxError};
pub use self::support::{Check, Outcome, Support};
pub use self::user_namespace::{MappedIds, UserNamespaceError, enter_user_namespace};
use super::{AdoptedContainer, Container, ContainerConfig, ContainerRuntime, PodSandbox, RuntimeError, RuntimeWarning};
use crate::base::id::PodUid;

/// Runs as a pod's sandbox process, or tries out what this machine can do, if that is what this process was started for,
/// and returns its exit code. To be called first thing in `main`, while there is but one thread.
pub fn sandbox_process() -> Option<u8> {
    let mut arguments = std::env::args_os().skip(1);
    let (first, None) = (arguments.next()?, arguments.next()) else { return None };
    let done = if first == process::ARGUMENT {
        process::main()
    } else if first == support::ARGUMENT {
        support::main()
    } else {
        return None;
    };
    Some(u8::from(done.is_err()))
}

/// Settings of the Linux runtime.
#[derive(Debug, Clone)]
pub struct LinuxRuntimeConfig {
    /// husk itself, which is started as the sandbox process of each pod.
    pub program: PathBuf,
}

impl Default for LinuxRuntimeConfig {
    fn default() -> Self {
        Self { program: OWN_PROGRAM.into() }
    }
}

/// Connects a pod's network namespace with the network of all pods. Implemented where that network is.
pub trait AttachNetwork: Send + Sync {
    /// Called once for each sandbox, before its first container starts. What cannot be had, although the pod can do
    /// without it, is returned.
    fn attach<'a>(
        &'a self,
        pod: &'a PodSandbox,
        sandbox: &'a Arc<Sandbox>,
    ) -> BoxFuture<'a, Result<Option<RuntimeWarning>, String>>;
}

/// Runs native programs as containers.
pub struct LinuxRuntime {
    config: LinuxRuntimeConfig,
    network: Option<Arc<dyn AttachNetwork>>,
    /// Where control groups can be made.
    hierarchies: OnceLock<Arc<Hierarchies>>,
    sandboxes: Mutex<HashMap<PodUid, Arc<OnceCell<Arc<Sandbox>>>>>,
    /// What is to be told with the next container of a pod.
    untold: Mutex<HashMap<PodUid, RuntimeWarning>>,
}

impl LinuxRuntime {
    /// A runtime whose pods are connected by `network`, or not at all.
    pub fn new(config: LinuxRuntimeConfig, network: Option<Arc<dyn AttachNetwork>>) -> Arc<Self> {
        Arc::new(Self {
            config,
            network,
            hierarchies: OnceLock::new(),
            sandboxes: Mutex::default(),
            untold: Mutex::default(),
        })
    }

    fn hierarchies(&self) -> &Arc<Hierarchies> {
        self.hierarchies.get_or_init(|| Arc::new(Hierarchies::find()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PodUid, Arc<OnceCell<Arc<Sandbox>>>>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod's sandbox, which is started if it is not there yet, or no longer.
    ///
    /// # Errors
    /// `Failed` if it cannot be started.
    pub async fn sandbox(&self, pod: &PodSandbox) -> Result<Arc<Sandbox>, RuntimeError> {
        let cell = self.place_of_sandbox(&pod.uid).await;
        let start = || async {
            let sandbox = Sandbox::start(SandboxConfig::of(pod, &self.config.program)).await;
            let sandbox = sandbox.map_err(|error| RuntimeError::Failed(error.to_string()))?;
            self.attach(pod, &sandbox).await?;
            Ok(sandbox)
        };
        cell.get_or_try_init(start).await.cloned()
    }

    /// Where the pod's sandbox is to be. One whose process was killed has come to its end, and so has all that was in it:
    /// the next container starts in another.
    async fn place_of_sandbox(&self, uid: &PodUid) -> Arc<OnceCell<Arc<Sandbox>>> {
        loop {
            let cell = Arc::clone(self.lock().entry(uid.clone()).or_default());
            let is_dead = |sandbox: &&Arc<Sandbox>| sandbox.is_gone() && !sandbox.is_left();
            let Some(gone) = cell.get().filter(is_dead).cloned() else { return cell };
            gone.stop().await;
            let mut sandboxes = self.lock();
            if sandboxes.get(uid).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
                sandboxes.remove(uid);
            }
        }
    }

    async fn attach(&self, pod: &PodSandbox, sandbox: &Arc<Sandbox>) -> Result<(), RuntimeError> {
        let Some(network) = self.network.as_ref().filter(|_| !sandbox.has_host_network()) else { return Ok(()) };
        let warning = network.attach(pod, sandbox).await.map_err(RuntimeError::Failed)?;
        self.untold().extend(warning.map(|warning| (pod.uid.clone(), warning)));
        Ok(())
    }

    fn untold(&self) -> MutexGuard<'_, HashMap<PodUid, RuntimeWarning>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, uid: &PodUid, sandbox: &Arc<Sandbox>) {
        self.lock().insert(uid.clone(), Arc::new(OnceCell::new_with(Some(Arc::clone(sandbox)))));
    }

    /// The pod's sandbox, if it is there.
    pub fn existing_sandbox(&self, uid: &PodUid) -> Option<Arc<Sandbox>> {
        self.lock().get(uid)?.get().cloned()
    }

    /// From now on nothing ends with this agent: sandboxes that are to be adopted are left to the next one.
    pub fn leave(&self) {
        for sandbox in self.lock().values().filter_map(|cell| cell.get()) {
            sandbox.leave();
        }
    }

    /// Removes what agents that are dead have left of their containers' control groups. To be called once the pods that
    /// outlived them were taken up: until then, a group may be all that tells how a container has ended.
    async fn remove_leftover_cgroups(&self) {
        let hierarchies = Arc::clone(self.hierarchies());
        let _ = tokio::task::spawn_blocking(move || hierarchies.remove_leftovers()).await;
    }

    async fn end_pod(&self, uid: &PodUid) {
        self.untold().remove(uid);
        let cell = self.lock().remove(uid);
        if let Some(sandbox) = cell.as_ref().and_then(|cell| cell.get()) {
            sandbox.stop().await;
        }
    }

    async fn create_container(
        &self,
        pod: &PodSandbox,
        config: ContainerConfig,
    ) -> Result<Arc<dyn Container>, RuntimeError> {
        let linux =
            config.linux.clone().ok_or_else(|| RuntimeError::Failed("no root filesystem is given".to_owned()))?;
        if linux.security.privileged && user_namespace::is_inside() {
            return Err(RuntimeError::Failed(PRIVILEGED_WITHOUT_ROOT.to_owned()));
        }
        let sandbox = self.sandbox(pod).await?;
        let key = sandbox.new_key();
        let hierarchies = self.hierarchies();
        let (cgroup, problems) = Cgroup::create(hierarchies, &config.id, &config, &linux.resources);
        let spec = spec::run_spec(key, &config, &linux, cgroup.specs()).inspect_err(|_| cgroup.remove())?;
        let mut warnings = warnings(&sandbox, problems);
        warnings.extend(self.untold().remove(&pod.uid));
        std::fs::create_dir_all(&linux.rootfs.scratch)
            .map_err(|error| RuntimeError::Failed(format!("cannot make the container's directory: {error}")))?;
        let template =
            Template { process: spec.process.clone(), cgroup: cgroup.clone(), stop_signal: linux.stop_signal };
        if pod.linux.as_ref().is_some_and(|linux| linux.adoptable) {
            let written = template.write(&linux.rootfs.scratch);
            written
                .map_err(|error| RuntimeError::Failed(format!("cannot write down how to execute programs: {error}")))?;
        }
        let shared = Shared {
            id: config.id,
            sandbox,
            main: key,
            template,
            cgroup,
            scratch: linux.rootfs.scratch.clone(),
            namespace: Mutex::default(),
            kept_namespace: Mutex::default(),
            warnings,
        };
        let streams = Streams { stdin: config.stdin, stdout: config.stdout, stderr: config.stderr };
        Ok(Arc::new(LinuxContainer::new(shared, spec, streams)))
    }
}

/// Without root, the rights a privileged container asks for are not there to be given.
const PRIVILEGED_WITHOUT_ROOT: &str = "a privileged container needs husk to run as root: it would have the host's devices \
                                       and every capability, which this user does not have";

/// What the pod's user is told of limits that could not be set: once for each pod.
fn warnings(sandbox: &Sandbox, problems: Vec<String>) -> Vec<RuntimeWarning> {
    if problems.is_empty() || !sandbox.warn_of_limits() {
        return Vec::new();
    }
    vec![RuntimeWarning { reason: "ResourceLimitsNotEnforced", message: problems.join("; ") }]
}

impl ContainerRuntime for LinuxRuntime {
    fn name(&self) -> &'static str {
        "linux"
    }

    fn create<'a>(
        &'a self,
        sandbox: &'a PodSandbox,
        config: ContainerConfig,
    ) -> BoxFuture<'a, Result<Arc<dyn Container>, RuntimeError>> {
        Box::pin(self.create_container(sandbox, config))
    }

    fn adopt<'a>(&'a self, sandbox: &'a PodSandbox) -> BoxFuture<'a, Option<Vec<AdoptedContainer>>> {
        Box::pin(self.adopt_pod(sandbox))
    }

    fn remove_left<'a>(&'a self, uid: &'a PodUid, directory: &'a Path) -> BoxFuture<'a, ()> {
        Box::pin(adopt::remove_left(uid, directory))
    }

    fn remove_leftovers(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.remove_leftover_cgroups())
    }

    fn remove_sandbox<'a>(&'a self, uid: &'a PodUid) -> BoxFuture<'a, ()> {
        Box::pin(self.end_pod(uid))
    }
}
