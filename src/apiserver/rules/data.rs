//! Kinds that hold something for others.

use k8s_openapi::api::core::v1::PersistentVolumeClaimStatus;

use super::{COMMON, Rules};
use crate::api::Object;

pub(super) const CONFIG_MAP: Rules = COMMON;
pub(super) const SECRET: Rules = COMMON;
pub(super) const ENDPOINTS: Rules = Rules { create_on_update: true, ..COMMON };
pub(super) const ENDPOINT_SLICE: Rules = Rules { generation: Some(""), ..COMMON };
pub(super) const CLAIM: Rules = Rules {
    returns_deleted: true,
    admit: |_, object| {
        if let Object::PersistentVolumeClaim(claim) = object {
            claim.status =
                Some(PersistentVolumeClaimStatus { phase: Some("Pending".to_owned()), ..Default::default() });
        }
        Ok(())
    },
    ..COMMON
};
pub(super) const SERVICE_ACCOUNT: Rules = Rules { returns_deleted: true, unconditional_update: false, ..COMMON };
