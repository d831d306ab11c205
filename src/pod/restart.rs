//! Whether a container that ended is started again (kubelet v1.36 `ShouldContainerBeRestarted`,
//! `shouldRestartOnExit`).

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};

use super::instance::{Exit, Instance, RESTARTING_ALL};
use super::plan::ContainerKind;
use super::spec::{ContainerSpec, PodView};
use super::stop::StopCause;

/// The action of a rule that restarts all containers of the pod.
const RESTART_ALL: &str = "RestartAllContainers";
/// `reason` of a container that ran out of memory: a failure whatever its code.
pub(super) const OOM_KILLED: &str = "OOMKilled";

/// Whether a plain init container did its work.
pub(super) fn succeeded(exit: &Exit) -> bool {
    is_success(exit.code, &exit.reason)
}

fn is_success(code: i32, reason: &str) -> bool {
    code == 0 && reason != OOM_KILLED
}

/// Whether another instance follows one that has ended. What was killed because of its probes asks the policies only;
/// what was killed for a change of its definition is restarted whatever they say.
pub(super) fn restarts(view: &PodView<'_>, spec: &ContainerSpec<'_>, instance: &Instance) -> bool {
    let Some(exit) = instance.exit() else { return false };
    match instance.stop.as_ref().map(|stop| stop.cause) {
        Some(StopCause::DefinitionChanged | StopCause::Resize) => true,
        Some(StopCause::LivenessProbe | StopCause::StartupProbe) => restarts_after_kill(view, spec),
        _ => restarts_after(view, spec, exit.code, &exit.reason),
    }
}

/// Whether another instance follows one that is killed because of its probes.
pub(super) fn restarts_after_kill(view: &PodView<'_>, spec: &ContainerSpec<'_>) -> bool {
    spec.kind == ContainerKind::Sidecar || policy(view, spec) != Some("Never")
}

fn policy<'a>(view: &PodView<'a>, spec: &'a ContainerSpec<'_>) -> Option<&'a str> {
    spec.container.restart_policy.as_deref().or(view.spec.restart_policy.as_deref())
}

/// The restart decision for an end known by its exit code and reason: the first matching rule of the container, its own
/// policy, the pod's policy.
pub(super) fn restarts_after(view: &PodView<'_>, spec: &ContainerSpec<'_>, code: i32, reason: &str) -> bool {
    match spec.kind {
        ContainerKind::Ephemeral => return false,
        ContainerKind::Sidecar => return true,
        _ if reason == RESTARTING_ALL => return true,
        ContainerKind::Init if is_success(code, reason) => return false,
        ContainerKind::Init | ContainerKind::App => {}
    }
    if first_matching_rule(&spec.container, code).is_some() {
        return true;
    }
    match policy(view, spec) {
        Some("Never") => false,
        Some("OnFailure") => !is_success(code, reason),
        _ => true,
    }
}

/// Whether the first rule that matches an exit code restarts all containers of the pod.
pub(super) fn restarts_all(spec: &ContainerSpec<'_>, code: i32) -> bool {
    first_matching_rule(&spec.container, code).is_some_and(|rule| rule.action == RESTART_ALL)
}

/// Whether some rule restarts all containers of the pod.
pub(super) fn may_restart_all(spec: &ContainerSpec<'_>) -> bool {
    spec.container.restart_policy_rules.iter().flatten().any(|rule| rule.action == RESTART_ALL)
}

/// Rules count only beside a policy of the container's own.
fn first_matching_rule(container: &Container, code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy.as_ref()?;
    container.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|value| *value == code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    /// §4 "Restart decision": container fields, pod policy, exit code and reason, whether it restarts.
    #[test]
    fn the_first_rule_then_the_container_then_the_pod_decides() {
        let rules =
            "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3, 4]}}]";
        let not_in = "restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: NotIn, values: [0, 9]}}]";
        for (list, fields, pod_policy, code, reason, expected) in [
            ("containers", "", "Always", 0, "Completed", true),
            ("containers", "", "Always", 1, "Error", true),
            ("containers", "", "OnFailure", 0, "Completed", false),
            ("containers", "", "OnFailure", 1, "Error", true),
            ("containers", "", "Never", 0, "Completed", false),
            ("containers", "", "Never", 1, "Error", false),
            ("containers", "restartPolicy: OnFailure", "Never", 1, "Error", true),
            ("containers", "restartPolicy: Never", "Always", 1, "Error", false),
            ("containers", rules, "Always", 3, "Error", true),
            ("containers", rules, "Always", 5, "Error", false),
            ("containers", not_in, "Always", 1, "Error", true),
            ("containers", not_in, "Always", 9, "Error", false),
            ("initContainers", "", "Always", 0, "Completed", false),
            ("initContainers", "", "Always", 1, "Error", true),
            ("initContainers", "", "OnFailure", 1, "Error", true),
            ("initContainers", "", "Never", 1, "Error", false),
            ("initContainers", "", "Always", 0, OOM_KILLED, true),
            ("initContainers", "", "Never", 0, OOM_KILLED, false),
            ("initContainers", "restartPolicy: Always", "Never", 0, "Completed", true),
            ("initContainers", "restartPolicy: Always", "Never", 1, "Error", true),
        ] {
            let other = if list == "containers" { "initContainers" } else { "containers" };
            let yaml =
                format!("{{spec: {{restartPolicy: {pod_policy}, {other}: [], {list}: [{{name: c, {fields}}}]}}}}");
            let pod: Pod = serde_yaml::from_str(&yaml).unwrap();
            let view = PodView::new(&pod);
            assert_eq!(
                restarts_after(&view, view.find("c").unwrap(), code, reason),
                expected,
                "{yaml} exit {code} {reason}"
            );
        }
    }
}
