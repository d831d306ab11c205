//! Kubernetes types, pure: decode, default, validate, the field support table.

mod decode;
mod document;
mod object;
pub mod quantity;

pub use decode::{DecodeError, DecodeProblem, Decoded, decode_documents, strict_decoding_message};
pub use object::{KINDS, Object, Origin};
