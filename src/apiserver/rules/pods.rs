//! Pods.

use super::{COMMON, Rules};

pub(super) const POD: Rules = Rules {
    generation: Some("spec"),
    returns_deleted: true,
    fields: &[
        ("spec.nodeName", ""),
        ("spec.restartPolicy", ""),
        ("spec.schedulerName", ""),
        ("spec.serviceAccountName", ""),
        ("spec.hostNetwork", "false"),
        ("status.phase", ""),
        ("status.podIP", ""),
        ("status.nominatedNodeName", ""),
    ],
    ..COMMON
};
