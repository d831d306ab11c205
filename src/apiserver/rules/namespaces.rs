//! Namespaces.

use super::{COMMON, Rules};

pub(super) const NAMESPACE: Rules = Rules { fields: &[("status.phase", "")], ..COMMON };
