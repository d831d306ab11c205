//! Endpoints objects of Services with a selector, for clients that do not know EndpointSlices (Kubernetes v1.36
//! `endpoints_controller.go`). What is written for others, nobody changes here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort as SubsetPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::Endpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::slices::Group;
use crate::api::cluster_ip::is_headless;
use crate::controller::objects::stamp;
use crate::store::{Store, StoreError};

/// Addresses in one object (`maxCapacity`).
const MAX_ADDRESSES: usize = 1000;
/// The annotation of those that have more (`v1.EndpointsOverCapacity`).
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The label of those that are made here, with its value.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");

/// Brings the Endpoints object of a Service up to date with its groups, which are `None` if it has no selector.
pub(super) fn sync(
    store: &Store,
    service: Option<&Service>,
    groups: Option<&[Group]>,
    current: Option<&Endpoints>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_ours = |endpoints: &&Endpoints| {
        let labels = endpoints.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(MANAGED_BY.0)).map(String::as_str) == Some(MANAGED_BY.1)
    };
    let (Some(service), Some(groups)) = (service, groups) else {
        return match current.filter(is_ours) {
            Some(endpoints) if service.is_none() => remove(store, endpoints),
            _ => Ok(()),
        };
    };
    let wanted = wanted(service, groups);
    let Some(current) = current else {
        let mut endpoints = wanted;
        stamp(&mut endpoints.metadata, now);
        return match store.create(endpoints) {
            Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error),
        };
    };
    if (&current.subsets, &current.metadata.labels) == (&wanted.subsets, &wanted.metadata.labels) {
        return Ok(());
    }
    let Endpoints { metadata, subsets } = wanted;
    let updated = store.update::<Endpoints>(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
        |stored| {
            stored.subsets = subsets;
            stored.metadata.labels = metadata.labels;
            let annotations = stored.metadata.annotations.get_or_insert_default();
            annotations.remove(OVER_CAPACITY);
            annotations.extend(metadata.annotations.into_iter().flatten());
        },
    );
    match updated {
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove(store: &Store, endpoints: &Endpoints) -> Result<(), StoreError> {
    let ObjectMeta { namespace, name, .. } = &endpoints.metadata;
    match store.delete::<Endpoints>(namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default()) {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn wanted(service: &Service, groups: &[Group]) -> Endpoints {
    let mut labels: BTreeMap<String, String> = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    let count: usize = groups.iter().map(|group| group.endpoints.len()).sum();
    let over = (count > MAX_ADDRESSES).then(|| BTreeMap::from([(OVER_CAPACITY.to_owned(), "truncated".to_owned())]));
    let mut room = MAX_ADDRESSES;
    let subsets: Vec<_> = groups.iter().filter_map(|group| subset(group, &mut room)).collect();
    let metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        annotations: over,
        ..ObjectMeta::default()
    };
    Endpoints { metadata, subsets: Some(subsets).filter(|subsets| !subsets.is_empty()) }
}

/// Pods that end are in neither list: such clients know nothing of them.
fn subset(group: &Group, room: &mut usize) -> Option<EndpointSubset> {
    let is = |endpoint: &Endpoint, terminating: bool, ready: bool| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        (conditions.terminating == Some(true)) == terminating && (conditions.ready == Some(true)) == ready
    };
    let mut listed = |ready: bool| {
        let found = group.endpoints.iter().filter(|endpoint| is(endpoint, false, ready)).take(*room);
        let mut addresses: Vec<_> = found.map(address).collect();
        *room -= addresses.len();
        addresses.sort_by(|one, other| one.ip.cmp(&other.ip));
        Some(addresses).filter(|addresses| !addresses.is_empty())
    };
    let (addresses, not_ready_addresses) = (listed(true), listed(false));
    let ports = group.ports.iter().filter_map(|port| {
        Some(SubsetPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: port.port?,
            protocol: port.protocol.clone(),
            app_protocol: port.app_protocol.clone(),
        })
    });
    let ports = Some(ports.collect::<Vec<_>>()).filter(|ports| !ports.is_empty());
    let has_any = addresses.is_some() || not_ready_addresses.is_some();
    has_any.then_some(EndpointSubset { addresses, not_ready_addresses, ports })
}

fn address(endpoint: &Endpoint) -> EndpointAddress {
    EndpointAddress {
        ip: endpoint.addresses.first().cloned().unwrap_or_default(),
        hostname: endpoint.hostname.clone(),
        node_name: endpoint.node_name.clone(),
        target_ref: endpoint.target_ref.clone(),
    }
}
