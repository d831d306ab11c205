//! Services at work: what every cluster has, the addresses they get, and a switch that is kept in step with the store.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio_util::task::AbortOnDropHandle;

use crate::api::cluster_ip::ClusterIps;
use crate::api::{FieldError, LoadError, LoadProblem, LoadedObject, Object, apply_defaults};
use crate::base::clock::Timestamp;
use crate::base::id::PodUid;
use crate::controller::endpoints;
use crate::net::{DNS_ADDRESS, Switch, VIRTUAL_RANGE};
use crate::node::service_tables;
use crate::store::Store;

/// The address of the API server's Service: the first of the range.
const API_ADDRESS: &str = "10.96.0.1";

/// Creates Services, each with its cluster IP.
pub(super) struct Creator {
    store: Store,
    ips: ClusterIps,
}

impl Creator {
    /// Creates what every cluster has: the Services of the API server and of DNS. Nobody answers at the first yet.
    pub(super) fn new(store: Store) -> anyhow::Result<Self> {
        let mut creator = Self { store, ips: ClusterIps::new(VIRTUAL_RANGE) };
        let port = |name: &str, protocol: &str, port, target| ServicePort {
            name: Some(name.to_owned()),
            protocol: Some(protocol.to_owned()),
            port,
            target_port: Some(IntOrString::Int(target)),
            ..ServicePort::default()
        };
        let api = vec![port("https", "TCP", 443, 6443)];
        let dns = vec![port("dns", "UDP", 53, 53), port("dns-tcp", "TCP", 53, 53)];
        let dns_address = DNS_ADDRESS.to_string();
        for (namespace, name, ip, ports) in
            [("default", "kubernetes", API_ADDRESS, api), ("kube-system", "kube-dns", &dns_address, dns)]
        {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            };
            let spec = ServiceSpec { cluster_ip: Some(ip.to_owned()), ports: Some(ports), ..ServiceSpec::default() };
            let mut object = Object::Service(Box::new(Service { metadata, spec: Some(spec), status: None }));
            apply_defaults(&mut object, namespace);
            if let Object::Service(mut service) = object {
                creator.assign(&mut service)?;
                creator.create(*service)?;
            }
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
                if let Some(Err(error)) = (asks == asking).then(|| self.assign(service)) {
                    let field = if error.path == "spec.clusterIPs" { "spec.clusterIP" } else { &error.path };
                    let (source_name, line) = (origin.source().to_owned(), origin.line_of(field));
                    errors.push(LoadError { source_name, line, problem: LoadProblem::Invalid(error) });
                }
            }
        }
        errors
    }

    /// Gives a Service its address. Those that ask for one come first.
    pub(super) fn assign(&mut self, service: &mut Service) -> Result<(), FieldError> {
        self.ips.assign(service)
    }

    /// Creates a Service that has its address.
    pub(super) fn create(&self, mut service: Service) -> anyhow::Result<Arc<Service>> {
        service.metadata.uid = Some(PodUid::random().to_string());
        service.metadata.creation_timestamp = Some(Time(Timestamp::now()));
        service.status = None;
        Ok(self.store.create(service)?)
    }
}

/// Tells the switch what the store says of Services, now and after every change, until dropped.
pub(super) fn keep(store: Store, switch: Arc<Switch>, cluster_domain: &'static str) -> AbortOnDropHandle<()> {
    let mut changes = store.changes();
    let mut seen = tell(&store, &switch, cluster_domain);
    AbortOnDropHandle::new(tokio::spawn(async move {
        while changes.changed().await.is_ok() {
            if revisions(&store) != seen {
                seen = tell(&store, &switch, cluster_domain);
            }
        }
    }))
}

/// Brings endpoints and the switch up to date; gives the state of the store that they reflect.
fn tell(store: &Store, switch: &Switch, cluster_domain: &str) -> [u64; 4] {
    let seen = revisions(store);
    endpoints::reconcile(store);
    let tables = service_tables(&store.list_all(), &store.list_all(), &store.list_all(), cluster_domain);
    switch.set_services(tables.ports);
    switch.set_zone(tables.zone);
    seen
}

/// When the objects that matter have changed.
fn revisions(store: &Store) -> [u64; 4] {
    [
        store.revision_of::<Service>(),
        store.revision_of::<Pod>(),
        store.revision_of::<Endpoints>(),
        store.revision_of::<EndpointSlice>(),
    ]
}

#[cfg(test)]
mod tests;
