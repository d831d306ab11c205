//! What every published status must keep to: well-formed, true to what was told, and never backwards.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::super::*;
use super::rules::{Kept, rule};
use super::told::{Ground, Knowledge, Resize, Spec, State, Told, specs};
use super::world::World;
use crate::pod::TerminationCause;

/// Bytes that all termination messages of a pod may have together.
const MESSAGES: usize = 12 * 1024;
/// Bytes that one termination message may have.
const MESSAGE: usize = 4096;
/// The conditions the agent owns at all times, in their order.
const CONDITIONS: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
const RESIZES: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];
const RESTARTING: &str = "AllContainersRestarting";

/// Judges the status that follows on another.
pub(super) fn judge(knowledge: &Knowledge, pod: &Pod, before: &PodStatus, after: &PodStatus, now: i64) -> Kept {
    let specs = specs(pod);
    forward(before, after)?;
    phase(knowledge, &specs, after)?;
    lists(&specs, after)?;
    for spec in &specs {
        let Some(status) = all(after).find(|status| status.name == spec.name) else { continue };
        let terminal = is_terminal(after);
        container(knowledge, spec, status, terminal).map_err(|why| format!("status of {}: {why}", spec.name))?;
    }
    addresses(knowledge, pod, after)?;
    messages(after)?;
    conditions(knowledge, &specs, pod, (before, after), now)
}

fn all(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    let own = status.init_container_statuses.iter().chain(&status.container_statuses);
    own.chain(&status.ephemeral_container_statuses).flatten()
}

fn is_terminal(status: &PodStatus) -> bool {
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
}

/// What may only go one way.
fn forward(before: &PodStatus, after: &PodStatus) -> Kept {
    if is_terminal(before) {
        let told = |status: &PodStatus| (status.phase.clone(), status.reason.clone(), status.message.clone());
        rule!(told(before) == told(after), "a terminal phase was left: {:?} to {:?}", told(before), told(after));
    }
    for status in all(before) {
        let Some(next) = all(after).find(|other| other.name == status.name) else {
            return Err(format!("the status of {} is gone", status.name));
        };
        let (before, after) = (status.restart_count, next.restart_count);
        rule!(before <= after, "the restart count of {} fell from {before} to {after}", status.name);
    }
    if before.start_time.is_some() {
        rule!(before.start_time == after.start_time, "startTime moved");
        rule!(before.qos_class == after.qos_class || after.qos_class.is_some(), "qosClass is gone");
    }
    rule!(after.start_time.is_some() && after.qos_class.is_some(), "startTime or qosClass is missing");
    Ok(())
}

fn phase(knowledge: &Knowledge, specs: &[Spec<'_>], status: &PodStatus) -> Kept {
    let phase = status.phase.as_deref().unwrap_or("");
    rule!(["Pending", "Running", "Succeeded", "Failed"].contains(&phase), "phase {phase:?}");
    let exit_code = |spec: &&Spec<'_>| {
        let status = all(status).find(|status| status.name == spec.name)?;
        Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
    };
    let mut apps = specs.iter().filter(|spec| spec.kind == ContainerKind::App);
    match phase {
        "Succeeded" => rule!(apps.all(|spec| exit_code(&spec) == Some(0)), "Succeeded, but not all exit codes are 0"),
        "Running" => {
            let ran = |spec: &Spec<'_>| all(status).any(|status| status.name == spec.name && has_run(status));
            rule!(apps.all(ran), "Running, but not all app containers ever ran");
        }
        _ => {}
    }
    if !is_terminal(status) {
        rule!(!knowledge.over, "the pod is over, and {phase}");
        return Ok(());
    }
    rule!(knowledge.ending.is_some(), "{phase}, and nothing ends the pod");
    let live = specs.iter().find(|spec| knowledge.is_live(spec.name));
    rule!(live.is_none(), "{phase}, and {} runs", live.map_or("", |spec| spec.name));
    let up = matches!(knowledge.sandbox, Ground::Making | Ground::There | Ground::Removing);
    rule!(!up, "{phase}, and the sandbox is {:?}", knowledge.sandbox);
    let deadline = knowledge.ending.is_some_and(|ending| ending.cause == TerminationCause::DeadlineExceeded);
    let reason = status.reason.as_deref();
    rule!(!deadline || (phase, reason) == ("Failed", Some("DeadlineExceeded")), "{phase} {reason:?} by deadline");
    Ok(())
}

fn has_run(status: &ContainerStatus) -> bool {
    let has_run = |state: &ContainerState| state.running.is_some() || state.terminated.is_some();
    [&status.state, &status.last_state].into_iter().flatten().any(has_run)
}

/// Each list has what the spec has, init containers in its order, the others by name.
fn lists(specs: &[Spec<'_>], status: &PodStatus) -> Kept {
    let is_init = |kind| matches!(kind, ContainerKind::Init | ContainerKind::Sidecar);
    let named = |list: &Option<Vec<ContainerStatus>>| -> Vec<String> {
        list.iter().flatten().map(|status| status.name.clone()).collect()
    };
    let of = |belongs: &dyn Fn(ContainerKind) -> bool| -> Vec<String> {
        specs.iter().filter(|spec| belongs(spec.kind)).map(|spec| spec.name.to_owned()).collect()
    };
    let init = named(&status.init_container_statuses);
    rule!(init == of(&is_init), "init containers {init:?}");
    for (list, kind) in [
        (&status.container_statuses, ContainerKind::App),
        (&status.ephemeral_container_statuses, ContainerKind::Ephemeral),
    ] {
        let mut expected = of(&|of| of == kind);
        expected.sort();
        let names = named(list);
        rule!(names == expected, "{kind:?} containers {names:?}");
    }
    Ok(())
}

fn container(knowledge: &Knowledge, spec: &Spec<'_>, status: &ContainerStatus, terminal: bool) -> Kept {
    let count = |state: &ContainerState| {
        [state.waiting.is_some(), state.running.is_some(), state.terminated.is_some()].iter().filter(|is| **is).count()
    };
    let states = status.state.as_ref().map_or(0, count);
    rule!(states == 1, "{states} states");
    let last = status.last_state.as_ref();
    rule!(last.is_none_or(|last| last.waiting.is_none() && last.running.is_none()), "last state {last:?}");
    let instances = knowledge.containers.get(spec.name).map_or(&[][..], |known| &known.instances);
    // A start is told when its `postStart` hook is over.
    let current = instances.iter().rev().find(|told| !told.is_live() || told.is_up(spec));
    let attempt = current.map_or(0, |told| told.attempt);
    rule!(i64::from(status.restart_count) == i64::from(attempt), "count {} of {attempt}", status.restart_count);
    let state = status.state.clone().unwrap_or_default();
    rule!(!terminal || state.running.is_none(), "it runs in a terminal phase");
    let waits = state.waiting.as_ref().is_none_or(|waiting| waiting.reason.as_deref().is_some_and(|of| !of.is_empty()));
    rule!(waits, "it waits for no reason");
    let told_id = current.and_then(|told| match &told.state {
        State::Starting => None,
        State::Running { id, .. } | State::Exited { id, .. } => Some(id),
    });
    rule!(status.container_id.as_ref() == told_id, "ID {:?} of {told_id:?}", status.container_id);
    match current.map(|told| &told.state) {
        Some(State::Running { at, .. }) => {
            let since = state.running.as_ref().and_then(|running| running.started_at.as_ref());
            rule!(since.is_some_and(|since| is_second_of(since, *at)), "it runs since {at}: {state:?}");
        }
        Some(State::Exited { code, at, .. }) => {
            rule!(state.running.is_none(), "it has ended: {state:?}");
            let ends = [state.terminated.as_ref(), last.and_then(|last| last.terminated.as_ref())];
            let end = ends.into_iter().flatten().next();
            let finished_at = end.and_then(|end| end.finished_at.as_ref());
            let told = end.is_some_and(|end| end.exit_code == *code);
            let told = told && finished_at.is_some_and(|of| is_second_of(of, *at));
            rule!(told, "it has ended with {code} at {at}: {state:?} {last:?}");
        }
        Some(State::Starting) | None => rule!(state.running.is_none(), "it does not run: {state:?}"),
    }
    flags(spec, status, current)
}

fn flags(spec: &Spec<'_>, status: &ContainerStatus, current: Option<&Told>) -> Kept {
    let serves = matches!(spec.kind, ContainerKind::App | ContainerKind::Sidecar);
    if serves {
        let (started, ready) = current.map_or((false, false), |told| (told.is_started(spec), told.is_ready(spec)));
        rule!(status.started == Some(started), "started {:?} instead of {started}", status.started);
        rule!(status.ready == ready, "ready {} instead of {ready}", status.ready);
    }
    if spec.kind == ContainerKind::Init {
        let done = current.is_some_and(|told| matches!(told.state, State::Exited { code: 0, .. }));
        rule!(status.ready == done, "ready {} instead of {done}", status.ready);
    }
    Ok(())
}

fn is_second_of(time: &Time, millis: i64) -> bool {
    World::millis(time.0) == millis.div_euclid(1000) * 1000
}

fn addresses(knowledge: &Knowledge, pod: &Pod, status: &PodStatus) -> Kept {
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let ip = status.pod_ip.as_deref();
    let there = knowledge.sandbox == Ground::There;
    rule!(ip.is_some() == there, "podIP {ip:?}, and the sandbox is {:?}", knowledge.sandbox);
    rule!(status.host_ip.is_some(), "no hostIP");
    rule!(!there || !host_network || ip == status.host_ip.as_deref(), "podIP {ip:?} on the host's network");
    Ok(())
}

fn messages(status: &PodStatus) -> Kept {
    let own = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let mut total = 0;
    for container in own {
        let ends = [&container.state, &container.last_state].into_iter().flatten();
        let lengths = ends.filter_map(|state| Some(state.terminated.as_ref()?.message.as_ref()?.len()));
        let longest = lengths.max().unwrap_or(0);
        rule!(longest <= MESSAGE, "a termination message of {} has {longest} bytes", container.name);
        total += longest;
    }
    rule!(total <= MESSAGES, "the termination messages have {total} bytes");
    Ok(())
}

fn conditions(
    knowledge: &Knowledge,
    specs: &[Spec<'_>],
    pod: &Pod,
    (before, after): (&PodStatus, &PodStatus),
    now: i64,
) -> Kept {
    let list = after.conditions.as_deref().unwrap_or_default();
    let foreign = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut expected: Vec<&str> = foreign.map(|condition| condition.type_.as_str()).collect();
    expected.extend(RESIZES.into_iter().filter(|type_| find(after, type_).is_some()));
    expected.extend(CONDITIONS);
    let may_restart_all = specs.iter().filter_map(|spec| spec.container).any(|container| {
        container.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
    });
    expected.extend(may_restart_all.then_some(RESTARTING));
    let types: Vec<&str> = list.iter().map(|condition| condition.type_.as_str()).collect();
    rule!(types == expected, "conditions {types:?}");
    for condition in list.iter().filter(|of| !of.type_.starts_with("example.com/")) {
        transition(condition, find(before, &condition.type_), now)?;
        let generation = (condition.observed_generation, pod.metadata.generation);
        rule!(generation.0 == generation.1, "{} observed generation {generation:?}", condition.type_);
    }
    let resizing = specs.iter().filter_map(|spec| Some((spec, knowledge.instance(spec.name)?)));
    let resizing = resizing.filter(|(_, told)| told.is_running()).any(|(spec, told)| {
        matches!(told.resize, Resize::InProgress(_)) || told.resources.as_ref() != spec.resources()
    });
    rule!(resizing || find(after, RESIZES[1]).is_none(), "a resize is in progress, and none is wanted");
    let is_true = |type_: &str| find(after, type_).is_some_and(|condition| condition.status == "True");
    let serving = specs.iter().filter(|spec| matches!(spec.kind, ContainerKind::App | ContainerKind::Sidecar));
    let ready = |spec: &Spec<'_>| all(after).any(|status| status.name == spec.name && status.ready);
    let all_ready = serving.clone().all(ready) && !is_terminal(after);
    rule!(is_true("ContainersReady") == all_ready, "ContainersReady is not {all_ready}");
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let open = gates.into_iter().all(|gate| is_true(&gate.condition_type));
    rule!(is_true("Ready") == (all_ready && open), "Ready, with gates open {open} and containers {all_ready}");
    rule!(after.observed_generation == pod.metadata.generation, "generation {:?}", after.observed_generation);
    Ok(())
}

fn find<'s>(status: &'s PodStatus, type_: &str) -> Option<&'s PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// `lastTransitionTime` moves when the status does.
fn transition(condition: &PodCondition, before: Option<&PodCondition>, now: i64) -> Kept {
    let Some(time) = &condition.last_transition_time else {
        return Err(format!("{} has no lastTransitionTime", condition.type_));
    };
    match before.filter(|before| before.status == condition.status) {
        Some(before) => {
            rule!(before.last_transition_time.as_ref() == Some(time), "the transition of {} moved", condition.type_);
        }
        None => {
            let is_now = is_second_of(time, now);
            rule!(is_now, "the transition of {} is at {time:?}", condition.type_);
        }
    }
    Ok(())
}
