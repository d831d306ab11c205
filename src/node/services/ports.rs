//! Where the ports of a Service lead. Source of the rules: kube-proxy v1.36 `CategorizeEndpoints`.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{ready, socket_address};
use crate::api::cluster_ip::cluster_ip;
use crate::net::{Protocol, VirtualPort};

/// How long a client stays with a pod unless the Service says.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// The virtual ports of a Service; none if it has no cluster IP.
pub(super) fn of_service(service: &Service, slices: &[&EndpointSlice]) -> Vec<VirtualPort> {
    let (Some(ip), Some(spec)) = (cluster_ip(service), &service.spec) else { return Vec::new() };
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some(_) => return None,
        };
        let number = u16::try_from(port.port).ok()?;
        Some(VirtualPort { ip, protocol, port: number, backends: backends(port, slices), affinity: affinity(spec) })
    });
    ports.collect()
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// Ready endpoints; where there are none, those that still serve while they end.
fn backends(port: &ServicePort, slices: &[&EndpointSlice]) -> Vec<SocketAddr> {
    let ready = reached(port, slices, ready);
    if ready.is_empty() { reached(port, slices, serves_to_the_end) } else { ready }
}

fn serves_to_the_end(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let is = |value: Option<bool>| value == Some(true);
    conditions.is_some_and(|conditions| is(conditions.serving) && is(conditions.terminating))
}

fn reached(port: &ServicePort, slices: &[&EndpointSlice], which: fn(&Endpoint) -> bool) -> Vec<SocketAddr> {
    let key = |name: &Option<String>, protocol: &Option<String>| {
        (name.clone().unwrap_or_default(), protocol.clone().unwrap_or_else(|| "TCP".to_owned()))
    };
    let wanted = key(&port.name, &port.protocol);
    let mut found: Vec<SocketAddr> = Vec::new();
    for slice in slices {
        let offered = slice.ports.iter().flatten().find(|offered| key(&offered.name, &offered.protocol) == wanted);
        let Some(offered) = offered else { continue };
        let endpoints = slice.endpoints.iter().flatten().filter(|endpoint| which(endpoint));
        found.extend(endpoints.filter_map(|endpoint| socket_address(endpoint, offered)));
    }
    found.sort();
    found.dedup();
    found
}
