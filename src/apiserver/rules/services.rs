//! Services.

use super::{COMMON, Rules};

pub(super) const SERVICE: Rules =
    Rules { returns_deleted: true, exclusive: true, fields: &[("spec.clusterIP", ""), ("spec.type", "")], ..COMMON };
