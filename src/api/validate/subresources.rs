//! What may change of a pod through its subresources: ephemeral containers that are added, resources that are resized.
//!
//! Rules and words are those of `ValidatePodEphemeralContainersUpdate`, `validateEphemeralContainers` and
//! `ValidatePodResize` v1.36.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

use super::container::{self, Scope};
use super::errors::{Errors, FieldPath};
use super::{items, resources, text, volume};
use crate::api::qos::qos_class;

const NOT_FOR_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
/// The resources that can be resized.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// Checks the ephemeral containers of a pod against those it had.
pub(super) fn ephemeral_containers(errors: &mut Errors, pod: &Pod, old: &Pod) {
    let empty = PodSpec::default();
    let (spec, old) = (pod.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let path = FieldPath::new("spec").child("ephemeralContainers");
    let (new, old) = (items(&spec.ephemeral_containers), items(&old.ephemeral_containers));
    all(errors, spec, text(&pod.metadata.name), new, &path);
    for before in old {
        match new.iter().find(|container| container.name == before.name) {
            Some(now) if now == before => {}
            Some(_) => {
                let detail = format!("existing ephemeral containers {:?} may not be changed", before.name);
                errors.forbidden(&path, &detail);
            }
            None => {
                let detail = format!("existing ephemeral containers {:?} may not be removed", before.name);
                errors.forbidden(&path, &detail);
            }
        }
    }
}

fn all(errors: &mut Errors, spec: &PodSpec, pod_name: &str, containers: &[EphemeralContainer], path: &FieldPath) {
    // What is wrong with the volumes was told when the pod was created.
    let mut told = Errors::default();
    let volumes = volume::volumes(&mut told, items(&spec.volumes), pod_name, path);
    let claims = resources::pod_claims(&mut told, items(&spec.resource_claims), path);
    let scope = Scope {
        volumes: &volumes,
        claims: &claims,
        grace_period: spec.termination_grace_period_seconds,
        pod_restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users.unwrap_or(true),
    };
    let others = spec.containers.iter().chain(items(&spec.init_containers));
    let mut names: BTreeSet<&str> = others.map(|container| container.name.as_str()).collect();
    let targets = names.clone();
    for (index, ephemeral) in containers.iter().enumerate() {
        let path = path.index(index);
        container::common(errors, &as_container(ephemeral), &scope, &path);
        if !names.insert(&ephemeral.name) {
            errors.duplicate(&path.child("name"), &ephemeral.name);
        }
        let target = text(&ephemeral.target_container_name);
        if !target.is_empty() && !targets.contains(target) {
            errors.not_found(&path.child("targetContainerName"), target, "");
        }
        for (set, field) in [
            (ephemeral.lifecycle.is_some(), "lifecycle"),
            (ephemeral.liveness_probe.is_some(), "livenessProbe"),
            (!items(&ephemeral.ports).is_empty(), "ports"),
            (ephemeral.readiness_probe.is_some(), "readinessProbe"),
            (!items(&ephemeral.resize_policy).is_empty(), "resizePolicy"),
            (states_any(ephemeral.resources.as_ref()), "resources"),
            (ephemeral.restart_policy.is_some(), "restartPolicy"),
            (ephemeral.startup_probe.is_some(), "startupProbe"),
        ] {
            if set {
                errors.forbidden(&path.child(field), NOT_FOR_EPHEMERAL);
            }
        }
        for (index, mount) in items(&ephemeral.volume_mounts).iter().enumerate() {
            let path = path.child("volumeMounts").index(index);
            for (value, field) in [(&mount.sub_path, "subPath"), (&mount.sub_path_expr, "subPathExpr")] {
                if !text(value).is_empty() {
                    errors.forbidden(&path.child(field), NOT_FOR_EPHEMERAL);
                }
            }
        }
    }
}

fn states_any(resources: Option<&ResourceRequirements>) -> bool {
    let filled = |list: &Option<BTreeMap<String, Written>>| list.as_ref().is_some_and(|list| !list.is_empty());
    resources.is_some_and(|resources| filled(&resources.limits) || filled(&resources.requests))
}

/// What an ephemeral container has in common with others, except for what only others may have.
fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let EphemeralContainer { name, image, image_pull_policy, termination_message_policy, .. } = ephemeral.clone();
    let EphemeralContainer { env, env_from, volume_mounts, volume_devices, security_context, .. } = ephemeral.clone();
    Container {
        name,
        image,
        image_pull_policy,
        termination_message_policy,
        env,
        env_from,
        volume_mounts,
        volume_devices,
        security_context,
        ..Container::default()
    }
}

/// Checks the resources of a pod's containers against those they had. Nothing else may differ.
pub(super) fn resize(errors: &mut Errors, pod: &Pod, old: &Pod) {
    let empty = PodSpec::default();
    let (spec, old) = (pod.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    let path = FieldPath::new("spec");
    for (name, new, old) in [
        ("containers", &spec.containers[..], &old.containers[..]),
        ("initContainers", items(&spec.init_containers), items(&old.init_containers)),
    ] {
        for (index, (new, old)) in new.iter().zip(old).enumerate() {
            let path = path.child(name).index(index).child("resources");
            let claims = BTreeSet::new();
            resources::container_resources(errors, new.resources.as_ref(), &claims, &path);
            container_resize(errors, new.resources.as_ref(), old.resources.as_ref(), &path);
        }
    }
    let (class, before) = (qos_class(spec), qos_class(old));
    if class != before {
        errors.invalid(&path, class.to_string(), "Pod QOS Class may not change as a result of resizing");
    }
}

fn container_resize(
    errors: &mut Errors,
    new: Option<&ResourceRequirements>,
    old: Option<&ResourceRequirements>,
    path: &FieldPath,
) {
    let none = ResourceRequirements::default();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    for (field, new, old) in [("limits", &new.limits, &old.limits), ("requests", &new.requests, &old.requests)] {
        let amount = |list: &Option<BTreeMap<String, Written>>, name: &str| list.as_ref()?.get(name).cloned();
        let names: BTreeSet<&String> = new.iter().chain(old.iter()).flat_map(BTreeMap::keys).collect();
        for name in names {
            let (now, before) = (amount(new, name), amount(old, name));
            if now == before {
                continue;
            }
            if !RESIZABLE.contains(&name.as_str()) {
                errors.forbidden(&FieldPath::new("spec"), "only cpu and memory resources are mutable");
            } else if now.is_none() {
                errors.forbidden(&path.child(field), &format!("resource {field} cannot be removed"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    fn pod(spec: &str) -> Pod {
        let mut pod = serde_yaml::from_str(&format!("{{metadata: {{name: p}}, spec: {{{spec}}}}}")).unwrap();
        crate::api::default_pod(&mut pod);
        pod
    }

    #[test]
    fn ephemeral_containers_are_added_and_stay() {
        let debug = "{name: d, image: i}";
        for (old, new, expected) in [
            ("", debug, &[][..]),
            (debug, debug, &[]),
            (debug, "{name: d, image: i}, {name: e, image: i, targetContainerName: c}", &[]),
            (
                debug,
                "",
                &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed"],
            ),
            (
                debug,
                "{name: d, image: j}",
                &["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be changed"],
            ),
            ("", "{name: c, image: i}", &["spec.ephemeralContainers[0].name: Duplicate value: \"c\""]),
            (
                "",
                "{name: d, image: i, targetContainerName: x}",
                &["spec.ephemeralContainers[0].targetContainerName: Not found: \"x\""],
            ),
            (
                "",
                "{name: d, image: i, ports: [{containerPort: 1}], resources: {limits: {cpu: 1}}}",
                &[
                    "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
                    "spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container",
                ],
            ),
            ("", "{name: d}", &["spec.ephemeralContainers[0].image: Required value"]),
        ] {
            let pods = [new, old].map(|list| pod(&format!("containers: [{{name: c}}], ephemeralContainers: [{list}]")));
            let errors = crate::api::validate_ephemeral_containers(&pods[0], &pods[1]);
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected, "{old} -> {new}");
        }
    }

    #[test]
    fn only_amounts_of_cpu_and_memory_change() {
        for (old, new, expected) in [
            ("requests: {cpu: 1}", "requests: {cpu: 2, memory: 1Mi}", &[][..]),
            (
                "requests: {cpu: 1, memory: 1Mi}",
                "requests: {cpu: 1}",
                &["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
            ),
            (
                "requests: {cpu: 1}",
                "requests: {cpu: 1, ephemeral-storage: 1Mi}",
                &["spec: Forbidden: only cpu and memory resources are mutable"],
            ),
            (
                "requests: {cpu: 1, memory: 1Mi}",
                "limits: {cpu: 1, memory: 1Mi}",
                &["spec: Invalid value: \"Guaranteed\": Pod QOS Class may not change as a result of resizing"],
            ),
            (
                "limits: {cpu: 1}",
                "requests: {cpu: 2}, limits: {cpu: 1}",
                &[
                    "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                ],
            ),
        ] {
            let pods = [new, old].map(|list| pod(&format!("containers: [{{name: c, resources: {{{list}}}}}]")));
            let errors = crate::api::validate_pod_resize(&pods[0], &pods[1]);
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected, "{old} -> {new}");
        }
    }
}
