//! The elements of paths to fields: `f:spec`, `k:{"name":"web"}`, `v:"example.com/finalizer"`, `i:0`.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Value};

/// One step on the way to a field. Elements are ordered as Kubernetes orders them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathElement {
    /// A member of an object.
    Field(String),
    /// The item of a list with these keys, in the order of their names.
    Key(Vec<(String, Scalar)>),
    /// The item of a list that is this value.
    Value(Scalar),
    /// The item of a list at this place.
    Index(i64),
}

/// A value that can identify an item: anything but lists and objects.
#[derive(Debug, Clone)]
pub(super) struct Scalar(Value);

impl Scalar {
    pub(super) fn new(value: &Value) -> Option<Scalar> {
        (!value.is_array() && !value.is_object()).then(|| Scalar(value.clone()))
    }
}

impl PathElement {
    /// Reads an element of `fieldsV1`; nothing if it is of a kind that a later version may know.
    pub(super) fn parse(text: &str) -> Result<Option<PathElement>, String> {
        let Some((kind, rest)) = text.split_once(':') else { return Err(format!("missing colon: {text}")) };
        let scalar = |value: &Value| Scalar::new(value).ok_or_else(|| format!("not a scalar: {text}"));
        let invalid = |error: serde_json::Error| format!("{text}: {error}");
        Ok(Some(match kind {
            "f" => PathElement::Field(rest.to_owned()),
            "v" => PathElement::Value(scalar(&serde_json::from_str(rest).map_err(invalid)?)?),
            "i" => PathElement::Index(rest.parse().map_err(|_| format!("invalid index: {text}"))?),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).map_err(invalid)?;
                let keys = keys.into_iter().map(|(name, value)| Ok((name, scalar(&value)?)));
                PathElement::key(keys.collect::<Result<_, String>>()?)
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn key(mut keys: Vec<(String, Scalar)>) -> PathElement {
        keys.sort_by(|(one, _), (other, _)| one.cmp(other));
        PathElement::Key(keys)
    }

    /// The element as a member of `fieldsV1`.
    pub(super) fn encode(&self) -> String {
        match self {
            PathElement::Field(name) => format!("f:{name}"),
            PathElement::Key(keys) => {
                let keys = keys.iter().map(|(name, value)| (name.clone(), value.0.clone()));
                format!("k:{}", Value::Object(keys.collect()))
            }
            PathElement::Value(value) => format!("v:{}", value.0),
            PathElement::Index(index) => format!("i:{index}"),
        }
    }
}

/// As messages show it: `.spec`, `[name="web"]`, `[="a"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(f, ".{name}"),
            PathElement::Key(keys) => {
                f.write_str("[")?;
                for (index, (name, value)) in keys.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", value.0)?;
                }
                f.write_str("]")
            }
            PathElement::Value(value) => write!(f, "[={}]", value.0),
            PathElement::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Ord for Scalar {
    /// Numbers, then texts, then truth values, then null.
    fn cmp(&self, other: &Scalar) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Null | Value::Array(_) | Value::Object(_) => 3,
        };
        match (&self.0, &other.0) {
            (Value::Number(one), Value::Number(other)) => {
                // Big whole numbers may be the same as fractions; then they are compared exactly.
                let exact =
                    |number: &serde_json::Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
                let float = |number: &serde_json::Number| number.as_f64().unwrap_or_default();
                let key = |number| exact(number).unwrap_or(float(number) as i128);
                float(one).total_cmp(&float(other)).then_with(|| key(one).cmp(&key(other)))
            }
            (Value::String(one), Value::String(other)) => one.cmp(other),
            (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
            (one, other) => rank(one).cmp(&rank(other)),
        }
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Scalar) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}
