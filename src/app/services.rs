//! Services at work: what every cluster has, the addresses they get, and a switch that is kept in step with the store.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::api::cluster_ip::{ClusterIps, cluster_ip};
use crate::api::defaults::default_service;
use crate::api::node_port::{NodePorts, has_node_ports, node_ports};
use crate::api::selector::service_selects;
use crate::api::{FieldError, LoadError, LoadProblem, LoadedObject, Object};
use crate::base::clock::{Clock, Timestamp};
use crate::base::id::PodUid;
use crate::controller::endpoints::EndpointsController;
use crate::net::{DNS_ADDRESS, Protocol, PublishedPort, Switch, VIRTUAL_RANGE};
use crate::node::service_tables;
use crate::store::Store;

/// The address of the API server's Service: the first of the range.
const API_ADDRESS: &str = "10.96.0.1";
/// The port of the node, as pods see it, at which the API server answers.
pub(super) const API_PORT: u16 = 6443;

/// The shortest time between two looks at the store, so that many pods that start at once cost little…
const PAUSE: Duration = Duration::from_millis(5);
/// …and how many times as long as the look has taken, so that thousands of pods don't keep a processor busy with it…
const RELATIVE_PAUSE: u32 = 10;
/// …up to this.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Creates Services, each with its cluster IP.
pub(super) struct Creator {
    store: Store,
    ips: ClusterIps,
    node_ports: NodePorts,
}

/// The Services that every cluster has: those of the API server and of DNS, with their addresses.
pub(super) fn of_the_system() -> [Service; 2] {
    let port = |name: &str, protocol: &str, port, target| ServicePort {
        name: Some(name.to_owned()),
        protocol: Some(protocol.to_owned()),
        port,
        target_port: Some(IntOrString::Int(target)),
        ..ServicePort::default()
    };
    let api = vec![port("https", "TCP", 443, i32::from(API_PORT))];
    let dns = vec![port("dns", "UDP", 53, 53), port("dns-tcp", "TCP", 53, 53)];
    [("default", "kubernetes", API_ADDRESS.to_owned(), api), ("kube-system", "kube-dns", DNS_ADDRESS.to_string(), dns)]
        .map(|(namespace, name, ip, ports)| {
            let (name, namespace) = (Some(name.to_owned()), Some(namespace.to_owned()));
            let metadata = ObjectMeta { name, namespace, ..ObjectMeta::default() };
            let spec = ServiceSpec {
                cluster_ip: Some(ip.clone()),
                cluster_ips: Some(vec![ip]),
                ip_families: Some(vec!["IPv4".to_owned()]),
                ip_family_policy: Some("SingleStack".to_owned()),
                ports: Some(ports),
                ..ServiceSpec::default()
            };
            let mut service = Service { metadata, spec: Some(spec), status: None };
            default_service(&mut service);
            service
        })
}

impl Creator {
    /// Creates what every cluster has: the Services of the API server and of DNS. Nobody answers at the first.
    pub(super) fn new(store: Store) -> anyhow::Result<Self> {
        let mut creator = Self { store, ips: ClusterIps::new(VIRTUAL_RANGE), node_ports: NodePorts::default() };
        for mut service in of_the_system() {
            if let Some(error) = creator.assign(&mut service).pop() {
                return Err(error.into());
            }
            creator.create(service)?;
        }
        Ok(creator)
    }

    /// Gives the Services among `objects` their addresses, and says who cannot have what it asks for.
    pub(super) fn assign_all(&mut self, objects: &mut [LoadedObject]) -> Vec<LoadError> {
        let mut errors = Vec::new();
        for asking in [true, false] {
            for LoadedObject { object, origin, .. } in objects.iter_mut() {
                let Object::Service(service) = object else { continue };
                let asks =
                    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_ref().is_some_and(|ip| !ip.is_empty()));
                if asks != asking {
                    continue;
                }
                for error in self.assign(service) {
                    // Where it is written, under the older of its two names.
                    let field = if error.path == "spec.clusterIPs" { "spec.clusterIP" } else { &error.path };
                    let (source_name, line) = (origin.source().to_owned(), origin.line_of(field));
                    errors.push(LoadError { source_name, line, problem: LoadProblem::Invalid(error) });
                }
            }
        }
        errors
    }

    /// Gives a Service its address and node ports, and says what it cannot have. Those that ask for an address come
    /// first.
    fn assign(&mut self, service: &mut Service) -> Vec<FieldError> {
        let mut errors = self.node_ports.take(service);
        errors.extend(self.ips.assign(service).err());
        errors
    }

    /// Creates a Service that has its address.
    pub(super) fn create(&self, mut service: Service) -> anyhow::Result<Arc<Service>> {
        service.metadata.uid = Some(PodUid::random().to_string());
        service.metadata.creation_timestamp = Some(Time(Timestamp::now()));
        service.status = None;
        Ok(self.store.create(service)?)
    }
}

/// Services among `objects` that lead nowhere because no pod has the labels they select.
pub(super) fn without_pods(objects: &[LoadedObject]) -> Vec<String> {
    let is_behind = |service: &Service, object: &Object| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        object.kind() == "Pod"
            && object.metadata().namespace == service.metadata.namespace
            && service_selects(selector, object.metadata().labels.as_ref())
    };
    let lonely = objects.iter().filter_map(|LoadedObject { object, origin, .. }| {
        let Object::Service(service) = object else { return None };
        let selects = service.spec.as_ref()?.selector.as_ref().is_some_and(|selector| !selector.is_empty());
        let lonely = selects && !objects.iter().any(|other| is_behind(service, &other.object));
        let place = origin.place_of("spec.selector");
        lonely.then(|| format!("{place}: spec.selector: no pod of this run has these labels"))
    });
    lonely.collect()
}

/// A port of this machine that leads to a Service.
pub(super) struct NodePort {
    /// For the user.
    pub(super) notice: String,
    /// Its protocol.
    pub(super) protocol: Protocol,
    /// Its number.
    pub(super) number: u16,
    /// Where it leads.
    pub(super) target: SocketAddr,
    /// It is open for as long as this is held.
    pub(super) published: PublishedPort,
}

/// Publishes the node ports that Services ask for.
// Differs from Kubernetes: node ports are on 127.0.0.1 only, because the node is somebody's own machine.
pub(super) async fn publish_node_ports(store: &Store, switch: &Arc<Switch>) -> std::io::Result<Vec<NodePort>> {
    let mut published = Vec::new();
    for service in store.list_all::<Service>().iter().filter(|service| has_node_ports(service)) {
        let Some(ip) = cluster_ip(service) else { continue };
        for (port, node_port) in node_ports(service) {
            let (protocol, suffix) = match port.protocol.as_deref() {
                Some("UDP") => (Protocol::Udp, "/udp"),
                Some("SCTP") => continue,
                _ => (Protocol::Tcp, ""),
            };
            let number = u16::try_from(port.port).unwrap_or_default();
            let host = SocketAddr::from((Ipv4Addr::LOCALHOST, node_port));
            let target = SocketAddr::from((ip, number));
            let port = switch.publish_virtual(protocol, target, host).await?;
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let notice = format!("service/{name}: Port {number}{suffix} is published on {host}");
            published.push(NodePort { notice, protocol, number: node_port, target, published: port });
        }
    }
    Ok(published)
}

/// Tells the switch what the store says of Services, now and after every change, until dropped.
pub(super) fn keep(
    store: &Store,
    clock: Clock,
    switch: Arc<Switch>,
    cluster_domain: &'static str,
) -> AbortOnDropHandle<()> {
    let mut controller = EndpointsController::new(store, clock);
    tell(&mut controller, &switch, cluster_domain);
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            controller.changed().await;
            let begun = Instant::now();
            tell(&mut controller, &switch, cluster_domain);
            let pause = begun.elapsed().saturating_mul(RELATIVE_PAUSE);
            tokio::time::sleep(pause.clamp(PAUSE, MAX_PAUSE)).await;
        }
    }))
}

/// Brings endpoints and the switch up to date.
fn tell(controller: &mut EndpointsController, switch: &Switch, cluster_domain: &str) {
    controller.catch_up();
    // What was written just now is told next, and is part of the tables already.
    controller.catch_up();
    let (services, slices, pods) = controller.objects();
    let tables = service_tables(&services, &slices, &pods, cluster_domain);
    switch.set_services(tables.ports);
    switch.set_zone(tables.zone);
}

#[cfg(test)]
mod tests;
