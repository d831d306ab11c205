//! What a planner has been told and has ordered, kept apart from it in plain words: the knowledge that `rules` judge
//! its plans by. Times are milliseconds since the world's origin.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use super::super::super::*;
use super::world::World;
use crate::pod::{Event, ImageFailure, ProbeKind, StartFailureReason, Survivors, TerminationCause};

/// What kubelet waits after a failure that has no back-off of its own.
const RETRY: i64 = 10_000;
/// Reason of the end of what was stopped to restart all containers.
pub(super) const RESTARTING_ALL: &str = "RestartingAllContainers";

/// A container of the spec.
#[derive(Clone, Copy)]
pub(super) struct Spec<'a> {
    pub(super) name: &'a str,
    pub(super) kind: ContainerKind,
    pub(super) image: &'a str,
    /// `None` for an ephemeral one, which has nothing of what is asked for here.
    pub(super) container: Option<&'a Container>,
}

impl<'a> Spec<'a> {
    fn new(kind: ContainerKind, container: &'a Container) -> Self {
        let image = container.image.as_deref().unwrap_or("");
        Self { name: &container.name, kind, image, container: Some(container) }
    }

    fn init(container: &'a Container) -> Self {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        Self::new(if sidecar { ContainerKind::Sidecar } else { ContainerKind::Init }, container)
    }

    /// Whether it has a hook of this kind.
    pub(super) fn has_hook(&self, hook: HookKind) -> bool {
        let lifecycle = self.container.and_then(|container| container.lifecycle.as_ref());
        lifecycle.is_some_and(|lifecycle| match hook {
            HookKind::PostStart => lifecycle.post_start.is_some(),
            HookKind::PreStop => lifecycle.pre_stop.is_some(),
        })
    }

    pub(super) fn has_startup_probe(&self) -> bool {
        self.container.is_some_and(|container| container.startup_probe.is_some())
    }

    pub(super) fn has_readiness_probe(&self) -> bool {
        self.container.is_some_and(|container| container.readiness_probe.is_some())
    }

    pub(super) fn has_probes(&self) -> bool {
        let liveness = self.container.is_some_and(|container| container.liveness_probe.is_some());
        liveness || self.has_startup_probe() || self.has_readiness_probe()
    }

    pub(super) fn resources(&self) -> Option<&'a ResourceRequirements> {
        self.container?.resources.as_ref()
    }
}

/// The containers of a pod: init containers, app containers, ephemeral ones.
pub(super) fn specs(pod: &Pod) -> Vec<Spec<'_>> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut specs: Vec<_> = spec.init_containers.iter().flatten().map(Spec::init).collect();
    specs.extend(spec.containers.iter().map(|container| Spec::new(ContainerKind::App, container)));
    specs.extend(spec.ephemeral_containers.iter().flatten().map(|container| Spec {
        name: &container.name,
        kind: ContainerKind::Ephemeral,
        image: container.image.as_deref().unwrap_or(""),
        container: None,
    }));
    specs
}

/// The grace period that a stop of the pod has now, in seconds.
pub(super) fn grace(pod: &Pod) -> i64 {
    let deletion = pod.metadata.deletion_grace_period_seconds.filter(|_| pod.metadata.deletion_timestamp.is_some());
    deletion.or(pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds)).unwrap_or(30)
}

/// The volumes, or the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    Absent,
    Making,
    Failed {
        retry_at: i64,
    },
    There,
    /// Of another agent: a sandbox that is gone, or volumes in whatever state they are.
    Left,
    Removing,
    Gone,
}

/// Where a hook is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Hook {
    #[default]
    Pending,
    Running,
    Over,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Running { id: String, at: i64 },
    Exited { id: String, code: i32, reason: String, at: i64 },
}

/// A stop that has begun.
#[derive(Debug, Clone)]
pub(super) struct StopTold {
    pub(super) cause: StopCause,
    pub(super) since: i64,
    /// Seconds.
    pub(super) grace: i64,
    pub(super) pre_stop: Hook,
    pub(super) term: Option<i64>,
    pub(super) killed: bool,
}

/// A change of resources.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Resize {
    #[default]
    Settled,
    InProgress(Option<ResourceRequirements>),
    Failed {
        wanted: Option<ResourceRequirements>,
        retry_at: i64,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) attempt: u32,
    pub(super) epoch: u32,
    pub(super) image: String,
    pub(super) state: State,
    pub(super) resources: Option<ResourceRequirements>,
    pub(super) resize: Resize,
    /// By probe: startup, readiness, liveness.
    pub(super) probes: [Option<bool>; 3],
    /// Whether its probes run; after `StopProbes`, only the readiness probe.
    pub(super) probing: bool,
    pub(super) probes_stopped: bool,
    pub(super) post_start: Hook,
    pub(super) stop: Option<StopTold>,
    pub(super) cancelled: bool,
}

impl Told {
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.state, State::Exited { .. })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    pub(super) fn is_up(&self, spec: &Spec<'_>) -> bool {
        self.is_running() && (!spec.has_hook(HookKind::PostStart) || self.post_start == Hook::Over)
    }

    pub(super) fn is_started(&self, spec: &Spec<'_>) -> bool {
        self.is_up(spec) && (!spec.has_startup_probe() || self.probes[0] == Some(true))
    }

    pub(super) fn is_ready(&self, spec: &Spec<'_>) -> bool {
        self.is_started(spec) && (!spec.has_readiness_probe() || self.probes[1] == Some(true))
    }

    pub(super) fn stop_cause(&self) -> Option<StopCause> {
        self.stop.as_ref().map(|stop| stop.cause)
    }
}

/// The image for the next start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ImageTold {
    #[default]
    Unknown,
    Pulling(String),
    Present(String),
    Failed {
        image: String,
        retry_at: i64,
    },
}

/// A delay that doubles, and when it last did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delay {
    millis: i64,
    since: i64,
}

impl Delay {
    /// 10 s, doubled up to 300 s, unless what happened at `event` came more than 600 s after the last time.
    pub(super) fn advance(before: Option<Self>, event: i64, now: i64) -> Self {
        let remembered = before.filter(|delay| event - delay.since <= 600_000);
        Self { millis: remembered.map_or(10_000, |delay| (delay.millis * 2).min(300_000)), since: now }
    }

    /// When what failed last may be tried again.
    pub(super) fn over_since(self) -> i64 {
        self.since + self.millis
    }

    /// When something that ended at `event` may be done again.
    pub(super) fn over_at(self, event: i64) -> i64 {
        if event - self.since > 600_000 { event } else { event + self.millis }
    }
}

/// What a restart back-off belongs to.
type BackoffKey = (String, Option<ResourceRequirements>);

#[derive(Debug, Clone, Default)]
pub(super) struct ContainerTold {
    /// The instances there is still something of, oldest first.
    pub(super) instances: Vec<Told>,
    pub(super) image: ImageTold,
    /// Not to be started again from this image before.
    pub(super) retry_at: Option<(String, i64)>,
    backoff: Option<(BackoffKey, Delay)>,
    /// The epoch in which it was last started, in the sense of the container status.
    pub(super) started_in: Option<u32>,
}

/// The stop of the pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) cause: TerminationCause,
    pub(super) since: i64,
    /// Seconds.
    pub(super) grace: i64,
    pub(super) kill_at: i64,
    pub(super) shortened: bool,
}

pub(super) struct Knowledge {
    pub(super) volumes: Ground,
    mount_failures: u32,
    pub(super) sandbox: Ground,
    pub(super) containers: BTreeMap<String, ContainerTold>,
    /// The back-off of pulls, by image.
    pub(super) pulls: BTreeMap<String, Delay>,
    /// How often the pod has started over.
    pub(super) epoch: u32,
    pub(super) restarting_all: bool,
    /// When all containers were last restarted.
    pub(super) restarted_all_at: Option<i64>,
    pub(super) sources_changed: bool,
    /// Whether a source has changed since the setting up of volumes began that is under way.
    set_up_outdated: bool,
    pub(super) ending: Option<Ending>,
    /// Why an agent before was ending the pod.
    pub(super) ending_before: Option<TerminationCause>,
    pub(super) over: bool,
    /// When the agent first planned.
    pub(super) begun: Option<i64>,
    /// Starts told since the last plan, which are to be posted in it.
    pub(super) started: usize,
}

impl Knowledge {
    pub(super) fn new() -> Self {
        Self {
            volumes: Ground::Absent,
            mount_failures: 0,
            sandbox: Ground::Absent,
            containers: BTreeMap::new(),
            pulls: BTreeMap::new(),
            epoch: 0,
            restarting_all: false,
            restarted_all_at: None,
            sources_changed: false,
            set_up_outdated: false,
            ending: None,
            ending_before: None,
            over: false,
            begun: None,
            started: 0,
        }
    }

    /// The current instance of a container.
    pub(super) fn instance(&self, container: &str) -> Option<&Told> {
        self.containers.get(container)?.instances.last()
    }

    pub(super) fn instance_mut(&mut self, container: &str) -> Option<&mut Told> {
        self.containers.get_mut(container)?.instances.last_mut()
    }

    fn current(&mut self, container: &str, attempt: u32) -> Option<&mut Told> {
        self.instance_mut(container).filter(|told| told.attempt == attempt)
    }

    pub(super) fn is_live(&self, container: &str) -> bool {
        self.instance(container).is_some_and(Told::is_live)
    }

    /// Takes in what is told.
    pub(super) fn hear(&mut self, event: &Event, now: i64) {
        match event {
            Event::VolumesReady if self.volumes == Ground::Making => self.volumes = Ground::There,
            Event::VolumesFailed { .. } if self.volumes == Ground::Making => {
                let delay = 500 << self.mount_failures.min(10);
                self.mount_failures += 1;
                let retry_at = if self.set_up_outdated { now } else { now + delay.min(122_000) };
                self.volumes = Ground::Failed { retry_at };
            }
            Event::VolumesTornDown if self.volumes == Ground::Removing => self.volumes = Ground::Gone,
            Event::SandboxReady { .. } if self.sandbox == Ground::Making => self.sandbox = Ground::There,
            Event::SandboxFailed { .. } if self.sandbox == Ground::Making => {
                self.sandbox = Ground::Failed { retry_at: now + RETRY };
            }
            Event::SandboxStopped if self.sandbox == Ground::Removing => self.sandbox = Ground::Gone,
            Event::SourcesChanged => self.sources_changed(now),
            Event::ImagePresent { container, .. } => self.image_present(container),
            Event::ImageFailed { container, failure } => self.image_failed(container, failure, now),
            Event::ContainerStarted { container, attempt, id, at } => {
                self.heard_start(container, *attempt, id, World::millis(*at));
            }
            Event::ContainerStartFailed { container, attempt, reason, created, at, .. } => {
                self.heard_failure(container, *attempt, (*reason, created.as_deref()), World::millis(*at));
            }
            Event::ContainerExited { container, attempt, exit_code, reason, at, .. } => {
                let Some(told) = self.current(container, *attempt) else { return };
                let State::Running { id, .. } = &told.state else { return };
                let by_code = if *exit_code == 0 { "Completed" } else { "Error" };
                let reason = reason.as_deref().unwrap_or(by_code).to_owned();
                told.state = State::Exited { id: id.clone(), code: *exit_code, reason, at: World::millis(*at) };
            }
            Event::ProbeResult { container, attempt, kind, success } => {
                let Some(told) = self.current(container, *attempt) else { return };
                told.probes[probe_index(*kind)] = Some(*success);
            }
            Event::HookFinished { container, attempt, hook, error, .. } => {
                self.heard_hook(container, *attempt, *hook, error.is_some());
            }
            Event::ResourcesUpdated { container, attempt, error } => {
                let Some(told) = self.current(container, *attempt) else { return };
                let Resize::InProgress(wanted) = std::mem::take(&mut told.resize) else { return };
                match error {
                    None => told.resources = wanted,
                    Some(_) => told.resize = Resize::Failed { wanted, retry_at: now + RETRY },
                }
            }
            _ => {}
        }
    }

    /// What failed for want of a source is tried again at once.
    fn sources_changed(&mut self, now: i64) {
        self.sources_changed = true;
        match &mut self.volumes {
            Ground::Failed { retry_at } => *retry_at = now,
            Ground::Making => self.set_up_outdated = true,
            _ => {}
        }
    }

    fn image_present(&mut self, container: &str) {
        let Some(known) = self.containers.get_mut(container) else { return };
        if let ImageTold::Pulling(image) = &known.image {
            known.image = ImageTold::Present(image.clone());
        }
    }

    fn image_failed(&mut self, container: &str, failure: &ImageFailure, now: i64) {
        let Some(known) = self.containers.get_mut(container) else { return };
        let ImageTold::Pulling(image) = known.image.clone() else { return };
        let mut retry_at = now + RETRY;
        if matches!(failure, ImageFailure::Pull(_) | ImageFailure::RegistryUnavailable(_) | ImageFailure::Signature(_))
        {
            let delay = Delay::advance(self.pulls.get(&image).copied(), now, now);
            self.pulls.insert(image.clone(), delay);
            retry_at = now;
        }
        known.image = ImageTold::Failed { image, retry_at };
    }

    fn heard_start(&mut self, container: &str, attempt: u32, id: &str, at: i64) {
        let Some(told) = self.current(container, attempt) else { return };
        if told.state != State::Starting {
            return;
        }
        told.state = State::Running { id: id.to_owned(), at };
        self.started += 1;
        if let Some(known) = self.containers.get_mut(container) {
            known.retry_at = None;
        }
    }

    fn heard_failure(
        &mut self,
        container: &str,
        attempt: u32,
        (reason, created): (StartFailureReason, Option<&str>),
        at: i64,
    ) {
        let Some(told) = self.current(container, attempt) else { return };
        if told.state != State::Starting {
            return;
        }
        let (image, created) = (told.image.clone(), created.map(str::to_owned));
        let exists = created.is_some();
        if let Some(id) = created {
            told.state = State::Exited { id, code: 128, reason: "StartError".into(), at };
        }
        let Some(known) = self.containers.get_mut(container) else { return };
        if !exists {
            known.instances.pop();
        }
        match reason {
            StartFailureReason::Cancelled => {}
            _ => known.retry_at = Some((image, if exists { at } else { at + RETRY })),
        }
    }

    fn heard_hook(&mut self, container: &str, attempt: u32, hook: HookKind, failed: bool) {
        let Some(told) = self.current(container, attempt) else { return };
        let state = match hook {
            HookKind::PostStart => Some(&mut told.post_start),
            HookKind::PreStop => told.stop.as_mut().map(|stop| &mut stop.pre_stop),
        };
        let Some(state) = state.filter(|state| **state == Hook::Running) else { return };
        *state = if failed { Hook::Failed } else { Hook::Over };
    }

    /// Takes in an action that was found to be right.
    pub(super) fn order(&mut self, specs: &[Spec<'_>], action: &Action, now: i64) {
        match action {
            Action::SetUpVolumes => (self.volumes, self.set_up_outdated) = (Ground::Making, false),
            Action::TearDownVolumes => self.volumes = Ground::Removing,
            Action::CreateSandbox => self.sandbox = Ground::Making,
            Action::StopSandbox => self.sandbox = Ground::Removing,
            Action::UpdateVolumes => self.sources_changed = false,
            Action::PullImage { container, image, .. } => self.pull(specs, container, image, now),
            Action::StartContainer { container, attempt, .. } => self.start(specs, container, *attempt),
            Action::RemoveContainer { container, attempt } => {
                if let Some(known) = self.containers.get_mut(container) {
                    known.instances.retain(|told| told.attempt != *attempt);
                }
            }
            Action::CancelStart { container, .. }
            | Action::Signal { container, .. }
            | Action::RunHook { container, .. }
            | Action::CancelHook { container, .. }
            | Action::StartProbes { container, .. }
            | Action::StopProbes { container, .. }
            | Action::UpdateResources { container, .. } => {
                let wanted = find(specs, container).and_then(|spec| spec.resources()).cloned();
                let Some(told) = self.instance_mut(container) else { return };
                told.order(action, wanted, now);
            }
            Action::ProbeReadiness { .. } => {}
        }
    }

    fn pull(&mut self, specs: &[Spec<'_>], container: &str, image: &str, now: i64) {
        let Some(spec) = find(specs, container) else { return };
        let known = self.containers.entry(container.into()).or_default();
        known.image = ImageTold::Pulling(image.into());
        // Of what fetching comes before, the back-off advances.
        if let Some(exited_at) = known.backoff_basis(spec) {
            let delay = Delay::advance(known.delay(spec), exited_at, now);
            known.backoff = Some((key(spec), delay));
        }
    }

    fn start(&mut self, specs: &[Spec<'_>], container: &str, attempt: u32) {
        let epoch = self.epoch;
        let resources = find(specs, container).and_then(|spec| spec.resources()).cloned();
        let known = self.containers.entry(container.into()).or_default();
        let image = match std::mem::take(&mut known.image) {
            ImageTold::Present(image) => image,
            _ => String::new(),
        };
        known.instances.push(Told {
            attempt,
            epoch,
            image,
            state: State::Starting,
            resources,
            resize: Resize::default(),
            probes: [None; 3],
            probing: false,
            probes_stopped: false,
            post_start: Hook::default(),
            stop: None,
            cancelled: false,
        });
    }

    /// Everything starts over.
    pub(super) fn start_over(&mut self, specs: &[Spec<'_>], now: i64) {
        self.restarting_all = false;
        self.restarted_all_at = Some(now);
        self.epoch += 1;
        for (name, known) in &mut self.containers {
            if find(specs, name).is_some_and(|spec| spec.kind == ContainerKind::Ephemeral) {
                continue;
            }
            let Some(last) = known.instances.pop() else { continue };
            *known = ContainerTold { instances: vec![last], ..ContainerTold::default() };
            if let Some(Told { state: State::Exited { code, reason, .. }, .. }) = known.instances.last_mut() {
                (*code, *reason) = (137, RESTARTING_ALL.into());
            }
        }
    }

    /// Another agent takes over: it knows what was published and which instances there were, and finds `survivors`.
    pub(super) fn restart(&mut self, survivors: &Survivors, now: i64) {
        for known in self.containers.values_mut() {
            known.instances.retain(|told| told.state != State::Starting);
            for told in &mut known.instances {
                if let State::Running { id, .. } = &told.state
                    && !survivors.containers.contains(id)
                {
                    let reason = "ContainerStatusUnknown".into();
                    told.state = State::Exited { id: id.clone(), code: 137, reason, at: now };
                }
                (told.stop, told.probing, told.probes_stopped, told.resize) = (None, false, false, Resize::Settled);
                // Hooks belong to the start, which is over.
                told.post_start = Hook::Over;
            }
            let (instances, started_in) = (std::mem::take(&mut known.instances), known.started_in);
            *known = ContainerTold { instances, started_in, ..ContainerTold::default() };
        }
        let had_sandbox = matches!(self.sandbox, Ground::There | Ground::Left | Ground::Removing);
        self.sandbox = match survivors.sandbox {
            Some(_) => Ground::There,
            None if had_sandbox => Ground::Left,
            None => Ground::Absent,
        };
        if self.sandbox == Ground::Left {
            self.epoch += 1;
        }
        self.volumes = match self.volumes {
            Ground::Absent | Ground::Gone => Ground::Absent,
            _ => Ground::Left,
        };
        self.ending_before = self.ending.take().map(|ending| ending.cause).or(self.ending_before);
        (self.mount_failures, self.started) = (0, 0);
        (self.restarting_all, self.restarted_all_at, self.sources_changed) = (false, None, false);
        self.pulls.clear();
        // It counts on from the start time that was published, in whole seconds.
        self.begun = self.begun.map(|begun| begun.div_euclid(1000) * 1000);
    }
}

impl Told {
    fn order(&mut self, action: &Action, wanted: Option<ResourceRequirements>, now: i64) {
        match action {
            Action::CancelStart { .. } => self.cancelled = true,
            Action::StartProbes { .. } => self.probing = true,
            Action::StopProbes { .. } => self.probes_stopped = true,
            Action::UpdateResources { .. } => self.resize = Resize::InProgress(wanted),
            Action::RunHook { hook: HookKind::PostStart, .. } => self.post_start = Hook::Running,
            Action::CancelHook { hook: HookKind::PostStart, .. } => self.post_start = Hook::Over,
            _ => {}
        }
        let Some(stop) = &mut self.stop else { return };
        match action {
            Action::RunHook { hook: HookKind::PreStop, .. } => stop.pre_stop = Hook::Running,
            Action::CancelHook { hook: HookKind::PreStop, .. } => stop.pre_stop = Hook::Over,
            Action::Signal { signal: StopSignal::Term, .. } => stop.term = Some(now),
            Action::Signal { signal: StopSignal::Kill, .. } => stop.killed = true,
            _ => {}
        }
    }
}

impl ContainerTold {
    /// The restart back-off, if it is one of the container as it is now.
    fn delay(&self, spec: &Spec<'_>) -> Option<Delay> {
        let (of, delay) = self.backoff.as_ref()?;
        (*of == key(spec)).then_some(*delay)
    }

    /// The end from which the back-off of the next start is counted.
    fn backoff_basis(&self, spec: &Spec<'_>) -> Option<i64> {
        let exited_at = |told: &Told| match &told.state {
            State::Exited { reason, at, .. } if reason != RESTARTING_ALL => Some(*at),
            _ => None,
        };
        let mut backwards = self.instances.iter().rev();
        let last = backwards.next()?;
        let at = exited_at(last)?;
        let to_restart = matches!(
            last.stop_cause(),
            Some(StopCause::LivenessProbe | StopCause::StartupProbe | StopCause::DefinitionChanged | StopCause::Resize)
        );
        if !to_restart {
            return Some(at);
        }
        // What was killed to be restarted is restarted at once, unless what was before it still held it up then.
        let older = backwards.next().and_then(|older| match &older.state {
            State::Exited { at, .. } => Some(*at),
            _ => None,
        });
        let held_up = older.zip(self.delay(spec)).is_some_and(|(older, delay)| delay.over_at(older) > at);
        if held_up { Some(at) } else { older }
    }

    /// When the container may be started again, as far as its restart back-off goes.
    pub(super) fn backed_off_until(&self, spec: &Spec<'_>) -> Option<i64> {
        Some(self.delay(spec)?.over_at(self.backoff_basis(spec)?))
    }
}

fn key(spec: &Spec<'_>) -> BackoffKey {
    (spec.image.to_owned(), spec.resources().cloned())
}

pub(super) fn find<'s, 'a>(specs: &'s [Spec<'a>], name: &str) -> Option<&'s Spec<'a>> {
    specs.iter().find(|spec| spec.name == name)
}

fn probe_index(kind: ProbeKind) -> usize {
    match kind {
        ProbeKind::Startup => 0,
        ProbeKind::Readiness => 1,
        ProbeKind::Liveness => 2,
    }
}
