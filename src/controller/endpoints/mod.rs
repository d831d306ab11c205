//! EndpointSlices: which addresses stand behind each Service, from the pods it selects, or from the Endpoints object of
//! its name. Source of the rules: Kubernetes v1.36 `pkg/controller/endpointslice` and `endpointslicemirroring`.

mod slices;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::selector::service_selects;
use crate::store::Store;

/// The label with the name of the Service that a slice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label that says who takes care of a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Who takes care of slices made from pods.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Who takes care of slices made from Endpoints.
const MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";

type Key<'o> = (&'o str, &'o str);

/// Brings the EndpointSlices in the store up to date with its Services, pods and Endpoints. Slices that somebody else
/// takes care of stay as they are.
pub fn reconcile(store: &Store) {
    let wanted = wanted(&store.list_all(), &store.list_all(), &store.list_all());
    let wanted: BTreeMap<Key<'_>, &EndpointSlice> = wanted.iter().map(|slice| (key(&slice.metadata), slice)).collect();
    let current: Vec<Arc<EndpointSlice>> = store.list_all();
    let current: BTreeMap<Key<'_>, &EndpointSlice> =
        current.iter().map(|slice| (key(&slice.metadata), &**slice)).collect();
    for (key @ (namespace, name), slice) in &wanted {
        match current.get(key) {
            // A name that somebody else uses is theirs.
            Some(current) if !is_ours(current) || has_content(current, slice) => {}
            Some(_) => {
                let update = |stored: &mut EndpointSlice| {
                    stored.endpoints.clone_from(&slice.endpoints);
                    stored.ports.clone_from(&slice.ports);
                    stored.metadata.labels.clone_from(&slice.metadata.labels);
                };
                let _ = store.update(namespace, name, update);
            }
            None => drop(store.create(EndpointSlice::clone(slice))),
        }
    }
    for ((namespace, name), slice) in current {
        if is_ours(slice) && !wanted.contains_key(&(namespace, name)) {
            let _ = store.delete::<EndpointSlice>(namespace, name);
        }
    }
}

/// The slices there should be.
fn wanted(services: &[Arc<Service>], pods: &[Arc<Pod>], endpoints: &[Arc<Endpoints>]) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for service in services {
        let selector =
            service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|wanted| !wanted.is_empty());
        if selector.is_some() {
            let selected = pods.iter().filter(|pod| {
                pod.metadata.namespace == service.metadata.namespace
                    && service_selects(selector, pod.metadata.labels.as_ref())
            });
            slices.extend(slices::of_pods(service, selected.map(|pod| &**pod)));
        } else if let Some(endpoints) = endpoints.iter().find(|other| key(&other.metadata) == key(&service.metadata)) {
            slices.extend(slices::of_endpoints(endpoints));
        }
    }
    slices
}

fn key(metadata: &ObjectMeta) -> Key<'_> {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn is_ours(slice: &EndpointSlice) -> bool {
    let manager = slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    manager.is_some_and(|manager| BTreeSet::from([CONTROLLER, MIRRORING]).contains(manager.as_str()))
}

fn has_content(slice: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    (&slice.endpoints, &slice.ports, &slice.metadata.labels)
        == (&wanted.endpoints, &wanted.ports, &wanted.metadata.labels)
}

#[cfg(test)]
mod tests;
