//! Probes, lifecycle hooks and restart rules of containers.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container::Scope;
use super::errors::{Errors, FieldPath};
use super::{formats, items, text};

/// The restart policy that makes an init container a sidecar.
pub(super) const ALWAYS: &str = "Always";
const MAX_RESTART_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
/// The one thing that a probe or hook does.
#[derive(Default)]
struct Action<'h> {
    exec: Option<&'h ExecAction>,
    http_get: Option<&'h HTTPGetAction>,
    tcp_socket: Option<&'h TCPSocketAction>,
    grpc_port: Option<i32>,
    sleep: Option<&'h SleepAction>,
}

impl<'h> Action<'h> {
    fn of_probe(probe: &'h Probe) -> Self {
        Self {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc_port: probe.grpc.as_ref().map(|grpc| grpc.port),
            sleep: None,
        }
    }

    fn of_hook(hook: &'h LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc_port: None,
            sleep: hook.sleep.as_ref(),
        }
    }
}

pub(super) fn lifecycle_and_probes(errors: &mut Errors, container: &Container, scope: &Scope<'_>, path: &FieldPath) {
    if let Some(hooks) = &container.lifecycle {
        lifecycle(errors, hooks, scope, &path.child("lifecycle"));
    }
    if let Some(probe) = &container.liveness_probe {
        common(errors, probe, scope, &path.child("livenessProbe"));
        succeeds_once(errors, probe, &path.child("livenessProbe"));
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        common(errors, probe, scope, &path);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let path = path.child("terminationGracePeriodSeconds");
            errors.invalid(&path, seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        common(errors, probe, scope, &path.child("startupProbe"));
        succeeds_once(errors, probe, &path.child("startupProbe"));
    }
}

fn succeeds_once(errors: &mut Errors, probe: &Probe, path: &FieldPath) {
    let threshold = probe.success_threshold.unwrap_or_default();
    if threshold != 1 {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

fn common(errors: &mut Errors, probe: &Probe, scope: &Scope<'_>, path: &FieldPath) {
    action(errors, &Action::of_probe(probe), scope.grace_period, path);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        let value = value.unwrap_or_default();
        if value < 0 {
            errors.invalid(&path.child(name), value, "must be greater than or equal to 0");
        }
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
}

fn lifecycle(errors: &mut Errors, lifecycle: &Lifecycle, scope: &Scope<'_>, path: &FieldPath) {
    if let Some(hook) = &lifecycle.post_start {
        action(errors, &Action::of_hook(hook), scope.grace_period, &path.child("postStart"));
    }
    if let Some(hook) = &lifecycle.pre_stop {
        action(errors, &Action::of_hook(hook), scope.grace_period, &path.child("preStop"));
    }
}

/// Checks that exactly one action is there, and that one: `validateHandler`.
fn action(errors: &mut Errors, action: &Action<'_>, grace_period: Option<i64>, path: &FieldPath) {
    let mut found = false;
    let mut first = |errors: &mut Errors, name: &str| {
        if found {
            errors.forbidden(&path.child(name), "may not specify more than 1 handler type");
            return false;
        }
        found = true;
        true
    };
    if let Some(exec) = action.exec
        && first(errors, "exec")
        && items(&exec.command).is_empty()
    {
        errors.required(&path.child("exec").child("command"), "");
    }
    if let Some(http_get) = action.http_get
        && first(errors, "httpGet")
    {
        http_get_action(errors, http_get, &path.child("httpGet"));
    }
    if let Some(tcp_socket) = action.tcp_socket
        && first(errors, "tcpSocket")
    {
        port(errors, &tcp_socket.port, &path.child("tcpSocket").child("port"));
    }
    if let Some(grpc_port) = action.grpc_port
        && first(errors, "grpc")
    {
        port(errors, &IntOrString::Int(grpc_port), &path.child("grpc").child("port"));
    }
    if let Some(sleep) = action.sleep
        && first(errors, "sleep")
        && let Some(grace_period) = grace_period
        && !(0..=grace_period).contains(&sleep.seconds)
    {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_period})");
        errors.invalid(&path.child("sleep"), sleep.seconds, &detail);
    }
    if !found {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get_action(errors: &mut Errors, action: &HTTPGetAction, path: &FieldPath) {
    if text(&action.path).is_empty() {
        errors.required(&path.child("path"), "");
    }
    port(errors, &action.port, &path.child("port"));
    let schemes = ["HTTP", "HTTPS"];
    if !schemes.contains(&text(&action.scheme)) {
        errors.unsupported(&path.child("scheme"), text(&action.scheme), &schemes);
    }
    for header in items(&action.http_headers) {
        errors.invalid_each(&path.child("httpHeaders"), &header.name, formats::http_header_name(&header.name));
    }
}

/// Checks a port given by number or name.
pub(super) fn port(errors: &mut Errors, port: &IntOrString, path: &FieldPath) {
    match port {
        IntOrString::Int(number) => {
            for detail in formats::port_number((*number).into()) {
                errors.invalid(path, *number, &detail);
            }
        }
        IntOrString::String(name) => errors.invalid_each(path, name, formats::port_name(name)),
    }
}

/// Checks a container's own restart policy and rules, which init and app containers may have.
pub(super) fn restart_policy(errors: &mut Errors, container: &Container, path: &FieldPath) {
    let rules = items(&container.restart_policy_rules);
    let policies = ["Always", "Never", "OnFailure"];
    match container.restart_policy.as_deref() {
        None if rules.is_empty() => return,
        None => {
            let detail = "must specify restartPolicy when restart rules are used";
            errors.required(&path.child("restartPolicy"), detail);
        }
        Some(policy) if !policies.contains(&policy) => {
            errors.unsupported(&path.child("restartPolicy"), policy, &policies);
        }
        Some(_) => {}
    }
    if rules.len() > MAX_RESTART_RULES {
        errors.too_many(&path.child("restartPolicyRules"), rules.len(), MAX_RESTART_RULES);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.child("restartPolicyRules").index(index);
        let actions = ["Restart", "RestartAllContainers"];
        if !actions.contains(&rule.action.as_str()) {
            errors.unsupported(&path.child("action"), &rule.action, &actions);
        }
        let path = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required(&path, "must be specified");
            continue;
        };
        if !["In", "NotIn"].contains(&codes.operator.as_str()) {
            errors.unsupported(&path.child("operator"), &codes.operator, &["In", "NotIn"]);
        }
        let values = items(&codes.values);
        if values.len() > MAX_EXIT_CODES {
            errors.too_many(&path.child("values"), values.len(), MAX_EXIT_CODES);
        }
    }
}
