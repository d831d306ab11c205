//! Kinds that hold something for others.

use super::{COMMON, Rules};

pub(super) const CONFIG_MAP: Rules = COMMON;
pub(super) const SECRET: Rules = Rules { fields: &[("type", "")], ..COMMON };
pub(super) const ENDPOINTS: Rules = Rules { create_on_update: true, ..COMMON };
pub(super) const ENDPOINT_SLICE: Rules = Rules { generation: Some(""), ..COMMON };
pub(super) const CLAIM: Rules = Rules { returns_deleted: true, ..COMMON };
pub(super) const SERVICE_ACCOUNT: Rules = Rules { returns_deleted: true, unconditional_update: false, ..COMMON };
