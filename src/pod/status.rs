//! The status of the pod as a whole, derived from what is observed; `container_status`, `phase` and `conditions` hold
//! the parts (kubelet v1.36 `generateAPIPodStatus`, `status_manager` `mergePodStatus` and `TerminatePod`).

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, HostIP, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observed::{Lifecycle, Observed, SandboxState, TerminationCause};
use super::phase::{self, FAILED, PENDING, RUNNING, is_terminal};
use super::plan::Draft;
use super::snapshot::STATUS_UNKNOWN;
use super::spec::{ContainerSpec, PodView};
use super::termination::{DEADLINE_EXCEEDED, DEADLINE_MESSAGE, EVICTED, containers_stopped, sandbox_gone};
use super::{conditions, container_status};
use crate::api::qos;
use crate::base::clock::Timestamp;

/// Bytes that the termination messages of a pod may have together, shared evenly among its containers (kubelet v1.36
/// `MaxPodTerminationMessageLogLength`, `normalizeStatus`).
const MAX_TERMINATION_MESSAGES: usize = 12 * 1024;
/// Exit code shown for a container whose end nobody saw.
pub(super) const UNKNOWN_EXIT_CODE: i32 = 137;

/// The status to publish. Notes in `draft` which back-offs it shows, and posts their events.
pub(super) fn status(
    view: &PodView<'_>,
    observed: &Observed,
    lifecycle: Lifecycle,
    now: Timestamp,
    draft: &mut Draft,
) -> PodStatus {
    if matches!(observed.lifecycle, Lifecycle::Terminated { .. }) {
        return PodStatus::clone(&observed.status);
    }
    let stopped = lifecycle != Lifecycle::Syncing && containers_stopped(view, observed) && sandbox_gone(observed);
    let mut containers = Containers {
        init: container_statuses(view, &view.init, observed, lifecycle, now, draft),
        apps: container_statuses(view, &view.apps, observed, lifecycle, now, draft),
    };
    let mut phase = phase::phase(view, observed, &containers, stopped);
    if stopped {
        containers.settle(view);
        if !is_terminal(phase) || forced_reason(observed, lifecycle).is_some() {
            phase = FAILED;
        }
    } else if is_terminal(phase) {
        // A terminal phase is published only once nothing runs any more.
        phase = if observed.status.phase.as_deref() == Some(RUNNING) { RUNNING } else { PENDING };
    }
    let mut status = PodStatus {
        phase: Some(phase.into()),
        observed_generation: view.pod.metadata.generation,
        start_time: Some(start_time(observed, now)),
        qos_class: Some(qos_class(view)),
        ..PodStatus::default()
    };
    if let Some((reason, message)) = forced_reason(observed, lifecycle).filter(|_| stopped) {
        status.reason = Some(reason.into());
        status.message = Some(message.into());
    }
    set_addresses(&mut status, view, observed);
    status.conditions = Some(conditions::conditions(view, observed, &containers, (phase, draft), now));
    containers.shorten_messages();
    containers.apps.sort_by(|a, b| a.name.cmp(&b.name));
    status.container_statuses = Some(containers.apps);
    let mut ephemeral = container_statuses(view, &view.ephemeral, observed, lifecycle, now, draft);
    ephemeral.sort_by(|a, b| a.name.cmp(&b.name));
    status.ephemeral_container_statuses = Some(ephemeral).filter(|statuses| !statuses.is_empty());
    status.init_container_statuses = Some(containers.init).filter(|statuses| !statuses.is_empty());
    status
}

/// The container statuses, each list in the order of the spec.
pub(super) struct Containers {
    pub(super) init: Vec<ContainerStatus>,
    pub(super) apps: Vec<ContainerStatus>,
}

fn container_statuses(
    view: &PodView<'_>,
    specs: &[ContainerSpec<'_>],
    observed: &Observed,
    lifecycle: Lifecycle,
    now: Timestamp,
    draft: &mut Draft,
) -> Vec<ContainerStatus> {
    let status = |spec| container_status::container_status(view, spec, observed, lifecycle, now, draft);
    specs.iter().map(status).collect()
}

/// Reason and message of a phase that is Failed whatever the containers say.
fn forced_reason(observed: &Observed, lifecycle: Lifecycle) -> Option<(&'static str, &str)> {
    match lifecycle {
        Lifecycle::Terminating { cause, .. } | Lifecycle::Terminated { cause } => match cause {
            TerminationCause::DeadlineExceeded => Some((DEADLINE_EXCEEDED, DEADLINE_MESSAGE)),
            TerminationCause::Evicted => Some((EVICTED, observed.eviction.as_deref().unwrap_or_default())),
            TerminationCause::Deleted | TerminationCause::Completed => None,
        },
        Lifecycle::Syncing => None,
    }
}

fn start_time(observed: &Observed, now: Timestamp) -> Time {
    observed.status.start_time.clone().unwrap_or_else(|| seconds(now))
}

fn qos_class(view: &PodView<'_>) -> String {
    let accepted = view.pod.status.as_ref().and_then(|status| status.qos_class.clone());
    accepted.unwrap_or_else(|| qos::qos_class(view.spec).to_string())
}

fn set_addresses(status: &mut PodStatus, view: &PodView<'_>, observed: &Observed) {
    let hosts = &observed.node.host_ips;
    status.host_ip = hosts.first().cloned();
    status.host_ips =
        Some(hosts.iter().map(|ip| HostIP { ip: ip.clone() }).collect()).filter(|ips: &Vec<_>| !ips.is_empty());
    let SandboxState::Ready { ips } = &observed.sandbox else { return };
    let ips = if view.spec.host_network == Some(true) { hosts } else { ips };
    status.pod_ip = ips.first().cloned();
    status.pod_ips = Some(ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect());
}

/// A timestamp as statuses have it: whole seconds.
pub(super) fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

impl Containers {
    /// Both lists, init containers first.
    pub(super) fn all(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.init.iter().chain(&self.apps)
    }

    pub(super) fn get(&self, name: &str) -> Option<&ContainerStatus> {
        self.all().find(|status| status.name == name)
    }

    /// Cuts each termination message to its share of what the pod's may have together.
    fn shorten_messages(&mut self) {
        let share = MAX_TERMINATION_MESSAGES / (self.init.len() + self.apps.len()).max(1);
        for status in self.init.iter_mut().chain(&mut self.apps) {
            let ends = [&mut status.state, &mut status.last_state].into_iter().flatten();
            for message in ends.filter_map(|state| state.terminated.as_mut()?.message.as_mut()) {
                message.truncate(message.floor_char_boundary(share));
            }
        }
    }

    /// Gives containers that never came to run, though their turn had come, an end (kubelet `TerminatePod`).
    fn settle(&mut self, view: &PodView<'_>) {
        let unstarted = |status: &ContainerStatus| {
            let waiting = status.state.as_ref().is_some_and(|state| state.waiting.is_some());
            waiting && status.last_state.as_ref().is_none_or(|state| state.terminated.is_none())
        };
        if self.initialised(view, unstarted) {
            self.apps.iter_mut().for_each(settle);
        }
        let tried = self.init.iter().rposition(|status| !unstarted(status)).unwrap_or(0);
        self.init.iter_mut().take(tried + 1).for_each(settle);
    }

    fn initialised(&self, view: &PodView<'_>, unstarted: impl Fn(&ContainerStatus) -> bool) -> bool {
        let last_init_done = self.init.last().is_none_or(|status| {
            let sidecar = view.sidecars().any(|spec| spec.name() == status.name);
            let ends = [&status.state, &status.last_state].into_iter().flatten().filter_map(|s| s.terminated.as_ref());
            let completed = ends.into_iter().any(|terminated| terminated.exit_code == 0);
            if sidecar { status.started == Some(true) } else { completed }
        });
        last_init_done || self.apps.iter().any(|status| !unstarted(status))
    }
}

fn settle(status: &mut ContainerStatus) {
    if status.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
        return;
    }
    let terminated = ContainerStateTerminated {
        exit_code: UNKNOWN_EXIT_CODE,
        reason: Some(STATUS_UNKNOWN.into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        ..ContainerStateTerminated::default()
    };
    status.state = Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
}
