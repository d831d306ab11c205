//! Kubernetes types, pure: decode, default, validate, the field support table.

mod decode;
pub mod defaults;
mod document;
pub mod field_path;
mod object;
pub mod qos;
pub mod quantity;
pub mod selector;
pub mod support;
mod validate;

pub use decode::{DecodeError, DecodeProblem, Decoded, decode_documents, strict_decoding_message};
pub use object::{KINDS, Object, Origin};
pub use validate::{BadValue, ErrorKind, FieldError, aggregate_requests, invalid_message, validate, validate_pod};
