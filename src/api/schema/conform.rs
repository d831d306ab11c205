//! Fits a JSON value to its type as Kubernetes' decoder does: fields that the type does not have are named and left
//! out, `null` is the same as nothing, quantities, times and bytes take their canonical form, and a value that does not
//! fit its field is refused in the words of Go's `encoding/json`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::types::{ObjectType, Shape, TYPES, TypeId};
use crate::api::quantity::{Quantity, QuantityError};
use crate::api::validate::go_quoted;

/// The most unknown fields that are told of one object, as in `sigs.k8s.io/json`.
const MAX_UNKNOWN: usize = 100;
/// The most bytes of a path or value that a message shows.
const MAX_SHOWN: usize = 1024;

/// A value that does not fit its field. Displays as Kubernetes words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(String);

/// Makes `value` what its type allows, and tells the fields that it does not have: `spec.containers[0].foo`.
pub(super) fn conform(value: &mut Value, id: TypeId) -> Result<Vec<String>, Misfit> {
    let mut walk = Walk { unknown: Vec::new() };
    let root = Place { parent: None, step: Step::Root };
    walk.value(value, &Shape::Object(id), &root)?;
    Ok(walk.unknown)
}

/// Where in the object a value is.
struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

enum Step<'p> {
    Root,
    /// A field of a type.
    Field(&'p ObjectType, &'p str),
    /// A key of a map.
    Key(&'p str),
    Index(usize),
}

impl Place<'_> {
    fn steps(&self) -> Vec<&Step<'_>> {
        let mut steps: Vec<_> =
            std::iter::successors(Some(self), |place| place.parent).map(|place| &place.step).collect();
        steps.reverse();
        steps
    }

    /// The fields on the way, as Go's decoder tells them: without indexes and keys.
    fn go_path(&self) -> String {
        let fields = self.steps().into_iter().filter_map(|step| match step {
            Step::Field(_, name) => Some(*name),
            Step::Root | Step::Key(_) | Step::Index(_) => None,
        });
        fields.collect::<Vec<_>>().join(".")
    }

    /// The type whose field this is or is in.
    fn within(&self) -> Option<&ObjectType> {
        std::iter::successors(Some(self), |place| place.parent).find_map(|place| match place.step {
            Step::Field(owner, _) => Some(owner),
            Step::Root | Step::Key(_) | Step::Index(_) => None,
        })
    }

    fn misfit(&self, found: &Value, expected: &str) -> Misfit {
        let Some(owner) = self.within() else { return misfit_by_itself(found, expected) };
        let (found, path) = (described(found, expected), shortened(&self.go_path()));
        let owner = owner.short_name();
        Misfit(format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {expected}"))
    }
}

/// What is told by types that read their own JSON, and know nothing of where it stands.
fn misfit_by_itself(found: &Value, expected: &str) -> Misfit {
    Misfit(format!("json: cannot unmarshal {} into Go value of type {expected}", described(found, expected)))
}

/// What was found, as Go's decoder calls it.
fn described(found: &Value, expected: &str) -> String {
    match found {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if expected.starts_with("int") || expected.starts_with("float") => {
            format!("number {number}")
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

/// The path as Kubernetes' strict errors tell it: `spec.containers[0].foo`.
impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for step in self.steps() {
            match step {
                Step::Root => continue,
                Step::Field(_, name) | Step::Key(name) => write!(formatter, "{separator}{name}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
            separator = ".";
        }
        Ok(())
    }
}

/// The text, cut where it is longer than messages show.
pub(in crate::api) fn shortened(text: &str) -> String {
    if text.len() <= MAX_SHOWN {
        return text.to_owned();
    }
    let end = (0..=MAX_SHOWN).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", &text[..end])
}

struct Walk {
    unknown: Vec<String>,
}

impl Walk {
    fn value(&mut self, value: &mut Value, shape: &Shape, place: &Place<'_>) -> Result<(), Misfit> {
        match (shape, &mut *value) {
            (Shape::Any, _) | (Shape::AnyObject, Value::Object(_)) | (Shape::Bool, Value::Bool(_)) => {}
            (Shape::Text, Value::String(_)) | (Shape::Float, Value::Number(_)) => {}
            (Shape::Integer { long }, Value::Number(number)) if fits(number, *long) => {}
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(number)) if fits(number, false) => {}
            (Shape::Object(id), Value::Object(fields)) => self.object(fields, TYPES.get(*id), place)?,
            (Shape::List(items), Value::Array(values)) => self.list(values, items, place)?,
            (Shape::Map(values), Value::Object(entries)) => self.map(entries, values, place)?,
            (Shape::Quantity, Value::String(text)) => *text = quantity(text)?,
            (Shape::Quantity, Value::Number(number)) => *value = Value::String(quantity(&number.to_string())?),
            (Shape::Quantity, _) => return Err(Misfit(QuantityError::Format.to_string())),
            (Shape::Bytes, Value::String(text)) => *text = bytes(text)?,
            (Shape::Time { micro }, Value::String(text)) => *text = time(text, *micro)?,
            (Shape::IntOrString, found) => return Err(misfit_by_itself(found, "int32")),
            (Shape::Time { .. }, found) => return Err(misfit_by_itself(found, "string")),
            (_, found) => return Err(place.misfit(found, &go_type(shape))),
        }
        Ok(())
    }

    fn object(&mut self, fields: &mut Map<String, Value>, owner: &ObjectType, place: &Place<'_>) -> Result<(), Misfit> {
        let mut result = Ok(());
        fields.retain(|name, value| {
            let here = Place { parent: Some(place), step: Step::Field(owner, name) };
            let Some(shape) = owner.fields.get(name.as_str()) else {
                if self.unknown.len() < MAX_UNKNOWN {
                    self.unknown.push(shortened(&here.to_string()));
                }
                return false;
            };
            if value.is_null() {
                return false;
            }
            if result.is_ok() {
                result = self.value(value, shape, &here);
            }
            true
        });
        for name in &owner.required_times {
            if let (false, Some(shape)) = (fields.contains_key(*name), owner.fields.get(name)) {
                fields.insert((*name).to_owned(), shape.zero());
            }
        }
        result
    }

    fn list(&mut self, values: &mut [Value], items: &Shape, place: &Place<'_>) -> Result<(), Misfit> {
        for (index, value) in values.iter_mut().enumerate() {
            if value.is_null() {
                *value = items.zero();
            }
            self.value(value, items, &Place { parent: Some(place), step: Step::Index(index) })?;
        }
        Ok(())
    }

    fn map(&mut self, entries: &mut Map<String, Value>, values: &Shape, place: &Place<'_>) -> Result<(), Misfit> {
        for (key, value) in entries {
            if value.is_null() {
                *value = values.zero();
            }
            self.value(value, values, &Place { parent: Some(place), step: Step::Key(key) })?;
        }
        Ok(())
    }
}

fn fits(number: &Number, long: bool) -> bool {
    number.as_i64().is_some_and(|number| long || i32::try_from(number).is_ok())
}

fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Any => "interface {}".to_owned(),
        Shape::AnyObject => "map[string]interface {}".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Integer { long: true } => "int64".to_owned(),
        Shape::Integer { long: false } | Shape::IntOrString => "int32".to_owned(),
        Shape::Float => "float64".to_owned(),
        Shape::Text | Shape::Time { .. } => "string".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Object(id) => TYPES.get(*id).go_name().to_owned(),
        Shape::List(items) => format!("[]{}", go_type(items)),
        Shape::Map(values) => format!("map[string]{}", go_type(values)),
    }
}

fn quantity(text: &str) -> Result<String, Misfit> {
    match text.parse::<Quantity>() {
        Ok(quantity) => Ok(quantity.to_string()),
        Err(error) => Err(Misfit(error.to_string())),
    }
}

/// Go's decoder passes over line breaks within base64.
fn bytes(text: &str) -> Result<String, Misfit> {
    let packed: String = text.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
    match BASE64.decode(&packed) {
        Ok(_) => Ok(packed),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol { offset: at, .. } => {
                    at
                }
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => packed.len(),
            };
            Err(Misfit(format!("illegal base64 data at input byte {at}")))
        }
    }
}

/// A time in UTC, as RFC 3339 writes it.
fn time(text: &str, micro: bool) -> Result<String, Misfit> {
    let written = text.as_bytes().get(10) == Some(&b'T') && text.len() <= MAX_SHOWN;
    let parsed = text.parse::<Timestamp>().ok().filter(|_| written);
    let format = if micro { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    let canonical = parsed.and_then(|time| jiff::fmt::strtime::format(format, time).ok());
    canonical.ok_or_else(|| {
        let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
        let text = go_quoted(&shortened(text));
        Misfit(format!("parsing time {text} as \"{layout}\": cannot parse {text}"))
    })
}
