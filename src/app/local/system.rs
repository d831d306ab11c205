//! What every cluster has, beside what its users put there: namespaces, the Services of the API server and of DNS with
//! their endpoints, classes of priorities and runtimes. What somebody deletes of it comes back, as in a cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as SubsetPort, EndpointSubset, Endpoints, Namespace, NamespaceSpec, NamespaceStatus,
    Service,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tracing::warn;

use crate::api::support::RuntimeKind;
use crate::app::services;
use crate::base::clock::Clock;
use crate::controller::endpoints::{SERVICE_NAME, SKIP_MIRROR};
use crate::controller::{Informer, resource_of, stamp};
use crate::store::{Object, Store, StoreError, WatchKind};

/// The namespaces that there are from the beginning.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// Priorities for what a cluster cannot do without (`SystemPriorityClasses`): name, value, description.
const PRIORITIES: [(&str, i32, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];
/// Labels of the two Services, by which tools find them.
const API_LABELS: [(&str, &str); 2] = [("component", "apiserver"), ("provider", "kubernetes")];
const DNS_LABELS: [(&str, &str); 3] =
    [("k8s-app", "kube-dns"), ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "CoreDNS")];

/// Makes all of it that is missing.
///
/// # Errors
/// When the store refuses.
pub(super) fn ensure(store: &Store, now: Timestamp, node_ip: IpAddr) -> Result<(), StoreError> {
    for name in NAMESPACES {
        create(store, namespace(name), now)?;
    }
    for (name, value, description) in PRIORITIES {
        let metadata = named("", name, &[]);
        let class = PriorityClass {
            metadata,
            value: Some(value),
            description: Some(description.to_owned()),
            // The default of those that clients make; `kubectl describe` relies on there being one.
            preemption_policy: Some("PreemptLowerPriority".to_owned()),
            ..PriorityClass::default()
        };
        create(store, class, now)?;
    }
    for name in RuntimeKind::ALL.map(RuntimeKind::handler) {
        let metadata = named("", name, &[]);
        create(store, RuntimeClass { metadata, handler: name.to_owned(), ..RuntimeClass::default() }, now)?;
    }
    for mut service in services::of_the_system() {
        let labels = if service.metadata.name.as_deref() == Some("kubernetes") { &API_LABELS[..] } else { &DNS_LABELS };
        service.metadata.labels = Some(texts(labels));
        let (endpoints, slice) = endpoints(&service, node_ip);
        create(store, service, now)?;
        put(store, endpoints, now, |stored, wanted| stored.subsets = wanted.subsets)?;
        put(store, slice, now, |stored, wanted| {
            stored.endpoints = wanted.endpoints;
            stored.ports = wanted.ports;
        })?;
    }
    Ok(())
}

/// Makes a namespace unless there is one of its name.
///
/// # Errors
/// When the store refuses.
pub(in crate::app) fn ensure_namespace(store: &Store, name: &str, now: Timestamp) -> Result<(), StoreError> {
    create(store, namespace(name), now)
}

/// Makes a namespace that somebody describes, complete; of one that there is already, it changes the labels and annotations.
///
/// # Errors
/// When the store refuses.
pub(in crate::app) fn put_namespace(store: &Store, wanted: Namespace, now: Timestamp) -> Result<(), StoreError> {
    let name = wanted.metadata.name.clone().unwrap_or_default();
    put(store, namespace(&name), now, |stored, _| {
        stored.metadata.labels.get_or_insert_default().extend(wanted.metadata.labels.into_iter().flatten());
        stored.metadata.annotations = wanted.metadata.annotations;
    })
}

/// Makes what is deleted of it anew, for as long as it is polled.
pub(super) async fn keep(store: Store, clock: Clock, node_ip: IpAddr) {
    let mut informers = [
        Informer::new(&store, resource_of::<Namespace>()),
        Informer::new(&store, resource_of::<Service>()),
        Informer::new(&store, resource_of::<Endpoints>()),
        Informer::new(&store, resource_of::<EndpointSlice>()),
        Informer::new(&store, resource_of::<PriorityClass>()),
        Informer::new(&store, resource_of::<RuntimeClass>()),
    ];
    loop {
        let [namespaces, services, endpoints, slices, priorities, runtimes] = &mut informers;
        let event = tokio::select! {
            event = namespaces.next() => event,
            event = services.next() => event,
            event = endpoints.next() => event,
            event = slices.next() => event,
            event = priorities.next() => event,
            event = runtimes.next() => event,
        };
        if event.kind == WatchKind::Deleted
            && let Err(error) = ensure(&store, clock.now(), node_ip)
        {
            warn!(%error, "something that every cluster has is missing");
        }
    }
}

fn named(namespace: &str, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
        labels: Some(texts(labels)).filter(|labels| !labels.is_empty()),
        ..ObjectMeta::default()
    }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn namespace(name: &str) -> Namespace {
    Namespace {
        metadata: named("", name, &[("kubernetes.io/metadata.name", name)]),
        spec: Some(NamespaceSpec { finalizers: Some(vec!["kubernetes".to_owned()]) }),
        status: Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None }),
    }
}

/// Where a Service of the system leads: to the node, where the agent itself answers.
fn endpoints(service: &Service, node_ip: IpAddr) -> (Endpoints, EndpointSlice) {
    let ObjectMeta { name, namespace, .. } = &service.metadata;
    let (name, namespace) = (name.as_deref().unwrap_or_default(), namespace.as_deref().unwrap_or_default());
    let ports = || service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let number = |port: &k8s_openapi::api::core::v1::ServicePort| match &port.target_port {
        Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(number)) => *number,
        _ => port.port,
    };
    let subset_ports = ports().map(|port| SubsetPort {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        port: number(port),
        ..SubsetPort::default()
    });
    let slice_ports = ports().map(|port| EndpointPort {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        port: Some(number(port)),
        ..EndpointPort::default()
    });
    let subset = EndpointSubset {
        addresses: Some(vec![EndpointAddress { ip: node_ip.to_string(), ..EndpointAddress::default() }]),
        ports: Some(subset_ports.collect()),
        ..EndpointSubset::default()
    };
    let ready = EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) };
    let endpoint = Endpoint { addresses: vec![node_ip.to_string()], conditions: Some(ready), ..Endpoint::default() };
    let slice = EndpointSlice {
        metadata: named(namespace, name, &[(SERVICE_NAME, name)]),
        address_type: "IPv4".to_owned(),
        endpoints: Some(vec![endpoint]),
        ports: Some(slice_ports.collect()),
    };
    let metadata = named(namespace, name, &[(SKIP_MIRROR, "true")]);
    (Endpoints { metadata, subsets: Some(vec![subset]) }, slice)
}

/// Creates an object unless there is one of its name.
fn create<T: Object>(store: &Store, mut object: T, now: Timestamp) -> Result<(), StoreError> {
    stamp(object.metadata_mut(), now);
    match store.create(object) {
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates an object, or changes the one that there is.
fn put<T: Object>(store: &Store, object: T, now: Timestamp, update: impl FnOnce(&mut T, T)) -> Result<(), StoreError> {
    create(store, object.clone(), now)?;
    let metadata = object.metadata().clone();
    let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
    match store.update(&namespace, &name, |stored| update(stored, object)) {
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cluster_has_is_made_once() {
        let store = Store::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        ensure(&store, now, [10, 88, 0, 1].into()).unwrap();
        let service = store.get::<Service>("default", "kubernetes").unwrap();
        let spec = service.spec.clone().unwrap();
        assert_eq!((spec.cluster_ip.as_deref(), spec.type_.as_deref()), (Some("10.96.0.1"), Some("ClusterIP")));
        assert_eq!(
            store.get::<Service>("kube-system", "kube-dns").unwrap().spec.clone().unwrap().ports.unwrap().len(),
            2
        );
        let slice = store.get::<EndpointSlice>("default", "kubernetes").unwrap();
        assert_eq!(slice.endpoints.as_ref().unwrap()[0].addresses, ["10.88.0.1"]);
        assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(6443));
        assert_eq!(store.list_all::<Namespace>().len(), 4);
        let revision = store.revision();
        ensure(&store, now, [10, 88, 0, 1].into()).unwrap();
        assert_eq!(store.revision(), revision, "nothing is written when nothing is missing");
        store.delete::<PriorityClass>("", "system-node-critical").unwrap();
        ensure(&store, now, [10, 88, 0, 1].into()).unwrap();
        assert_eq!(store.get::<PriorityClass>("", "system-node-critical").unwrap().value, Some(2_000_001_000));
    }
}
