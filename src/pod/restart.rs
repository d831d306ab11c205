//! Whether a container that ended is started again (kubelet v1.36 `ShouldContainerBeRestarted`,
//! `shouldRestartOnExit`).

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule};

use super::observed::Exit;
use super::plan::ContainerKind;
use super::spec::{ContainerSpec, PodView};

/// `reason` of a container that ran out of memory: a failure whatever its code.
pub(super) const OOM_KILLED: &str = "OOMKilled";

/// Whether a plain init container did its work.
pub(super) fn succeeded(exit: &Exit) -> bool {
    is_success(exit.code, &exit.reason)
}

fn is_success(code: i32, reason: &str) -> bool {
    code == 0 && reason != OOM_KILLED
}

/// The restart decision: the first matching rule of the container, its own policy, the pod's policy.
pub(super) fn restarts(view: &PodView<'_>, spec: &ContainerSpec<'_>, exit: &Exit) -> bool {
    restarts_after(view, spec, exit.code, &exit.reason)
}

/// [`restarts`] for an end known by its exit code and reason.
pub(super) fn restarts_after(view: &PodView<'_>, spec: &ContainerSpec<'_>, code: i32, reason: &str) -> bool {
    match spec.kind {
        ContainerKind::Sidecar => return true,
        ContainerKind::Init if is_success(code, reason) => return false,
        ContainerKind::Init | ContainerKind::App => {}
    }
    let own = spec.container.restart_policy.as_deref();
    if own.is_some() && first_matching_rule(spec.container, code).is_some() {
        // Of the actions, only `Restart` gets here: `RestartAllContainers` is refused with the pod (api/support).
        return true;
    }
    match own.or(view.spec.restart_policy.as_deref()) {
        Some("Never") => false,
        Some("OnFailure") => !is_success(code, reason),
        _ => true,
    }
}

fn first_matching_rule(container: &Container, code: i32) -> Option<&ContainerRestartRule> {
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
    use crate::base::clock::Timestamp;

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
            let exit = Exit {
                id: String::new(),
                code,
                reason: reason.into(),
                message: None,
                started_at: None,
                finished_at: Timestamp::UNIX_EPOCH,
            };
            assert_eq!(restarts(&view, view.find("c").unwrap(), &exit), expected, "{yaml} exit {code} {reason}");
        }
    }
}
