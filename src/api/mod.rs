//! Kubernetes types, pure: decode, default, validate, the field support table.

mod decode;
mod document;
pub mod field_path;
mod object;
pub mod quantity;
mod validate;

pub use decode::{DecodeError, DecodeProblem, Decoded, decode_documents, strict_decoding_message};
pub use object::{KINDS, Object, Origin};
pub use validate::{BadValue, ErrorKind, FieldError, aggregate_requests, invalid_message, validate, validate_pod};
