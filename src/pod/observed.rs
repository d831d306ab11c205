//! What is known about one pod: the state that events and recorded plans build up. The transitions themselves are in
//! `apply.rs`; no decisions are taken here.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::PodStatus;
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::events::Note;
use super::instance::{ContainerRecord, Instance};
use super::plan::{HookKind, Settled};
use crate::base::clock::Timestamp;

/// Facts about the node that go into every status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's addresses, for `hostIP` and `hostIPs`.
    pub host_ips: Vec<String>,
    /// CPU the node can give, in thousandths of a core; `None` if that is nobody's concern.
    pub allocatable_cpu_millis: Option<u64>,
    /// Memory the node can give, in bytes; `None` if that is nobody's concern.
    pub allocatable_memory: Option<u64>,
}

/// Something that happened. Events about an instance that is no longer the current one are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// All volumes are set up.
    VolumesReady,
    /// Some volumes could not be set up; they are tried again.
    VolumesFailed {
        /// Each volume that failed.
        failures: Vec<VolumeFailure>,
    },
    /// All volumes are gone.
    VolumesTornDown,
    /// The sandbox is there.
    SandboxReady {
        /// The pod's addresses, the primary one first.
        ips: Vec<String>,
    },
    /// The sandbox could not be created; it is tried again.
    SandboxFailed {
        /// Why.
        message: String,
    },
    /// The sandbox is gone.
    SandboxStopped,
    /// The image is not in the local store and is being fetched.
    PullStarted {
        /// The container whose `PullImage` this is about.
        container: String,
        /// The pod's image pull Secrets that could not be had.
        missing_secrets: Vec<String>,
    },
    /// The image is there.
    ImagePresent {
        /// The container whose `PullImage` this answers.
        container: String,
        /// The name as resolved, for `image` of the container status.
        resolved: String,
        /// The digest, for `imageID`.
        image_id: String,
        /// What was fetched; `None` when the image was already in the local store.
        pulled: Option<Pulled>,
        /// Something the user should know, such as that a built-in image stands in for the one named.
        note: Option<ImageNote>,
    },
    /// The image cannot be had; it is tried again.
    ImageFailed {
        /// The container whose `PullImage` this answers.
        container: String,
        /// What went wrong.
        failure: ImageFailure,
    },
    /// The instance runs.
    ContainerStarted {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// Its identifier as `<runtime>://<id>`.
        id: String,
        /// When it started.
        at: Timestamp,
    },
    /// The instance does not run.
    ContainerStartFailed {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// The waiting reason.
        reason: StartFailureReason,
        /// Why.
        message: String,
        /// The identifier (`<runtime>://<id>`) if an instance came to exist: then it counts as a restart and shows as
        /// terminated with exit code 128 and reason `StartError`. `None` when nothing was created.
        created: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A running instance ended.
    ContainerExited {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// 0..=255.
        exit_code: i32,
        /// `OOMKilled` and the like; `None` gives `Completed` or `Error` by the code.
        reason: Option<String>,
        /// The termination message.
        message: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// The settled result of a probe changed.
    ProbeResult {
        /// The container's name.
        container: String,
        /// The instance probed.
        attempt: u32,
        /// Which probe.
        kind: ProbeKind,
        /// Whether it succeeds now.
        success: bool,
    },
    /// One check of a probe failed or has something to tell. Whether that changes the settled result, `ProbeResult`
    /// says.
    ProbeReport {
        /// The container's name.
        container: String,
        /// The instance probed.
        attempt: u32,
        /// Which probe.
        kind: ProbeKind,
        /// What it has to tell.
        report: ProbeReport,
    },
    /// A hook is over.
    HookFinished {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// Which hook.
        hook: HookKind,
        /// Why it failed, if it did.
        error: Option<String>,
        /// Something the user should know besides (`LifecycleHTTPFallback`).
        warning: Option<String>,
    },
    /// An `UpdateResources` is over.
    ResourcesUpdated {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// Why the limits are still the old ones, if they are.
        error: Option<String>,
    },
    /// The pod takes more than it may, and has to go.
    Evicted {
        /// What, and how much that is: for the pod's status.
        message: String,
    },
    /// Something could not be done as asked, although the container, or the pod, goes on.
    Warned {
        /// The container, if it is about one.
        container: Option<String>,
        /// The event's reason.
        reason: &'static str,
        /// What, and why.
        message: String,
    },
    /// A ConfigMap or Secret of the pod's namespace, or the pod's own labels or annotations have changed.
    SourcesChanged,
}

/// What one check of a probe has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeReport {
    /// It failed, with what it says of it (`Unhealthy`: `Readiness probe failed: …`).
    Failed(String),
    /// It could not be made, and counts neither way (`Unhealthy`: `… probe errored and resulted in unknown state: …`).
    Errored(String),
    /// It succeeded, with a warning (`ProbeWarning`: `… probe warning: …`).
    Warned(String),
}

/// A volume that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFailure {
    /// The volume's name.
    pub volume: String,
    /// Why, such as `configmap "c" not found`.
    pub message: String,
}

/// What a pull fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// How long it took.
    pub took: std::time::Duration,
    /// The image's size in bytes.
    pub size: u64,
}

/// What a user should know of an image that is there. Differs from Kubernetes, which has neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageNote {
    /// A built-in image stands in for the one that is named.
    BuiltIn(String),
    /// Its files are not all as the image has them.
    Unpacked(String),
}

/// Why an image cannot be had; each is the waiting reason of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageFailure {
    /// `ErrImagePull`: neither in the store nor to be fetched, with the cause. Backs off.
    Pull(String),
    /// `RegistryUnavailable`: not in the store, and no registry answers, with the cause. Backs off.
    RegistryUnavailable(String),
    /// `SignatureValidationFailed`: not signed as it has to be, with the cause. Backs off.
    Signature(String),
    /// `ErrImageNeverPull`: not in the store, and the policy forbids to look further.
    NeverPull,
    /// `InvalidImageName`, with what is wrong with it.
    InvalidName(String),
    /// `ImageInspectError`: the store could not be read, with the cause.
    Inspect(String),
}

/// Why an instance could not be started; each is the waiting reason of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFailureReason {
    /// `PostStartHookError`: it runs, but its `postStart` hook failed, so it is killed.
    PostStartHook,
    /// `CreateContainerConfigError`: something the container's configuration names is missing or refused.
    Config,
    /// `CreateContainerError`: the runtime could not create it.
    Create,
    /// `RunContainerError`: the runtime could not start it.
    Run,
    /// The start was given up ([`super::Action::CancelStart`]).
    Cancelled,
}

/// The probes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// `startupProbe`.
    Startup,
    /// `readinessProbe`.
    Readiness,
    /// `livenessProbe`.
    Liveness,
}

/// Everything known about one pod.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The node.
    pub node: NodeFacts,
    /// Where the pod is in its life.
    pub lifecycle: Lifecycle,
    /// When the agent first planned for the pod.
    pub started_at: Option<Timestamp>,
    /// The volumes.
    pub volumes: VolumesState,
    /// The sandbox.
    pub sandbox: SandboxState,
    /// What is known of each container, by name; none until an action or event concerns it.
    pub containers: BTreeMap<String, ContainerRecord>,
    /// The status of the last recorded plan.
    pub status: Arc<PodStatus>,
    /// How often the pod has started over, with a new sandbox or by the restart of all its containers. Init containers
    /// run once in each epoch.
    pub(super) epoch: u32,
    /// Whether all containers are being stopped in order to start over.
    pub(super) restarting_all: bool,
    /// When they last were.
    pub(super) restarted_all_at: Option<Timestamp>,
    /// Why an agent before this one was terminating the pod.
    pub(super) ending: Option<TerminationCause>,
    /// Why the pod is evicted, if it is.
    pub(super) eviction: Option<String>,
    /// Whether volumes may have to be brought up to date.
    pub(super) sources_changed: bool,
    /// Whether that was so after the setting up of volumes had begun that is under way.
    pub(super) set_up_outdated: bool,
    /// The back-off of failed pulls, by the image's name in the spec.
    pub(super) pulls: BTreeMap<String, PullBackoff>,
    /// How long to wait after the last failure to set up volumes; `None` before the first.
    pub(super) mount_delay: Option<SignedDuration>,
    /// Kubernetes events about what was applied and not yet part of a recorded plan.
    pub(super) notes: Vec<Note>,
    /// The last recorded plan, if it had nothing to do and nothing has happened since.
    pub(super) settled: Option<Settled>,
}

/// A pull that failed, which other containers with the same image heed too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PullBackoff {
    pub(super) backoff: Backoff,
    pub(super) cause: String,
}

/// The life of a pod; forward only (kubelet `pod_workers`: sync, terminating, terminated).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Containers are started and restarted.
    #[default]
    Syncing,
    /// Nothing starts any more; what runs is being stopped.
    Terminating {
        /// Why.
        cause: TerminationCause,
        /// When it began.
        since: Timestamp,
        /// The grace period in force, in seconds; a later deletion may shorten it.
        grace_seconds: i64,
        /// When the grace period ends.
        kill_at: Timestamp,
        /// Whether it was shortened after the stop had begun.
        shortened: bool,
    },
    /// No container, sandbox or volume is left.
    Terminated {
        /// Why.
        cause: TerminationCause,
    },
}

/// Why a pod terminates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TerminationCause {
    /// It was deleted.
    Deleted,
    /// `activeDeadlineSeconds` has passed.
    DeadlineExceeded,
    /// It takes more than it may.
    Evicted,
    /// Nothing is left to run.
    Completed,
}

/// The pod's volumes as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumesState {
    /// Nothing was done yet.
    Absent,
    /// They were there, and their files may still be: the agent ended.
    Left,
    /// Being set up.
    SettingUp,
    /// To be tried again.
    Failed {
        /// When.
        retry_at: Timestamp,
    },
    /// Set up.
    Ready,
    /// Being torn down.
    TearingDown,
    /// Gone.
    TornDown,
}

/// The pod's sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SandboxState {
    /// Nothing was done yet.
    Absent,
    /// Being created.
    Creating,
    /// To be tried again.
    Failed {
        /// When.
        retry_at: Timestamp,
    },
    /// There.
    Ready {
        /// The pod's addresses.
        ips: Vec<String>,
    },
    /// It was there, and went down with the agent.
    Lost,
    /// Being stopped.
    Stopping,
    /// Gone.
    Stopped,
}

impl Observed {
    /// A pod that nothing has been done for yet. `status` is what its object says already, such as `startTime`; a
    /// pod whose phase is terminal is done with.
    pub fn new(node: NodeFacts, status: PodStatus) -> Self {
        let finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let cause = TerminationCause::Completed;
        Self {
            node,
            lifecycle: if finished { Lifecycle::Terminated { cause } } else { Lifecycle::Syncing },
            started_at: status.start_time.as_ref().map(|time| time.0),
            volumes: VolumesState::Absent,
            sandbox: SandboxState::Absent,
            containers: BTreeMap::new(),
            status: Arc::new(status),
            epoch: 0,
            restarting_all: false,
            restarted_all_at: None,
            ending: None,
            eviction: None,
            sources_changed: false,
            set_up_outdated: false,
            pulls: BTreeMap::new(),
            mount_delay: None,
            notes: Vec::new(),
            settled: None,
        }
    }

    /// The current instance of a container.
    pub fn instance(&self, container: &str) -> Option<&Instance> {
        self.containers.get(container)?.instances.last()
    }

    /// The current instance of a container, if it was started since the pod started over.
    pub(super) fn instance_of_epoch(&self, container: &str) -> Option<&Instance> {
        self.instance(container).filter(|instance| instance.epoch == self.epoch)
    }

    /// Whether an instance of the container is starting or running.
    pub(super) fn is_live(&self, container: &str) -> bool {
        self.instance(container).is_some_and(Instance::is_live)
    }
}
