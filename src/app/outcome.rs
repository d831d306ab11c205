//! How a run ended: the exit code, and what is said of each pod that did not succeed.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Event, Pod, PodStatus,
};

use super::cluster::container_of;
use super::history::{Stop, Stopped};
use super::notices::{first_line, repeats};
use super::remedy::{self, ProbeName};
use crate::base::clock::Timestamp;

/// Exit code of a run in which a pod failed and no container says why.
const EXIT_FAILED: u8 = 1;

/// The exit code of the pods themselves: 0 when all Succeeded, else the code of the container that failed first. How
/// sidecars ended does not count, as it doesn't for the phase.
pub(super) fn exit_code(pods: &[&Pod]) -> u8 {
    let all = pods.iter().filter_map(|pod| Some((*pod, pod.status.as_ref()?)));
    let failed: Vec<_> = all.filter(|(_, status)| status.phase.as_deref() != Some("Succeeded")).collect();
    if failed.is_empty() {
        return 0;
    }
    let deciding = failed
        .iter()
        .flat_map(|(pod, status)| containers(status).filter(|container| !is_sidecar(pod, &container.name)));
    let ended = deciding.filter_map(|container| {
        let end = terminated(&container.state)?;
        (end.exit_code != 0).then_some((end.finished_at.as_ref().map(|time| time.0), end.exit_code))
    });
    ended.min_by_key(|(time, _)| *time).map_or(EXIT_FAILED, |(_, code)| u8::try_from(code).unwrap_or(EXIT_FAILED))
}

fn is_sidecar(pod: &Pod, name: &str) -> bool {
    let mut init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.any(|container| container.name == name && container.restart_policy.as_deref() == Some("Always"))
}

/// What is known of a pod at the end of a run.
#[derive(Debug)]
pub(super) struct Account {
    /// The pod as it ended.
    pub(super) pod: Arc<Pod>,
    /// How its end began, if something of it was stopped.
    pub(super) stop: Option<Stop>,
    /// Its events, the one posted longest ago first.
    pub(super) events: Vec<Arc<Event>>,
}

impl Account {
    /// The pod to show: as it was when it was stopped from outside, else as it ended.
    pub(super) fn shown(&self) -> &Pod {
        match &self.stop {
            Some(Stop { before, what: Stopped::Pod, .. }) => before,
            _ => &self.pod,
        }
    }

    /// The status that tells what was wrong: what only ended because it was stopped shows as it was before.
    fn telling_status(&self) -> PodStatus {
        let last = self.pod.status.clone().unwrap_or_default();
        let Some(Stop { before, what, .. }) = &self.stop else { return last };
        let before = before.status.clone().unwrap_or_default();
        let stopped = match what {
            Stopped::Pod => return PodStatus { reason: last.reason, message: last.message, ..before },
            Stopped::Containers(stopped) => stopped,
        };
        let mut status = last;
        for container in status.init_container_statuses.iter_mut().chain(&mut status.container_statuses).flatten() {
            let vanished =
                terminated(&container.state).is_some_and(|end| end.reason.as_deref() == Some("ContainerStatusUnknown"));
            if (vanished || stopped.contains(&container.name))
                && let Some(before) = containers(&before).find(|other| other.name == container.name)
            {
                container.clone_from(before);
            }
        }
        status
    }

    /// What there is to know of a container.
    fn case<'a>(&'a self, status: &'a ContainerStatus) -> Case<'a> {
        let spec = self.pod.spec.as_ref();
        let init = spec.and_then(|spec| spec.init_containers.iter().flatten().find(|spec| spec.name == status.name));
        let app = spec.and_then(|spec| spec.containers.iter().find(|spec| spec.name == status.name));
        let is_plain_init = init.is_some_and(|spec| spec.restart_policy.as_deref() != Some("Always"));
        let about = |event: &&Arc<Event>| {
            container_of(event.involved_object.field_path.as_deref()) == Some(status.name.as_str())
        };
        let events = self.telling_events().iter().filter(about).collect();
        let pre_stop = self.events.iter().filter(about).rfind(|event| has(event, "FailedPreStopHook", ""));
        Case { status, spec: init.or(app), is_plain_init, events, pre_stop }
    }

    /// The events that tell what was wrong: those from before anything was stopped.
    fn telling_events(&self) -> &[Arc<Event>] {
        self.stop.as_ref().map_or(&self.events, |stop| &stop.events)
    }
}

/// Why a program run without a manifest ended as it did; nothing if its exit code says it all.
pub(super) fn explain_program(account: &Account) -> Vec<String> {
    let status = account.telling_status();
    let end = containers(&status).find_map(|container| terminated(&container.state));
    if end.is_some_and(|end| end.message.is_none() && end.reason.as_deref() == Some("Error")) {
        return Vec::new();
    }
    // The pod and its container have the program's name, and once is enough.
    let name = account.pod.metadata.name.as_deref().unwrap_or_default();
    let prefix = format!("{name}/");
    explain(account, name).iter().map(|line| line.strip_prefix(&prefix).unwrap_or(line).to_owned()).collect()
}

/// Why the pod called `name` is not, or was not, where it should be, and what to do about it; nothing for one that
/// succeeded, or that was ready and never restarted until it was stopped.
pub(super) fn explain(account: &Account, name: &str) -> Vec<String> {
    let status = account.telling_status();
    if status.phase.as_deref() == Some("Succeeded") {
        return Vec::new();
    }
    let mut lines = Vec::new();
    if let Some(reason) = &status.reason {
        let message = status.message.as_deref().unwrap_or("the pod was ended").trim_end();
        let deadline = account.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        let advice = deadline.filter(|_| reason == "DeadlineExceeded");
        let advice = advice.map(|seconds| format!("raise activeDeadlineSeconds, which is {seconds}"));
        lines.push(with_advice(format!("{name}: {reason}: {message}"), advice));
    }
    if containers(&status).all(|container| container.container_id.is_none()) {
        lines.extend(unstarted(account).into_iter().map(|line| format!("{name}: {line}")));
    }
    for container in containers(&status) {
        let why = account.case(container).explain();
        lines.extend(why.map(|why| format!("{name}/{}: {why}", container.name)));
    }
    lines
}

/// What kept a pod from starting at all: the warnings about it as a whole that came last.
fn unstarted(account: &Account) -> Vec<String> {
    let of_pod =
        |event: &&Arc<Event>| event.type_.as_deref() == Some("Warning") && event.involved_object.field_path.is_none();
    let events = account.telling_events();
    let last = events.iter().filter(of_pod).filter_map(|event| last_time(event)).max();
    let warnings = events.iter().filter(of_pod).filter(|event| last_time(event) == last);
    let line = |event: &Arc<Event>| {
        let message = event.message.as_deref().unwrap_or_default();
        let reason = event.reason.as_deref().unwrap_or_default();
        with_advice(format!("{reason}: {}{}", first_line(message), times(event)), remedy::of_missing_object(message))
    };
    warnings.map(line).collect()
}

/// One container, and what was told of it.
struct Case<'a> {
    status: &'a ContainerStatus,
    spec: Option<&'a Container>,
    /// An init container that has to end before others start.
    is_plain_init: bool,
    events: Vec<&'a Arc<Event>>,
    /// The last failure of its preStop hook.
    pre_stop: Option<&'a Arc<Event>>,
}

impl Case<'_> {
    fn explain(&self) -> Option<String> {
        let state = self.status.state.as_ref()?;
        let why = match (&state.waiting, &state.running, &state.terminated) {
            (Some(waiting), ..) => self.waiting(waiting),
            (_, Some(_), _) => self.running(),
            (.., Some(end)) => self.ended(end),
            _ => None,
        };
        why.or_else(|| {
            let message = self.pre_stop?.message.as_deref().unwrap_or_default();
            Some(with_advice(
                first_line(message),
                Some("check lifecycle.preStop, which has to end in the grace period".into()),
            ))
        })
    }

    fn waiting(&self, waiting: &ContainerStateWaiting) -> Option<String> {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        if let Some(end) = terminated(&self.status.last_state).filter(|_| reason == "CrashLoopBackOff") {
            let ended = |advice| with_advice(exit(end, "last exited"), advice);
            let meant = (end.exit_code == 0).then(|| "if it is meant to end, set restartPolicy: OnFailure".to_owned());
            let why = self.broken_off(end).unwrap_or_else(|| ended(meant));
            return Some(format!("{reason} after {}: {why}", counted(self.status.restart_count, "restart")));
        }
        let message = waiting.message.as_deref().unwrap_or_default();
        if matches!(reason, "PodInitializing" | "ContainerCreating") && message.is_empty() {
            return None;
        }
        let shown = if message.is_empty() { String::new() } else { format!(": {message}") };
        Some(with_advice(format!("{reason}{shown}"), remedy::of_reason(reason, message)))
    }

    fn running(&self) -> Option<String> {
        if self.is_plain_init {
            return Some("still running (the containers after it start when it has ended)".to_owned());
        }
        let spec = self.spec?;
        let (probe, word) = match self.status {
            ContainerStatus { started: Some(false), .. } if spec.startup_probe.is_some() => {
                (ProbeName::Startup, "not started")
            }
            ContainerStatus { ready: false, .. } if spec.readiness_probe.is_some() => {
                (ProbeName::Readiness, "not ready")
            }
            _ => return self.running_again(),
        };
        let killed = self.killed().map(|(probe, kill)| format!(", {}", killed_by(probe, kill))).unwrap_or_default();
        let word = format!("{word}{killed}");
        let why = self.probe_failure(probe).map(|(how, failure)| {
            let name = probe.capitalised();
            format!("{word}: {name} probe {how}: {failure}")
        });
        Some(why.unwrap_or_else(|| format!("{word}: its {} probe has not succeeded yet", probe.lower())))
    }

    /// It is well now, but came to a bad end before.
    fn running_again(&self) -> Option<String> {
        let end = terminated(&self.status.last_state)?;
        let why = self.broken_off(end).or_else(|| (end.exit_code != 0).then(|| exit(end, "last exited")))?;
        Some(format!("{}: {why}", counted(self.status.restart_count, "restart")))
    }

    fn ended(&self, end: &ContainerStateTerminated) -> Option<String> {
        if end.exit_code == 0 {
            return None;
        }
        let why = self.broken_off(end).map(|why| format!("exited with code {}, {why}", end.exit_code));
        Some(why.unwrap_or_else(|| exit(end, "exited")))
    }

    /// Why an instance was killed before its time: by a probe, or because its postStart hook failed.
    fn broken_off(&self, end: &ContainerStateTerminated) -> Option<String> {
        let started = end.started_at.as_ref()?.0;
        if let Some((probe, kill)) = self.killed().filter(|(_, kill)| last_time(kill) >= Some(started)) {
            let failure = self.probe_failure(probe).map(|(_, failure)| format!(": {failure}")).unwrap_or_default();
            return Some(format!("{}{failure}", killed_by(probe, kill)));
        }
        let hook = self.last("FailedPostStartHook", "").filter(|event| last_time(event) >= Some(started))?;
        let message = format!("{}{}", first_line(hook.message.as_deref().unwrap_or_default()), times(hook));
        Some(with_advice(message, remedy::of_reason("PostStartHookError", "")))
    }

    /// The last time a probe had the container killed.
    fn killed(&self) -> Option<(ProbeName, &Event)> {
        let kills = [ProbeName::Startup, ProbeName::Liveness]
            .into_iter()
            .filter_map(|probe| Some((probe, self.last("Killing", &format!("failed {} probe", probe.lower()))?)));
        kills.max_by_key(|(_, kill)| last_time(kill))
    }

    /// What a probe said last when it `failed` or `errored`, how often it did, and what to do about it.
    fn probe_failure(&self, probe: ProbeName) -> Option<(&'static str, String)> {
        let prefix = format!("{} probe ", probe.capitalised());
        let event = self.last("Unhealthy", &prefix)?;
        let (_, message) = event.message.as_deref()?.split_once(&prefix)?;
        let (outcome, failure) = message.split_once(": ")?;
        let how = if outcome == "failed" { "failed" } else { "errored" };
        let advice = self.spec.and_then(|spec| remedy::of_probe(probe, failure, spec));
        Some((how, with_advice(format!("{}{}", first_line(failure), times(event)), advice)))
    }

    /// The event of this reason, with this in its message, that was posted last.
    fn last(&self, reason: &str, message: &str) -> Option<&Event> {
        self.events.iter().rfind(|event| has(event, reason, message)).map(|event| &***event)
    }
}

/// Whether an event is of this reason, with this in its message.
fn has(event: &Event, reason: &str, message: &str) -> bool {
    event.reason.as_deref() == Some(reason) && event.message.as_ref().is_some_and(|text| text.contains(message))
}

fn killed_by(probe: ProbeName, kill: &Event) -> String {
    format!("killed {} by its {} probe", counted(kill.count.unwrap_or(1), "time"), probe.lower())
}

/// How a container ended by itself.
fn exit(end: &ContainerStateTerminated, verb: &str) -> String {
    let reason = end.reason.as_deref().unwrap_or("Error");
    let message = end.message.as_deref().map(|message| format!(": {}", message.trim_end())).unwrap_or_default();
    with_advice(format!("{verb} with code {} ({reason}){message}", end.exit_code), remedy::of_reason(reason, &message))
}

/// `1 restart`, `2 restarts`.
fn counted(count: i32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn with_advice(text: String, advice: Option<String>) -> String {
    match advice {
        Some(advice) => format!("{text} ({advice})"),
        None => text,
    }
}

fn last_time(event: &Event) -> Option<Timestamp> {
    event.last_timestamp.as_ref().map(|time| time.0)
}

/// How often an event happened.
fn times(event: &Event) -> String {
    let count = event.count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
    let (first, last) = (event.first_timestamp.as_ref(), event.last_timestamp.as_ref());
    first.zip(last).map(|(first, last)| repeats(count, first.0, last.0)).unwrap_or_default()
}

fn terminated(state: &Option<ContainerState>) -> Option<&ContainerStateTerminated> {
    state.as_ref()?.terminated.as_ref()
}

/// Statuses of init containers, then of app containers.
pub(super) fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

#[cfg(test)]
mod tests;
