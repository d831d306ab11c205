//! Changes to objects, as Kubernetes' clients describe them, on JSON values.
//!
//! ```text
//!   JSON patch ───────────┐
//!   JSON merge patch ─────┼─▶ new object ─▶ track_update ─▶ new object with managed fields
//!   strategic merge patch ┘        ▲
//!   PUT, POST ─────────────────────┘
//!   server-side apply ─▶ apply ─────────────────────────▶ new object with managed fields
//! ```
//!
//! How fields merge is data: `rules` is the one table for strategic merge patches and for server-side apply. Nothing
//! here knows defaults or validation; whoever calls does both on the result.

mod bounds;
mod json;
mod managed;
pub(super) mod rules;
mod strategic;

use serde_json::Value;

pub use json::{json_patch, merge_patch};
pub use managed::{ApplyError, Conflict, Conflicts, FieldManager, keep_times_if_unchanged};
pub use strategic::strategic_merge_patch;

/// Why a patch cannot be used. The words are Kubernetes' where those are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is no patch of its kind (`BadRequest`, 400).
    #[error("{0}")]
    Malformed(String),
    /// It is a patch, but not for this object (`Invalid`, 422).
    #[error("{0}")]
    Inapplicable(String),
    /// It is larger, or makes objects larger, than is allowed (`RequestEntityTooLarge`, 413).
    #[error("{0}")]
    TooLarge(String),
}

/// What `encoding/json` calls the type of a value.
fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
