//! The objects that pods use: ConfigMaps, Secrets, claims and Services.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::errors::{Errors, FieldPath};
use super::{formats, items, metadata, probe, text};
use crate::api::quantity::Quantity;

/// The most bytes a ConfigMap's or Secret's values may have together.
const MAX_DATA: usize = 1024 * 1024;
const MAX_AFFINITY_SECONDS: i32 = 86_400;

pub(super) fn config_map(errors: &mut Errors, config_map: &ConfigMap) {
    metadata::object_meta(errors, &config_map.metadata, true, formats::dns_subdomain);
    let mut size = 0;
    for (key, value) in config_map.data.iter().flatten() {
        let path = FieldPath::new("data").key(key);
        errors.invalid_each(&path, key, formats::config_key(key));
        if config_map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.invalid(&path, key, "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in config_map.binary_data.iter().flatten() {
        errors.invalid_each(&FieldPath::new("binaryData").key(key), key, formats::config_key(key));
        size += value.0.len();
    }
    if size > MAX_DATA {
        errors.too_long(&FieldPath::new(""), MAX_DATA);
    }
}

pub(super) fn secret(errors: &mut Errors, secret: &Secret) {
    metadata::object_meta(errors, &secret.metadata, true, formats::dns_subdomain);
    let path = FieldPath::new("data");
    let mut size = 0;
    for (key, value) in secret.data.iter().flatten() {
        errors.invalid_each(&path.key(key), key, formats::config_key(key));
        size += value.0.len();
    }
    if size > MAX_DATA {
        errors.too_long(&path, MAX_DATA);
    }
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    match text(&secret.type_) {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let account = secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
            if account.is_none_or(String::is_empty) {
                errors.required(&FieldPath::new("metadata").child("annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => json_value(errors, value(".dockercfg"), &path.key(".dockercfg")),
        "kubernetes.io/dockerconfigjson" => {
            json_value(errors, value(".dockerconfigjson"), &path.key(".dockerconfigjson"));
        }
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            errors.required(&path.key("username"), "");
            errors.required(&path.key("password"), "");
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(<[u8]>::is_empty) => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if value(key).is_none() {
                    errors.required(&path.key(key), "");
                }
            }
        }
        _ => {}
    }
}

fn json_value(errors: &mut Errors, value: Option<&[u8]>, path: &FieldPath) {
    match value.map(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>) {
        None => errors.required(path, ""),
        Some(Ok(_)) => {}
        Some(Err(error)) => errors.invalid(path, "<secret contents redacted>", &error.to_string()),
    }
}

pub(super) fn claim(errors: &mut Errors, claim: &PersistentVolumeClaim) {
    metadata::object_meta(errors, &claim.metadata, true, formats::dns_subdomain);
    let path = FieldPath::new("spec");
    let empty = Default::default();
    let spec = claim.spec.as_ref().unwrap_or(&empty);
    let modes_path = path.child("accessModes");
    let modes = items(&spec.access_modes);
    if modes.is_empty() {
        errors.required(&modes_path, "at least 1 access mode is required");
    }
    metadata::label_selector(errors, spec.selector.as_ref(), &path.child("selector"));
    let supported = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in modes.iter().filter(|mode| !supported.contains(&mode.as_str())) {
        errors.unsupported(&modes_path, mode, &supported);
    }
    let (alone, others): (Vec<&String>, Vec<&String>) =
        modes.iter().filter(|mode| supported.contains(&mode.as_str())).partition(|mode| *mode == "ReadWriteOncePod");
    if !alone.is_empty() && !others.is_empty() {
        errors.forbidden(&modes_path, "may not use ReadWriteOncePod with other access modes");
    }
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let storage_path = path.child("resources").key("storage");
    match requests.and_then(|requests| requests.get("storage")).map(Quantity::of) {
        Some(Ok(storage)) if storage.is_positive() => {}
        Some(Ok(storage)) => errors.invalid(&storage_path, storage.to_string(), "must be greater than zero"),
        _ => errors.required(&storage_path, ""),
    }
    let class = text(&spec.storage_class_name);
    if !class.is_empty() {
        errors.invalid_each(&path.child("storageClassName"), class, formats::dns_subdomain(class));
    }
    let volume_modes = ["Block", "Filesystem"];
    if let Some(mode) = spec.volume_mode.as_deref().filter(|mode| !volume_modes.contains(mode)) {
        errors.unsupported(&path.child("volumeMode"), mode, &volume_modes);
    }
}

pub(super) fn service(errors: &mut Errors, service: &Service) {
    metadata::object_meta(errors, &service.metadata, true, formats::dns_1035_label);
    let path = FieldPath::new("spec");
    let empty = Default::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    let kind = text(&spec.type_);
    let headless = text(&spec.cluster_ip) == "None";
    let ports = items(&spec.ports);
    let ports_path = path.child("ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&ports_path, "");
    }
    if headless && ["LoadBalancer", "NodePort"].contains(&kind) {
        let detail = format!("may not be set to 'None' for {kind} services");
        errors.invalid(&path.child("clusterIPs").index(0), "None", &detail);
    }
    if kind == "ExternalName" {
        let target = text(&spec.external_name);
        let target = target.strip_suffix('.').unwrap_or(target);
        if target.is_empty() {
            errors.required(&path.child("externalName"), "");
        } else {
            errors.invalid_each(&path.child("externalName"), target, formats::dns_subdomain(target));
        }
    }
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        service_port(errors, port, ports.len() > 1, &mut names, &ports_path.index(index));
    }
    metadata::labels(errors, spec.selector.as_ref(), &path.child("selector"));
    session_affinity(errors, service, &path);
    for (index, address) in items(&spec.external_ips).iter().enumerate() {
        errors.invalid_each(&path.child("externalIPs").index(index), address, formats::ip_address(address));
    }
    errors.one_of(&path.child("type"), kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    port_conflicts(errors, ports, kind, &ports_path);
    let cluster_ip = text(&spec.cluster_ip);
    if !cluster_ip.is_empty() && !headless {
        errors.invalid_each(&path.child("clusterIPs").index(0), cluster_ip, formats::ip_address(cluster_ip));
    }
    let policies = ["Cluster", "Local"];
    if let Some(policy) = spec.internal_traffic_policy.as_deref().filter(|policy| !policies.contains(policy)) {
        errors.unsupported(&path.child("internalTrafficPolicy"), policy, &policies);
    }
}

fn service_port<'s>(
    errors: &mut Errors,
    port: &'s ServicePort,
    name_required: bool,
    names: &mut BTreeSet<&'s str>,
    path: &FieldPath,
) {
    let name = text(&port.name);
    let name_path = path.child("name");
    if name.is_empty() {
        if name_required {
            errors.required(&name_path, "");
        }
    } else {
        errors.invalid_each(&name_path, name, formats::dns_label(name));
        if !names.insert(name) {
            errors.duplicate(&name_path, name);
        }
    }
    for detail in formats::port_number(port.port.into()) {
        errors.invalid(&path.child("port"), port.port, &detail);
    }
    errors.one_of(&path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
    probe::port(errors, &target, &path.child("targetPort"));
    if let Some(protocol) = &port.app_protocol {
        errors.invalid_each(&path.child("appProtocol"), protocol, formats::qualified_name(protocol));
    }
}

fn session_affinity(errors: &mut Errors, service: &Service, path: &FieldPath) {
    let Some(spec) = &service.spec else { return };
    let affinity = text(&spec.session_affinity);
    errors.one_of(&path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let path = path.child("sessionAffinityConfig");
    let seconds = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|config| config.timeout_seconds);
    if affinity == "None" && spec.session_affinity_config.is_some() {
        errors.forbidden(&path, "must not be set when session affinity is None");
    }
    if let Some(seconds) =
        seconds.filter(|seconds| affinity == "ClientIP" && !(1..=MAX_AFFINITY_SECONDS).contains(seconds))
    {
        let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
        errors.invalid(&path.child("clientIP").child("timeoutSeconds"), seconds, &detail);
    }
}

fn port_conflicts(errors: &mut Errors, ports: &[ServicePort], kind: &str, path: &FieldPath) {
    let (mut node_ports, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index).child("nodePort");
        let Some(node_port) = port.node_port.filter(|port| *port != 0) else { continue };
        if kind == "ClusterIP" {
            errors.forbidden(&path, "may not be used when `type` is 'ClusterIP'");
        }
        if !node_ports.insert((text(&port.protocol), node_port)) {
            errors.duplicate(&path, node_port);
        }
    }
    for (index, port) in ports.iter().enumerate() {
        if !numbers.insert((text(&port.protocol), port.port)) {
            let key = ServicePort { protocol: port.protocol.clone(), port: port.port, ..Default::default() };
            errors.duplicate(&path.index(index), super::BadValue::json(&key));
        }
    }
}
