//! Services, and the addresses they lead to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::errors::{Errors, FieldPath};
use super::{formats, items, metadata, probe, text};

/// The longest `sessionAffinityConfig.clientIP.timeoutSeconds`: a day.
const MAX_AFFINITY_SECONDS: i32 = 86_400;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

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
    cluster_ips(errors, spec, &path);
    let traffic = ["Cluster", "Local"];
    one_of_if_set(errors, &spec.internal_traffic_policy, &path.child("internalTrafficPolicy"), &traffic);
    one_of_if_set(errors, &spec.external_traffic_policy, &path.child("externalTrafficPolicy"), &traffic);
}

fn one_of_if_set(errors: &mut Errors, value: &Option<String>, path: &FieldPath, supported: &[&str]) {
    if let Some(value) = value.as_deref().filter(|value| !value.is_empty() && !supported.contains(value)) {
        errors.unsupported(path, value, supported);
    }
}

fn cluster_ips(errors: &mut Errors, spec: &ServiceSpec, path: &FieldPath) {
    let cluster_ip = text(&spec.cluster_ip);
    let ips = items(&spec.cluster_ips);
    let ips_path = path.child("clusterIPs");
    if text(&spec.type_) == "ExternalName" {
        if !cluster_ip.is_empty() || !ips.is_empty() {
            errors.forbidden(&ips_path.index(0), "may not be set for ExternalName services");
        }
        return;
    }
    if !ips.is_empty() && ips[0] != cluster_ip {
        errors.invalid(&ips_path, super::BadValue::json(&ips), "first value must match `clusterIP`");
    }
    if !cluster_ip.is_empty() && cluster_ip != "None" {
        errors.invalid_each(&ips_path.index(0), cluster_ip, formats::ip_address(cluster_ip));
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of_if_set(errors, &spec.ip_family_policy, &path.child("ipFamilyPolicy"), &policies);
    let families = ["IPv4", "IPv6"];
    for (index, family) in items(&spec.ip_families).iter().enumerate() {
        let path = path.child("ipFamilies").index(index);
        if !families.contains(&family.as_str()) {
            errors.unsupported(&path, family, &families);
        }
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
    errors.one_of(&path.child("protocol"), text(&port.protocol), &PROTOCOLS);
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

pub(super) fn endpoints(errors: &mut Errors, endpoints: &Endpoints) {
    metadata::object_meta(errors, &endpoints.metadata, true, formats::dns_subdomain);
    for (index, subset) in items(&endpoints.subsets).iter().enumerate() {
        endpoint_subset(errors, subset, &FieldPath::new("subsets").index(index));
    }
}

fn endpoint_subset(errors: &mut Errors, subset: &EndpointSubset, path: &FieldPath) {
    let (ready, not_ready) = (items(&subset.addresses), items(&subset.not_ready_addresses));
    if ready.is_empty() && not_ready.is_empty() {
        errors.required(path, "must specify `addresses` or `notReadyAddresses`");
    }
    for (list, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
        for (index, address) in addresses.iter().enumerate() {
            let path = path.child(list).index(index);
            if let Some(hostname) = &address.hostname {
                errors.invalid_each(&path.child("hostname"), hostname, formats::dns_label(hostname));
            }
            errors.invalid_each(&path.child("ip"), &address.ip, endpoint_address(&address.ip));
        }
    }
    let ports = items(&subset.ports);
    for (index, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(index);
        let name = text(&port.name);
        if name.is_empty() && ports.len() > 1 {
            errors.required(&path.child("name"), "");
        } else if !name.is_empty() {
            errors.invalid_each(&path.child("name"), name, formats::dns_label(name));
        }
        for detail in formats::port_number(port.port.into()) {
            errors.invalid(&path.child("port"), port.port, &detail);
        }
        errors.one_of(&path.child("protocol"), text(&port.protocol), &PROTOCOLS);
    }
}

pub(super) fn endpoint_slice(errors: &mut Errors, slice: &EndpointSlice) {
    metadata::object_meta(errors, &slice.metadata, true, formats::dns_subdomain);
    errors.one_of(&FieldPath::new("addressType"), &slice.address_type, &["FQDN", "IPv4", "IPv6"]);
    for (index, endpoint) in items(&slice.endpoints).iter().enumerate() {
        let path = FieldPath::new("endpoints").index(index);
        if endpoint.addresses.is_empty() {
            errors.required(&path.child("addresses"), "must contain at least 1 address");
        }
        for (index, address) in endpoint.addresses.iter().enumerate().filter(|_| slice.address_type != "FQDN") {
            errors.invalid_each(&path.child("addresses").index(index), address, endpoint_address(address));
        }
        if let Some(hostname) = &endpoint.hostname {
            errors.invalid_each(&path.child("hostname"), hostname, formats::dns_label(hostname));
        }
    }
    for (index, port) in items(&slice.ports).iter().enumerate() {
        let path = FieldPath::new("ports").index(index);
        if !text(&port.name).is_empty() {
            errors.invalid_each(&path.child("name"), text(&port.name), formats::dns_label(text(&port.name)));
        }
        errors.one_of(&path.child("protocol"), text(&port.protocol), &PROTOCOLS);
        for number in port.port.iter() {
            for detail in formats::port_number((*number).into()) {
                errors.invalid(&path.child("port"), *number, &detail);
            }
        }
    }
}

/// Addresses that mean something else to everybody are no endpoints.
fn endpoint_address(text: &str) -> Vec<String> {
    let Ok(ip) = text.parse::<IpAddr>() else { return formats::ip_address(text) };
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let details = [
        (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (ip.is_multicast(), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    details.into_iter().filter(|(wrong, _)| *wrong).map(|(_, detail)| detail.to_owned()).collect()
}
