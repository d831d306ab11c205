//! EndpointSlices and Endpoints: which addresses stand behind each Service, from the pods it selects, or from the Endpoints
//! object of its name. Source of the rules: Kubernetes v1.36 `pkg/controller/endpointslice`, `endpointslicemirroring` and
//! `endpoint`.

mod legacy;
mod slices;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tracing::warn;

use self::slices::{Group, Owner, Placement};
use super::informer::Informer;
use super::objects::{random_suffix, resource_of, stamp};
use crate::api::cluster_ip::is_headless;
use crate::api::selector::service_selects;
use crate::base::clock::Clock;
use crate::store::{Store, StoreError, StoredObject, WatchEvent};

/// The label with the name of the Service that a slice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label of Endpoints that others have made slices of already.
pub const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// The label that says who takes care of a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Who takes care of slices made from pods.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Who takes care of slices made from Endpoints.
const MIRRORING: &str = "endpointslicemirroring-controller.k8s.io";

/// What the endpoints of Services are made of and consist of.
pub type Objects = (Vec<Arc<Service>>, Vec<Arc<EndpointSlice>>, Vec<Arc<Pod>>);

/// Keeps the slices of all Services up to date; those that somebody else takes care of stay as they are.
#[derive(Debug)]
pub struct EndpointsController {
    store: Store,
    clock: Clock,
    services: Informer,
    pods: Informer,
    endpoints: Informer,
    slices: Informer,
    /// Services whose endpoints may be others now, by namespace and name.
    touched: BTreeSet<(String, String)>,
}

impl EndpointsController {
    /// Begins with what is in the store.
    pub fn new(store: &Store, clock: Clock) -> Self {
        Self {
            store: store.clone(),
            clock,
            services: Informer::new(store, resource_of::<Service>()),
            pods: Informer::new(store, resource_of::<Pod>()),
            endpoints: Informer::new(store, resource_of::<Endpoints>()),
            slices: Informer::new(store, resource_of::<EndpointSlice>()),
            touched: BTreeSet::new(),
        }
    }

    /// Waits until something has happened that may matter. Nothing is lost if the future is dropped.
    pub async fn changed(&mut self) {
        let event = tokio::select! {
            event = self.services.next() => event,
            event = self.endpoints.next() => event,
            event = self.slices.next() => event,
            event = self.pods.next() => event,
        };
        self.take_in(&event);
    }

    /// Brings the store up to date with what has happened until now.
    pub fn catch_up(&mut self) {
        // Services first: it is them that pods belong to.
        while let Some(event) = self.next() {
            self.take_in(&event);
        }
        for (namespace, name) in std::mem::take(&mut self.touched) {
            if let Err(error) = self.sync(&namespace, &name) {
                warn!(%error, namespace, name, "the endpoints of a service are not up to date");
            }
        }
    }

    /// The Services, pods and slices as of the last time that all was brought up to date.
    pub fn objects(&self) -> Objects {
        (typed(&self.services), typed(&self.slices), typed(&self.pods))
    }

    fn next(&mut self) -> Option<WatchEvent> {
        let all = [&mut self.services, &mut self.endpoints, &mut self.slices, &mut self.pods];
        all.into_iter().find_map(Informer::try_next)
    }

    fn take_in(&mut self, event: &WatchEvent) {
        let object = &event.object;
        let namespace = object.namespace();
        let mut touch = |name: &str| {
            self.touched.insert((namespace.to_owned(), name.to_owned()));
        };
        match object.resource().kind {
            "Service" | "Endpoints" => touch(object.name()),
            "EndpointSlice" => {
                if let Some(name) = object.labels().get(SERVICE_NAME) {
                    touch(name);
                }
            }
            _ => {
                // It may have left a Service that selected it before.
                let before = event.previous.as_deref().map(StoredObject::labels);
                for service in self.services.objects_in(namespace) {
                    let Some(typed) = service.typed::<Service>() else { continue };
                    let selector = typed.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                    if service_selects(selector, Some(object.labels())) || service_selects(selector, before) {
                        touch(service.name());
                    }
                }
            }
        }
    }

    fn sync(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let service = self.services.get(namespace, name).and_then(|service| service.typed::<Service>());
        let of_service =
            |slice: &&Arc<StoredObject>| slice.labels().get(SERVICE_NAME).map(String::as_str) == Some(name);
        let slices = self.slices.objects_in(namespace).filter(of_service);
        let slices: Vec<Arc<EndpointSlice>> = slices.filter_map(|slice| slice.typed()).collect();
        let is = |manager: &'static str| {
            move |slice: &&Arc<EndpointSlice>| {
                let labels = slice.metadata.labels.as_ref();
                labels.and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str) == Some(manager)
            }
        };
        let now = self.clock.now();
        let (selected, written) = match &service {
            Some(service) => self.groups(service),
            None => (None, None),
        };
        for (manager, groups) in [(CONTROLLER, &selected), (MIRRORING, &written)] {
            let existing: Vec<_> = slices.iter().filter(is(manager)).cloned().collect();
            let placement = match (groups, &service) {
                (Some((groups, metadata)), Some(service)) => {
                    let owner = Owner { metadata, manager, headless: manager == CONTROLLER && is_headless(service) };
                    slices::place(owner, groups.clone(), &existing, &mut random_suffix)
                }
                _ => Placement { delete: existing, ..Placement::default() },
            };
            self.carry_out(placement, now)?;
        }
        let current = self.endpoints.get(namespace, name).and_then(|endpoints| endpoints.typed::<Endpoints>());
        let groups = selected.as_ref().map(|(groups, _)| &groups[..]);
        legacy::sync(&self.store, service.as_deref(), groups, current.as_deref(), now)
    }

    /// The endpoints of a Service, from pods or from what somebody has written, with the metadata of their owner.
    fn groups(&self, service: &Service) -> (Option<Wanted>, Option<Wanted>) {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        if has_selector(service) {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let pods = self.pods.objects_in(namespace);
            let pods = pods.filter(|pod| service_selects(selector, Some(pod.labels())));
            let pods: Vec<Arc<Pod>> = pods.filter_map(|pod| pod.typed()).collect();
            let groups = slices::of_pods(service, pods.iter().map(|pod| &**pod));
            return (Some((groups, service.metadata.clone())), None);
        }
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let endpoints = self.endpoints.get(namespace, name).and_then(|endpoints| endpoints.typed::<Endpoints>());
        let endpoints = endpoints.filter(|endpoints| {
            let labels = endpoints.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(SKIP_MIRROR)).map(String::as_str) != Some("true")
        });
        (None, endpoints.map(|endpoints| (slices::of_endpoints(&endpoints), endpoints.metadata.clone())))
    }

    fn carry_out(&self, placement: Placement, now: Timestamp) -> Result<(), StoreError> {
        for slice in placement.delete {
            let ObjectPath { namespace, name } = path(&slice);
            match self.store.delete::<EndpointSlice>(namespace, name) {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for slice in placement.update {
            let ObjectPath { namespace, name } = path(&slice);
            let update = |stored: &mut EndpointSlice| {
                stored.endpoints.clone_from(&slice.endpoints);
                stored.metadata.labels.clone_from(&slice.metadata.labels);
            };
            match self.store.update(namespace, name, update) {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for mut slice in placement.create {
            stamp(&mut slice.metadata, now);
            match self.store.create(slice) {
                // The event of whatever is in the way brings another try, under another name.
                Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Groups of endpoints, with the metadata of what they were made from.
type Wanted = (Vec<Group>, k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta);

struct ObjectPath<'a> {
    namespace: &'a str,
    name: &'a str,
}

fn path(slice: &EndpointSlice) -> ObjectPath<'_> {
    let metadata = &slice.metadata;
    ObjectPath {
        namespace: metadata.namespace.as_deref().unwrap_or_default(),
        name: metadata.name.as_deref().unwrap_or_default(),
    }
}

/// Whether a Service gets its endpoints from pods.
fn has_selector(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| !selector.is_empty())
}

fn typed<T: crate::store::Object>(informer: &Informer) -> Vec<Arc<T>> {
    informer.objects().filter_map(|object| object.typed()).collect()
}

#[cfg(test)]
mod tests;
