//! Kubernetes' types and what must be true of them, pure: no files, no clock, no network.
//!
//! ```text
//!   text ─▶ decode ─▶ defaults ─▶ validate ─▶ LoadedObject
//!             │          (support looks at what was written, before defaults)
//!             └ document: YAML nodes that know their lines
//! ```
//!
//! [`load()`] does all of it and reports every problem of every document at once. The types themselves are
//! `k8s-openapi`'s. [`body`] reads objects from requests, with the help of [`schema`]; [`patch`] changes objects as JSON,
//! as clients ask for it. Where a rule is Kubernetes', its wording is too.

pub mod body;
pub mod cluster_ip;
mod decode;
pub mod defaults;
pub mod deletion;
mod document;
pub mod field_path;
mod load;
pub mod node_port;
mod object;
pub mod patch;
mod protobuf;
pub mod qos;
pub mod quantity;
pub mod requests;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod support;
mod validate;

pub use decode::{DecodeError, DecodeProblem, Decoded, decode_documents, strict_decoding_message};
pub use defaults::{DEFAULT_NAMESPACE, apply_defaults, default_pod};
pub use load::{LoadError, LoadErrors, LoadOptions, LoadProblem, LoadedObject, find_duplicates, load};
pub use object::{JsonProblem, KINDS, Object, Origin};
pub use validate::{
    BadValue, ErrorKind, FieldError, aggregate_requests, invalid_message, validate, validate_ephemeral_containers,
    validate_pod, validate_pod_resize, validate_pod_update, validate_update,
};
