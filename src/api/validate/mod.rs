//! Validation of defaulted objects: every rule that Kubernetes applies on creation, in its order, with its wording.
//! All errors are collected. What husk can't do though Kubernetes allows it is `support`'s business, not this module's.
//!
//! Rules are those of `pkg/apis/core/validation` v1.36. The inner fields of cloud and network volume types are not
//! checked: such volumes are refused as a whole by `support`.

mod cluster;
mod container;
mod env;
mod errors;
pub(super) mod formats;
mod metadata;
mod objects;
mod objects_update;
mod pod;
mod probe;
mod resources;
mod scheduling;
mod security;
mod service;
mod subresources;
mod update;
mod volume;

pub(super) use errors::go_quoted;
pub use errors::{BadValue, ErrorKind, FieldError, invalid_message};
pub(super) use formats::{label_value, qualified_name};
pub use resources::aggregate_requests;

use errors::Errors;
use k8s_openapi::api::core::v1::Pod;

use super::object::Object;

/// Checks an object that is about to be created; it must have been defaulted. No errors means it is valid.
pub fn validate(object: &Object) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match object {
        Object::Pod(pod) => pod::pod(&mut errors, pod),
        Object::ConfigMap(config_map) => objects::config_map(&mut errors, config_map),
        Object::Secret(secret) => objects::secret(&mut errors, secret),
        Object::PersistentVolumeClaim(claim) => objects::claim(&mut errors, claim),
        Object::Service(service) => service::service(&mut errors, service),
        Object::Endpoints(endpoints) => service::endpoints(&mut errors, endpoints),
        Object::EndpointSlice(slice) => service::endpoint_slice(&mut errors, slice),
        Object::ServiceAccount(account) => {
            metadata::object_meta(&mut errors, &account.metadata, true, formats::dns_subdomain);
        }
        Object::Namespace(namespace) => {
            metadata::object_meta(&mut errors, &namespace.metadata, false, formats::dns_label);
        }
        Object::Node(node) => cluster::node(&mut errors, node),
        Object::Event(event) => cluster::event(&mut errors, event),
        Object::Lease(lease) => cluster::lease(&mut errors, lease),
        Object::RuntimeClass(class) => cluster::runtime_class(&mut errors, class),
        Object::PriorityClass(class) => cluster::priority_class(&mut errors, class),
    }
    errors.0
}

/// Checks a pod that is about to be created; it must have been defaulted.
pub fn validate_pod(pod: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::default();
    pod::pod(&mut errors, pod);
    errors.0
}

/// Checks that `pod` may take the place of `old`, which exists; both must have been defaulted and be valid.
pub fn validate_pod_update(pod: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::default();
    update::pod(&mut errors, pod, old);
    errors.0
}

/// Checks that an object may take the place of another of its kind; both must have been defaulted and be valid.
pub fn validate_update(object: &Object, old: &Object) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match (object, old) {
        (Object::Pod(new), Object::Pod(old)) => update::pod(&mut errors, new, old),
        (Object::ConfigMap(new), Object::ConfigMap(old)) => objects_update::config_map(&mut errors, new, old),
        (Object::Secret(new), Object::Secret(old)) => objects_update::secret(&mut errors, new, old),
        (Object::PersistentVolumeClaim(new), Object::PersistentVolumeClaim(old)) => {
            objects_update::claim(&mut errors, new, old);
        }
        (Object::Service(new), Object::Service(old)) => objects_update::service(&mut errors, new, old),
        (Object::EndpointSlice(new), Object::EndpointSlice(old)) => {
            objects_update::endpoint_slice(&mut errors, new, old);
        }
        (Object::RuntimeClass(new), Object::RuntimeClass(old)) => {
            objects_update::runtime_class(&mut errors, new, old);
        }
        (Object::PriorityClass(new), Object::PriorityClass(old)) => {
            objects_update::priority_class(&mut errors, new, old);
        }
        _ => {}
    }
    errors.0
}

/// Checks that a pod may get these ephemeral containers, given what it was like; it must have been defaulted.
pub fn validate_ephemeral_containers(pod: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::default();
    subresources::ephemeral_containers(&mut errors, pod, old);
    errors.0
}

/// Checks that the containers of a pod may get these resources, given what they had; it must have been defaulted.
pub fn validate_pod_resize(pod: &Pod, old: &Pod) -> Vec<FieldError> {
    let mut errors = Errors::default();
    subresources::resize(&mut errors, pod, old);
    errors.0
}

/// An optional text, where missing and empty mean the same.
fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// An optional list, where missing and empty mean the same.
fn items<T>(value: &Option<Vec<T>>) -> &[T] {
    value.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
