//! Kinds that a cluster has of itself: nodes, events, leases, runtime and priority classes.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::{Admission, COMMON, Rules};
use crate::api::Object;
use crate::apiserver::status::ApiError;

pub(super) const NODE: Rules = COMMON;
pub(super) const EVENT: Rules = Rules { create_on_update: true, ..COMMON };
pub(super) const LEASE: Rules = Rules { unconditional_update: false, create_on_update: true, ..COMMON };
pub(super) const RUNTIME_CLASS: Rules = Rules { unconditional_update: false, ..COMMON };
pub(super) const PRIORITY_CLASS: Rules = Rules {
    generation: Some(""),
    admit: |admission, object| only_one_default(admission, object),
    prepare_update: |admission, _, object, _| only_one_default(admission, object),
    ..COMMON
};

/// There can be one default (admission plugin `Priority`).
fn only_one_default(admission: &Admission<'_>, object: &mut Object) -> Result<(), ApiError> {
    let Object::PriorityClass(class) = object else { return Ok(()) };
    if class.global_default != Some(true) {
        return Ok(());
    }
    let classes = admission.server.store.list_all::<PriorityClass>();
    let other =
        classes.iter().find(|other| other.global_default == Some(true) && other.metadata.name != class.metadata.name);
    match other {
        None => Ok(()),
        Some(other) => {
            let name = other.metadata.name.as_deref().unwrap_or_default();
            let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(ApiError::forbidden(admission.resource, class.metadata.name.as_deref().unwrap_or_default(), &why))
        }
    }
}
