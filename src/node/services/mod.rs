//! What the switch has to know of Services: where their addresses lead, as kube-proxy works it out, and what their names
//! stand for, as CoreDNS does. Pure: objects in, tables out.

mod names;
mod ports;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use crate::net::{VirtualPort, Zone};

/// The label with the name of the Service that a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What a switch is told of Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTables {
    /// Where cluster IPs lead.
    pub ports: Vec<VirtualPort>,
    /// What the names of Services and pods stand for.
    pub zone: Zone,
}

/// Works out the tables from all objects concerned, whatever their namespace.
pub fn service_tables(
    services: &[Arc<Service>],
    slices: &[Arc<EndpointSlice>],
    pods: &[Arc<Pod>],
    cluster_domain: &str,
) -> ServiceTables {
    let mut tables = ServiceTables { ports: Vec::new(), zone: Zone::new(cluster_domain) };
    let mut names = names::Names::new(&mut tables.zone, cluster_domain);
    for service in services {
        let behind: Vec<&EndpointSlice> =
            slices.iter().map(|slice| &**slice).filter(|slice| belongs(slice, service)).collect();
        tables.ports.extend(ports::of_service(service, &behind));
        names.add_service(service, &behind);
    }
    for pod in pods {
        names.add_pod(pod);
    }
    tables
}

fn belongs(slice: &EndpointSlice, service: &Service) -> bool {
    let named = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    slice.address_type == "IPv4"
        && slice.metadata.namespace == service.metadata.namespace
        && named.is_some()
        && named == service.metadata.name.as_ref()
}

/// The addresses among `endpoints` that can be used at all; what is not said counts as ready.
fn ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// The address of an endpoint; all of them are interchangeable.
fn address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}

fn socket_address(endpoint: &Endpoint, port: &EndpointPort) -> Option<SocketAddr> {
    let number = u16::try_from(port.port?).ok()?;
    Some(SocketAddr::new(address(endpoint)?.into(), number))
}

#[cfg(test)]
mod tests;
