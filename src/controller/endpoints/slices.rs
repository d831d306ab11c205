//! The EndpointSlices of one Service, made from its pods or its Endpoints. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Container, EndpointAddress, EndpointPort as SubsetPort, Endpoints, ObjectReference, Pod, Service, ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{CONTROLLER, MANAGED_BY, SERVICE_NAME};

/// Endpoints in one slice (kube-controller-manager `--max-endpoints-per-slice`).
const MAX_ENDPOINTS: usize = 100;

/// A port as a sortable value: name, protocol, number, application protocol.
type Port = (String, String, i32, Option<String>);

/// Endpoints with the same ports.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// Whose slices, and who takes care of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    /// The Service, or the Endpoints object.
    pub(super) metadata: &'a ObjectMeta,
    /// What stands in the label for that.
    pub(super) manager: &'static str,
    /// Whether the Service is headless.
    pub(super) headless: bool,
}

/// What has to be done about the slices of a Service.
#[derive(Debug, Default)]
pub(super) struct Placement {
    pub(super) create: Vec<EndpointSlice>,
    pub(super) update: Vec<EndpointSlice>,
    pub(super) delete: Vec<Arc<EndpointSlice>>,
}

/// Groups of the pods that a Service selects: those that offer the same ports together.
pub(super) fn of_pods<'p>(service: &Service, pods: impl Iterator<Item = &'p Pod>) -> Vec<Group> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for pod in pods {
        if let Some(endpoint) = endpoint(service, pod) {
            groups.entry(ports(service, pod)).or_default().push(endpoint);
        }
    }
    groups.into_iter().map(Group::new).collect()
}

/// Groups of an Endpoints object.
pub(super) fn of_endpoints(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten().map(port_of_subset).collect();
        let ready = subset.addresses.iter().flatten().map(|address| mirrored(address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| mirrored(address, false));
        groups.entry(ports).or_default().extend(ready.chain(not_ready));
    }
    groups.into_iter().map(Group::new).collect()
}

impl Group {
    fn new((ports, endpoints): (Vec<Port>, Vec<Endpoint>)) -> Self {
        let port = |(name, protocol, port, app_protocol): Port| EndpointPort {
            name: Some(name),
            protocol: Some(protocol),
            port: Some(port),
            app_protocol,
        };
        Self { ports: ports.into_iter().map(port).collect(), endpoints }
    }
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

/// Distributes groups over slices: endpoints stay where they are, new ones go where there is room, and only then are there
/// more slices; so a pod that comes or goes changes one slice (`pkg/endpointslice` `reconcileByPortMapping`). New slices
/// are named by `suffix`.
pub(super) fn place(
    owner: Owner<'_>,
    groups: Vec<Group>,
    existing: &[Arc<EndpointSlice>],
    suffix: &mut dyn FnMut() -> String,
) -> Placement {
    let mut placement = Placement::default();
    let mut unused: Vec<&Arc<EndpointSlice>> = existing.iter().collect();
    for Group { ports, endpoints } in groups {
        let (own, others) = unused.into_iter().partition(|slice| slice.ports.as_deref().unwrap_or_default() == ports);
        unused = others;
        place_group(owner, (ports, endpoints), own, suffix, &mut placement);
    }
    placement.delete.extend(unused.into_iter().cloned());
    placement
}

fn place_group(
    owner: Owner<'_>,
    (ports, endpoints): (Vec<EndpointPort>, Vec<Endpoint>),
    existing: Vec<&Arc<EndpointSlice>>,
    suffix: &mut dyn FnMut() -> String,
    placement: &mut Placement,
) {
    let mut order = Vec::with_capacity(endpoints.len());
    let mut unplaced: HashMap<_, Endpoint> = HashMap::with_capacity(endpoints.len());
    for endpoint in endpoints {
        let key = identity(&endpoint);
        if unplaced.insert(key.clone(), endpoint).is_none() {
            order.push(key);
        }
    }
    let mut contents: Vec<(&Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in existing {
        let endpoints = slice.endpoints.iter().flatten().take(MAX_ENDPOINTS);
        let kept: Vec<_> = endpoints.filter_map(|endpoint| unplaced.remove(&identity(endpoint))).collect();
        contents.push((slice, kept));
    }
    let mut rest = order.into_iter().filter_map(|key| unplaced.remove(&key)).peekable();
    for (slice, mut endpoints) in contents {
        while endpoints.len() < MAX_ENDPOINTS
            && let Some(endpoint) = rest.next()
        {
            endpoints.push(endpoint);
        }
        if endpoints.is_empty() {
            placement.delete.push(Arc::clone(slice));
            continue;
        }
        let labels = Some(labels(owner));
        if slice.endpoints.as_deref() != Some(&endpoints) || slice.metadata.labels != labels {
            let metadata = ObjectMeta { labels, ..slice.metadata.clone() };
            placement.update.push(EndpointSlice {
                metadata,
                endpoints: Some(endpoints),
                ..EndpointSlice::clone(slice)
            });
        }
    }
    while rest.peek().is_some() {
        placement.create.push(EndpointSlice {
            metadata: metadata(owner, &suffix()),
            address_type: "IPv4".to_owned(),
            endpoints: Some(rest.by_ref().take(MAX_ENDPOINTS).collect()),
            ports: Some(ports.clone()),
        });
    }
}

/// What makes an endpoint the same as before, whatever has become of it.
fn identity(endpoint: &Endpoint) -> (Vec<String>, Option<String>) {
    let target = endpoint.target_ref.as_ref();
    let target = target.map(|target| target.uid.clone().or_else(|| target.name.clone()).unwrap_or_default());
    (endpoint.addresses.clone(), target)
}

fn labels(owner: Owner<'_>) -> BTreeMap<String, String> {
    let service = owner.metadata.name.as_deref().unwrap_or_default();
    let headless = owner.headless.then_some(("service.kubernetes.io/headless", ""));
    let labels = [(MANAGED_BY, owner.manager), (SERVICE_NAME, service)].into_iter().chain(headless);
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Name, labels and owner of a slice.
fn metadata(owner: Owner<'_>, suffix: &str) -> ObjectMeta {
    let Owner { metadata, manager, .. } = owner;
    let service = metadata.name.clone().unwrap_or_default();
    let reference = |uid: &String| OwnerReference {
        api_version: "v1".to_owned(),
        kind: if manager == CONTROLLER { "Service" } else { "Endpoints" }.to_owned(),
        name: service.clone(),
        uid: uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    ObjectMeta {
        name: Some(format!("{service}-{suffix}")),
        generate_name: Some(format!("{service}-")),
        namespace: metadata.namespace.clone(),
        labels: Some(labels(owner)),
        owner_references: metadata.uid.as_ref().map(|uid| vec![reference(uid)]),
        ..ObjectMeta::default()
    }
}
