//! Planning while the pod lives: volumes, sandbox, init containers in order, then sidecars and app containers
//! together (kubelet v1.36 `computePodActions`, `computeInitContainerActions`, `SyncPod`).
//!
//! Containers are started one at a time: pull, create, start, next. A start that is refused by a back-off or has
//! failed doesn't hold up those after it.

use std::time::Duration;

use super::apply::INSTANCES_KEPT;
use super::backoff::{self, Backoff, RestartBackoff};
use super::events::{Note, go_duration};
use super::instance::{ContainerRecord, Exit, ImageState, Instance, RESTARTING_ALL};
use super::observed::{Observed, SandboxState, VolumesState};
use super::plan::{Action, ContainerKind, Draft, Refusal};
use super::restart;
use super::spec::{ContainerSpec, PodView};
use crate::base::clock::Timestamp;

/// The containers that should run and don't, in the order in which to start them.
pub(super) enum Wanted<'v, 'a> {
    /// These.
    Starts(Vec<&'v ContainerSpec<'a>>),
    /// None ever again: an init container has failed for good.
    InitFailed,
}

/// What starting a container comes to now.
enum Step {
    Do(Action),
    Refuse(Refusal, Timestamp),
    Wait(Timestamp),
}

/// Plans the next steps towards a running pod.
pub(super) fn plan_starts(view: &PodView<'_>, observed: &Observed, now: Timestamp, draft: &mut Draft) {
    match observed.volumes {
        VolumesState::Absent | VolumesState::Left => return draft.actions.push(Action::SetUpVolumes),
        VolumesState::Failed { retry_at } if retry_at <= now => return draft.actions.push(Action::SetUpVolumes),
        VolumesState::Failed { retry_at } => return draft.wake(retry_at),
        VolumesState::SettingUp | VolumesState::TearingDown | VolumesState::TornDown => return,
        VolumesState::Ready if observed.sources_changed => draft.actions.push(Action::UpdateVolumes),
        VolumesState::Ready => {}
    }
    match observed.sandbox {
        SandboxState::Absent => return draft.actions.push(Action::CreateSandbox),
        SandboxState::Lost => {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            draft.notes.push(Note::normal(None, "SandboxChanged", message));
            return draft.actions.push(Action::CreateSandbox);
        }
        SandboxState::Failed { retry_at } if retry_at <= now => return draft.actions.push(Action::CreateSandbox),
        SandboxState::Failed { retry_at } => return draft.wake(retry_at),
        SandboxState::Creating | SandboxState::Stopping | SandboxState::Stopped => return,
        SandboxState::Ready { .. } => {}
    }
    if let Wanted::Starts(wanted) = wanted(view, observed) {
        plan_next_start(view, observed, wanted, now, draft);
    }
}

/// Goes through the containers that want to start; the first that may is the one that does.
fn plan_next_start(
    view: &PodView<'_>,
    observed: &Observed,
    mut wanted: Vec<&ContainerSpec<'_>>,
    now: Timestamp,
    draft: &mut Draft,
) {
    let mut busy = observed.containers.iter().any(|(name, record)| {
        let Some(spec) = view.find(name) else { return false };
        // A start is over when the `postStart` hook is, even if that fails and the container has to be killed first.
        // Differs from Kubernetes: other kills, which its worker waits for, hold up no start.
        let starting = record.instances.last().is_some_and(|instance| instance.is_live() && !instance.is_up(spec));
        starting || matches!(record.image, ImageState::Pulling { .. })
    });
    // A start whose image was just made ready goes on before all. Differs from Kubernetes: then those never started
    // come, so that one that keeps failing cannot keep a later one from its first start.
    let record = |spec: &ContainerSpec<'_>| observed.containers.get(spec.name());
    wanted.sort_by_key(|spec| {
        let has_image = record(spec).is_some_and(|record| matches!(record.image, ImageState::Present { .. }));
        let never_started = record(spec).is_none_or(|record| record.instances.is_empty());
        (!has_image, !never_started)
    });
    for spec in wanted {
        if record(spec).is_some_and(|record| matches!(record.image, ImageState::Pulling { .. })) {
            continue;
        }
        match next_step(view, observed, spec, now) {
            Step::Do(action) if !busy => {
                if let (Action::PullImage { .. }, Some(exit)) = (&action, backoff_basis(spec, record(spec))) {
                    draft.memo.restart_backoffs.push((spec.name().into(), advanced(spec, record(spec), exit, now)));
                }
                if let Action::StartContainer { .. } = &action {
                    let resources = spec.container.resources.clone().map(Box::new);
                    draft.memo.resources.push((spec.name().into(), resources));
                    if let Some(surplus) = surplus(record(spec)) {
                        draft.actions.push(Action::RemoveContainer { container: spec.name().into(), attempt: surplus });
                    }
                }
                draft.actions.push(action);
                busy = true;
            }
            Step::Do(_) => {}
            Step::Refuse(refusal, until) => {
                draft.refusals.push(refusal);
                draft.wake(until);
            }
            Step::Wait(until) => draft.wake(until),
        }
    }
}

fn next_step(view: &PodView<'_>, observed: &Observed, spec: &ContainerSpec<'_>, now: Timestamp) -> Step {
    let record = observed.containers.get(spec.name());
    let container = || spec.name().to_owned();
    if let Some(ContainerRecord { image: ImageState::Present { image, .. }, instances, .. }) = record
        && image == spec.image()
    {
        let attempt = instances.last().map_or(0, |instance| instance.attempt.saturating_add(1));
        return Step::Do(Action::StartContainer { container: container(), attempt, kind: spec.kind });
    }
    if let Some((backoff, until)) = restart_refused(spec, record, now) {
        return Step::Refuse(crash_loop_refusal(view, spec, backoff), until);
    }
    if let Some(failure) = record.and_then(|record| record.start_failure.as_ref())
        && failure.image == spec.image()
        && failure.retry_at > now
    {
        return Step::Wait(failure.retry_at);
    }
    if let Some(pull) = observed.pulls.get(spec.image())
        && let Some(until) = pull.backoff.until(pull.backoff.advanced_at, now)
    {
        return Step::Refuse(pull_refusal(spec, &pull.cause), until);
    }
    match record.map(|record| &record.image) {
        Some(ImageState::Failed { image, failure, retry_at })
            if image == spec.image() && !failure.backs_off() && *retry_at > now =>
        {
            Step::Wait(*retry_at)
        }
        _ => Step::Do(Action::PullImage {
            container: container(),
            image: spec.image().into(),
            policy: spec.pull_policy(),
        }),
    }
}

/// The dead instance that another start would be one too many for.
fn surplus(record: Option<&ContainerRecord>) -> Option<u32> {
    let instances = &record?.instances;
    (instances.len() >= INSTANCES_KEPT).then(|| instances[0].attempt)
}

/// The end from which a restart's back-off is counted; `None` if there is none that counts.
///
/// What was killed in order to be restarted is followed by the next instance at once, unless the end of the instance
/// before it still has a back-off to wait for at that time (kubelet looks at a status from before the kill).
fn backoff_basis<'r>(spec: &ContainerSpec<'_>, record: Option<&'r ContainerRecord>) -> Option<&'r Exit> {
    let record = record?;
    let last = record.instances.last()?;
    let exit = last.exit()?;
    if exit.reason == RESTARTING_ALL {
        return None;
    }
    if last.was_killed_to_restart() {
        let older = record.instances.iter().rev().nth(1).and_then(Instance::exit);
        let refused = older.is_some_and(|older| {
            let backoff = current_backoff(spec, record);
            backoff.is_some_and(|backoff| backoff.until(older.finished_at, exit.finished_at).is_some())
        });
        if !refused {
            return older;
        }
    }
    Some(exit)
}

/// The restart back-off, if it is one of the container as it is now.
fn current_backoff(spec: &ContainerSpec<'_>, record: &ContainerRecord) -> Option<Backoff> {
    let RestartBackoff { key, backoff } = record.restart_backoff.as_ref()?;
    (*key == backoff::restart_key(&spec.container)).then_some(*backoff)
}

/// The back-off that keeps a container from its restart, and until when.
fn restart_refused(
    spec: &ContainerSpec<'_>,
    record: Option<&ContainerRecord>,
    now: Timestamp,
) -> Option<(Backoff, Timestamp)> {
    let exit = backoff_basis(spec, record)?;
    let backoff = current_backoff(spec, record?)?;
    Some((backoff, backoff.until(exit.finished_at, now)?))
}

fn advanced(spec: &ContainerSpec<'_>, record: Option<&ContainerRecord>, exit: &Exit, now: Timestamp) -> RestartBackoff {
    let previous = record.and_then(|record| current_backoff(spec, record));
    let backoff = Backoff::advance(previous, exit.finished_at, now);
    RestartBackoff { key: backoff::restart_key(&spec.container), backoff }
}

/// Differs from Kubernetes, which posts the event again at every sync that finds the container waiting.
fn crash_loop_refusal(view: &PodView<'_>, spec: &ContainerSpec<'_>, backoff: Backoff) -> Refusal {
    let (name, pod) = (spec.name(), view.full_name());
    let delay = go_duration(Duration::try_from(backoff.delay).unwrap_or_default());
    Refusal {
        container: name.into(),
        reason: "CrashLoopBackOff",
        message: format!("back-off {delay} restarting failed container={name} pod={pod}"),
        notes: vec![Note::warning(
            Some(name),
            "BackOff",
            format!("Back-off restarting failed container {name} in pod {pod}"),
        )],
    }
}

fn pull_refusal(spec: &ContainerSpec<'_>, cause: &str) -> Refusal {
    let (name, image) = (spec.name(), spec.image());
    Refusal {
        container: name.into(),
        reason: "ImagePullBackOff",
        message: format!("Back-off pulling image {image:?}: {cause}"),
        notes: vec![
            Note::normal(Some(name), "BackOff", format!("Back-off pulling image {image:?}")),
            Note::warning(Some(name), "Failed", "Error: ImagePullBackOff"),
        ],
    }
}

/// Which containers should run and don't.
pub(super) fn wanted<'v, 'a>(view: &'v PodView<'a>, observed: &Observed) -> Wanted<'v, 'a> {
    let mut starts: Vec<_> = view.ephemeral.iter().filter(|spec| observed.instance(spec.name()).is_none()).collect();
    let has_instance = |spec: &ContainerSpec<'_>| observed.instance_of_epoch(spec.name()).is_some();
    let latest = view.init.iter().rposition(has_instance);
    // While an app container is created or runs, initialisation is over and only sidecars are tended. When all of them
    // have ended, the last sidecar has to be started again before they are.
    let is_live = |spec: &ContainerSpec<'_>| observed.instance_of_epoch(spec.name()).is_some_and(Instance::is_live);
    let initialised = view.apps.iter().any(is_live);
    let frontier = if initialised { view.init.len() } else { latest.unwrap_or(0) };
    let before = view.init.iter().take(frontier).filter(|spec| spec.kind == ContainerKind::Sidecar);
    starts.extend(before.filter(|spec| should_start(view, observed, spec)));
    let apps = view.apps.iter().filter(|spec| should_start(view, observed, spec));
    let Some(current) = view.init.get(frontier) else {
        starts.extend(apps);
        return Wanted::Starts(starts);
    };
    match init_progress(view, observed, current) {
        InitProgress::Failed => return Wanted::InitFailed,
        InitProgress::Wanted => starts.push(current),
        InitProgress::Waiting => {}
        InitProgress::Passed => match view.init.get(frontier + 1) {
            Some(next) => starts.push(next),
            None => starts.extend(apps),
        },
    }
    Wanted::Starts(starts)
}

enum InitProgress {
    /// It has to be started.
    Wanted,
    /// It is on its way.
    Waiting,
    /// The next one's turn: exit 0, or a started sidecar.
    Passed,
    /// It will not be restarted.
    Failed,
}

fn init_progress(view: &PodView<'_>, observed: &Observed, spec: &ContainerSpec<'_>) -> InitProgress {
    let Some(instance) = observed.instance_of_epoch(spec.name()) else { return InitProgress::Wanted };
    match instance.exit() {
        None if spec.kind == ContainerKind::Sidecar && instance.is_started(spec) => InitProgress::Passed,
        None => InitProgress::Waiting,
        Some(exit) if spec.kind == ContainerKind::Init && restart::succeeded(exit) => InitProgress::Passed,
        Some(_) if restart::restarts(view, spec, instance) => InitProgress::Wanted,
        Some(_) => InitProgress::Failed,
    }
}

fn should_start(view: &PodView<'_>, observed: &Observed, spec: &ContainerSpec<'_>) -> bool {
    observed.instance(spec.name()).is_none_or(|instance| restart::restarts(view, spec, instance))
}

/// Whether nothing is left to run: an init container has failed for good, or no app container runs, is to be started
/// or to be restarted.
pub(super) fn nothing_left(view: &PodView<'_>, observed: &Observed) -> bool {
    if observed.sandbox == SandboxState::Lost && !may_be_replaced(view, observed) {
        return true;
    }
    match wanted(view, observed) {
        Wanted::InitFailed => true,
        Wanted::Starts(_) => view.apps.iter().all(|spec| {
            let ended = observed.instance(spec.name()).filter(|instance| instance.exit().is_some());
            ended.is_some_and(|instance| !restart::restarts(view, spec, instance))
        }),
    }
}

/// Whether a sandbox that is gone is replaced: never one in which a container ran that no failure restarts.
fn may_be_replaced(view: &PodView<'_>, observed: &Observed) -> bool {
    let never = view.spec.restart_policy.as_deref() == Some("Never");
    !never || !view.all().any(|spec| observed.instance(spec.name()).is_some())
}
