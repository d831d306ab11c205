//! What a kind does differently from others: one [`Rules`] each, made of functions that stand next to one another in a file
//! of the kind's own. What is not said there is done as for every kind (kube-apiserver's strategies).

mod cluster;
mod data;
mod namespaces;
mod pods;
mod services;

use serde_json::Value;

use super::Inner;
use super::status::ApiError;
use crate::api::resources::ResourceType;
use crate::api::support::SupportReport;
use crate::api::{self, FieldError, Object};

/// What a new object may depend on beside itself.
pub(super) struct Admission<'a> {
    pub(super) server: &'a Inner,
    pub(super) resource: &'static ResourceType,
}

/// Which part of an object an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All but the status.
    Main,
    /// The subresource of that name.
    Sub(&'static str),
}

/// What a kind does differently.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Completes a new object, and refuses what must not be there (admission and `PrepareForCreate`).
    pub(super) admit: fn(&Admission<'_>, &mut Object) -> Result<(), ApiError>,
    /// Which fields of an object, as the client wrote it, do not do what they say, or cannot be had.
    pub(super) support: fn(&Admission<'_>, &Object) -> SupportReport,
    /// Something that others are about to make, and without which the object is refused: it is waited for.
    pub(super) awaits: fn(&Value) -> Option<(&'static ResourceType, String)>,
    /// Completes an object that takes the place of another (`PrepareForUpdate`).
    pub(super) prepare_update: fn(&Admission<'_>, Part, &mut Object, &Object) -> Result<(), ApiError>,
    /// Checks an object that takes the place of another (`ValidateUpdate`).
    pub(super) check_update: fn(Part, &Object, &Object) -> Vec<FieldError>,
    /// Puts the part that a subresource is about, other than `status`, into the object as it is.
    pub(super) merge_part: fn(&'static str, &mut Value, &Value) -> Result<(), ApiError>,
    /// Whether `metadata.generation` counts the changes of this field; of everything beside metadata if it is empty.
    pub(super) generation: Option<&'static str>,
    /// Whether an update need not say which revision it is of.
    pub(super) unconditional_update: bool,
    /// Whether an update of what is not there makes it.
    pub(super) create_on_update: bool,
    /// Whether a deletion that takes effect at once answers with the object.
    pub(super) returns_deleted: bool,
    /// Refuses deletions.
    pub(super) check_delete: fn(&Admission<'_>, &str) -> Result<(), ApiError>,
    /// Whether writes must happen one after the other, because they share out something.
    pub(super) exclusive: bool,
}

/// What every kind does unless it says otherwise.
pub(super) const COMMON: Rules = Rules {
    admit: |_, _| Ok(()),
    support: |_, _| SupportReport::default(),
    awaits: |_| None,
    prepare_update: |_, _, _, _| Ok(()),
    check_update: check_any_update,
    merge_part: |_, _, _| Ok(()),
    generation: None,
    unconditional_update: true,
    create_on_update: false,
    returns_deleted: false,
    check_delete: |_, _| Ok(()),
    exclusive: false,
};

fn check_any_update(part: Part, new: &Object, old: &Object) -> Vec<FieldError> {
    let mut errors = if part == Part::Main { api::validate_update(new, old) } else { Vec::new() };
    errors.extend(api::validate(new));
    errors
}

/// The rules of each kind that has any, by group and kind.
static TABLE: &[(&str, &str, &Rules)] = &[
    ("", "ConfigMap", &data::CONFIG_MAP),
    ("", "Endpoints", &data::ENDPOINTS),
    ("", "Event", &cluster::EVENT),
    ("", "Namespace", &namespaces::NAMESPACE),
    ("", "Node", &cluster::NODE),
    ("", "PersistentVolumeClaim", &data::CLAIM),
    ("", "Pod", &pods::POD),
    ("", "Secret", &data::SECRET),
    ("", "Service", &services::SERVICE),
    ("", "ServiceAccount", &data::SERVICE_ACCOUNT),
    ("coordination.k8s.io", "Lease", &cluster::LEASE),
    ("discovery.k8s.io", "EndpointSlice", &data::ENDPOINT_SLICE),
    ("node.k8s.io", "RuntimeClass", &cluster::RUNTIME_CLASS),
    ("scheduling.k8s.io", "PriorityClass", &cluster::PRIORITY_CLASS),
];

/// The rules of a resource whose objects are kept.
pub(super) fn of(resource: &ResourceType) -> &'static Rules {
    let found = TABLE.iter().find(|(group, kind, _)| (*group, *kind) == (resource.group, resource.kind));
    found.map_or(&COMMON, |(.., rules)| rules)
}
