//! A pod that starts over: because a container's rule says so (`RestartAllContainers`), or because its sandbox is gone.
//! Init containers run again then, and containers count on (kubelet v1.36 `computePodActions`,
//! `kuberuntime_manager_restartall`).

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::PodCondition;

use super::instance::{ContainerRecord, Exit, InstanceState, RESTARTING_ALL};
use super::observed::Observed;
use super::plan::{Action, ContainerKind, Draft};
use super::restart;
use super::spec::{PodView, later};
use super::status::{UNKNOWN_EXIT_CODE, seconds};
use super::stop::{self, Circumstances, Stop, StopCause};
use crate::base::clock::Timestamp;

/// A pod's containers are all restarted at most this often. No back-off holds them up; kubelet, which notices once in
/// this time what has ended, is not quicker either (kubelet v1.36 `genericPlegRelistPeriod`).
const PACE: SignedDuration = SignedDuration::from_secs(1);
/// The condition of a pod some rule of which restarts all containers.
pub(super) const CONDITION: &str = "AllContainersRestarting";

/// Where the restart of all containers is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartAll {
    /// What runs is being stopped.
    Stopping,
    /// Nothing runs any more; everything starts over.
    Over,
}

/// Plans the restart of all containers; false if there is none.
pub(super) fn plan_restart_all(view: &PodView<'_>, observed: &Observed, now: Timestamp, draft: &mut Draft) -> bool {
    if !observed.restarting_all && !is_triggered(view, observed) {
        return false;
    }
    draft.memo.restart_all = Some(RestartAll::Stopping);
    let mut stopped = true;
    for spec in view.all().filter(|spec| spec.kind != ContainerKind::Ephemeral) {
        let Some(instance) = observed.instance(spec.name()) else { continue };
        stopped &= !instance.is_live();
        match (&instance.state, &instance.stop) {
            (InstanceState::Exited(_), _) => super::tend::cancel_hooks(spec, instance, draft),
            (InstanceState::Starting, _) if instance.cancel_sent => {}
            (InstanceState::Starting, _) => {
                let container = spec.name().to_owned();
                draft.actions.push(Action::CancelStart { container, attempt: instance.attempt });
            }
            (InstanceState::Running { .. }, Some(stop)) if stop.cause == StopCause::RestartAllContainers => {
                stop::proceed(spec, instance, stop, Circumstances::FREE, now, draft);
            }
            (InstanceState::Running { .. }, _) => {
                let stop = Stop::new(StopCause::RestartAllContainers, 0, now);
                let message = format!("Stopping container {} to restart all containers", spec.name());
                super::tend::cancel_hooks(spec, instance, draft);
                stop::begin(spec, instance, stop, message, Circumstances::FREE, now, draft);
            }
        }
    }
    let earliest = observed.restarted_all_at.map_or(now, |at| later(at, PACE));
    if stopped && now < earliest {
        draft.wake(earliest);
    } else if stopped {
        draft.memo.restart_all = Some(RestartAll::Over);
        for (container, record) in observed.containers.iter().filter(|(name, _)| !is_ephemeral(view, name)) {
            let dead = record.instances.iter().rev().skip(1);
            draft.actions.extend(
                dead.map(|instance| Action::RemoveContainer {
                    container: container.clone(),
                    attempt: instance.attempt,
                }),
            );
            draft.memo.forgotten.push(container.clone());
        }
        draft.wake(now);
    }
    true
}

fn is_ephemeral(view: &PodView<'_>, name: &str) -> bool {
    view.ephemeral.iter().any(|spec| spec.name() == name)
}

/// Whether a container of this epoch has ended as one of its rules says.
fn is_triggered(view: &PodView<'_>, observed: &Observed) -> bool {
    view.init.iter().chain(&view.apps).any(|spec| {
        let instance = observed.instance(spec.name()).filter(|instance| instance.epoch == observed.epoch);
        let by_itself = instance.filter(|instance| instance.stop.is_none());
        by_itself.and_then(|instance| instance.exit()).is_some_and(|exit| restart::restarts_all(spec, exit.code))
    })
}

/// What is left of a container's record when all containers have been stopped to start over: the count, and an end that
/// says why.
pub(super) fn forget(record: &mut ContainerRecord) {
    let Some(mut last) = record.instances.pop() else { return };
    if let InstanceState::Exited(exit) = &mut last.state {
        *exit = Exit { code: UNKNOWN_EXIT_CODE, reason: RESTARTING_ALL.into(), message: None, ..exit.clone() };
    }
    *record = ContainerRecord { instances: vec![last], ..ContainerRecord::default() };
}

/// The condition, if a rule of the pod may restart all containers.
pub(super) fn condition(
    view: &PodView<'_>,
    observed: &Observed,
    draft: &Draft,
    now: Timestamp,
) -> Option<PodCondition> {
    let mut specs = view.init.iter().chain(&view.apps);
    if !specs.any(|spec| restart::may_restart_all(spec)) {
        return None;
    }
    // A restart that has nothing to stop is told of too.
    let begins = !observed.restarting_all && draft.memo.restart_all.is_some();
    let restarting = begins || draft.memo.restart_all == Some(RestartAll::Stopping);
    let status = if restarting { "True" } else { "False" };
    let mut before = observed.status.conditions.iter().flatten();
    let unchanged = before.find(|condition| condition.type_ == CONDITION && condition.status == status);
    let since = unchanged.and_then(|condition| condition.last_transition_time.clone());
    Some(PodCondition {
        type_: CONDITION.into(),
        status: status.into(),
        reason: restarting.then(|| "RestartAllContainersStarted".into()),
        message: None,
        last_transition_time: Some(since.unwrap_or_else(|| seconds(now))),
        last_probe_time: None,
        observed_generation: view.pod.metadata.generation,
    })
}
