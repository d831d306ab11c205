//! `plan`: from what is desired and what is observed to what to do next. The decisions live in the files beside this
//! one (`sync`, `termination`, `status`); here are the types they speak in and the order in which they are asked.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, PodStatus, ResourceRequirements};

use super::backoff::RestartBackoff;
use super::events::Note;
use super::instance::Shown;
use super::observed::{Lifecycle, Observed};
use super::resources::ResourceLimits;
use super::spec::{PodView, later};
use super::start_over::{self, RestartAll};
use super::stop::{Stop, StopCause};
use super::{resize, status, sync, tend, termination};
use crate::base::clock::Timestamp;

/// The farthest time to sleep until, in hours; a grace period or deadline beyond it is looked at again then.
const FARTHEST_WAKE_HOURS: i64 = 24 * 365;

/// What should be: the pod as the API has it now, with metadata (`deletionTimestamp`, `deletionGracePeriodSeconds`)
/// and the conditions others wrote into its status.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The defaulted and validated pod.
    pub pod: Arc<Pod>,
}

/// What to do now. Just before carrying a plan out, the worker hands it to [`Observed::record`]; planning again at the
/// same time then gives no actions, unless `wake_at` asks for that.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the pod is in its life. At [`Lifecycle::Terminated`] nothing is left: no container, sandbox or volume;
    /// if the pod is being deleted its object may go.
    pub lifecycle: Lifecycle,
    /// What to start doing, in this order, each without waiting for the one before. Every action but
    /// [`Action::Signal`] and [`Action::RemoveContainer`] is answered by an event sooner or later.
    pub actions: Vec<Action>,
    /// The whole status to publish. One that has not changed is the very same, and needs no write.
    pub status: Arc<PodStatus>,
    /// Kubernetes events to post, each once.
    pub events: Vec<EventRecord>,
    /// When to plan again if nothing happens before. `now` itself means: publish this status, then plan again at once.
    pub wake_at: Option<Timestamp>,
    /// What `record` has to remember of the decisions, beyond the actions.
    pub(super) memo: Memo,
}

/// Decisions that are no actions and must not be taken twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    /// Restart back-offs that a restart has advanced.
    pub(super) restart_backoffs: Vec<(String, RestartBackoff)>,
    /// What the status shows of each container's last exit or failure.
    pub(super) shown: Vec<(String, Shown)>,
    /// Stops that begin.
    pub(super) stops: Vec<(String, Stop)>,
    /// The resources that containers to be started get, and those that running ones are to have.
    pub(super) resources: Vec<(String, Option<Box<ResourceRequirements>>)>,
    /// Resources that running containers are to have instead of theirs.
    pub(super) resizes: Vec<(String, Option<Box<ResourceRequirements>>)>,
    /// Running containers whose change of resources has been told.
    pub(super) resized: Vec<String>,
    /// Where the restart of all containers is.
    pub(super) restart_all: Option<RestartAll>,
    /// Containers whose records are forgotten but for their count.
    pub(super) forgotten: Vec<String>,
    /// What the plan stands for until something happens, if it has nothing to do.
    pub(super) settled: Option<Settled>,
}

/// A plan that had nothing to do. Until something happens to the pod, it is changed, or the time comes to look again,
/// the next plan is the same.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    pod: Arc<Pod>,
    wake_at: Option<Timestamp>,
}

impl Settled {
    fn holds(&self, desired: &Desired, now: Timestamp) -> bool {
        Arc::ptr_eq(&self.pod, &desired.pod) && self.wake_at.is_none_or(|wake_at| now < wake_at)
    }
}

/// A plan in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) actions: Vec<Action>,
    pub(super) notes: Vec<Note>,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) memo: Memo,
    /// Containers that would be started but for a back-off.
    pub(super) refusals: Vec<Refusal>,
    /// Why the node can never give the resources that are asked for.
    pub(super) infeasible: Option<String>,
}

/// A container that has to wait for a back-off, as its status will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) container: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// What is posted when the status first says so.
    pub(super) notes: Vec<Note>,
}

impl Draft {
    /// Asks to plan again at `at`, at the latest.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Something for the executor to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Set up all volumes of the pod. Answered by `VolumesReady` or `VolumesFailed`.
    SetUpVolumes,
    /// Create the sandbox: network, addresses, hostname. Answered by `SandboxReady` or `SandboxFailed`.
    CreateSandbox,
    /// Make the image of a container available, before each of its starts. Answered by `ImagePresent` or
    /// `ImageFailed`, with `PullStarted` before if bytes have to be fetched.
    PullImage {
        /// The container it is for.
        container: String,
        /// `image` of its spec.
        image: String,
        /// Whether to look in the registry or in the local store.
        policy: PullPolicy,
    },
    /// Create and start an instance of a container from the image of its last `ImagePresent`. Answered by
    /// `ContainerStarted` or `ContainerStartFailed`; after `ContainerStarted`, by `ContainerExited` when it ends.
    StartContainer {
        /// The container's name.
        container: String,
        /// Number of the instance, which is its restart count.
        attempt: u32,
        /// Which list of the spec it is from.
        kind: ContainerKind,
    },
    /// Give up a start that is under way, because the pod is stopping. The start is still answered: by
    /// `ContainerStartFailed` with `created: false`, or by `ContainerStarted` if it was quicker.
    CancelStart {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
    },
    /// Send a signal to a running instance. Its end is reported by `ContainerExited`.
    Signal {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// Which signal.
        signal: StopSignal,
        /// Why.
        cause: StopCause,
    },
    /// Run a hook of an instance that runs. Answered by `HookFinished`.
    RunHook {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// Which hook.
        hook: HookKind,
    },
    /// Give up a hook that is under way: its container has ended, or its time is up. It is not answered any more.
    CancelHook {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// Which hook.
        hook: HookKind,
    },
    /// Run the probes of an instance, from now until it ends. They answer by `ProbeResult` and `ProbeReport`.
    StartProbes {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
    },
    /// Run the readiness probe of an instance out of turn, now.
    ProbeReadiness {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
    },
    /// End the startup and liveness probes of an instance; its readiness probe goes on.
    StopProbes {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
    },
    /// Give an instance that runs other limits. Answered by `ResourcesUpdated`.
    UpdateResources {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
        /// What it may use from now on.
        limits: ResourceLimits,
    },
    /// Bring the contents of volumes up to date with their sources. Not answered.
    UpdateVolumes,
    /// Discard what is left of a dead instance (its file system and log): a later one has died since.
    RemoveContainer {
        /// The container's name.
        container: String,
        /// The instance.
        attempt: u32,
    },
    /// Stop the sandbox; no container runs in it. A `CreateSandbox` under way is cancelled first, and a pull under
    /// way too; neither is answered then. Answered by `SandboxStopped`.
    StopSandbox,
    /// Tear down all volumes. A `SetUpVolumes` under way is cancelled first and not answered then. Answered by
    /// `VolumesTornDown`.
    TearDownVolumes,
}

/// Which list of the spec a container is from, and how it behaves there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerKind {
    /// `spec.containers`.
    App,
    /// `spec.initContainers`, to run to completion.
    Init,
    /// `spec.initContainers` with `restartPolicy: Always`.
    Sidecar,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

/// The hooks of a container (`lifecycle`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookKind {
    /// `postStart`, right after its start.
    PostStart,
    /// `preStop`, before it is told to stop.
    PreStop,
}

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Ask the registry at every start.
    Always,
    /// Pull when the local store does not have it.
    IfNotPresent,
    /// Local store only.
    Never,
}

/// The two signals that stop a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// The image's stop signal, SIGTERM where it names none.
    Term,
    /// SIGKILL.
    Kill,
}

/// `type` of a Kubernetes event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

/// A Kubernetes event about the pod, with source `kubelet`. Counting and merging repeats is the poster's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// `type`.
    pub type_: EventType,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: String,
    /// `involvedObject.fieldPath`, such as `spec.containers{c}`; `None` for the pod as a whole.
    pub field_path: Option<String>,
}

/// Decides what to do next. A pure function: the same input gives the same plan. Once that plan is recorded, planning
/// again at the same time gives no actions, unless its `wake_at` is that time.
///
/// Kubernetes events come from three places, and `record` sees to it that each comes once: what `apply` noted, what
/// this plan decides to do, and a back-off that the status shows for the first time.
pub fn plan(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    if let Some(settled) = observed.settled.as_ref().filter(|settled| settled.holds(desired, now)) {
        let restart_all = observed.restarting_all.then_some(RestartAll::Stopping);
        return Plan {
            lifecycle: observed.lifecycle,
            actions: Vec::new(),
            status: Arc::clone(&observed.status),
            events: Vec::new(),
            wake_at: settled.wake_at,
            memo: Memo { settled: Some(settled.clone()), restart_all, ..Memo::default() },
        };
    }
    plan_anew(desired, observed, now)
}

fn plan_anew(desired: &Desired, observed: &Observed, now: Timestamp) -> Plan {
    let view = PodView::new(&desired.pod);
    let lifecycle = termination::next_lifecycle(&view, observed, now);
    let mut draft = Draft { notes: observed.notes.clone(), ..Draft::default() };
    match lifecycle {
        Lifecycle::Syncing => plan_life(&view, observed, now, &mut draft),
        Lifecycle::Terminating { .. } => termination::plan_stops(&view, observed, lifecycle, now, &mut draft),
        Lifecycle::Terminated { .. } => {}
    }
    let mut status = Arc::new(status::status(&view, observed, lifecycle, now, &mut draft));
    if status == observed.status {
        status = Arc::clone(&observed.status);
    } else {
        tend::probe_unready(&view, observed, &mut draft);
    }
    let Draft { actions, notes, wake_at, mut memo, .. } = draft;
    let farthest = later(now, SignedDuration::from_hours(FARTHEST_WAKE_HOURS));
    let wake_at = wake_at.map(|at| at.min(farthest));
    // Events that were noted before are posted now, and change nothing more.
    let decides_nothing = actions.is_empty() && notes.len() == observed.notes.len();
    if decides_nothing && wake_at != Some(now) && lifecycle == observed.lifecycle {
        memo.settled = Some(Settled { pod: Arc::clone(&desired.pod), wake_at });
    }
    let events = notes.into_iter().map(|note| note.into_record(&view)).collect();
    Plan { lifecycle, actions, status, events, wake_at, memo }
}

/// What a pod needs that is to run.
fn plan_life(view: &PodView<'_>, observed: &Observed, now: Timestamp, draft: &mut Draft) {
    if let Some(deadline) = termination::deadline(view, observed, now) {
        draft.wake(deadline);
    }
    if start_over::plan_restart_all(view, observed, now, draft) {
        return;
    }
    if resize::is_wanted(view, observed) {
        draft.infeasible = resize::infeasible(view, &observed.node);
    }
    tend::plan_upkeep(view, observed, now, draft);
    sync::plan_starts(view, observed, now, draft);
}

#[cfg(test)]
mod tests;
