//! Containers: names, images, ports, mounts, and what only init or only app containers may have.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, ContainerPort, ContainerResizePolicy, PodSpec, VolumeMount};

use super::errors::{BadValue, Errors, FieldPath};
use super::pod::is_sidecar;
use super::volume::{VolumeKinds, no_backsteps, relative_path};
use super::{env, formats, items, probe, resources, security, text};

/// What a container's validation needs to know of its pod.
pub(super) struct Scope<'p> {
    /// The pod's valid volumes.
    pub(super) volumes: &'p VolumeKinds,
    /// The names of the pod's resource claims.
    pub(super) claims: &'p BTreeSet<String>,
    pub(super) grace_period: Option<i64>,
    pub(super) pod_restart_policy: &'p str,
    pub(super) host_users: bool,
}

pub(super) fn containers(errors: &mut Errors, containers: &[Container], scope: &Scope<'_>, path: &FieldPath) {
    if containers.is_empty() {
        return errors.required(path, "");
    }
    let mut names = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        common(errors, container, scope, &path);
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), &container.name);
        }
        probe::lifecycle_and_probes(errors, container, scope, &path);
        probe::restart_policy(errors, container, &path);
    }
    let mut taken = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        host_port_conflicts(errors, container, &mut taken, &path.index(index));
    }
}

pub(super) fn init_containers(errors: &mut Errors, spec: &PodSpec, scope: &Scope<'_>, path: &FieldPath) {
    let mut names: BTreeSet<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    for (index, container) in items(&spec.init_containers).iter().enumerate() {
        let path = path.index(index);
        common(errors, container, scope, &path);
        probe::restart_policy(errors, container, &path);
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), &container.name);
        }
        // Differs from Kubernetes: the path names the container itself; Kubernetes always says index 0 here.
        host_port_conflicts(errors, container, &mut BTreeSet::new(), &path);
        if is_sidecar(container) {
            probe::lifecycle_and_probes(errors, container, scope, &path);
            continue;
        }
        for (set, name) in [
            (container.lifecycle.is_some(), "lifecycle"),
            (container.liveness_probe.is_some(), "livenessProbe"),
            (container.readiness_probe.is_some(), "readinessProbe"),
            (container.startup_probe.is_some(), "startupProbe"),
        ] {
            if set {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(&path.child(name), detail);
            }
        }
        for (index, policy) in items(&container.resize_policy).iter().enumerate() {
            if policy.restart_policy == "RestartContainer" {
                let path = path.child("resizePolicy").index(index).child("restartPolicy");
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                errors.invalid(&path, &policy.restart_policy, detail);
            }
        }
    }
}

/// What every container must fulfil: `validateContainerCommon`.
pub(super) fn common(errors: &mut Errors, container: &Container, scope: &Scope<'_>, path: &FieldPath) {
    if container.name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        errors.invalid_each(&path.child("name"), &container.name, formats::dns_label(&container.name));
    }
    if text(&container.image).is_empty() {
        errors.required(&path.child("image"), "");
    }
    let message_policies = ["File", "FallbackToLogsOnError"];
    let message_policy = text(&container.termination_message_policy);
    errors.one_of(&path.child("terminationMessagePolicy"), message_policy, &message_policies);
    ports(errors, items(&container.ports), &path.child("ports"));
    env::variables(errors, items(&container.env), &path.child("env"));
    env::sources(errors, items(&container.env_from), &path.child("envFrom"));
    mounts(errors, container, scope.volumes, &path.child("volumeMounts"));
    devices(errors, container, scope.volumes, &path.child("volumeDevices"));
    let pull_policies = ["Always", "IfNotPresent", "Never"];
    errors.one_of(&path.child("imagePullPolicy"), text(&container.image_pull_policy), &pull_policies);
    resources::container_resources(errors, container.resources.as_ref(), scope.claims, &path.child("resources"));
    let resize_path = path.child("resizePolicy");
    resize_policies(errors, items(&container.resize_policy), scope.pod_restart_policy, &resize_path);
    security::security_context(errors, container, scope.host_users, &path.child("securityContext"));
}

fn ports(errors: &mut Errors, ports: &[ContainerPort], path: &FieldPath) {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let wrong = formats::port_name(name);
            if wrong.is_empty() && !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            errors.invalid_each(&path.child("name"), name, wrong);
        }
        if port.container_port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            for detail in formats::port_number(port.container_port.into()) {
                errors.invalid(&path.child("containerPort"), port.container_port, &detail);
            }
        }
        let host_port = port.host_port.unwrap_or_default();
        if host_port != 0 {
            for detail in formats::port_number(host_port.into()) {
                errors.invalid(&path.child("hostPort"), host_port, &detail);
            }
        }
        errors.one_of(&path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    }
}

fn host_port_conflicts(errors: &mut Errors, container: &Container, taken: &mut BTreeSet<String>, path: &FieldPath) {
    for (index, port) in items(&container.ports).iter().enumerate() {
        let host_port = port.host_port.unwrap_or_default();
        if host_port == 0 {
            continue;
        }
        let key = format!("{}/{}/{host_port}", text(&port.protocol), text(&port.host_ip));
        if !taken.insert(key.clone()) {
            errors.duplicate(&path.child("ports").index(index).child("hostPort"), key);
        }
    }
}

fn mounts(errors: &mut Errors, container: &Container, volumes: &VolumeKinds, path: &FieldPath) {
    let devices: BTreeMap<&str, &str> = items(&container.volume_devices)
        .iter()
        .map(|device| (device.name.as_str(), device.device_path.as_str()))
        .collect();
    let device_paths: BTreeSet<&str> = devices.values().copied().collect();
    let mut points = BTreeSet::new();
    for (index, mount) in items(&container.volume_mounts).iter().enumerate() {
        let item = path.index(index);
        if mount.name.is_empty() {
            errors.required(&item.child("name"), "");
        }
        if !volumes.contains_key(&mount.name) {
            errors.not_found(&item.child("name"), &mount.name, "");
        }
        if mount.mount_path.is_empty() {
            errors.required(&item.child("mountPath"), "");
        }
        if !points.insert(mount.mount_path.as_str()) {
            errors.invalid(&item.child("mountPath"), &mount.mount_path, "must be unique");
        }
        if devices.contains_key(mount.name.as_str()) {
            errors.invalid(&item.child("name"), &mount.name, "must not already exist in volumeDevices");
        }
        if device_paths.contains(mount.mount_path.as_str()) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&item.child("mountPath"), &mount.mount_path, detail);
        }
        // From here on the paths lack the mount's index, as they do in Kubernetes.
        let (sub_path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
        relative_path(errors, sub_path, &path.child("subPath"));
        if !expression.is_empty() && !sub_path.is_empty() {
            errors.invalid(&item.child("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive");
        }
        relative_path(errors, expression, &path.child("subPathExpr"));
        mount_options(errors, container, mount, path);
    }
}

fn mount_options(errors: &mut Errors, container: &Container, mount: &VolumeMount, path: &FieldPath) {
    let propagation = mount.mount_propagation.as_deref();
    if let Some(propagation) = propagation {
        let path = path.child("mountPropagation");
        let supported = ["Bidirectional", "HostToContainer", "None"];
        if !supported.contains(&propagation) {
            errors.unsupported(&path, propagation, &supported);
        }
        let privileged = container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true));
        if propagation == "Bidirectional" && !privileged {
            let detail = "Bidirectional mount propagation is available only to privileged containers";
            errors.forbidden(&path, detail);
        }
    }
    let Some(recursive) = mount.recursive_read_only.as_deref() else { return };
    let path = path.child("recursiveReadOnly");
    match recursive {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if mount.read_only != Some(true) {
                errors.forbidden(&path, "may only be specified when readOnly is true");
            }
            if propagation.is_some_and(|propagation| propagation != "None") {
                errors.forbidden(&path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        other => errors.unsupported(&path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(errors: &mut Errors, container: &Container, volumes: &VolumeKinds, path: &FieldPath) {
    let mounts: BTreeMap<&str, &str> =
        items(&container.volume_mounts).iter().map(|mount| (mount.name.as_str(), mount.mount_path.as_str())).collect();
    let mount_paths: BTreeSet<&str> = mounts.values().copied().collect();
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, device) in items(&container.volume_devices).iter().enumerate() {
        let item = path.index(index);
        let (name, device_path) = (device.name.as_str(), device.device_path.as_str());
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        } else if !names.insert(name) {
            errors.invalid(&item.child("name"), name, "must be unique");
        }
        match volumes.get(name) {
            None => errors.not_found(&item.child("name"), name, ""),
            Some(true) => {}
            Some(false) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&item.child("name"), name, detail);
            }
        }
        if device_path.is_empty() {
            errors.required(&item.child("devicePath"), "");
        }
        if paths.contains(device_path) {
            errors.invalid(&item.child("devicePath"), device_path, "must be unique");
        }
        if no_backsteps(device_path) {
            paths.insert(device_path);
        } else {
            errors.invalid(&item.child("devicePath"), device_path, "can not contain backsteps ('..')");
        }
        if mounts.contains_key(name) {
            errors.invalid(&item.child("name"), name, "must not already exist in volumeMounts");
        }
        if mount_paths.contains(device_path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.invalid(&item.child("devicePath"), device_path, detail);
        }
    }
}

fn resize_policies(
    errors: &mut Errors,
    policies: &[ContainerResizePolicy],
    pod_restart_policy: &str,
    path: &FieldPath,
) {
    let mut seen = BTreeSet::new();
    for (index, policy) in policies.iter().enumerate() {
        if !seen.insert(policy.resource_name.as_str()) {
            errors.duplicate(&path.index(index), BadValue::from(&policy.resource_name));
        }
        errors.one_of(path, &policy.resource_name, &["cpu", "memory"]);
        errors.one_of(path, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        if pod_restart_policy == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(path, &policy.restart_policy, detail);
        }
    }
}
