//! What patches may cost: how deep values nest, how much a patch may copy.

use serde_json::Value;

use super::PatchError;

/// How deep an object may nest. `serde_json` reads 128 levels; some are left for lists and events around an object.
pub(super) const MAX_DEPTH: usize = 120;

/// The size of a value: its text in bytes, about, and how deep it nests (1 for a scalar).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bytes: usize,
    pub(super) depth: usize,
}

/// Measures a value; one that nests too deep is an error.
pub(super) fn measure(value: &Value) -> Result<Extent, PatchError> {
    extent(value, MAX_DEPTH).ok_or_else(too_deep)
}

/// The error for what nests too deep.
pub(super) fn too_deep() -> PatchError {
    PatchError::TooLarge(format!("objects may not nest deeper than {MAX_DEPTH} levels"))
}

fn extent(value: &Value, levels: usize) -> Option<Extent> {
    let levels = levels.checked_sub(1)?;
    let (mut bytes, mut below) = match value {
        Value::String(text) => (text.len() + 3, 0),
        _ => (4, 0),
    };
    let mut add = |child: &Value, extra: usize| {
        let child = extent(child, levels)?;
        bytes += child.bytes + extra;
        below = below.max(child.depth);
        Some(())
    };
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| add(item, 0))?,
        Value::Object(members) => members.iter().try_for_each(|(key, member)| add(member, key.len() + 4))?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Some(Extent { bytes, depth: below + 1 })
}
