//! Kinds that a cluster has of itself.

use super::{COMMON, Rules};

pub(super) const NODE: Rules = Rules { fields: &[("spec.unschedulable", "false")], ..COMMON };
pub(super) const EVENT: Rules = Rules {
    create_on_update: true,
    fields: &[
        ("involvedObject.kind", ""),
        ("involvedObject.namespace", ""),
        ("involvedObject.name", ""),
        ("involvedObject.uid", ""),
        ("involvedObject.apiVersion", ""),
        ("involvedObject.resourceVersion", ""),
        ("involvedObject.fieldPath", ""),
        ("reason", ""),
        ("reportingComponent", ""),
        ("source", ""),
        ("type", ""),
    ],
    ..COMMON
};
pub(super) const LEASE: Rules = Rules { unconditional_update: false, create_on_update: true, ..COMMON };
pub(super) const RUNTIME_CLASS: Rules = Rules { unconditional_update: false, ..COMMON };
pub(super) const PRIORITY_CLASS: Rules = Rules { generation: Some(""), ..COMMON };
