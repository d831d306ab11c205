//! Services and the addresses they lead to.

use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{AGE, MAX_LISTED, NAME, NONE, Printer, age, listed, or_none, text, wide};

/// What a cell shows whose list is not set.
const UNSET: &str = "<unset>";

pub(super) static SERVICE: Printer = Printer {
    columns: &[
        NAME,
        text("Type", "type determines how the Service is exposed."),
        text("Cluster-IP", "clusterIP is the IP address of the service and is usually assigned randomly."),
        text(
            "External-IP",
            "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.",
        ),
        text("Port(s)", "The list of ports that are exposed by this service."),
        AGE,
        wide("Selector", "Route service traffic to pods with label keys and values matching this selector."),
    ],
    row: |object, now| {
        let service = object.typed::<Service>()?;
        let spec = service.spec.clone().unwrap_or_default();
        let selector = spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}"));
        let selector = selector.collect::<Vec<_>>().join(",");
        Some(vec![
            object.name().into(),
            spec.type_.clone().unwrap_or_default().into(),
            or_none(spec.cluster_ip.as_deref()).into(),
            external_ip(&service, &spec).into(),
            ports(&spec).into(),
            age(service.metadata.creation_timestamp.as_ref(), now),
            or_none(Some(&selector)).into(),
        ])
    },
};

/// `getServiceExternalIP`.
fn external_ip(service: &Service, spec: &ServiceSpec) -> String {
    let mut ips = spec.external_ips.clone().unwrap_or_default();
    match spec.type_.as_deref() {
        Some("ExternalName") => return spec.external_name.clone().unwrap_or_default(),
        Some("LoadBalancer") => {
            let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let ingress = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
            let given: Vec<String> =
                ingress.filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone())).collect();
            if given.is_empty() && ips.is_empty() {
                return "<pending>".to_owned();
            }
            ips.splice(0..0, given);
        }
        _ => {}
    }
    if ips.is_empty() { NONE.to_owned() } else { ips.join(",") }
}

/// `80:30080/TCP,53/UDP`.
fn ports(spec: &ServiceSpec) -> String {
    let ports = spec.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        match port.node_port.filter(|port| *port != 0) {
            Some(node_port) => format!("{}:{node_port}/{protocol}", port.port),
            None => format!("{}/{protocol}", port.port),
        }
    });
    let ports = ports.collect::<Vec<_>>().join(",");
    or_none(Some(&ports)).to_owned()
}

pub(super) static ENDPOINTS: Printer = Printer {
    columns: &[NAME, text("Endpoints", "The set of all endpoints is the union of all subsets."), AGE],
    row: |object, now| {
        let endpoints = object.typed::<Endpoints>()?;
        let subsets = endpoints.subsets.as_deref().unwrap_or_default();
        Some(vec![
            object.name().into(),
            addresses(subsets).into(),
            age(endpoints.metadata.creation_timestamp.as_ref(), now),
        ])
    },
};

/// `formatEndpoints`: every address with every port.
fn addresses(subsets: &[EndpointSubset]) -> String {
    let all = subsets.iter().flat_map(|subset| {
        let ports = subset.ports.as_deref().unwrap_or_default();
        subset.addresses.iter().flatten().flat_map(move |address| {
            let bare = ports.is_empty().then(|| address.ip.clone());
            bare.into_iter().chain(ports.iter().map(|port| match address.ip.contains(':') {
                true => format!("[{}]:{}", address.ip, port.port),
                false => format!("{}:{}", address.ip, port.port),
            }))
        })
    });
    listed(&all.collect::<Vec<_>>(), NONE)
}

pub(super) static ENDPOINT_SLICE: Printer = Printer {
    columns: &[
        NAME,
        text("AddressType", "addressType specifies the type of address carried by this EndpointSlice."),
        text("Ports", "ports specifies the list of network ports exposed by each endpoint in this slice."),
        text("Endpoints", "endpoints is a list of unique endpoints in this slice."),
        AGE,
    ],
    row: |object, now| {
        let slice = object.typed::<EndpointSlice>()?;
        let ports: Vec<String> = slice
            .ports
            .iter()
            .flatten()
            .map(|port| port.port.map_or_else(|| "*".to_owned(), |port| port.to_string()))
            .collect();
        let endpoints: Vec<String> = slice
            .endpoints
            .iter()
            .flatten()
            .flat_map(|endpoint| endpoint.addresses.iter().cloned())
            .take(MAX_LISTED * 1000)
            .collect();
        Some(vec![
            object.name().into(),
            slice.address_type.clone().into(),
            listed(&ports, UNSET).into(),
            listed(&endpoints, UNSET).into(),
            age(slice.metadata.creation_timestamp.as_ref(), now),
        ])
    },
};
