//! What is known of one container: its instances, the image for its next start, its back-off and its last failure.

use k8s_openapi::api::core::v1::ResourceRequirements;
use serde::{Deserialize, Serialize};

use super::backoff::RestartBackoff;
use super::observed::{ImageFailure, StartFailureReason};
use super::spec::ContainerSpec;
use super::stop::{Stop, StopCause};
use crate::base::clock::Timestamp;

/// `reason` of a container whose record was removed to restart all containers of the pod.
pub(super) const RESTARTING_ALL: &str = "RestartingAllContainers";

/// What is known of one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerRecord {
    /// The current instance and the dead one before it, oldest first; at most two.
    pub instances: Vec<Instance>,
    /// The image, for the next start.
    pub image: ImageState,
    /// The last start failure that no later start has cured.
    pub start_failure: Option<StartFailure>,
    /// The back-off of restarts; `None` before the first.
    pub restart_backoff: Option<RestartBackoff>,
    /// What of the last exit or failure the published status has shown.
    pub(super) shown: Shown,
}

/// How much of a container's last exit or failure the published status has shown. What happened comes first and
/// alone, the back-off that follows from it in the next status, so that a watcher sees both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing yet.
    #[default]
    Nothing,
    /// What happened.
    Outcome,
    /// That it waits for its back-off.
    BackOff,
}

/// One instance of a container. What is not serialized ends with the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its number, which is the restart count.
    pub attempt: u32,
    /// How often the pod had started over when it was started (see `Observed::epoch`).
    pub epoch: u32,
    /// The image name in the spec it was started from.
    pub spec_image: String,
    /// The image name as resolved.
    pub image: String,
    /// The image's digest.
    pub image_id: String,
    /// The resources it has.
    pub resources: Option<Box<ResourceRequirements>>,
    /// Where it is in its life.
    pub state: InstanceState,
    /// What its probes say.
    pub probes: ProbeVerdicts,
    /// How far its `postStart` hook is.
    #[serde(skip)]
    pub post_start: HookState,
    /// Its stop, once that has begun.
    #[serde(skip)]
    pub stop: Option<Stop>,
    /// Whether its start was told to give up.
    #[serde(skip)]
    pub cancel_sent: bool,
    /// Which of its probes run.
    #[serde(skip)]
    pub probing: Probing,
    /// Whether its resources are being changed.
    #[serde(skip)]
    pub resize: ResizeState,
}

/// The life of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// `StartContainer` is under way.
    Starting,
    /// It runs.
    Running {
        /// `<runtime>://<id>`.
        id: String,
        /// Since when.
        started_at: Timestamp,
    },
    /// It ended.
    Exited(Exit),
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// `<runtime>://<id>`.
    pub id: String,
    /// 0..=255.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, ….
    pub reason: String,
    /// The termination message.
    pub message: Option<String>,
    /// When it started; `None` if it never ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// How far a hook is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HookState {
    /// It was not run yet, or there is none.
    #[default]
    Pending,
    /// It runs.
    Running,
    /// It is over, or was given up.
    Over {
        /// Since when.
        at: Timestamp,
    },
    /// It failed.
    Failed {
        /// When.
        at: Timestamp,
    },
}

/// Which probes of an instance run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Probing {
    /// None yet.
    #[default]
    Not,
    /// All that the spec has.
    All,
    /// No more than the readiness probe: the pod is stopping.
    ReadinessOnly,
}

/// Whether the resources of an instance are being changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ResizeState {
    /// They are as they should be, or nothing was tried yet.
    #[default]
    Settled,
    /// `UpdateResources` is under way.
    InProgress(Option<Box<ResourceRequirements>>),
    /// They were changed, which is still to be told.
    Done,
    /// It did not work out, and is tried again.
    Failed {
        /// What it should have got.
        wanted: Option<Box<ResourceRequirements>>,
        /// Why it did not.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
}

/// Results of an instance's probes; `None` while there is no settled result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeVerdicts {
    /// Whether the startup probe succeeded. Before the first result it counts as neither.
    pub startup: Option<bool>,
    /// Whether the readiness probe succeeds. Before the first result it counts as failing.
    pub readiness: Option<bool>,
    /// Whether the liveness probe succeeds. Before the first result it counts as succeeding.
    pub liveness: Option<bool>,
}

/// The image of a container's next start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ImageState {
    /// To be looked for.
    #[default]
    Unknown,
    /// `PullImage` is under way.
    Pulling {
        /// The name in the spec.
        image: String,
    },
    /// Ready for one start.
    Present {
        /// The name in the spec.
        image: String,
        /// The name as resolved.
        resolved: String,
        /// The digest.
        image_id: String,
    },
    /// To be tried again.
    Failed {
        /// The name in the spec.
        image: String,
        /// Why.
        failure: ImageFailure,
        /// When to try again.
        retry_at: Timestamp,
    },
}

/// A start that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFailure {
    /// The waiting reason.
    pub reason: StartFailureReason,
    /// Why.
    pub message: String,
    /// The image name in the spec that it was to start from.
    pub image: String,
    /// When to try again with that, at the earliest.
    pub retry_at: Timestamp,
}

impl ContainerRecord {
    /// A new instance takes the image that was made ready for it.
    pub(super) fn begin(&mut self, attempt: u32, epoch: u32) {
        let (spec_image, image, image_id) = match std::mem::take(&mut self.image) {
            ImageState::Present { image, resolved, image_id } => (image, resolved, image_id),
            ImageState::Unknown | ImageState::Pulling { .. } | ImageState::Failed { .. } => Default::default(),
        };
        let instance = Instance::new(attempt, InstanceState::Starting);
        self.instances.push(Instance { epoch, spec_image, image, image_id, ..instance });
    }
}

impl Instance {
    /// An instance of which nothing else is known.
    pub(super) fn new(attempt: u32, state: InstanceState) -> Self {
        Self {
            attempt,
            epoch: 0,
            spec_image: String::new(),
            image: String::new(),
            image_id: String::new(),
            resources: None,
            state,
            probes: ProbeVerdicts::default(),
            post_start: HookState::default(),
            stop: None,
            cancel_sent: false,
            probing: Probing::default(),
            resize: ResizeState::default(),
        }
    }

    /// Whether it is starting or running.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, InstanceState::Exited(_))
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self.state, InstanceState::Running { .. })
    }

    /// How it ended, if it did.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            InstanceState::Exited(exit) => Some(exit),
            InstanceState::Starting | InstanceState::Running { .. } => None,
        }
    }

    /// Whether it runs and its `postStart` hook, if any, has succeeded: only then its status says Running, its probes
    /// run and the next container is started.
    pub(super) fn is_up(&self, spec: &ContainerSpec<'_>) -> bool {
        self.is_running() && (!spec.has_post_start() || matches!(self.post_start, HookState::Over { .. }))
    }

    /// `started` of the container status: it is up, and its startup probe, if any, has succeeded.
    pub(super) fn is_started(&self, spec: &ContainerSpec<'_>) -> bool {
        self.is_up(spec) && (spec.container.startup_probe.is_none() || self.probes.startup == Some(true))
    }

    /// Whether it serves: started, and its readiness probe, if any, succeeds.
    pub(super) fn is_ready(&self, spec: &ContainerSpec<'_>) -> bool {
        self.is_started(spec) && (spec.container.readiness_probe.is_none() || self.probes.readiness == Some(true))
    }

    /// Whether it was stopped in order to start another.
    pub(super) fn was_killed_to_restart(&self) -> bool {
        let cause = self.stop.as_ref().map(|stop| stop.cause);
        cause.is_some_and(|cause| {
            matches!(
                cause,
                StopCause::LivenessProbe | StopCause::StartupProbe | StopCause::DefinitionChanged | StopCause::Resize
            )
        })
    }
}
