//! Bodies of requests to objects: from bytes in one of the formats that clients send to JSON that has the form of its
//! kind. Defaults and validation come after.
//!
//! ```text
//!   JSON ─────▶ json ───────────┐
//!   YAML ─────▶ document::yaml ─┼─▶ apiVersion and kind ─▶ schema::conform ─▶ DecodedBody
//!   protobuf ─▶ protobuf ───────┘
//! ```
//!
//! Everything is bounded: bytes, depth, and the number of values, aliases written out.

mod json;

use serde_json::{Map, Value};

use super::document::yaml;
use super::protobuf;
use super::schema::{self, DELETE_OPTIONS, GroupVersionKind};

/// The longest body that is read, in bytes: that of Kubernetes.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// The deepest nesting that is read; no Kubernetes type comes near it.
pub(super) const MAX_DEPTH: usize = 100;
/// The most values a body may have, counting those in lists and objects.
pub(super) const MAX_VALUES: usize = 300_000;
/// The most bytes of text that a body may have once its aliases are written out.
const MAX_EXPANDED_BYTES: usize = 2 * MAX_BODY;
/// The most duplicate fields that are told of one body.
const MAX_DUPLICATES: usize = 100;
/// How many bytes of a body that cannot be read are shown.
const MAX_SUMMARY: usize = 30;

/// An object as a client sent it, fitted to its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedBody {
    /// The object: with `apiVersion` and `kind`, without fields that the kind does not have.
    pub value: Value,
    /// The fields that the kind does not have: `spec.containers[0].foo`.
    pub unknown: Vec<String>,
    /// The fields that are there twice; the last one counts.
    pub duplicates: Vec<String>,
}

impl DecodedBody {
    /// What strict field validation finds wrong: `unknown field "spec.foo"`, `duplicate field "spec.x"`.
    pub fn violations(&self) -> Vec<String> {
        let unknown = self.unknown.iter().map(|path| format!("unknown field {path:?}"));
        let duplicates = self.duplicates.iter().map(|path| format!("duplicate field {path:?}"));
        unknown.chain(duplicates).collect()
    }

    /// Fails if strict field validation finds something wrong.
    pub fn check_strict(&self, expected: GroupVersionKind<'_>) -> Result<(), BodyError> {
        match strict_decoding_error(&self.violations()) {
            None => Ok(()),
            Some(problem) => Err(BodyError::unhandled(&self.value, expected, problem)),
        }
    }
}

/// The error of strict field validation, if it found something.
pub fn strict_decoding_error(violations: &[String]) -> Option<String> {
    (!violations.is_empty()).then(|| format!("strict decoding error: {}", violations.join(", ")))
}

/// Why a body cannot be used. Displays as Kubernetes words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is too long.
    #[error("Request entity too large: limit is {MAX_BODY}")]
    TooLarge,
    /// It is in a format that is not read.
    #[error("the body of the request was in an unknown format - accepted media types include: {}", ACCEPTED.join(", "))]
    UnsupportedMediaType,
    /// It cannot be read, or does not say what it is.
    #[error("the object provided is unrecognized (must be of type {expected}): {problem} ({summary})")]
    Unrecognized {
        /// The kind that was expected.
        expected: String,
        /// What is wrong.
        problem: String,
        /// How the body begins.
        summary: String,
    },
    /// It is something else than it should be, or does not fit its kind.
    #[error("{kind} in version {version:?} cannot be handled as a {expected}: {problem}")]
    Unhandled {
        /// The kind it says.
        kind: String,
        /// The version it says, without the group.
        version: String,
        /// The kind that was expected.
        expected: String,
        /// What is wrong.
        problem: String,
    },
    /// It is of the right kind, in another version.
    #[error("the API version in the data ({found}) does not match the expected API version ({expected})")]
    WrongVersion {
        /// The `apiVersion` it says.
        found: String,
        /// The one that was expected.
        expected: String,
    },
}

impl BodyError {
    fn unhandled(value: &Value, expected: GroupVersionKind<'_>, problem: String) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let found = GroupVersionKind::parse(text("apiVersion"), text("kind"));
        Self::Unhandled {
            kind: schema::shortened(found.kind),
            version: schema::shortened(found.version),
            expected: expected.kind.to_owned(),
            problem,
        }
    }
}

/// The formats a body may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`, also what has no type.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// The names of the formats.
pub const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

impl MediaType {
    /// Reads a `Content-Type`, whatever its parameters. Clients that send none mean JSON.
    pub fn parse(content_type: Option<&str>) -> Result<Self, BodyError> {
        let name = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is = |accepted: &str| name.eq_ignore_ascii_case(accepted);
        match ACCEPTED {
            [json, ..] if name.is_empty() || is(json) => Ok(Self::Json),
            [_, yaml, _] if is(yaml) => Ok(Self::Yaml),
            [.., protobuf] if is(protobuf) => Ok(Self::Protobuf),
            _ => Err(BodyError::UnsupportedMediaType),
        }
    }
}

/// Reads an object that should be of the kind `expected`. `content_type` is that of the request, as it was sent.
pub fn decode_body(
    bytes: &[u8],
    content_type: Option<&str>,
    expected: GroupVersionKind<'_>,
) -> Result<DecodedBody, BodyError> {
    let media_type = MediaType::parse(content_type)?;
    if bytes.len() > MAX_BODY {
        return Err(BodyError::TooLarge);
    }
    let unrecognized = |problem: String| {
        let problem = format!("couldn't get version/kind; {problem}");
        BodyError::Unrecognized { expected: expected.kind.to_owned(), problem, summary: summary(bytes) }
    };
    let parsed = match media_type {
        MediaType::Json => parse_json(bytes),
        MediaType::Yaml => parse_yaml(bytes),
        MediaType::Protobuf => parse_protobuf(bytes, expected),
    };
    let (mut value, duplicates) = parsed.map_err(|Unreadable(problem)| unrecognized(problem))?;
    let Value::Object(fields) = &mut value else {
        return Err(unrecognized("the body is not an object".to_owned()));
    };
    for (key, default) in [("apiVersion", expected.api_version()), ("kind", expected.kind.to_owned())] {
        match fields.get(key) {
            Some(Value::String(text)) if !text.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                fields.insert(key.to_owned(), Value::String(default));
            }
            Some(_) => return Err(unrecognized(format!("{key} is not a string"))),
        }
    }
    check_kind(&value, expected)?;
    match schema::conform(&mut value, expected) {
        Ok(unknown) => Ok(DecodedBody { value, unknown, duplicates }),
        Err(misfit) => Err(BodyError::unhandled(&value, expected, misfit.to_string())),
    }
}

/// Whether the body says that it is what is expected.
fn check_kind(value: &Value, expected: GroupVersionKind<'_>) -> Result<(), BodyError> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let found = GroupVersionKind::parse(text("apiVersion"), text("kind"));
    // Every group has it in all of its versions, and clients name that of the resource.
    if found == expected || found.kind == DELETE_OPTIONS.kind && expected == DELETE_OPTIONS {
        return Ok(());
    }
    if found.kind == expected.kind && schema::is_known(found) {
        return Err(BodyError::WrongVersion { found: found.api_version(), expected: expected.api_version() });
    }
    let problem = if schema::is_known(found) {
        let GroupVersionKind { version, kind, .. } = found;
        format!("converting ({version}.{kind}) to ({}.{}): unknown conversion", expected.version, expected.kind)
    } else {
        let kind = schema::shortened(found.kind);
        let api_version = schema::shortened(&found.api_version());
        format!("no kind {kind:?} is registered for version {api_version:?}")
    };
    Err(BodyError::unhandled(value, expected, problem))
}

/// Why bytes are no JSON or YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Reads any JSON, and tells the paths of fields that are there twice.
pub fn parse_json(bytes: &[u8]) -> Result<(Value, Vec<String>), Unreadable> {
    json::parse(bytes).map_err(|error| {
        let problem = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        Unreadable(format!("json parse error: {problem}"))
    })
}

/// Reads any YAML that has a JSON form, and tells the paths of fields that are there twice. Of several documents it
/// is the first one.
pub fn parse_yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), Unreadable> {
    // Most YAML that clients send is JSON, which is quicker to read as what it is.
    if bytes.trim_ascii_start().starts_with(b"{")
        && let Ok(parsed) = json::parse(bytes)
    {
        return Ok(parsed);
    }
    let unreadable = |problem: String| Unreadable(format!("yaml parse error: {problem}"));
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(error.to_string()))?;
    if text.len() > MAX_BODY {
        return Err(unreadable(format!("longer than {MAX_BODY} bytes")));
    }
    let (documents, error) = yaml::parse(text.strip_prefix('\u{feff}').unwrap_or(text));
    let Some(document) = documents.into_iter().next() else {
        let problem =
            error.map_or_else(|| "empty".to_owned(), |error| format!("line {}: {}", error.line, error.message));
        return Err(unreadable(problem));
    };
    let (size, text_bytes) = document.root.written_out();
    if size > MAX_VALUES || text_bytes > MAX_EXPANDED_BYTES {
        return Err(unreadable(format!("more than {MAX_VALUES} values or {MAX_EXPANDED_BYTES} bytes of text")));
    }
    let value =
        document.root.to_json().map_err(|line| unreadable(format!("line {line}: a number without JSON form")))?;
    Ok((value, document.duplicates.into_iter().map(|duplicate| schema::shortened(&duplicate.path)).collect()))
}

/// Reads an object in protobuf. What the envelope says it is counts as the object's own; if that is something else
/// than is expected, the object stays empty.
fn parse_protobuf(bytes: &[u8], expected: GroupVersionKind<'_>) -> Result<(Value, Vec<String>), Unreadable> {
    let unreadable = |error: protobuf::ProtobufError| Unreadable(error.to_string());
    let envelope = protobuf::open(bytes).map_err(unreadable)?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), envelope.api_version.into());
    object.insert("kind".to_owned(), envelope.kind.into());
    let is_expected = envelope.kind == expected.kind || envelope.kind.is_empty();
    if let Some(id) = schema::type_of(expected).filter(|_| is_expected) {
        object.extend(envelope.object(id).map_err(unreadable)?);
    }
    Ok((Value::Object(object), Vec::new()))
}

/// How a body begins, as Kubernetes' errors show it.
fn summary(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_SUMMARY)];
    let more = if bytes.len() > MAX_SUMMARY { " ..." } else { "" };
    match shown {
        [] => "<empty>".to_owned(),
        [b'{', ..] => format!("{}{more}", String::from_utf8_lossy(shown)),
        _ => format!("{}{more}", shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
