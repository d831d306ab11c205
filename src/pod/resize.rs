//! Changing the CPU and memory of a container that runs (kubelet v1.36 `allocation_manager`, `kuberuntime_manager`
//! `computePodResizeAction`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodCondition, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;

use super::events::Note;
use super::instance::{Instance, ResizeState};
use super::observed::{NodeFacts, Observed};
use super::plan::{Action, ContainerKind, Draft};
use super::resources::{self, ResourceLimits};
use super::spec::{ContainerSpec, PodView};
use super::status::seconds;
use crate::base::clock::Timestamp;

/// A resize was asked for and has not begun.
pub(super) const PENDING: &str = "PodResizePending";
/// A resize is under way.
pub(super) const IN_PROGRESS: &str = "PodResizeInProgress";
/// `reason` of a resize that the node can never grant.
const INFEASIBLE: &str = "Infeasible";
/// `reason` of a resize that failed.
const ERROR: &str = "Error";
/// The resources that can be changed in place.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

fn wanted<'a>(spec: &'a ContainerSpec<'_>) -> Option<&'a ResourceRequirements> {
    spec.container.resources.as_ref()
}

/// Whether requests or limits of CPU or memory are not what the instance has.
fn differs(spec: &ContainerSpec<'_>, instance: &Instance) -> bool {
    RESIZABLE.iter().any(|name| resource_differs(spec, instance, name))
}

fn resource_differs(spec: &ContainerSpec<'_>, instance: &Instance, name: &str) -> bool {
    values(wanted(spec), name) != values(instance.resources.as_deref(), name)
}

/// Request and limit of a resource.
fn values<'a>(resources: Option<&'a ResourceRequirements>, name: &str) -> (Option<&'a Quantity>, Option<&'a Quantity>) {
    let value = |of: Option<&'a BTreeMap<String, Quantity>>| of?.get(name);
    let (requests, limits) = (resources.map(|r| r.requests.as_ref()), resources.map(|r| r.limits.as_ref()));
    (value(requests.flatten()), value(limits.flatten()))
}

/// Whether a change of resources can only be had by a restart (`resizePolicy`).
pub(super) fn needs_restart(spec: &ContainerSpec<'_>, instance: &Instance) -> bool {
    let policies = spec.container.resize_policy.iter().flatten();
    policies.filter(|policy| policy.restart_policy == "RestartContainer").any(|policy| {
        RESIZABLE.contains(&policy.resource_name.as_str()) && resource_differs(spec, instance, &policy.resource_name)
    })
}

/// Plans the change of an instance's resources to what the spec says.
pub(super) fn plan_resize(spec: &ContainerSpec<'_>, instance: &Instance, now: Timestamp, draft: &mut Draft) {
    if spec.kind == ContainerKind::Ephemeral || draft.infeasible.is_some() {
        return;
    }
    if !differs(spec, instance) {
        // What could not be had is no longer asked for.
        if matches!(instance.resize, ResizeState::Failed { .. }) {
            draft.memo.resized.push(spec.name().into());
        }
        return;
    }
    let wanted = wanted(spec).cloned().map(Box::new);
    match &instance.resize {
        ResizeState::InProgress(_) => return,
        ResizeState::Failed { wanted: failed, retry_at, .. } if *failed == wanted && now < *retry_at => {
            return draft.wake(*retry_at);
        }
        ResizeState::Settled | ResizeState::Done | ResizeState::Failed { .. } => {}
    }
    let limits = ResourceLimits::of(&spec.container);
    draft.memo.resizes.push((spec.name().into(), wanted));
    draft.actions.push(Action::UpdateResources { container: spec.name().into(), attempt: instance.attempt, limits });
}

/// Tells of the pod's resize: that it begins, that all of it is done, that it fails or can never be.
pub(super) fn tell(view: &PodView<'_>, observed: &Observed, draft: &mut Draft) {
    let resizes = || {
        let instance = |spec: &ContainerSpec<'_>| observed.instance(spec.name()).filter(|one| one.is_running());
        view.all().filter_map(move |spec| Some((spec.name(), &instance(spec)?.resize)))
    };
    let begins = |name: &str| draft.memo.resizes.iter().any(|(container, _)| container == name);
    let is_retry = |resize: &ResizeState| matches!(resize, ResizeState::Failed { .. });
    if resizes().any(|(name, resize)| begins(name) && !is_retry(resize)) {
        draft.notes.push(Note::normal(None, "ResizeStarted", summary(view, "started", None)));
    }
    let done = resizes().filter(|(_, resize)| **resize == ResizeState::Done).map(|(name, _)| name.to_owned());
    let done: Vec<String> = done.collect();
    let settled = |resize: &ResizeState| matches!(resize, ResizeState::Settled | ResizeState::Done);
    if !done.is_empty() && resizes().all(|(name, resize)| settled(resize) && !begins(name)) {
        draft.notes.push(Note::normal(None, "ResizeCompleted", summary(view, "completed", None)));
        draft.memo.resized.extend(done);
    }
    let told = |type_: &str, reason: &str, message: &str| {
        observed.status.conditions.iter().flatten().any(|condition| {
            let (known, text) = (condition.reason.as_deref(), condition.message.as_deref());
            condition.type_ == type_ && known == Some(reason) && text == Some(message)
        })
    };
    if let Some(message) = draft.infeasible.as_deref() {
        if !told(PENDING, INFEASIBLE, message) {
            let text = summary(view, INFEASIBLE, Some(message));
            draft.notes.push(Note::warning(None, "ResizeInfeasible", text));
        }
    } else if let Some(message) = failure(view, observed).filter(|message| !told(IN_PROGRESS, ERROR, message)) {
        draft.notes.push(Note::warning(None, "ResizeError", summary(view, "error", Some(message))));
    }
}

/// Why the resources of a container that runs could not be changed, if some could not.
fn failure<'o>(view: &PodView<'_>, observed: &'o Observed) -> Option<&'o str> {
    let instances = || view.all().filter_map(|spec| Some((spec, observed.instance(spec.name())?)));
    let running = || instances().filter(|(_, instance)| instance.is_running());
    let failed = running().find_map(|(spec, instance)| match &instance.resize {
        ResizeState::Failed { message, .. } if differs(spec, instance) => Some(message.as_str()),
        ResizeState::Failed { .. } | ResizeState::Settled | ResizeState::Done | ResizeState::InProgress(_) => None,
    });
    // While it is tried again, it is shown to have failed.
    let retried = running().any(|(_, instance)| matches!(instance.resize, ResizeState::InProgress(_)));
    let shown = || {
        let mut shown = observed.status.conditions.iter().flatten();
        let shown =
            shown.find(|condition| condition.type_ == IN_PROGRESS && condition.reason.as_deref() == Some(ERROR))?;
        shown.message.as_deref().filter(|_| shown.observed_generation == view.pod.metadata.generation)
    };
    failed.or_else(|| shown().filter(|_| retried))
}

/// Why the pod can never have the resources it asks for, if that is so.
pub(super) fn infeasible(view: &PodView<'_>, node: &NodeFacts) -> Option<String> {
    let capacities = [("cpu", node.allocatable_cpu_millis), ("memory", node.allocatable_memory)];
    capacities.into_iter().find_map(|(name, capacity)| {
        let (capacity, requested) = (capacity?, resources::requested(view, name));
        (requested > capacity)
            .then(|| format!("Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}"))
    })
}

/// Whether some container runs with other resources than the spec asks for.
pub(super) fn is_wanted(view: &PodView<'_>, observed: &Observed) -> bool {
    view.init.iter().chain(&view.apps).any(|spec| {
        let running = observed.instance(spec.name()).filter(|instance| instance.is_running());
        running.is_some_and(|instance| differs(spec, instance))
    })
}

/// What the events of a resize say (kubelet v1.36 `podResourceSummary`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<ContainerSummary<'a>>,
    containers: Vec<ContainerSummary<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct ContainerSummary<'a> {
    name: &'a str,
    resources: ResourceRequirements,
}

/// `Pod resize <what>: <the resources of all containers>`
fn summary(view: &PodView<'_>, what: &str, error: Option<&str>) -> String {
    fn all<'s>(specs: &'s [ContainerSpec<'_>]) -> Vec<ContainerSummary<'s>> {
        let one = |spec: &'s ContainerSpec<'_>| {
            let resources = wanted(spec).cloned().unwrap_or_default();
            ContainerSummary { name: spec.name(), resources }
        };
        specs.iter().map(one).collect()
    }
    let generation = view.pod.metadata.generation.unwrap_or(0);
    let summary = Summary { init_containers: all(&view.init), containers: all(&view.apps), generation, error };
    format!("Pod resize {what}: {}", serde_json::to_string(&summary).unwrap_or_default())
}

/// The conditions of a resize, in the order in which they are stored; none when all is as it should be.
pub(super) fn conditions(view: &PodView<'_>, observed: &Observed, draft: &Draft, now: Timestamp) -> Vec<PodCondition> {
    let mut conditions = Vec::new();
    let condition = |type_: &str, reason: Option<&str>, message: Option<String>| {
        let mut before = observed.status.conditions.iter().flatten();
        let since = before.find(|condition| condition.type_ == type_).and_then(|c| c.last_transition_time.clone());
        PodCondition {
            type_: type_.into(),
            status: "True".into(),
            reason: reason.map(Into::into),
            message,
            last_transition_time: Some(since.unwrap_or_else(|| seconds(now))),
            last_probe_time: None,
            observed_generation: view.pod.metadata.generation,
        }
    };
    if let Some(message) = &draft.infeasible {
        conditions.push(condition(PENDING, Some(INFEASIBLE), Some(message.clone())));
    }
    let mut instances = view.all().filter_map(|spec| observed.instance(spec.name())).filter(|one| one.is_running());
    let begins = !draft.memo.resizes.is_empty();
    let under_way = begins || instances.any(|instance| matches!(instance.resize, ResizeState::InProgress(_)));
    if let Some(message) = failure(view, observed).filter(|_| draft.infeasible.is_none()) {
        conditions.push(condition(IN_PROGRESS, Some(ERROR), Some(message.into())));
    } else if under_way {
        conditions.push(condition(IN_PROGRESS, None, None));
    }
    conditions
}
