//! What is observed, and what happens, from the words of a table.
//!
//! ```text
//!   volumes absent|setting-up|failed@90|ready|tearing-down|torn-down
//!   sandbox absent|creating|failed@90|ready|no-ip|lost|stopping|stopped
//!   terminating Deleted@90/30 [until=130] [shortened]    cause, since, grace; also Completed, DeadlineExceeded
//!   terminated Deleted       first-sync       since 5 (the pod's first sync)      epoch 1      restarting-all
//!   sources-changed          pulls x 10@95 "cause"        node 2000 1073741824 (thousandths of a core, bytes)
//!
//!   c/1: exited:0@50 -> running@60 readiness+ backoff=10@51
//!        the container and the attempt of its last instance (0 if left out); its instances, oldest first; anything else
//!   instance: starting|running@40|exited:1@90  reason=OOMKilled message="…" never-ran epoch=0 image=old
//!        resources={…} resize=in-progress|done|failed@90  startup+ startup- readiness+ readiness- liveness-
//!        postStart=pending|running|over@40|failed@40  probing=not|all|readiness
//!        stop=LivenessProbe@90/30 preStop=pending|running|over@95|failed@95 term@95 killed  cancelled
//!   container: pulling[:image]|present[:image]|unpullable:pull|never|name|inspect[:image][@retry]
//!        unstarted:config|create|run|postStart[@retry]  backoff=20@85 stale-backoff  fresh|shown
//! ```
//!
//! Of an end or failure the status has told where a case doesn't say `fresh`; with `shown`, of the back-off too. The
//! probes of what runs are under way and its `postStart` hook is over where a case says nothing else.

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use super::words::{Word, at};
use crate::base::clock::Timestamp;
use crate::pod::backoff::restart_key;
use crate::pod::instance::Shown;
use crate::pod::observed::PullBackoff;
use crate::pod::plan::HookKind;
use crate::pod::spec::{ContainerSpec, PodView, later_by_seconds};
use crate::pod::{
    Backoff, ContainerRecord, Event, Exit, HookState, ImageFailure, ImageState, Instance, InstanceState, Lifecycle,
    NodeFacts, Observed, ProbeKind, ProbeReport, ProbeVerdicts, Probing, Pulled, ResizeState, RestartBackoff,
    SandboxState, StartFailure, StartFailureReason, Stop, StopCause, TerminationCause, VolumeFailure, VolumesState,
};

const IMAGE_CAUSE: &str = "not found";
const START_CAUSE: &str = "no such program";

/// The state of affairs that the clauses describe.
pub(super) fn observed(pod: &Pod, clauses: &[Vec<Word>]) -> Observed {
    let node = NodeFacts { host_ips: vec!["192.0.2.1".into()], ..NodeFacts::default() };
    let mut observed = Observed::new(node, PodStatus::default());
    observed.started_at = Some(at("0"));
    observed.volumes = VolumesState::Ready;
    observed.sandbox = SandboxState::Ready { ips: vec!["10.0.0.2".into()] };
    let view = PodView::new(pod);
    for clause in clauses {
        let words: Vec<&str> = clause.iter().map(Word::as_str).collect();
        match words[0].strip_suffix(':') {
            Some(name) => {
                let (name, attempt) = name.split_once('/').unwrap_or((name, "0"));
                let spec = view.find(name).unwrap_or_else(|| panic!("no container {name}"));
                let record = Container { spec, epoch: observed.epoch }.record(attempt.parse().unwrap(), &words[1..]);
                observed.containers.insert(name.into(), record);
            }
            None => whole_pod(&mut observed, &words),
        }
    }
    observed
}

fn whole_pod(observed: &mut Observed, words: &[&str]) {
    match words {
        ["volumes", state] => observed.volumes = volumes(state),
        ["sandbox", state] => observed.sandbox = sandbox(state),
        ["terminating", words @ ..] => observed.lifecycle = terminating(words),
        ["terminated", cause] => observed.lifecycle = Lifecycle::Terminated { cause: termination_cause(cause) },
        ["first-sync"] => observed.started_at = None,
        ["since", time] => observed.started_at = Some(at(time)),
        ["epoch", epoch] => observed.epoch = epoch.parse().unwrap(),
        ["restarting-all"] => observed.restarting_all = true,
        ["sources-changed"] => observed.sources_changed = true,
        ["pulls", image, delay, cause] => {
            let pull = PullBackoff { backoff: backoff(delay), cause: (*cause).into() };
            observed.pulls.insert((*image).into(), pull);
        }
        ["node", cpu, memory] => {
            observed.node.allocatable_cpu_millis = Some(cpu.parse().unwrap());
            observed.node.allocatable_memory = Some(memory.parse().unwrap());
        }
        _ => panic!("{words:?} says nothing of a pod"),
    }
}

fn volumes(state: &str) -> VolumesState {
    match state.split_once('@').map_or((state, ""), |(state, at)| (state, at)) {
        ("absent", _) => VolumesState::Absent,
        ("setting-up", _) => VolumesState::SettingUp,
        ("failed", retry) => VolumesState::Failed { retry_at: at(retry) },
        ("ready", _) => VolumesState::Ready,
        ("tearing-down", _) => VolumesState::TearingDown,
        ("torn-down", _) => VolumesState::TornDown,
        _ => panic!("{state} is no state of volumes"),
    }
}

fn sandbox(state: &str) -> SandboxState {
    match state.split_once('@').unwrap_or((state, "")) {
        ("absent", _) => SandboxState::Absent,
        ("creating", _) => SandboxState::Creating,
        ("failed", retry) => SandboxState::Failed { retry_at: at(retry) },
        ("ready", _) => SandboxState::Ready { ips: vec!["10.0.0.2".into()] },
        ("no-ip", _) => SandboxState::Ready { ips: Vec::new() },
        ("lost", _) => SandboxState::Lost,
        ("stopping", _) => SandboxState::Stopping,
        ("stopped", _) => SandboxState::Stopped,
        _ => panic!("{state} is no state of a sandbox"),
    }
}

fn terminating(words: &[&str]) -> Lifecycle {
    let (cause, since, grace_seconds) = cause_since_grace(words[0]);
    let until = words.iter().find_map(|word| word.strip_prefix("until=")).map(at);
    Lifecycle::Terminating {
        cause: termination_cause(cause),
        since,
        grace_seconds,
        kill_at: until.unwrap_or_else(|| later_by_seconds(since, grace_seconds)),
        shortened: words.contains(&"shortened"),
    }
}

fn termination_cause(cause: &str) -> TerminationCause {
    match cause {
        "Deleted" => TerminationCause::Deleted,
        "DeadlineExceeded" => TerminationCause::DeadlineExceeded,
        "Evicted" => TerminationCause::Evicted,
        "Completed" => TerminationCause::Completed,
        _ => panic!("{cause} is no cause of a termination"),
    }
}

/// `cause@since/grace`
fn cause_since_grace(word: &str) -> (&str, Timestamp, i64) {
    let (cause, times) = word.split_once('@').unwrap();
    let (since, grace) = times.split_once('/').unwrap();
    (cause, at(since), grace.parse().unwrap())
}

/// `delay@since`
fn backoff(word: &str) -> Backoff {
    let (delay, since) = word.split_once('@').unwrap();
    Backoff { delay: jiff::SignedDuration::from_secs(delay.parse().unwrap()), advanced_at: at(since) }
}

/// A container as the spec has it, to fill in what a clause leaves out.
struct Container<'a> {
    spec: &'a ContainerSpec<'a>,
    epoch: u32,
}

impl Container<'_> {
    fn record(&self, attempt: u32, words: &[&str]) -> ContainerRecord {
        let mut record = ContainerRecord { shown: Shown::Outcome, ..ContainerRecord::default() };
        for word in words {
            match word.split_once(['=', ':', '@']).map_or(*word, |(kind, _)| kind) {
                "->" => {}
                "starting" | "running" | "exited" => record.instances.push(self.instance(word)),
                "pulling" | "present" | "unpullable" => record.image = self.image(word),
                "unstarted" => record.start_failure = Some(start_failure(word, self.spec.image())),
                "backoff" => {
                    let key = restart_key(&self.spec.container);
                    record.restart_backoff = Some(RestartBackoff { key, backoff: backoff(&word[8..]) });
                }
                "stale-backoff" => record.restart_backoff.as_mut().unwrap().key = "another".into(),
                "resize" => record.instances.last_mut().unwrap().resize = self.resize(&word[7..]),
                "fresh" => record.shown = Shown::Nothing,
                "shown" => record.shown = Shown::BackOff,
                _ => change(record.instances.last_mut().unwrap_or_else(|| panic!("{word} of no instance")), word),
            }
        }
        let count = u32::try_from(record.instances.len()).unwrap();
        for (index, instance) in (0..).zip(&mut record.instances) {
            instance.attempt = (attempt + index + 1).checked_sub(count).expect("more instances than attempts");
            let number = instance.attempt;
            let own_id = format!("husk://{}-{number}", self.spec.name());
            match &mut instance.state {
                InstanceState::Running { id, .. } | InstanceState::Exited(Exit { id, .. }) => *id = own_id,
                InstanceState::Starting => {}
            }
        }
        record
    }

    fn instance(&self, word: &str) -> Instance {
        let (state, time) = word.split_once('@').unwrap_or((word, "0"));
        let time = at(time);
        let state = match state.split_once(':') {
            Some((_, code)) => InstanceState::Exited(Exit {
                id: String::new(),
                code: code.parse().unwrap(),
                reason: if code == "0" { "Completed".into() } else { "Error".into() },
                message: None,
                started_at: Some(time),
                finished_at: time,
            }),
            None if state == "running" => InstanceState::Running { id: String::new(), started_at: time },
            None => InstanceState::Starting,
        };
        let starting = state == InstanceState::Starting;
        let hook_over = !starting && self.spec.has_post_start();
        Instance {
            attempt: 0,
            epoch: self.epoch,
            spec_image: self.spec.image().into(),
            image: format!("{}:latest", self.spec.image()),
            image_id: "sha256:1".into(),
            resources: self.spec.container.resources.clone().map(Box::new),
            state,
            probes: ProbeVerdicts::default(),
            post_start: if hook_over { HookState::Over { at: time } } else { HookState::Pending },
            stop: None,
            cancel_sent: false,
            probing: if !starting && self.spec.has_probes() { Probing::All } else { Probing::Not },
            resize: ResizeState::Settled,
        }
    }

    fn resize(&self, state: &str) -> ResizeState {
        let wanted = self.spec.container.resources.clone().map(Box::new);
        match state.split_once('@').unwrap_or((state, "")) {
            ("in-progress", _) => ResizeState::InProgress(wanted),
            ("done", _) => ResizeState::Done,
            ("failed", retry) => {
                ResizeState::Failed { wanted, message: "below the current usage".into(), retry_at: at(retry) }
            }
            _ => panic!("{state} is no state of a resize"),
        }
    }

    fn image(&self, word: &str) -> ImageState {
        let (word, retry) = word.split_once('@').unwrap_or((word, "0"));
        let (state, detail) = word.split_once(':').unwrap_or((word, ""));
        let image = |other: &str| if other.is_empty() { self.spec.image().to_owned() } else { other.to_owned() };
        match state {
            "pulling" => ImageState::Pulling { image: image(detail) },
            "present" => {
                let image = image(detail);
                ImageState::Present { resolved: format!("{image}:latest"), image, image_id: "sha256:1".into() }
            }
            _ => {
                let (kind, other) = detail.split_once(':').unwrap_or((detail, ""));
                let failure = image_failure(kind, IMAGE_CAUSE);
                ImageState::Failed { image: image(other), failure, retry_at: at(retry) }
            }
        }
    }
}

fn image_failure(kind: &str, cause: &str) -> ImageFailure {
    match kind {
        "pull" => ImageFailure::Pull(cause.into()),
        "never" => ImageFailure::NeverPull,
        "name" => ImageFailure::InvalidName(cause.into()),
        "inspect" => ImageFailure::Inspect(cause.into()),
        _ => panic!("{kind} is no failure of an image"),
    }
}

fn start_failure(word: &str, image: &str) -> StartFailure {
    let (word, retry) = word.split_once('@').unwrap_or((word, "0"));
    let reason = start_failure_reason(word.strip_prefix("unstarted:").unwrap());
    StartFailure { reason, message: START_CAUSE.into(), image: image.into(), retry_at: at(retry) }
}

fn start_failure_reason(word: &str) -> StartFailureReason {
    match word {
        "config" => StartFailureReason::Config,
        "create" => StartFailureReason::Create,
        "run" => StartFailureReason::Run,
        "postStart" => StartFailureReason::PostStartHook,
        "cancelled" => StartFailureReason::Cancelled,
        _ => panic!("{word} is no failure to start"),
    }
}

fn change(instance: &mut Instance, word: &str) {
    let unquoted = |value: &str| value.trim_matches('"').to_owned();
    match word.split_once('=').unwrap_or((word, "")) {
        ("never-ran", _) => exit(instance).started_at = None,
        ("reason", reason) => exit(instance).reason = reason.into(),
        ("message", message) => exit(instance).message = Some(unquoted(message)),
        ("epoch", epoch) => instance.epoch = epoch.parse().unwrap(),
        ("image", image) => {
            instance.spec_image = image.into();
            instance.image = format!("{image}:latest");
        }
        ("resources", yaml) => instance.resources = Some(Box::new(serde_yaml::from_str(yaml).unwrap())),
        ("startup+", _) => instance.probes.startup = Some(true),
        ("startup-", _) => instance.probes.startup = Some(false),
        ("readiness+", _) => instance.probes.readiness = Some(true),
        ("readiness-", _) => instance.probes.readiness = Some(false),
        ("liveness-", _) => instance.probes.liveness = Some(false),
        ("postStart", state) => instance.post_start = hook_state(state),
        ("probing", "not") => instance.probing = Probing::Not,
        ("probing", "all") => instance.probing = Probing::All,
        ("probing", "readiness") => instance.probing = Probing::ReadinessOnly,
        ("cancelled", _) => instance.cancel_sent = true,
        ("stop", stop) => {
            let (cause, since, grace) = cause_since_grace(stop);
            instance.stop = Some(Stop::new(stop_cause(cause), grace, since));
        }
        ("preStop", state) => stop(instance).pre_stop = hook_state(state),
        ("killed", _) => stop(instance).kill_sent = true,
        (word, _) => {
            let time = word.strip_prefix("term@").unwrap_or_else(|| panic!("{word} says nothing of an instance"));
            stop(instance).term_sent = Some(at(time));
        }
    }
}

fn exit(instance: &mut Instance) -> &mut Exit {
    match &mut instance.state {
        InstanceState::Exited(exit) => exit,
        state => panic!("{state:?} is no end"),
    }
}

fn stop(instance: &mut Instance) -> &mut Stop {
    instance.stop.as_mut().expect("a stop before what belongs to it")
}

fn hook_state(state: &str) -> HookState {
    match state.split_once('@').unwrap_or((state, "")) {
        ("pending", _) => HookState::Pending,
        ("running", _) => HookState::Running,
        ("over", since) => HookState::Over { at: at(since) },
        ("failed", since) => HookState::Failed { at: at(since) },
        _ => panic!("{state} is no state of a hook"),
    }
}

fn stop_cause(cause: &str) -> StopCause {
    match cause {
        "Pod" => StopCause::Pod,
        "LivenessProbe" => StopCause::LivenessProbe,
        "StartupProbe" => StopCause::StartupProbe,
        "DefinitionChanged" => StopCause::DefinitionChanged,
        "Resize" => StopCause::Resize,
        "PostStartHook" => StopCause::PostStartHook,
        "RestartAllContainers" => StopCause::RestartAllContainers,
        _ => panic!("{cause} is no cause of a stop"),
    }
}

/// An event, at the time `now`: `exited c/0 1 OOMKilled "…"`, `probe c/0 readiness pass`, `hook c/0 preStop failed "…"`.
pub(super) fn event(words: &[Word], now: Timestamp) -> Event {
    let words: Vec<&str> = words.iter().map(Word::as_str).collect();
    let name = |word: &str| word.split_once('/').map_or(word, |(name, _)| name).to_owned();
    let number = |word: &str| word.split_once('/').unwrap().1.parse::<u32>().unwrap();
    let text = |index: usize| words.get(index).map(|word| (*word).to_owned());
    match words.as_slice() {
        ["pulling", c] => Event::PullStarted { container: name(c), missing_secrets: Vec::new() },
        ["present", c] => present(name(c), None),
        ["pulled", c, millis, bytes] => {
            let took = std::time::Duration::from_millis(millis.parse().unwrap());
            present(name(c), Some(Pulled { took, size: bytes.parse().unwrap() }))
        }
        ["unpullable", c, kind, cause] => {
            Event::ImageFailed { container: name(c), failure: image_failure(kind, cause) }
        }
        ["running", c] => {
            let id = format!("husk://{}", c.replace('/', "-"));
            Event::ContainerStarted { container: name(c), attempt: number(c), id, at: now }
        }
        ["unstarted", c, reason, rest @ ..] => Event::ContainerStartFailed {
            container: name(c),
            attempt: number(c),
            reason: start_failure_reason(reason),
            message: START_CAUSE.into(),
            created: rest.contains(&"created").then(|| format!("husk://{}", c.replace('/', "-"))),
            at: now,
        },
        ["exited", c, code, ..] => Event::ContainerExited {
            container: name(c),
            attempt: number(c),
            exit_code: code.parse().unwrap(),
            reason: text(3),
            message: text(4),
            at: now,
        },
        ["probe", c, kind, result] => Event::ProbeResult {
            container: name(c),
            attempt: number(c),
            kind: probe_kind(kind),
            success: *result == "pass",
        },
        ["report", c, kind, what, said] => Event::ProbeReport {
            container: name(c),
            attempt: number(c),
            kind: probe_kind(kind),
            report: probe_report(what, said),
        },
        ["hook", c, hook, result, ..] => Event::HookFinished {
            container: name(c),
            attempt: number(c),
            hook: if *hook == "preStop" { HookKind::PreStop } else { HookKind::PostStart },
            error: text(4).filter(|_| *result == "failed"),
            warning: text(4).filter(|_| *result == "warned"),
        },
        ["resized", c, error @ ..] => Event::ResourcesUpdated {
            container: name(c),
            attempt: number(c),
            error: error.first().map(|error| (*error).to_owned()),
        },
        words => of_pod(words),
    }
}

/// An event that is about no container's life.
fn of_pod(words: &[&str]) -> Event {
    match words {
        ["volumes", "ready"] => Event::VolumesReady,
        ["volumes", "torn-down"] => Event::VolumesTornDown,
        ["volumes", "failed", volume, message] => {
            let failure = VolumeFailure { volume: (*volume).into(), message: (*message).into() };
            Event::VolumesFailed { failures: vec![failure] }
        }
        ["sandbox", "ready"] => Event::SandboxReady { ips: vec!["10.0.0.2".into()] },
        ["sandbox", "stopped"] => Event::SandboxStopped,
        ["sandbox", "failed", message] => Event::SandboxFailed { message: (*message).into() },
        ["sources", "changed"] => Event::SourcesChanged,
        ["evicted", message] => Event::Evicted { message: (*message).into() },
        ["warned", c, message] => {
            Event::Warned { container: Some((*c).into()), reason: "Limited", message: (*message).into() }
        }
        _ => panic!("{words:?} is nothing that happens"),
    }
}

fn present(container: String, pulled: Option<Pulled>) -> Event {
    Event::ImagePresent { container, resolved: "i:latest".into(), image_id: "sha256:1".into(), pulled, note: None }
}

fn probe_kind(kind: &str) -> ProbeKind {
    match kind {
        "startup" => ProbeKind::Startup,
        "readiness" => ProbeKind::Readiness,
        "liveness" => ProbeKind::Liveness,
        _ => panic!("{kind} is no probe"),
    }
}

fn probe_report(what: &str, said: &str) -> ProbeReport {
    match what {
        "failed" => ProbeReport::Failed(said.into()),
        "errored" => ProbeReport::Errored(said.into()),
        "warned" => ProbeReport::Warned(said.into()),
        _ => panic!("{what} is no report"),
    }
}
