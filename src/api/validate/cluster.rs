//! The objects that a cluster has of itself: nodes, events, leases, runtime and priority classes.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::errors::{Errors, FieldPath};
use super::{formats, metadata, text};
use crate::api::quantity::Quantity;

/// The highest priority that is not the system's own.
const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;
/// The priority classes of the system, with their values.
pub(super) const SYSTEM_PRIORITIES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
/// The longest message of an event.
const MAX_EVENT_MESSAGE: usize = 1024;

pub(super) fn node(errors: &mut Errors, node: &Node) {
    metadata::object_meta(errors, &node.metadata, false, formats::dns_subdomain);
    let Some(status) = &node.status else { return };
    for (field, amounts) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (name, amount) in amounts.iter().flatten() {
            let path = FieldPath::new("status").child(field).key(name);
            if Quantity::of(amount).is_ok_and(|amount| amount.is_negative()) {
                errors.invalid(&path, amount.0.as_str(), "must be greater than or equal to 0");
            }
        }
    }
}

/// `pkg/apis/core/validation legacyValidateEvent`: events written in the form of the core group.
pub(super) fn event(errors: &mut Errors, event: &Event) {
    metadata::object_meta(errors, &event.metadata, true, formats::dns_subdomain);
    let path = FieldPath::new("involvedObject").child("namespace");
    let own = text(&event.metadata.namespace);
    let about = text(&event.involved_object.namespace);
    // What has no namespace is reported in `default`, or in `kube-system` for clients of old.
    if about.is_empty() {
        if !["default", "kube-system"].contains(&own) {
            errors.invalid(&path, about, "does not match event.namespace");
        }
    } else if about != own {
        errors.invalid(&path, about, "does not match event.namespace");
    }
    // In the newer form, which is told by `eventTime`, the message is a bounded note.
    if event.event_time.is_some() && text(&event.message).len() > MAX_EVENT_MESSAGE {
        errors.invalid(&FieldPath::new("message"), "", &format!("can have at most {MAX_EVENT_MESSAGE} characters"));
    }
}

pub(super) fn lease(errors: &mut Errors, lease: &Lease) {
    metadata::object_meta(errors, &lease.metadata, true, formats::dns_subdomain);
    let Some(spec) = &lease.spec else { return };
    let path = FieldPath::new("spec");
    if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    if let Some(transitions) = spec.lease_transitions.filter(|transitions| *transitions < 0) {
        errors.invalid(&path.child("leaseTransitions"), transitions, "must be greater than or equal to 0");
    }
    if spec.holder_identity.as_deref() == Some("") {
        errors.invalid(&path.child("holderIdentity"), "", "must not be empty");
    }
}

pub(super) fn runtime_class(errors: &mut Errors, class: &RuntimeClass) {
    metadata::object_meta(errors, &class.metadata, false, formats::dns_subdomain);
    errors.invalid_each(&FieldPath::new("handler"), &class.handler, formats::dns_label(&class.handler));
    let overhead = class.overhead.iter().flat_map(|overhead| overhead.pod_fixed.iter().flatten());
    for (name, amount) in overhead {
        let path = FieldPath::new("overhead").child("podFixed").key(name);
        if Quantity::of(amount).is_ok_and(|amount| amount.is_negative()) {
            errors.invalid(&path, amount.0.as_str(), "must be greater than or equal to 0");
        }
    }
}

pub(super) fn priority_class(errors: &mut Errors, class: &PriorityClass) {
    metadata::object_meta(errors, &class.metadata, false, formats::dns_subdomain);
    let name = text(&class.metadata.name);
    let systems = SYSTEM_PRIORITIES.iter().find(|(system, _)| *system == name);
    if name.starts_with("system-") && systems.is_none_or(|(_, value)| class.value != Some(*value)) {
        let detail = "priority class names with 'system-' prefix are reserved for system use only";
        errors.forbidden(&FieldPath::new("metadata").child("name"), detail);
    } else if class.value > Some(HIGHEST_USER_PRIORITY) && systems.is_none() {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
        errors.forbidden(&FieldPath::new("value"), &detail);
    }
    errors.one_of(
        &FieldPath::new("preemptionPolicy"),
        text(&class.preemption_policy),
        &["Never", "PreemptLowerPriority"],
    );
}
