//! Objects in protobuf, as `kubectl` and other Go clients send them, to JSON. Nothing is ever written in protobuf: all
//! clients take JSON.
//!
//! ```text
//!   "k8s\0"  Unknown { typeMeta { apiVersion, kind }, raw, contentEncoding, contentType }
//!                                                     └── the object itself, by the field numbers of its type
//! ```
//!
//! What a field holds is known from the schemas; `fields.txt` adds the numbers (`messages`).

mod decode;
mod messages;
mod wire;

use serde_json::{Map, Value};

use super::schema::types::TypeId;
use wire::Reader;

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no object in protobuf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtobufError {
    /// They do not begin as such objects do.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// They end too early.
    #[error("unexpected EOF")]
    Truncated,
    /// A number, a length or a type that cannot be.
    #[error("proto: illegal wire format")]
    Malformed,
    /// Text that is not UTF-8.
    #[error("proto: a string is not valid UTF-8")]
    NotText,
    /// A field of the wrong wire type.
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WireType {
        /// The field.
        field: &'static str,
        /// What was found.
        wire_type: u8,
    },
    /// Embedded JSON that cannot be read, or a time that nobody lives to see.
    #[error("proto: the value of field {0} cannot be read")]
    Value(&'static str),
    /// More values or levels than are read.
    #[error(
        "proto: more than {} values, or nested more than {} levels deep",
        super::body::MAX_VALUES,
        super::body::MAX_DEPTH
    )]
    TooLarge,
    /// The object is packed in a way that is not read.
    #[error("proto: content encoding {0:?} is not supported")]
    Encoding(String),
}

/// The envelope of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'b> {
    /// `apiVersion`, empty if not said.
    pub(super) api_version: &'b str,
    /// `kind`, empty if not said.
    pub(super) kind: &'b str,
    /// The object.
    raw: &'b [u8],
}

/// Opens the envelope.
pub(super) fn open(bytes: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    let message = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?;
    let mut envelope = Envelope { api_version: "", kind: "", raw: &[] };
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => {
                let mut type_meta = Reader::new(field.bytes("typeMeta")?);
                while let Some((number, field)) = type_meta.next()? {
                    match number {
                        1 => envelope.api_version = field.text("apiVersion")?,
                        2 => envelope.kind = field.text("kind")?,
                        _ => {}
                    }
                }
            }
            2 => envelope.raw = field.bytes("raw")?,
            3 => match field.text("contentEncoding")? {
                "" => {}
                encoding => return Err(ProtobufError::Encoding(super::schema::shortened(encoding))),
            },
            _ => {}
        }
    }
    Ok(envelope)
}

impl Envelope<'_> {
    /// The object in the envelope, of that type; `apiVersion` and `kind` are not part of it.
    pub(super) fn object(&self, id: TypeId) -> Result<Map<String, Value>, ProtobufError> {
        decode::object(self.raw, id)
    }
}

#[cfg(test)]
mod tests;
