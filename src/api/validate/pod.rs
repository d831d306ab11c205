//! A pod as a whole: the fields of `spec` that belong to no container or volume, in `ValidatePodSpec`'s order.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::container::Scope;
use super::errors::{BadValue, Errors, FieldPath};
use super::{container, formats, items, metadata, probe, resources, scheduling, security, text, volume};

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARACTERS: usize = 2048;
const MAX_HOSTNAME_OVERRIDE: usize = 64;
const MAX_SECONDS: i64 = i32::MAX as i64;

pub(super) fn pod(errors: &mut Errors, pod: &Pod) {
    metadata::object_meta(errors, &pod.metadata, true, formats::dns_subdomain);
    let path = FieldPath::new("spec");
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    pod_spec(errors, spec, text(&pod.metadata.name), &path);
    if text(&spec.service_account_name).is_empty() {
        volume::no_token_without_account(errors, items(&spec.volumes), &path.child("volumes"));
    }
    for (containers, name) in [(&spec.containers[..], "containers"), (items(&spec.init_containers), "initContainers")] {
        for (index, container) in containers.iter().enumerate() {
            let image = text(&container.image);
            if image.trim() != image {
                let path = path.child(name).index(index).child("image");
                errors.invalid(&path, image, "must not have leading or trailing whitespace");
            }
        }
    }
    if !items(&spec.ephemeral_containers).is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(&spec.node_name).is_empty() && !items(&spec.scheduling_gates).is_empty() {
        errors.forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
}

fn pod_spec(errors: &mut Errors, spec: &PodSpec, pod_name: &str, path: &FieldPath) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.required(&path.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volume::volumes(errors, items(&spec.volumes), pod_name, &path.child("volumes"));
    let claims = resources::pod_claims(errors, items(&spec.resource_claims), &path.child("resourceClaims"));
    let scope = Scope {
        volumes: &volumes,
        claims: &claims,
        grace_period: spec.termination_grace_period_seconds,
        pod_restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users.unwrap_or(true),
    };
    container::containers(errors, &spec.containers, &scope, &path.child("containers"));
    container::init_containers(errors, spec, &scope, &path.child("initContainers"));
    resources::pod_resources(errors, spec, &claims, &path.child("resources"));
    host_network_ports(errors, spec, path);
    let restart_policies = ["Always", "OnFailure", "Never"];
    errors.one_of(&path.child("restartPolicy"), text(&spec.restart_policy), &restart_policies);
    let dns_policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    errors.one_of(&path.child("dnsPolicy"), text(&spec.dns_policy), &dns_policies);
    metadata::labels(errors, spec.node_selector.as_ref(), &path.child("nodeSelector"));
    security::pod_security_context(errors, spec, &path.child("securityContext"));
    scheduling::affinity(errors, spec.affinity.as_ref(), &path.child("affinity"));
    dns_config(errors, spec, &path.child("dnsConfig"));
    scheduling::gates(errors, spec, path);
    scheduling::topology_spread(errors, spec, &path.child("topologySpreadConstraints"));
    host_users(errors, spec, path);
    hostname_override(errors, spec, path);
    names_and_limits(errors, spec, path);
    scheduling::tolerations(errors, items(&spec.tolerations), &path.child("tolerations"));
    host_aliases(errors, spec, &path.child("hostAliases"));
    classes(errors, spec, path);
    operating_system(errors, spec, path);
    file_key_volumes(errors, spec, path);
}

fn host_network_ports(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    if spec.host_network != Some(true) {
        return;
    }
    for (index, container) in spec.containers.iter().enumerate() {
        for (port_index, port) in items(&container.ports).iter().enumerate() {
            let host_port = port.host_port.unwrap_or_default();
            if host_port != port.container_port {
                let path = path.child("containers").index(index).child("ports").index(port_index).child("hostPort");
                errors.invalid(&path, host_port, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn dns_config(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let only_config = text(&spec.dns_policy) == "None";
    let Some(config) = &spec.dns_config else {
        if only_config {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let nameservers = items(&config.nameservers);
    if only_config && nameservers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return errors.required(&path.child("nameservers"), detail);
    }
    if nameservers.len() > MAX_NAMESERVERS {
        let detail = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        errors.invalid(&path.child("nameservers"), BadValue::json(&nameservers), &detail);
    }
    for (index, address) in nameservers.iter().enumerate() {
        errors.invalid_each(&path.child("nameservers").index(index), address, formats::ip_address(address));
    }
    let searches = items(&config.searches);
    let searches_path = path.child("searches");
    if searches.len() > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        errors.invalid(&searches_path, BadValue::json(&searches), &detail);
    }
    if searches.join(" ").len() > MAX_SEARCH_CHARACTERS {
        let detail =
            format!("must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list");
        errors.invalid(&searches_path, BadValue::json(&searches), &detail);
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let domain = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&searches_path.index(index), domain, formats::dns_subdomain_with_underscores(domain));
    }
    for (index, option) in items(&config.options).iter().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&path.child("options").index(index), "must not be empty");
        }
    }
}

fn host_users(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    if spec.host_users.unwrap_or(true) {
        return;
    }
    // The names of the last two fields are written as Kubernetes writes them here.
    for (set, name) in [(spec.host_network, "hostNetwork"), (spec.host_pid, "HostPID"), (spec.host_ipc, "HostIPC")] {
        if set == Some(true) {
            errors.forbidden(&path.child(name), "when `hostUsers` is false");
        }
    }
    for (container, path) in each_container(spec, path) {
        if !items(&container.volume_devices).is_empty() {
            errors.forbidden(&path.child("volumeDevices"), "when `hostUsers` is false");
        }
    }
}

fn hostname_override(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let Some(hostname) = &spec.hostname_override else { return };
    let path = path.child("hostnameOverride");
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.forbidden(&path, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        errors.forbidden(&path, "may not be specified when hostNetwork is true");
    }
    if hostname.len() > MAX_HOSTNAME_OVERRIDE {
        errors.too_long(&path, MAX_HOSTNAME_OVERRIDE);
    }
    errors.invalid_each(&path, hostname, formats::dns_subdomain(hostname));
}

fn names_and_limits(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    for (name, value) in [("serviceAccountName", text(&spec.service_account_name)), ("nodeName", text(&spec.node_name))]
    {
        if !value.is_empty() {
            errors.invalid_each(&path.child(name), value, formats::dns_subdomain(value));
        }
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        for detail in formats::in_range(seconds, 1, MAX_SECONDS) {
            errors.invalid(&path.child("activeDeadlineSeconds"), seconds, &detail);
        }
    }
    for (name, value) in [("hostname", text(&spec.hostname)), ("subdomain", text(&spec.subdomain))] {
        if !value.is_empty() {
            errors.invalid_each(&path.child(name), value, formats::dns_label(value));
        }
    }
}

fn host_aliases(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    for (index, alias) in items(&spec.host_aliases).iter().enumerate() {
        let path = path.index(index);
        errors.invalid_each(&path.child("ip"), &alias.ip, formats::ip_address(&alias.ip));
        for (index, hostname) in items(&alias.hostnames).iter().enumerate() {
            errors.invalid_each(&path.child("hostnames").index(index), hostname, formats::dns_subdomain(hostname));
        }
    }
}

fn classes(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let priority_class = text(&spec.priority_class_name);
    if !priority_class.is_empty() {
        errors.invalid_each(&path.child("priorityClassName"), priority_class, formats::dns_subdomain(priority_class));
    }
    if let Some(class) = &spec.runtime_class_name {
        errors.invalid_each(&path.child("runtimeClassName"), class, formats::dns_subdomain(class));
    }
    if let Some(policy) = &spec.preemption_policy {
        errors.one_of(&path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(overhead) = &spec.overhead {
        resources::overhead(errors, overhead, &path.child("overhead"));
    }
}

fn operating_system(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let Some(os) = &spec.os else { return };
    if os.name.is_empty() {
        return errors.required(&path.child("os").child("name"), "");
    }
    if !["linux", "windows"].contains(&os.name.as_str()) {
        return errors.unsupported(&path.child("os"), &os.name, &["linux", "windows"]);
    }
    if os.name == "linux" {
        let detail = "windows options cannot be set for a linux pod";
        if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
            errors.forbidden(&path.child("securityContext").child("windowsOptions"), detail);
        }
        for (container, path) in each_container(spec, path) {
            if container.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
                errors.forbidden(&path.child("securityContext").child("windowsOptions"), detail);
            }
        }
    }
}

/// Variables read from files need their volume to be an emptyDir.
fn file_key_volumes(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let all: BTreeSet<&str> = items(&spec.volumes).iter().map(|volume| volume.name.as_str()).collect();
    let empty_dirs: BTreeSet<&str> = items(&spec.volumes)
        .iter()
        .filter(|volume| volume.empty_dir.is_some())
        .map(|volume| volume.name.as_str())
        .collect();
    for (container, path) in each_container(spec, path) {
        for (index, variable) in items(&container.env).iter().enumerate() {
            let source = variable.value_from.as_ref().and_then(|source| source.file_key_ref.as_ref());
            let Some(source) = source else { continue };
            let path = path.child("env").index(index).child("valueFrom").child("fileKeyRef").child("volumeName");
            let name = source.volume_name.as_str();
            if !all.contains(name) {
                errors.not_found(&path, name, "");
            } else if !empty_dirs.contains(name) {
                errors.invalid(&path, name, "referenced volume must be of type emptyDir");
            }
        }
    }
}

/// Init containers, then app containers, each with its path.
fn each_container<'s>(spec: &'s PodSpec, path: &FieldPath) -> Vec<(&'s Container, FieldPath)> {
    let with_paths = |containers: &'s [Container], name: &str| {
        let path = path.child(name);
        containers.iter().enumerate().map(move |(index, container)| (container, path.index(index)))
    };
    let init = with_paths(items(&spec.init_containers), "initContainers");
    init.chain(with_paths(&spec.containers, "containers")).collect()
}

/// Whether an init container is a sidecar.
pub(super) fn is_sidecar(container: &Container) -> bool {
    text(&container.restart_policy) == probe::ALWAYS
}
