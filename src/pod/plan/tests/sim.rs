//! A simulated node: it plans, carries the actions out in no time (or as long as a test says), feeds the outcome back
//! as events, and keeps a timeline of what a user would notice. At every step it checks what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::*;
use crate::base::clock::Timestamp;
use crate::pod::{
    Event, ImageFailure, NodeFacts, Observed, PodSnapshot, ProbeKind, StartFailureReason, Survivors, VolumeFailure,
};

/// What an instance does.
#[derive(Debug, Clone)]
pub(super) enum Program {
    /// Ends by itself after some seconds.
    Ends { after: f64, code: i32 },
    /// Runs until it is told to stop, then ends some seconds later.
    Serves { stops_after: f64, code: i32 },
    /// Runs until it is killed.
    Ignores,
    /// Cannot be started.
    Fails { reason: StartFailureReason, created: bool },
}

/// The programs of successive attempts; the last one repeats.
type Script = Vec<Program>;

pub(super) struct Sim {
    desired: Desired,
    pub(super) observed: Observed,
    /// Milliseconds since the start.
    now: i64,
    due: BTreeMap<(i64, u64), Event>,
    sequence: u64,
    scripts: BTreeMap<String, Script>,
    /// How many pulls of an image fail.
    failing_pulls: BTreeMap<String, (u32, ImageFailure)>,
    /// How often setting up the volumes fails.
    pub(super) failing_mounts: u32,
    /// How often creating the sandbox fails.
    pub(super) failing_sandboxes: u32,
    /// How long pulls take, in seconds.
    pub(super) pull_seconds: f64,
    /// How long starts take, in seconds.
    pub(super) start_seconds: f64,
    /// Whether starts are quicker than their cancellation.
    pub(super) cancels_too_late: bool,
    /// How long the hooks of a container take, in seconds, and how they fail; others are over at once.
    hooks: Vec<(String, HookKind, f64, Option<String>)>,
    /// The results of a container's probes, in seconds after they begin, for each instance.
    probes: Vec<(String, f64, ProbeKind, bool)>,
    /// Why resources cannot be changed.
    pub(super) resize_error: Option<String>,
    /// How long changing resources takes, in seconds.
    pub(super) resize_seconds: f64,
    live: BTreeSet<(String, u32)>,
    pub(super) timeline: Vec<(f64, String)>,
    pub(super) events: Vec<(f64, EventRecord)>,
    pub(super) lifecycle: Lifecycle,
}

const ORIGIN: i64 = 1_800_000_000;

impl Sim {
    /// A pod with this spec, in YAML flow style without the outer braces.
    pub(super) fn new(spec: &str) -> Self {
        let yaml = format!("{{metadata: {{name: p, namespace: ns, uid: u, generation: 1}}, spec: {{{spec}}}}}");
        Self::of(serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}")))
    }

    pub(super) fn of(pod: Pod) -> Self {
        Self {
            desired: Desired { pod: Arc::new(pod) },
            observed: Observed::new(
                NodeFacts { host_ips: vec!["192.0.2.1".into()], ..NodeFacts::default() },
                PodStatus::default(),
            ),
            now: 0,
            due: BTreeMap::new(),
            sequence: 0,
            scripts: BTreeMap::new(),
            failing_pulls: BTreeMap::new(),
            failing_mounts: 0,
            failing_sandboxes: 0,
            pull_seconds: 0.0,
            start_seconds: 0.0,
            cancels_too_late: false,
            hooks: Vec::new(),
            probes: Vec::new(),
            resize_error: None,
            resize_seconds: 0.0,
            live: BTreeSet::new(),
            timeline: Vec::new(),
            events: Vec::new(),
            lifecycle: Lifecycle::Syncing,
        }
    }

    pub(super) fn script(mut self, container: &str, script: &[Program]) -> Self {
        self.scripts.insert(container.into(), script.to_vec());
        self
    }

    /// The hook of a container takes so many seconds.
    pub(super) fn hook(mut self, container: &str, hook: HookKind, takes: f64) -> Self {
        self.hooks.push((container.into(), hook, takes, None));
        self
    }

    /// The hook of a container fails after so many seconds.
    pub(super) fn failing_hook(mut self, container: &str, hook: HookKind, after: f64) -> Self {
        self.hooks.push((container.into(), hook, after, Some("no such file".into())));
        self
    }

    /// A probe of a container settles on a result so many seconds after the probes of an instance begin.
    pub(super) fn probe(mut self, container: &str, kind: ProbeKind, after: f64, success: bool) -> Self {
        self.probes.push((container.into(), after, kind, success));
        self
    }

    pub(super) fn failing_pulls(self, image: &str, times: u32) -> Self {
        self.failing_images(image, times, ImageFailure::Pull("not found".into()))
    }

    pub(super) fn failing_images(mut self, image: &str, times: u32, failure: ImageFailure) -> Self {
        self.failing_pulls.insert(image.into(), (times, failure));
        self
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(ORIGIN * 1000 + self.now).unwrap()
    }

    fn seconds(&self) -> f64 {
        self.now as f64 / 1000.0
    }

    fn schedule(&mut self, after: f64, event: Event) {
        self.sequence += 1;
        self.due.insert((self.now + (after * 1000.0) as i64, self.sequence), event);
    }

    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Pod)) {
        edit(Arc::make_mut(&mut self.desired.pod));
    }

    /// Deletes the pod with a grace period.
    pub(super) fn delete(&mut self, grace_seconds: i64) {
        let at = self.time() + SignedDuration::from_secs(grace_seconds);
        self.edit(|pod| {
            pod.metadata.deletion_timestamp = Some(Time(at));
            pod.metadata.deletion_grace_period_seconds = Some(grace_seconds);
        });
    }

    /// Lets time pass until `until` (in seconds) or until nothing more can happen.
    pub(super) fn run(&mut self, until: f64) -> &mut Self {
        let until = (until * 1000.0) as i64;
        for _ in 0..20_000 {
            let wake_at = self.step();
            let wake_at = wake_at.map(|at| at.as_millisecond() - ORIGIN * 1000);
            let due = self.due.keys().next().map(|(at, _)| *at);
            let next = [wake_at, due].into_iter().flatten().min();
            match next {
                Some(next) if next <= until => self.now = self.now.max(next),
                _ => {
                    self.now = self.now.max(until.min(i64::MAX / 2));
                    return self;
                }
            }
            let now = self.now;
            let later = self.due.split_off(&(now + 1, 0));
            for (_, event) in std::mem::replace(&mut self.due, later) {
                self.happen(event);
            }
        }
        panic!("the pod never comes to rest:\n{:#?}", self.timeline);
    }

    /// The agent ends without a word, and another takes the pod up. Containers live on only if `survive`, and with them
    /// the sandbox.
    pub(super) fn crash(&mut self, survive: bool) -> &mut Self {
        let written = serde_json::to_string(&self.observed.snapshot()).unwrap();
        self.note("crash".into());
        let survivors = if survive {
            self.due.retain(|_, event| matches!(event, Event::ContainerExited { .. }));
            let containers = self.live.iter().map(|(container, attempt)| format!("sim://{container}-{attempt}"));
            Survivors { sandbox: Some(vec!["10.0.0.2".into()]), containers: containers.collect() }
        } else {
            self.due.clear();
            self.live.clear();
            Survivors::default()
        };
        let snapshot = serde_json::from_str(&written).unwrap();
        self.observed = Observed::restore(self.observed.node.clone(), snapshot, &survivors, self.time());
        self
    }

    /// The agent ends, and all that another finds is the status that was published.
    pub(super) fn crash_to_status(&mut self) -> &mut Self {
        self.note("crash".into());
        self.due.clear();
        self.live.clear();
        let pod = Pod { status: Some(PodStatus::clone(&self.observed.status)), ..Pod::clone(&self.desired.pod) };
        let snapshot = PodSnapshot::of_status(&pod);
        assert!(!snapshot.is_behind(&self.observed.status));
        let facts = self.observed.node.clone();
        self.observed = Observed::restore(facts, snapshot, &Survivors::default(), self.time());
        self
    }

    /// Something happens now that the simulation doesn't bring about.
    pub(super) fn tell(&mut self, event: Event) -> &mut Self {
        self.happen(event);
        self
    }

    fn happen(&mut self, event: Event) {
        if let Event::ContainerExited { container, attempt, exit_code, .. } = &event {
            if !self.live.remove(&(container.clone(), *attempt)) {
                return;
            }
            self.note(format!("exit {container}/{attempt} {exit_code}"));
        }
        let now = self.time();
        self.observed.apply(event, now);
    }

    fn note(&mut self, what: String) {
        self.timeline.push((self.seconds(), what));
    }

    /// One round of the worker's loop.
    pub(super) fn step(&mut self) -> Option<Timestamp> {
        let now = self.time();
        let before = self.observed.status.clone();
        let plan = plan(&self.desired, &self.observed, now);
        self.observed.record(&plan, now);
        let again = super::super::plan(&self.desired, &self.observed, now);
        let anew = super::super::plan_anew(&self.desired, &self.observed, now);
        assert_eq!((&again.status, again.wake_at), (&anew.status, anew.wake_at), "at {}", self.seconds());
        if plan.wake_at != Some(now) {
            assert_eq!(again.events, [], "events come twice at {}", self.seconds());
            assert_eq!(again.actions, [], "planning is not idempotent at {}", self.seconds());
        }
        check_forward(&before, &plan.status);
        self.lifecycle = plan.lifecycle;
        self.log_changes(&before, &plan.status);
        for event in plan.events {
            self.events.push((self.seconds(), event));
        }
        for action in plan.actions {
            self.execute(action);
        }
        plan.wake_at
    }

    fn log_changes(&mut self, before: &PodStatus, after: &PodStatus) {
        if before.phase != after.phase {
            self.note(format!("phase {}", after.phase.as_deref().unwrap_or("")));
        }
        for status in all(after) {
            let shown = show(status);
            if all(before).find(|other| other.name == status.name).map(show).as_ref() != Some(&shown) {
                self.note(format!("state {} {shown}", status.name));
            }
        }
        for condition in after.conditions.iter().flatten() {
            let mut known = before.conditions.iter().flatten();
            let known = known.find(|other| other.type_ == condition.type_).map(|other| other.status.as_str());
            if known != Some(condition.status.as_str()) {
                self.note(format!("condition {}={}", condition.type_, condition.status));
            }
        }
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::SetUpVolumes if self.failing_mounts > 0 => {
                self.failing_mounts -= 1;
                let message = "configmap \"c\" not found".into();
                let failures = vec![VolumeFailure { volume: "v".into(), message }];
                self.note("mount".into());
                self.schedule(0.0, Event::VolumesFailed { failures });
            }
            Action::SetUpVolumes => {
                self.note("mount".into());
                self.schedule(0.0, Event::VolumesReady);
            }
            Action::TearDownVolumes => {
                self.note("unmount".into());
                self.schedule(0.0, Event::VolumesTornDown);
            }
            Action::CreateSandbox if self.failing_sandboxes > 0 => {
                self.failing_sandboxes -= 1;
                self.note("sandbox".into());
                self.schedule(0.0, Event::SandboxFailed { message: "no address is free".into() });
            }
            Action::CreateSandbox => {
                self.note("sandbox".into());
                self.schedule(0.0, Event::SandboxReady { ips: vec!["10.0.0.2".into()] });
            }
            Action::StopSandbox => {
                assert!(self.live.is_empty(), "the sandbox stops under {:?}", self.live);
                self.note("stop sandbox".into());
                self.schedule(0.0, Event::SandboxStopped);
            }
            Action::PullImage { container, image, .. } => self.pull(container, image),
            Action::StartContainer { container, attempt, .. } => self.start(container, attempt),
            Action::CancelStart { container, attempt } => {
                self.note(format!("cancel {container}/{attempt}"));
                if self.cancels_too_late {
                    return;
                }
                self.due.retain(|_, event| !matches!(event, Event::ContainerStarted { container: name, .. } | Event::ContainerExited { container: name, .. } if *name == container));
                self.live.remove(&(container.clone(), attempt));
                let (reason, at) = (StartFailureReason::Cancelled, self.time());
                let message = "cancelled".into();
                self.schedule(
                    0.0,
                    Event::ContainerStartFailed { container, attempt, reason, message, created: None, at },
                );
            }
            Action::Signal { container, attempt, signal, .. } => self.signal(&container, attempt, signal),
            Action::RunHook { container, attempt, hook } => self.run_hook(container, attempt, hook),
            Action::CancelHook { container, attempt, hook } => {
                self.note(format!("cancel {} {container}/{attempt}", hook_name(hook)));
                self.due.retain(|_, event| {
                    !matches!(event, Event::HookFinished { container: name, hook: kind, .. }
                        if *name == container && *kind == hook)
                });
            }
            Action::StartProbes { container, attempt } => self.start_probes(container, attempt),
            Action::ProbeReadiness { container, attempt } => self.note(format!("readiness {container}/{attempt}")),
            Action::StopProbes { container, attempt } => self.note(format!("stop probes {container}/{attempt}")),
            Action::UpdateResources { container, attempt, limits } => {
                let error = self.resize_error.clone();
                self.note(format!("resize {container}/{attempt} {:?} {:?}", limits.memory, limits.cpu_millis));
                self.schedule(self.resize_seconds, Event::ResourcesUpdated { container, attempt, error });
            }
            Action::UpdateVolumes => self.note("update volumes".into()),
            Action::RemoveContainer { container, attempt } => self.note(format!("remove {container}/{attempt}")),
        }
    }

    fn run_hook(&mut self, container: String, attempt: u32, hook: HookKind) {
        self.note(format!("{} {container}/{attempt}", hook_name(hook)));
        assert!(self.live.contains(&(container.clone(), attempt)), "a hook in {container}/{attempt}");
        let script = self.hooks.iter().find(|(name, kind, ..)| *name == container && *kind == hook);
        let (takes, error) = script.map_or((0.0, None), |(_, _, takes, error)| (*takes, error.clone()));
        self.schedule(takes, Event::HookFinished { container, attempt, hook, error, warning: None });
    }

    fn start_probes(&mut self, container: String, attempt: u32) {
        self.note(format!("probe {container}/{attempt}"));
        let results: Vec<_> = self.probes.iter().filter(|(name, ..)| *name == container).cloned().collect();
        for (container, after, kind, success) in results {
            self.schedule(after, Event::ProbeResult { container, attempt, kind, success });
        }
    }

    fn pull(&mut self, container: String, image: String) {
        self.note(format!("pull {container}"));
        let failing = self.failing_pulls.get_mut(&image).filter(|(left, _)| *left > 0);
        let event = if let Some((left, failure)) = failing {
            *left -= 1;
            Event::ImageFailed { container, failure: failure.clone() }
        } else {
            Event::ImagePresent {
                container,
                resolved: format!("{image}:latest"),
                image_id: "sha256:1".into(),
                pulled: None,
                note: None,
            }
        };
        self.schedule(self.pull_seconds, event);
    }

    fn program(&self, container: &str, attempt: u32) -> Program {
        let script = self.scripts.get(container).unwrap_or_else(|| panic!("no script for {container}"));
        script[(attempt as usize).min(script.len() - 1)].clone()
    }

    fn start(&mut self, container: String, attempt: u32) {
        self.note(format!("start {container}/{attempt}"));
        assert!(!self.live.iter().any(|(name, _)| *name == container), "two live attempts of {container}");
        let delay = self.start_seconds;
        let at = Timestamp::from_millisecond(self.time().as_millisecond() + (delay * 1000.0) as i64).unwrap();
        let id = format!("sim://{container}-{attempt}");
        let program = self.program(&container, attempt);
        if let Program::Fails { reason, created } = program {
            let created = created.then_some(id);
            let message = "no such program".into();
            let event = Event::ContainerStartFailed { container, attempt, reason, message, created, at };
            return self.schedule(delay, event);
        }
        self.live.insert((container.clone(), attempt));
        self.schedule(delay, Event::ContainerStarted { container: container.clone(), attempt, id, at });
        if let Program::Ends { after, code } = program {
            self.exit(container, attempt, delay + after, code);
        }
    }

    fn exit(&mut self, container: String, attempt: u32, after: f64, exit_code: i32) {
        let at = Timestamp::from_millisecond(self.time().as_millisecond() + (after * 1000.0) as i64).unwrap();
        let event = Event::ContainerExited { container, attempt, exit_code, reason: None, message: None, at };
        self.schedule(after, event);
    }

    fn signal(&mut self, container: &str, attempt: u32, signal: StopSignal) {
        assert!(self.live.contains(&(container.to_owned(), attempt)), "{signal:?} to {container}/{attempt}");
        match (signal, self.program(container, attempt)) {
            (StopSignal::Kill, _) => {
                self.note(format!("kill {container}/{attempt}"));
                self.exit(container.into(), attempt, 0.0, 137);
            }
            (StopSignal::Term, Program::Serves { stops_after, code }) => {
                self.note(format!("term {container}/{attempt}"));
                self.exit(container.into(), attempt, stops_after, code);
            }
            (StopSignal::Term, Program::Ends { .. }) => {
                self.note(format!("term {container}/{attempt}"));
                self.exit(container.into(), attempt, 0.0, 143);
            }
            (StopSignal::Term, _) => self.note(format!("term {container}/{attempt}")),
        }
    }

    /// The entries of the timeline that begin with one of `kinds`, as `seconds what`.
    pub(super) fn only(&self, kinds: &[&str]) -> Vec<String> {
        let chosen = self.timeline.iter().filter(|(_, what)| kinds.iter().any(|kind| what.starts_with(kind)));
        chosen.map(|(at, what)| format!("{at} {what}")).collect()
    }

    /// The Kubernetes events of the given reasons, as `seconds reason message`.
    pub(super) fn posted(&self, reasons: &[&str]) -> Vec<String> {
        let chosen = self.events.iter().filter(|(_, event)| reasons.contains(&event.reason));
        chosen.map(|(at, event)| format!("{at} {} {}", event.reason, event.message)).collect()
    }

    pub(super) fn phase(&self) -> &str {
        self.observed.status.phase.as_deref().unwrap_or("")
    }

    pub(super) fn container(&self, name: &str) -> &ContainerStatus {
        all(&self.observed.status).find(|status| status.name == name).unwrap()
    }

    /// State, last state and restart count of a container.
    pub(super) fn shows(&self, name: &str) -> String {
        show(self.container(name))
    }

    /// A condition as `status reason message`.
    pub(super) fn condition(&self, type_: &str) -> String {
        let mut conditions = self.observed.status.conditions.iter().flatten();
        let condition = conditions.find(|condition| condition.type_ == type_).unwrap();
        let parts = [Some(&condition.status), condition.reason.as_ref(), condition.message.as_ref()];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

fn hook_name(hook: HookKind) -> &'static str {
    match hook {
        HookKind::PostStart => "postStart",
        HookKind::PreStop => "preStop",
    }
}

fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let own = status.init_container_statuses.iter().chain(&status.container_statuses);
    own.chain(&status.ephemeral_container_statuses).flatten()
}

fn show(status: &ContainerStatus) -> String {
    let state = show_state(status.state.as_ref().unwrap()).unwrap();
    let last =
        show_state(status.last_state.as_ref().unwrap()).map_or_else(String::new, |last| format!(" after {last}"));
    let count = match status.restart_count {
        0 => String::new(),
        count => format!(" ({count})"),
    };
    format!("{state}{last}{count}")
}

fn show_state(state: &ContainerState) -> Option<String> {
    let waiting = state.waiting.as_ref().map(|waiting| waiting.reason.clone().unwrap());
    let running = state.running.as_ref().map(|_| "Running".to_owned());
    let terminated = state.terminated.as_ref();
    let terminated = terminated.map(|end| format!("{}:{}", end.reason.as_deref().unwrap_or(""), end.exit_code));
    waiting.or(running).or(terminated)
}

/// A terminal phase stays, and no restart count falls.
fn check_forward(before: &PodStatus, after: &PodStatus) {
    if matches!(before.phase.as_deref(), Some("Succeeded" | "Failed")) {
        assert_eq!((&before.phase, &before.reason), (&after.phase, &after.reason), "a terminal phase was left");
    }
    for status in all(before) {
        let count = all(after).find(|other| other.name == status.name).unwrap().restart_count;
        assert!(count >= status.restart_count, "the restart count of {} fell", status.name);
    }
}
