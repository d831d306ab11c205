//! The status of one container: waiting, running or terminated, what was before, and the counts
//! (kubelet v1.36 `convertToAPIContainerStatuses`, prober `UpdatePodStatus`).

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ResourceRequirements, VolumeMountStatus,
};

use super::instance::{ContainerRecord, Exit, ImageState, Instance, InstanceState, Shown};
use super::observed::{Lifecycle, Observed};
use super::plan::{ContainerKind, Draft};
use super::restart;
use super::spec::{ContainerSpec, PodView};
use super::status::seconds;
use crate::base::clock::Timestamp;

/// The status of one container.
pub(super) fn container_status(
    view: &PodView<'_>,
    spec: &ContainerSpec<'_>,
    observed: &Observed,
    lifecycle: Lifecycle,
    now: Timestamp,
    draft: &mut Draft,
) -> ContainerStatus {
    let record = observed.containers.get(spec.name());
    let known: &[Instance] = record.map_or(&[], |record| &record.instances);
    let is_told_of = |instance: &&Instance| instance.exit().is_some() || instance.is_up(spec);
    let mut instances = known.iter().filter(is_told_of).rev();
    let (current, previous) = (instances.next(), instances.next());
    let mut status = ContainerStatus {
        name: spec.name().into(),
        image: current.map_or_else(|| spec.image().into(), |instance| instance.image.clone()),
        image_id: current.map_or_else(String::new, |instance| instance.image_id.clone()),
        container_id: current.and_then(instance_id),
        restart_count: current.map_or(0, |instance| i32::try_from(instance.attempt).unwrap_or(i32::MAX)),
        started: Some(current.is_some_and(|instance| instance.is_started(spec))),
        ready: is_ready(spec, current),
        volume_mounts: volume_mounts(spec),
        resources: actual_resources(spec, current),
        allocated_resources: accepted_resources(spec, current, draft).and_then(|resources| resources.requests.clone()),
        ..ContainerStatus::default()
    };
    let (state, last_state) = match current.map(|instance| &instance.state) {
        Some(InstanceState::Running { started_at, .. }) => (running(*started_at), previous_end(previous)),
        _ => not_running(view, spec, observed, lifecycle, (current, previous), now, draft),
    };
    status.state = Some(state);
    status.last_state = Some(last_state);
    status
}

/// What the spec says; of a resize that the node cannot grant, what a running instance has.
fn accepted_resources<'a>(
    spec: &'a ContainerSpec<'_>,
    current: Option<&'a Instance>,
    draft: &Draft,
) -> Option<&'a ResourceRequirements> {
    let refused = current.filter(|instance| instance.is_running() && draft.infeasible.is_some());
    refused.map_or_else(|| spec.container.resources.as_ref(), |instance| instance.resources.as_deref())
}

/// What a running instance has, and what the spec says of any other.
fn actual_resources(spec: &ContainerSpec<'_>, current: Option<&Instance>) -> Option<ResourceRequirements> {
    match current.filter(|instance| instance.is_running()) {
        Some(instance) => instance.resources.as_deref().cloned(),
        None => spec.container.resources.clone(),
    }
}

fn instance_id(instance: &Instance) -> Option<String> {
    match &instance.state {
        InstanceState::Starting => None,
        InstanceState::Running { id, .. } => Some(id.clone()),
        InstanceState::Exited(exit) => Some(exit.id.clone()),
    }
}

fn is_ready(spec: &ContainerSpec<'_>, current: Option<&Instance>) -> bool {
    match spec.kind {
        ContainerKind::App | ContainerKind::Sidecar => current.is_some_and(|instance| instance.is_ready(spec)),
        ContainerKind::Ephemeral => false,
        ContainerKind::Init => current.and_then(Instance::exit).is_some_and(|exit| exit.code == 0),
    }
}

/// State and last state of a container of which no instance runs.
fn not_running(
    view: &PodView<'_>,
    spec: &ContainerSpec<'_>,
    observed: &Observed,
    lifecycle: Lifecycle,
    (current, previous): (Option<&Instance>, Option<&Instance>),
    now: Timestamp,
    draft: &mut Draft,
) -> (ContainerState, ContainerState) {
    let record = observed.containers.get(spec.name());
    let exit = current.and_then(Instance::exit);
    let outcome = exit.map_or_else(|| waiting(default_reason(view), None), terminated);
    let last = if exit.is_some() { previous_end(previous) } else { ContainerState::default() };
    // An init container that has done its work is started again in another sandbox.
    let starts = record.and_then(|record| record.instances.last()).is_some_and(Instance::is_live);
    let wanted = starts || current.is_none_or(|instance| restart::restarts(view, spec, instance));
    if !wanted || lifecycle != Lifecycle::Syncing {
        return (outcome, last);
    }
    let behind = || exit.map_or_else(ContainerState::default, terminated);
    let refusal = draft.refusals.iter().find(|refusal| refusal.container == spec.name()).cloned();
    let shown = record.map_or(Shown::Nothing, |record| record.shown);
    let back_off_over = refusal.is_none() && shown == Shown::BackOff;
    if let Some(published) =
        record.filter(|record| back_off_over || is_under_way(record)).and_then(|_| published(observed, spec))
    {
        return published;
    }
    if let Some(refusal) = refusal.as_ref().filter(|_| shown != Shown::Nothing) {
        if shown == Shown::Outcome {
            draft.notes.extend(refusal.notes.iter().cloned());
        }
        draft.memo.shown.push((spec.name().into(), Shown::BackOff));
        return (waiting(refusal.reason, Some(refusal.message.clone())), behind());
    }
    if refusal.is_some() {
        // What happened is shown first; the back-off follows at once.
        draft.memo.shown.push((spec.name().into(), Shown::Outcome));
        draft.wake(now);
    }
    match record.and_then(|record| failure(record, spec)) {
        Some((reason, message)) => (waiting(reason, Some(message)), behind()),
        None => (outcome, last),
    }
}

/// Whether a start is being prepared or under way; what was published last stands until it is over.
fn is_under_way(record: &ContainerRecord) -> bool {
    // It is asked only where no instance is told of: a live one is on its way, or its `postStart` hook is.
    let starting = record.instances.last().is_some_and(Instance::is_live);
    starting || matches!(record.image, ImageState::Pulling { .. } | ImageState::Present { .. })
}

fn published(observed: &Observed, spec: &ContainerSpec<'_>) -> Option<(ContainerState, ContainerState)> {
    let status = &observed.status;
    let own = status.init_container_statuses.iter().chain(&status.container_statuses);
    let mut all = own.chain(&status.ephemeral_container_statuses).flatten();
    let status = all.find(|status| status.name == spec.name())?;
    let state = status.state.clone().filter(|state| state.running.is_none())?;
    Some((state, status.last_state.clone().unwrap_or_default()))
}

/// The last failure to get the image or to start, as waiting reason and message.
fn failure(record: &ContainerRecord, spec: &ContainerSpec<'_>) -> Option<(&'static str, String)> {
    if let ImageState::Failed { image, failure, .. } = &record.image
        && image == spec.image()
    {
        return Some((failure.waiting_reason(), failure.waiting_message(image)));
    }
    record.start_failure.as_ref().map(|failure| (failure.reason.waiting_reason(), failure.message.clone()))
}

fn default_reason(view: &PodView<'_>) -> &'static str {
    if view.init.is_empty() { "ContainerCreating" } else { "PodInitializing" }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn running(started_at: Timestamp) -> ContainerState {
    let running = ContainerStateRunning { started_at: Some(seconds(started_at)) };
    ContainerState { running: Some(running), ..ContainerState::default() }
}

fn terminated(exit: &Exit) -> ContainerState {
    let terminated = ContainerStateTerminated {
        container_id: Some(exit.id.clone()),
        exit_code: exit.code,
        reason: Some(exit.reason.clone()),
        message: exit.message.clone(),
        started_at: exit.started_at.map(seconds),
        finished_at: Some(seconds(exit.finished_at)),
        signal: None,
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn previous_end(previous: Option<&Instance>) -> ContainerState {
    previous.and_then(Instance::exit).map_or_else(ContainerState::default, terminated)
}

fn volume_mounts(spec: &ContainerSpec<'_>) -> Option<Vec<VolumeMountStatus>> {
    let mounts = spec.container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.filter(|read_only| *read_only),
        recursive_read_only: (mount.read_only == Some(true)).then(|| {
            let enabled = mount.recursive_read_only.as_deref() == Some("Enabled");
            if enabled { "Enabled".into() } else { "Disabled".into() }
        }),
        ..VolumeMountStatus::default()
    };
    Some(mounts.iter().map(status).collect())
}
