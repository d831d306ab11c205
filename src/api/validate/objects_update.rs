//! What must not change of objects that exist, other than pods.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::errors::{BadValue, Errors, FieldPath};
use super::{items, text};

const IMMUTABLE: &str = "field is immutable";
const IMMUTABLE_WHEN_SET: &str = "field is immutable when `immutable` is set";

/// `ValidateConfigMapUpdate`.
pub(super) fn config_map(errors: &mut Errors, new: &ConfigMap, old: &ConfigMap) {
    if old.immutable != Some(true) {
        return;
    }
    for (changed, field) in [
        (new.immutable != Some(true), "immutable"),
        (new.data != old.data, "data"),
        (new.binary_data != old.binary_data, "binaryData"),
    ] {
        if changed {
            errors.forbidden(&FieldPath::new(field), IMMUTABLE_WHEN_SET);
        }
    }
}

/// `ValidateSecretUpdate`.
pub(super) fn secret(errors: &mut Errors, new: &Secret, old: &Secret) {
    if new.type_ != old.type_ {
        errors.invalid(&FieldPath::new("type"), text(&new.type_), IMMUTABLE);
    }
    if old.immutable != Some(true) {
        return;
    }
    for (changed, field) in [(new.immutable != Some(true), "immutable"), (new.data != old.data, "data")] {
        if changed {
            errors.forbidden(&FieldPath::new(field), IMMUTABLE_WHEN_SET);
        }
    }
}

/// `ValidatePersistentVolumeClaimUpdate`.
pub(super) fn claim(errors: &mut Errors, new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let mut same = new.clone();
    same.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    // Whoever binds a claim says to which volume.
    if text(&old.volume_name).is_empty() {
        same.volume_name.clone_from(&old.volume_name);
    }
    if let (Some(resources), Some(before)) = (&mut same.resources, &old.resources) {
        resources.requests.clone_from(&before.requests);
    }
    if same != *old {
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden(&FieldPath::new("spec"), detail);
    }
}

/// `ValidateServiceUpdate`, of what concerns addresses. The new one has been completed from the old one.
pub(super) fn service(errors: &mut Errors, new: &Service, old: &Service) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let has_ip = |spec: &ServiceSpec| text(&spec.type_) != "ExternalName";
    let ip = text(&old.cluster_ip);
    if has_ip(new) && has_ip(old) && !ip.is_empty() && text(&new.cluster_ip) != ip {
        let path = FieldPath::new("spec").child("clusterIPs").index(0);
        errors.invalid(&path, BadValue::json(&items(&new.cluster_ips)), "may not change once set");
    }
}

/// `ValidateEndpointSliceUpdate`.
pub(super) fn endpoint_slice(errors: &mut Errors, new: &EndpointSlice, old: &EndpointSlice) {
    if new.address_type != old.address_type {
        errors.invalid(&FieldPath::new("addressType"), &new.address_type, IMMUTABLE);
    }
}

/// `ValidateRuntimeClassUpdate`.
pub(super) fn runtime_class(errors: &mut Errors, new: &RuntimeClass, old: &RuntimeClass) {
    if new.handler != old.handler {
        errors.invalid(&FieldPath::new("handler"), &new.handler, IMMUTABLE);
    }
}

/// `ValidatePriorityClassUpdate`.
pub(super) fn priority_class(errors: &mut Errors, new: &PriorityClass, old: &PriorityClass) {
    if new.value != old.value {
        errors.forbidden(&FieldPath::new("value"), "may not be changed in an update.");
    }
    if new.preemption_policy != old.preemption_policy {
        errors.invalid(&FieldPath::new("preemptionPolicy"), text(&new.preemption_policy), IMMUTABLE);
    }
}
