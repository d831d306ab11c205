//! The EndpointSlices of one Service, made from its pods or its Endpoints. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::{
    Container, EndpointAddress, EndpointPort as SubsetPort, Endpoints, ObjectReference, Pod, Service, ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{CONTROLLER, MANAGED_BY, MIRRORING, SERVICE_NAME};
use crate::api::cluster_ip::is_headless;
use crate::api::defaults::{NAME_SUFFIX_CHARACTERS, NAME_SUFFIX_LENGTH};

/// Endpoints in one slice (kube-controller-manager `--max-endpoints-per-slice`).
const MAX_ENDPOINTS: usize = 100;

/// A port as a sortable value: name, protocol, number, application protocol.
type Port = (String, String, i32, Option<String>);

/// Slices for the pods that a Service selects: those that offer the same ports together.
pub(super) fn of_pods<'p>(service: &Service, pods: impl Iterator<Item = &'p Pod>) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods {
        if let Some(endpoint) = endpoint(service, pod) {
            groups.entry(ports(service, pod)).or_default().push(endpoint);
        }
    }
    let slices =
        groups.into_iter().flat_map(|(ports, endpoints)| in_slices(&service.metadata, CONTROLLER, &ports, endpoints));
    let mut slices: Vec<EndpointSlice> = slices.collect();
    if is_headless(service) {
        for slice in &mut slices {
            let labels = slice.metadata.labels.get_or_insert_default();
            labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
        }
    }
    slices
}

/// Slices for an Endpoints object.
pub(super) fn of_endpoints(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten().map(port_of_subset).collect();
        let ready = subset.addresses.iter().flatten().map(|address| mirrored(address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| mirrored(address, false));
        groups.entry(ports).or_default().extend(ready.chain(not_ready));
    }
    groups.into_iter().flat_map(|(ports, all)| in_slices(&endpoints.metadata, MIRRORING, &ports, all)).collect()
}

fn port_of_subset(port: &SubsetPort) -> Port {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    (port.name.clone().unwrap_or_default(), protocol, port.port, port.app_protocol.clone())
}

fn mirrored(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

/// What a pod is to a Service that selects it: nothing before it has an address, and after its end.
fn endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let ip = status.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    let spec = pod.spec.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let serving =
        conditions.any(|condition| (condition.type_.as_str(), condition.status.as_str()) == ("Ready", "True"));
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let always = service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let conditions = EndpointConditions {
        ready: Some(always || (serving && !terminating)),
        serving: Some(serving),
        terminating: Some(terminating),
    };
    let in_domain = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    Some(Endpoint {
        addresses: vec![ip],
        conditions: Some(conditions),
        hostname: spec.hostname.clone().filter(|hostname| in_domain && !hostname.is_empty()),
        node_name: spec.node_name.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

/// The ports of a Service as this pod offers them; those it does not have are left out.
fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let all = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let offered = all.filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let number = target_port(port, protocol, pod)?;
        Some((port.name.clone().unwrap_or_default(), protocol.to_owned(), number, port.app_protocol.clone()))
    });
    let mut ports: Vec<Port> = offered.collect();
    ports.sort();
    ports
}

/// The number of a port, looked up in the pod's containers and then its sidecars if it is given by name.
fn target_port(port: &ServicePort, protocol: &str, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name.as_str(),
    };
    let spec = pod.spec.as_ref()?;
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    let mut declared = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let found = declared
        .find(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol);
    found.map(|port| port.container_port)
}

fn in_slices(owner: &ObjectMeta, manager: &str, ports: &[Port], endpoints: Vec<Endpoint>) -> Vec<EndpointSlice> {
    let ports: Vec<EndpointPort> = ports
        .iter()
        .map(|(name, protocol, port, app_protocol)| EndpointPort {
            name: Some(name.clone()),
            protocol: Some(protocol.clone()),
            port: Some(*port),
            app_protocol: app_protocol.clone(),
        })
        .collect();
    let slice = |(index, endpoints): (usize, &[Endpoint])| EndpointSlice {
        metadata: metadata(
            owner,
            manager,
            &(&ports.iter().map(|port| (&port.name, port.port)).collect::<Vec<_>>(), index),
        ),
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints.to_vec()),
        ports: Some(ports.clone()),
    };
    endpoints.chunks(MAX_ENDPOINTS).enumerate().map(slice).collect()
}

/// Name, labels and owner of a slice. The name ends as generated ones do, but is always the same for the same `place`.
fn metadata(owner: &ObjectMeta, manager: &str, place: &impl Hash) -> ObjectMeta {
    let service = owner.name.clone().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    let mut rest = hasher.finish();
    let letters = NAME_SUFFIX_CHARACTERS.as_bytes();
    let suffix = (0..NAME_SUFFIX_LENGTH).map(|_| {
        let count = letters.len() as u64;
        let letter = letters[usize::try_from(rest % count).unwrap_or_default()];
        rest /= count;
        char::from(letter)
    });
    let of_service = |uid: &String| OwnerReference {
        api_version: "v1".to_owned(),
        kind: if manager == CONTROLLER { "Service" } else { "Endpoints" }.to_owned(),
        name: service.clone(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let labels = [(SERVICE_NAME, service.as_str()), (MANAGED_BY, manager)];
    ObjectMeta {
        name: Some(format!("{service}-{}", suffix.collect::<String>())),
        generate_name: Some(format!("{service}-")),
        namespace: owner.namespace.clone(),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        owner_references: owner.uid.as_ref().map(|uid| vec![of_service(uid)]),
        ..ObjectMeta::default()
    }
}
