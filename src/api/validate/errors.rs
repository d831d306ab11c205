//! One validation error, its exact form, and the list they are collected in.
//!
//! The form is that of `apimachinery/pkg/util/validation/field` v1.36: `<path>: <kind>[: <value>][: <detail>]`.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// What kind of rule a value breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something must be there.
    Required,
    /// The value breaks a rule.
    Invalid,
    /// The value is not one of a fixed set.
    Unsupported,
    /// The value must be unique and is not.
    Duplicate,
    /// What the value names does not exist.
    NotFound,
    /// The value would be good elsewhere.
    Forbidden,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::Unsupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }
}

/// A value as an error shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadValue {
    /// Shown in quotes.
    Text(String),
    /// Shown as it is: numbers, booleans, JSON.
    Bare(String),
}

impl From<&str> for BadValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for BadValue {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for BadValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

macro_rules! bare {
    ($($type:ty),*) => {$(
        impl From<$type> for BadValue {
            fn from(value: $type) -> Self {
                Self::Bare(value.to_string())
            }
        }
    )*};
}

bare!(i32, i64, usize, bool);

impl BadValue {
    /// A value that is neither text nor number, as JSON.
    pub(super) fn json<T: serde::Serialize>(value: &T) -> Self {
        Self::Bare(serde_json::to_string(value).unwrap_or_default())
    }
}

/// One problem with one field. Displays exactly as Kubernetes words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, such as `spec.containers[0].name`.
    pub path: String,
    /// Which kind of rule it breaks.
    pub kind: ErrorKind,
    /// The offending value, where the kind shows one.
    pub value: Option<BadValue>,
    /// More about the rule; may be empty.
    pub detail: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "<nil>" } else { &self.path };
        write!(formatter, "{path}: {}", self.kind.text())?;
        match &self.value {
            None => {}
            Some(BadValue::Text(text)) => write!(formatter, ": {}", go_quoted(text))?,
            Some(BadValue::Bare(text)) => write!(formatter, ": {text}")?,
        }
        if self.detail.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.detail) }
    }
}

impl std::error::Error for FieldError {}

/// Text in quotes as Go's `%q` writes it.
pub(in crate::api) fn go_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        let escape = match character {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            _ if !character.is_control() => {
                quoted.push(character);
                continue;
            }
            _ => "",
        };
        quoted.push_str(escape);
        if escape.is_empty() {
            let code = u32::from(character);
            // Writing to a string cannot fail.
            let _ = if code < 0x80 { write!(quoted, "\\x{code:02x}") } else { write!(quoted, "\\u{code:04x}") };
        }
    }
    quoted.push('"');
    quoted
}

/// The path of a field, built up on the way down.
#[derive(Debug, Clone)]
pub(super) struct FieldPath(String);

impl FieldPath {
    pub(super) fn new(root: &str) -> Self {
        Self(root.to_owned())
    }

    pub(super) fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    pub(super) fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

/// The most errors that are reported for one object.
const MAX_ERRORS: usize = 1000;
/// The most bytes of a value or detail that an error shows.
const MAX_SHOWN: usize = 4096;

/// The text, cut where it is longer than errors show.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_SHOWN {
        return text.to_owned();
    }
    let end = (0..=MAX_SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

/// The errors found so far, in order.
#[derive(Debug, Default)]
pub(super) struct Errors(pub(super) Vec<FieldError>);

impl Errors {
    fn push(&mut self, path: &FieldPath, kind: ErrorKind, value: Option<BadValue>, detail: &str) {
        if self.0.len() >= MAX_ERRORS {
            return;
        }
        let value = value.map(|value| match value {
            BadValue::Text(text) => BadValue::Text(shortened(&text)),
            BadValue::Bare(text) => BadValue::Bare(shortened(&text)),
        });
        self.0.push(FieldError { path: path.0.clone(), kind, value, detail: shortened(detail) });
    }

    pub(super) fn required(&mut self, path: &FieldPath, detail: &str) {
        self.push(path, ErrorKind::Required, None, detail);
    }

    pub(super) fn invalid(&mut self, path: &FieldPath, value: impl Into<BadValue>, detail: &str) {
        self.push(path, ErrorKind::Invalid, Some(value.into()), detail);
    }

    /// One `Invalid value` error for each detail.
    pub(super) fn invalid_each(&mut self, path: &FieldPath, value: &str, details: Vec<String>) {
        for detail in details {
            self.invalid(path, value, &detail);
        }
    }

    pub(super) fn unsupported(&mut self, path: &FieldPath, value: &str, supported: &[&str]) {
        let quoted: Vec<String> = supported.iter().map(|value| go_quoted(value)).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        self.push(path, ErrorKind::Unsupported, Some(value.into()), &detail);
    }

    pub(super) fn duplicate(&mut self, path: &FieldPath, value: impl Into<BadValue>) {
        self.push(path, ErrorKind::Duplicate, Some(value.into()), "");
    }

    pub(super) fn not_found(&mut self, path: &FieldPath, value: &str, detail: &str) {
        self.push(path, ErrorKind::NotFound, Some(value.into()), detail);
    }

    pub(super) fn forbidden(&mut self, path: &FieldPath, detail: &str) {
        self.push(path, ErrorKind::Forbidden, None, detail);
    }

    pub(super) fn too_long(&mut self, path: &FieldPath, limit: usize) {
        self.push(path, ErrorKind::TooLong, None, &format!("may not be more than {limit} bytes"));
    }

    pub(super) fn too_many(&mut self, path: &FieldPath, actual: usize, limit: usize) {
        let detail = format!("must have at most {limit} items");
        self.push(path, ErrorKind::TooMany, Some(actual.into()), &detail);
    }

    /// A required value from a fixed set (already sorted as Kubernetes lists it).
    pub(super) fn one_of(&mut self, path: &FieldPath, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(path, "");
        } else if !supported.contains(&value) {
            self.unsupported(path, value, supported);
        }
    }
}

/// All errors of one object in Kubernetes' words: `Pod "x" is invalid: <error>`, several in brackets, each text once.
pub fn invalid_message(kind: &str, name: &str, errors: &[FieldError]) -> String {
    let mut seen = BTreeSet::new();
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.retain(|text| seen.insert(text.clone()));
    let joined = if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
    format!("{kind} {} is invalid: {joined}", go_quoted(name))
}
