//! The phase of a pod, from its container statuses (kubelet v1.36 `getPhase`).

use k8s_openapi::api::core::v1::ContainerStatus;

use super::instance::{Instance, InstanceState};
use super::observed::Observed;
use super::plan::ContainerKind;
use super::restart;
use super::spec::{ContainerSpec, PodView};
use super::status::Containers;

pub(super) const PENDING: &str = "Pending";
pub(super) const RUNNING: &str = "Running";
pub(super) const SUCCEEDED: &str = "Succeeded";
pub(super) const FAILED: &str = "Failed";

/// Whether the phase is a last one.
pub(super) fn is_terminal(phase: &str) -> bool {
    phase == SUCCEEDED || phase == FAILED
}

/// How many containers are in which state.
#[derive(Default)]
struct Counts {
    running: usize,
    waiting: usize,
    stopped: usize,
    succeeded: usize,
}

/// What a container status comes to.
enum State {
    Running,
    /// Waiting, and never ran.
    Waiting,
    /// Terminated, or waiting after an end; with that end's exit code.
    Stopped(i32),
}

fn state(status: Option<&ContainerStatus>) -> State {
    let Some(status) = status else { return State::Waiting };
    let end = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).map(|terminated| terminated.exit_code)
    };
    if status.state.as_ref().is_some_and(|state| state.running.is_some()) {
        return State::Running;
    }
    end(&status.state).or_else(|| end(&status.last_state)).map_or(State::Waiting, State::Stopped)
}

/// The phase; `stopped` once the pod is stopped for good, when restart policies no longer matter.
pub(super) fn phase(view: &PodView<'_>, observed: &Observed, containers: &Containers, stopped: bool) -> &'static str {
    let mut counts = Counts::default();
    let mut pending = false;
    // Those of a sandbox before this one are none (kubelet v1.36 `HasAnyActiveRegularContainerStarted`).
    let existed = |one: &Instance| one.epoch == observed.epoch && one.state != InstanceState::Starting;
    let record = |spec: &ContainerSpec<'_>| observed.containers.get(spec.name());
    let app_existed = view.apps.iter().filter_map(record).any(|record| record.instances.iter().any(existed));
    for spec in &view.init {
        let status = containers.get(spec.name());
        match (spec.kind, state(status)) {
            (ContainerKind::Sidecar, State::Running) => {
                counts.running += 1;
                pending |= status.is_some_and(|status| status.started != Some(true)) && !app_existed;
            }
            (ContainerKind::Sidecar, State::Waiting) => counts.waiting += 1,
            (ContainerKind::Sidecar, State::Stopped(_)) => {}
            (_, State::Stopped(code)) if code != 0 && !may_restart(view, spec, status) => return FAILED,
            (_, State::Stopped(_)) => {}
            (_, State::Running | State::Waiting) => pending = true,
        }
    }
    for spec in &view.apps {
        match state(containers.get(spec.name())) {
            State::Running => counts.running += 1,
            State::Waiting => counts.waiting += 1,
            State::Stopped(code) => {
                counts.stopped += 1;
                counts.succeeded += usize::from(code == 0);
            }
        }
    }
    let restartable = || view.apps.iter().any(|spec| may_restart(view, spec, containers.get(spec.name())));
    let all_succeeded = counts.stopped == counts.succeeded;
    match counts {
        _ if pending => PENDING,
        Counts { waiting: 1.., .. } => PENDING,
        Counts { running: 1.., .. } => RUNNING,
        Counts { stopped: 0, .. } => PENDING,
        _ if !stopped && restartable() => RUNNING,
        _ if all_succeeded => SUCCEEDED,
        _ => FAILED,
    }
}

/// Whether a container that ended as its status says is started again.
fn may_restart(view: &PodView<'_>, spec: &ContainerSpec<'_>, status: Option<&ContainerStatus>) -> bool {
    let ends = status.into_iter().flat_map(|status| [&status.state, &status.last_state]);
    let end = ends.flatten().find_map(|state| state.terminated.as_ref());
    end.is_some_and(|end| restart::restarts_after(view, spec, end.exit_code, end.reason.as_deref().unwrap_or("")))
}
