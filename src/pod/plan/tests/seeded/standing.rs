//! Where each container stands, by what its planner was told: whether it should run, whether it should be killed, and
//! when it may be started.

use k8s_openapi::api::core::v1::{Pod, Probe, ResourceRequirements};

use super::super::super::*;
use super::pods;
use super::rules::{Kept, rule};
use super::told::{Ground, Hook, ImageTold, Knowledge, RESTARTING_ALL, Spec, State, Told, grace};

const RESTART_ALL: &str = "RestartAllContainers";

fn pod_policy(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
}

fn policy<'a>(spec: &Spec<'a>, pod: &'a Pod) -> &'a str {
    let own = spec.container.and_then(|container| container.restart_policy.as_deref());
    own.unwrap_or_else(|| pod_policy(pod))
}

/// The action of the first rule for an exit code.
fn rule_for<'a>(spec: &Spec<'a>, code: i32) -> Option<&'a str> {
    let container = spec.container?;
    container.restart_policy.as_ref()?;
    let rules = container.restart_policy_rules.iter().flatten();
    let mut matching = rules.filter(|rule| {
        let Some(codes) = &rule.exit_codes else { return false };
        let listed = codes.values.iter().flatten().any(|value| *value == code);
        listed == (codes.operator == "In")
    });
    matching.next().map(|rule| rule.action.as_str())
}

/// Whether an instance that has ended is followed by another.
fn restarts(told: &Told, spec: &Spec<'_>, pod: &Pod) -> bool {
    let State::Exited { code, reason, .. } = &told.state else { return false };
    let success = *code == 0 && reason != "OOMKilled";
    match (spec.kind, told.stop_cause()) {
        (ContainerKind::Ephemeral, _) => false,
        (ContainerKind::Sidecar, _) => true,
        (_, Some(StopCause::DefinitionChanged | StopCause::Resize | StopCause::RestartAllContainers)) => true,
        (_, Some(StopCause::LivenessProbe | StopCause::StartupProbe)) => policy(spec, pod) != "Never",
        _ if reason == RESTARTING_ALL => true,
        (ContainerKind::Init, _) if success => false,
        _ if rule_for(spec, *code).is_some() => true,
        _ => match policy(spec, pod) {
            "Never" => false,
            "OnFailure" => !success,
            _ => true,
        },
    }
}

/// Whether some container has ended in a way that restarts all of them.
pub(super) fn restarts_all(knowledge: &Knowledge, specs: &[Spec<'_>]) -> bool {
    specs.iter().any(|spec| {
        let told = knowledge.instance(spec.name).filter(|told| told.epoch == knowledge.epoch && told.stop.is_none());
        match told.map(|told| &told.state) {
            Some(State::Exited { code, .. }) => rule_for(spec, *code) == Some(RESTART_ALL),
            _ => false,
        }
    })
}

/// How far the init containers are.
enum Init {
    /// This one failed, or its turn has not come to an end.
    Failed,
    /// These may be started; app containers may too if it is over.
    Walked { wants: Vec<usize>, over: bool },
}

/// Walks through the init containers.
fn walk(knowledge: &Knowledge, specs: &[Spec<'_>], pod: &Pod) -> Init {
    let in_epoch = |spec: &Spec<'_>| knowledge.instance(spec.name).filter(|told| told.epoch == knowledge.epoch);
    // Initialisation is over while an app container lives; when all have ended, the last sidecar comes before them again.
    let lives = |spec: &Spec<'_>| in_epoch(spec).is_some_and(Told::is_live);
    let initialised = specs.iter().any(|spec| spec.kind == ContainerKind::App && lives(spec));
    let is_init = |spec: &Spec<'_>| matches!(spec.kind, ContainerKind::Init | ContainerKind::Sidecar);
    let count = specs.iter().filter(|spec| is_init(spec)).count();
    let frontier = match specs[..count].iter().rposition(|spec| in_epoch(spec).is_some()) {
        _ if initialised => count,
        latest => latest.unwrap_or(0),
    };
    // Sidecars that the walk has passed are kept running.
    let fell = |index: &usize| {
        let spec = &specs[*index];
        let told = knowledge.instance(spec.name);
        spec.kind == ContainerKind::Sidecar && told.is_none_or(|told| restarts(told, spec, pod))
    };
    let mut wants: Vec<usize> = (0..frontier).filter(fell).collect();
    if frontier == count {
        return Init::Walked { wants, over: true };
    }
    let spec = &specs[frontier];
    let passed = match in_epoch(spec) {
        None => {
            wants.push(frontier);
            return Init::Walked { wants, over: false };
        }
        Some(told) => match (&told.state, spec.kind) {
            (State::Exited { code: 0, reason, .. }, ContainerKind::Init)
                if reason != "OOMKilled" && told.stop_cause() != Some(StopCause::RestartAllContainers) =>
            {
                true
            }
            (State::Exited { .. }, _) if restarts(told, spec, pod) => {
                wants.push(frontier);
                false
            }
            (State::Exited { .. }, _) => return Init::Failed,
            (_, kind) => kind == ContainerKind::Sidecar && told.is_started(spec),
        },
    };
    let over = passed && frontier + 1 == count;
    if passed && !over {
        wants.push(frontier + 1);
    }
    Init::Walked { wants, over }
}

/// The containers that should run and do not.
pub(super) fn wanted<'a>(knowledge: &Knowledge, specs: &[Spec<'a>], pod: &Pod) -> Vec<&'a str> {
    let Init::Walked { wants, over } = walk(knowledge, specs, pod) else { return Vec::new() };
    let mut wanted: Vec<&str> = wants.into_iter().map(|index| specs[index].name).collect();
    for spec in specs {
        let told = knowledge.instance(spec.name);
        let wants = match spec.kind {
            ContainerKind::Ephemeral => told.is_none(),
            ContainerKind::App => over && told.is_none_or(|told| restarts(told, spec, pod)),
            ContainerKind::Init | ContainerKind::Sidecar => false,
        };
        if wants {
            wanted.push(spec.name);
        }
    }
    wanted
}

/// Whether everything that comes before a container's first start of an epoch has come: each plain init container has
/// done its work, and each sidecar was started.
pub(super) fn initialised_for(knowledge: &Knowledge, specs: &[Spec<'_>], spec: &Spec<'_>) -> Kept {
    let in_epoch = |spec: &Spec<'_>| knowledge.instance(spec.name).filter(|told| told.epoch == knowledge.epoch);
    let others = matches!(spec.kind, ContainerKind::App)
        && specs.iter().any(|other| other.kind == ContainerKind::App && in_epoch(other).is_some());
    if spec.kind == ContainerKind::Ephemeral || in_epoch(spec).is_some() || others {
        return Ok(());
    }
    for before in specs.iter().take_while(|before| before.name != spec.name) {
        let told = in_epoch(before);
        let done = match before.kind {
            ContainerKind::Init => told.is_some_and(
                |told| matches!(&told.state, State::Exited { code: 0, reason, .. } if reason != "OOMKilled"),
            ),
            ContainerKind::Sidecar => {
                let known = knowledge.containers.get(before.name);
                told.is_some_and(|told| told.is_started(before))
                    || known.is_some_and(|known| known.started_in == Some(knowledge.epoch))
            }
            ContainerKind::App | ContainerKind::Ephemeral => true,
        };
        rule!(done, "{} comes before it: {told:?}", before.name);
    }
    Ok(())
}

/// Whether nothing is left to run.
pub(super) fn nothing_left(knowledge: &Knowledge, specs: &[Spec<'_>], pod: &Pod) -> bool {
    let ever = specs.iter().any(|spec| knowledge.instance(spec.name).is_some());
    if knowledge.sandbox == Ground::Left && pod_policy(pod) == "Never" && ever {
        return true;
    }
    if knowledge.restarting_all {
        return false;
    }
    let done = |spec: &Spec<'_>| {
        let told = knowledge.instance(spec.name).filter(|told| !told.is_live());
        told.is_some_and(|told| !restarts(told, spec, pod))
    };
    let apps_done = specs.iter().filter(|spec| spec.kind == ContainerKind::App).all(done);
    apps_done || matches!(walk(knowledge, specs, pod), Init::Failed)
}

/// The container that is on its way; others wait for it.
pub(super) fn busy(knowledge: &Knowledge, specs: &[Spec<'_>]) -> Option<String> {
    let is_busy = |spec: &&Spec<'_>| {
        let Some(known) = knowledge.containers.get(spec.name) else { return false };
        let starting = known.instances.last().is_some_and(|told| told.is_live() && !told.is_up(spec));
        starting || matches!(known.image, ImageTold::Pulling(_))
    };
    specs.iter().find(is_busy).map(|spec| spec.name.to_owned())
}

/// When a container may be started: its back-off, that of its image and a failure before hold it up.
pub(super) fn earliest(knowledge: &Knowledge, spec: &Spec<'_>) -> i64 {
    let Some(known) = knowledge.containers.get(spec.name) else {
        return image_earliest(knowledge, spec);
    };
    let image = match &known.image {
        ImageTold::Present(image) if image == spec.image => return i64::MIN,
        ImageTold::Failed { image, retry_at } if image == spec.image => *retry_at,
        _ => i64::MIN,
    };
    let restart = known.backed_off_until(spec).unwrap_or(i64::MIN);
    let failed = known.retry_at.as_ref().filter(|(image, _)| image == spec.image).map_or(i64::MIN, |(_, at)| *at);
    image.max(restart).max(failed).max(image_earliest(knowledge, spec))
}

fn image_earliest(knowledge: &Knowledge, spec: &Spec<'_>) -> i64 {
    knowledge.pulls.get(spec.image).map_or(i64::MIN, |delay| delay.over_since())
}

/// Why a running container has to be killed, and with which grace period in seconds.
pub(super) fn kill(told: &Told, spec: &Spec<'_>, pod: &Pod, resizable: bool) -> Option<(StopCause, i64)> {
    if !matches!(spec.kind, ContainerKind::App | ContainerKind::Sidecar) {
        return None;
    }
    let container = spec.container?;
    let of_probe = |probe: Option<&Probe>| {
        probe.and_then(|probe| probe.termination_grace_period_seconds).unwrap_or_else(|| grace(pod))
    };
    let has_hook = spec.has_hook(HookKind::PostStart);
    match told.post_start {
        Hook::Pending | Hook::Running if has_hook => return None,
        Hook::Failed if has_hook => return Some((StopCause::PostStartHook, grace(pod))),
        _ => {}
    }
    if told.image != spec.image {
        Some((StopCause::DefinitionChanged, grace(pod)))
    } else if told.probes[2] == Some(false) {
        Some((StopCause::LivenessProbe, of_probe(container.liveness_probe.as_ref())))
    } else if told.probes[0] == Some(false) {
        Some((StopCause::StartupProbe, of_probe(container.startup_probe.as_ref())))
    } else if resizable && resize_restarts(told, spec) {
        Some((StopCause::Resize, grace(pod)))
    } else {
        None
    }
}

/// Whether a node of `CPUS` can give what app containers and sidecars request; only CPU is ever asked for in excess.
pub(super) fn resizable(specs: &[Spec<'_>]) -> bool {
    let serving = specs.iter().filter(|spec| matches!(spec.kind, ContainerKind::App | ContainerKind::Sidecar));
    let cpu = |spec: &Spec<'_>| Some(spec.resources()?.requests.as_ref()?.get("cpu")?.0 == pods::EXCESS);
    !serving.filter_map(cpu).any(|excess| excess)
}

fn resize_restarts(told: &Told, spec: &Spec<'_>) -> bool {
    let policies = spec.container.iter().flat_map(|container| container.resize_policy.iter().flatten());
    let mut names = policies.filter(|policy| policy.restart_policy == "RestartContainer").map(|p| &p.resource_name);
    names.any(|name| {
        let of = |resources: Option<&ResourceRequirements>| {
            let requests = resources.and_then(|of| of.requests.as_ref()?.get(name).cloned());
            (requests, resources.and_then(|of| of.limits.as_ref()?.get(name).cloned()))
        };
        of(told.resources.as_ref()) != of(spec.resources())
    })
}
