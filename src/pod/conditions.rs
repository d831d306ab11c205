//! The conditions of a pod, in the order in which they are stored (kubelet v1.36 `status/generate.go`).

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};

use super::observed::{Observed, SandboxState, VolumesState};
use super::phase::{FAILED, SUCCEEDED};
use super::plan::{ContainerKind, Draft};
use super::spec::{ContainerSpec, PodView};
use super::status::{Containers, seconds};
use super::{resize, start_over};
use crate::base::clock::Timestamp;

const READY_TO_START: &str = "PodReadyToStartContainers";
const INITIALIZED: &str = "Initialized";
const READY: &str = "Ready";
const CONTAINERS_READY: &str = "ContainersReady";
const SCHEDULED: &str = "PodScheduled";
/// Whoever evicts the pod says why; stored after the conditions of a resize.
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// The conditions kubelet owns; all others belong to whoever wrote them and are kept.
const OWNED: [&str; 8] = [
    READY_TO_START,
    INITIALIZED,
    READY,
    CONTAINERS_READY,
    SCHEDULED,
    resize::PENDING,
    resize::IN_PROGRESS,
    start_over::CONDITION,
];

/// A status of a pod's node with what others have written into the pod's status in the meantime: conditions and the node
/// that the scheduler has in view (kubelet v1.36 `status_manager` `mergePodStatus`).
pub fn merge_status(stored: Option<&PodStatus>, status: &PodStatus) -> PodStatus {
    let Some(stored) = stored else { return status.clone() };
    let foreign = others_conditions(stored).cloned();
    let (disruption, mut all): (Vec<_>, Vec<_>) = foreign.partition(|condition| condition.type_ == DISRUPTION_TARGET);
    let own = status.conditions.iter().flatten().filter(|condition| is_own(condition)).cloned();
    let (of_resize, rest): (Vec<_>, Vec<_>) =
        own.partition(|condition| [resize::PENDING, resize::IN_PROGRESS].contains(&condition.type_.as_str()));
    all.extend(of_resize.into_iter().chain(disruption).chain(rest));
    PodStatus {
        conditions: Some(all),
        nominated_node_name: stored.nominated_node_name.clone(),
        resource_claim_statuses: stored.resource_claim_statuses.clone(),
        ..status.clone()
    }
}

/// The conditions in a status that are not its node's.
pub fn others_conditions(status: &PodStatus) -> impl Iterator<Item = &PodCondition> {
    status.conditions.iter().flatten().filter(|condition| !is_own(condition))
}

fn is_own(condition: &PodCondition) -> bool {
    OWNED.contains(&condition.type_.as_str())
}

/// A condition without its times.
#[derive(Debug, Clone, Default)]
struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn truth(status: bool) -> Self {
        Self { status, ..Self::default() }
    }

    fn because(status: bool, reason: &'static str, message: Option<String>) -> Self {
        Self { status, reason: Some(reason), message }
    }
}

/// All conditions of the pod.
pub(super) fn conditions(
    view: &PodView<'_>,
    observed: &Observed,
    containers: &Containers,
    (phase, draft): (&str, &Draft),
    now: Timestamp,
) -> Vec<PodCondition> {
    let foreign = view.pod.status.iter().flat_map(others_conditions).cloned();
    let (disruption, mut all): (Vec<_>, Vec<_>) = foreign.partition(|condition| condition.type_ == DISRUPTION_TARGET);
    all.extend(resize::conditions(view, observed, draft, now));
    all.extend(disruption);
    let sandbox_ready = matches!(&observed.sandbox, SandboxState::Ready { ips } if !ips.is_empty());
    let containers_ready = containers_ready(view, containers, phase);
    let verdicts = [
        (READY_TO_START, Verdict::truth(sandbox_ready && observed.volumes == VolumesState::Ready)),
        (INITIALIZED, initialized(view, containers, phase)),
        (READY, ready(view, &all, &containers_ready)),
        (CONTAINERS_READY, containers_ready),
        (SCHEDULED, Verdict::truth(true)),
    ];
    let own = verdicts.into_iter().map(|(type_, verdict)| condition(view, observed, type_, verdict, now));
    all.extend(own);
    all.extend(start_over::condition(view, observed, draft, now));
    all
}

/// A verdict as condition; its transition time moves only when the status does.
fn condition(view: &PodView<'_>, observed: &Observed, type_: &str, verdict: Verdict, now: Timestamp) -> PodCondition {
    let status = if verdict.status { "True" } else { "False" };
    let mut before = observed.status.conditions.iter().flatten();
    let unchanged = before.find(|condition| condition.type_ == type_ && condition.status == status);
    let since = unchanged.and_then(|condition| condition.last_transition_time.clone());
    PodCondition {
        type_: type_.into(),
        status: status.into(),
        reason: verdict.reason.map(Into::into),
        message: verdict.message,
        last_transition_time: Some(since.unwrap_or_else(|| seconds(now))),
        last_probe_time: None,
        observed_generation: view.pod.metadata.generation,
    }
}

fn names<'a>(
    containers: &Containers,
    specs: impl Iterator<Item = &'a ContainerSpec<'a>>,
    passes: impl Fn(&ContainerSpec<'_>, &ContainerStatus) -> bool,
) -> Vec<String> {
    let failing = specs.filter(|spec| !containers.get(spec.name()).is_some_and(|status| passes(spec, status)));
    failing.map(|spec| spec.name().to_owned()).collect()
}

fn initialized(view: &PodView<'_>, containers: &Containers, phase: &str) -> Verdict {
    let incomplete = names(containers, view.init.iter(), |spec, status| match spec.kind {
        ContainerKind::Sidecar => status.started == Some(true),
        ContainerKind::Init | ContainerKind::App | ContainerKind::Ephemeral => status.ready,
    });
    let has_run = |status: &ContainerStatus| {
        let has_ended = |state: &k8s_openapi::api::core::v1::ContainerState| state.terminated.is_some();
        let state = status.state.as_ref();
        state.is_some_and(|state| state.running.is_some() || has_ended(state))
            || status.last_state.as_ref().is_some_and(has_ended)
    };
    if phase == SUCCEEDED {
        Verdict::because(true, "PodCompleted", None)
    } else if incomplete.is_empty() || containers.apps.iter().any(has_run) {
        Verdict::truth(true)
    } else {
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        Verdict::because(false, "ContainersNotInitialized", Some(message))
    }
}

fn containers_ready(view: &PodView<'_>, containers: &Containers, phase: &str) -> Verdict {
    match phase {
        SUCCEEDED => return Verdict::because(false, "PodCompleted", None),
        FAILED => return Verdict::because(false, "PodFailed", None),
        _ => {}
    }
    let serving = view.sidecars().chain(&view.apps);
    let unready = names(containers, serving, |_, status| status.ready);
    if unready.is_empty() {
        return Verdict::truth(true);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::because(false, "ContainersNotReady", Some(message))
}

fn ready(view: &PodView<'_>, foreign: &[PodCondition], containers_ready: &Verdict) -> Verdict {
    if !containers_ready.status {
        return containers_ready.clone();
    }
    let gates = view.spec.readiness_gates.iter().flatten().map(|gate| gate.condition_type.as_str());
    let failing: Vec<String> = gates
        .filter_map(|gate| match foreign.iter().find(|condition| condition.type_ == gate) {
            None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
            Some(condition) if condition.status != "True" => {
                let status = &condition.status;
                Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {status}"))
            }
            Some(_) => None,
        })
        .collect();
    if failing.is_empty() {
        return Verdict::truth(true);
    }
    Verdict::because(false, "ReadinessGatesNotReady", Some(failing.join(", ")))
}
