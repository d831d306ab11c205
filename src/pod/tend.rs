//! Looking after the containers that run while the pod lives: hooks, probes, kills that lead to a restart, changes of
//! resources (kubelet v1.36 `computePodActions`, `startContainer`, `computePodResizeAction`).

use k8s_openapi::api::core::v1::Probe;

use super::instance::{HookState, Instance, InstanceState, Probing};
use super::observed::Observed;
use super::plan::{Action, ContainerKind, Draft, HookKind};
use super::resize;
use super::restart;
use super::spec::{ContainerSpec, PodView};
use super::stop::{self, Circumstances, Stop, StopCause};
use crate::base::clock::Timestamp;

/// Plans what running containers need.
pub(super) fn plan_upkeep(view: &PodView<'_>, observed: &Observed, now: Timestamp, draft: &mut Draft) {
    for spec in view.all() {
        let Some(instance) = observed.instance(spec.name()) else { continue };
        match instance.state {
            InstanceState::Starting => {}
            InstanceState::Exited(_) => cancel_hooks(spec, instance, draft),
            InstanceState::Running { .. } => tend(view, spec, instance, now, draft),
        }
    }
    resize::tell(view, observed, draft);
}

/// Gives up the hooks of an instance that has ended.
pub(super) fn cancel_hooks(spec: &ContainerSpec<'_>, instance: &Instance, draft: &mut Draft) {
    let pre_stop = instance.stop.as_ref().map(|stop| stop.pre_stop);
    for (hook, state) in [(HookKind::PostStart, Some(instance.post_start)), (HookKind::PreStop, pre_stop)] {
        if state == Some(HookState::Running) {
            draft.actions.push(Action::CancelHook { container: spec.name().into(), attempt: instance.attempt, hook });
        }
    }
}

fn tend(view: &PodView<'_>, spec: &ContainerSpec<'_>, instance: &Instance, now: Timestamp, draft: &mut Draft) {
    let (container, attempt) = (spec.name(), instance.attempt);
    if let Some(stop) = &instance.stop {
        return stop::proceed(spec, instance, stop, Circumstances::FREE, now, draft);
    }
    if spec.has_post_start() {
        match instance.post_start {
            HookState::Pending => {
                let hook = HookKind::PostStart;
                return draft.actions.push(Action::RunHook { container: container.into(), attempt, hook });
            }
            HookState::Running => return,
            HookState::Over { .. } | HookState::Failed { .. } => {}
        }
    }
    let resizable = draft.infeasible.is_none();
    if let Some((stop, message)) = kill(view, spec, instance, resizable, now) {
        return stop::begin(spec, instance, stop, message, Circumstances::FREE, now, draft);
    }
    if instance.probing == Probing::Not && spec.has_probes() {
        draft.actions.push(Action::StartProbes { container: container.into(), attempt });
    }
    resize::plan_resize(spec, instance, now, draft);
}

/// Why an instance has to be killed, if it has to, and what is told of it.
fn kill(
    view: &PodView<'_>,
    spec: &ContainerSpec<'_>,
    instance: &Instance,
    resizable: bool,
    now: Timestamp,
) -> Option<(Stop, String)> {
    if !matches!(spec.kind, ContainerKind::App | ContainerKind::Sidecar) {
        return None;
    }
    let name = spec.name();
    let grace = |probe: Option<&Probe>| {
        probe.and_then(|probe| probe.termination_grace_period_seconds).unwrap_or_else(|| view.grace_seconds())
    };
    let stop = |cause, probe| Stop::new(cause, grace(probe), now);
    // Whether another instance follows, as the message says it; of sidecars it goes without saying.
    let restarted = |restarts: bool| match spec.kind {
        ContainerKind::Sidecar => ("Init container", ""),
        _ if restarts => ("Container", ", will be restarted"),
        _ => ("Container", ""),
    };
    let after_probe = || restarted(restart::restarts_after_kill(view, spec));
    let said = |(what, suffix): (&str, &str), why: &str| format!("{what} {name} {why}{suffix}");
    let container = spec.container.as_ref();
    if matches!(instance.post_start, HookState::Failed { .. }) {
        Some((stop(StopCause::PostStartHook, None), "FailedPostStartHook".to_owned()))
    } else if instance.spec_image != spec.image() {
        Some((stop(StopCause::DefinitionChanged, None), said(restarted(true), "definition changed")))
    } else if instance.probes.liveness == Some(false) {
        let stop = stop(StopCause::LivenessProbe, container.liveness_probe.as_ref());
        Some((stop, said(after_probe(), "failed liveness probe")))
    } else if instance.probes.startup == Some(false) {
        let stop = stop(StopCause::StartupProbe, container.startup_probe.as_ref());
        Some((stop, said(after_probe(), "failed startup probe")))
    } else if resizable && resize::needs_restart(spec, instance) {
        Some((stop(StopCause::Resize, None), said(restarted(true), "resize requires restart")))
    } else {
        None
    }
}

/// Asks containers that have started and are not ready for their readiness at once. Whenever a status changes, the
/// reason may have gone (kubelet v1.36 `prober_manager.UpdatePodStatus`). Differs from Kubernetes, which asks whenever
/// it computes a status, changed or not.
pub(super) fn probe_unready(view: &PodView<'_>, observed: &Observed, draft: &mut Draft) {
    for spec in view.init.iter().chain(&view.apps).filter(|spec| spec.container.readiness_probe.is_some()) {
        let Some(instance) = observed.instance(spec.name()) else { continue };
        if instance.probing != Probing::Not && instance.is_started(spec) && !instance.is_ready(spec) {
            let container = spec.name().to_owned();
            draft.actions.push(Action::ProbeReadiness { container, attempt: instance.attempt });
        }
    }
}
