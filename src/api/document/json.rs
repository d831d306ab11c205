//! From nodes to JSON, as Kubernetes turns YAML into JSON before it looks at any type.

use serde_json::{Map, Number, Value as Json};

use super::{Node, Value};

impl Node {
    /// The JSON form of the node. Numbers like infinity have none; the line of the first one is the error.
    pub(in crate::api) fn to_json(&self) -> Result<Json, usize> {
        Ok(match &self.value {
            Value::Null => Json::Null,
            Value::Bool { value, .. } => Json::Bool(*value),
            Value::Integer { value, .. } => Json::Number(integer(*value).ok_or(self.line)?),
            Value::Float { value, .. } => Json::Number(float(*value).ok_or(self.line)?),
            Value::String(text) => Json::String(text.clone()),
            Value::Sequence(items) => Json::Array(items.iter().map(|item| item.to_json()).collect::<Result<_, _>>()?),
            Value::Mapping(entries) => {
                let mut fields = Map::with_capacity(entries.len());
                for entry in entries {
                    fields.insert(entry.key.clone(), entry.value.to_json()?);
                }
                Json::Object(fields)
            }
        })
    }
}

fn integer(value: i128) -> Option<Number> {
    i64::try_from(value).ok().map(Number::from).or_else(|| u64::try_from(value).ok().map(Number::from))
}

/// Go writes floats without a fraction as it writes integers.
fn float(value: f64) -> Option<Number> {
    #[expect(clippy::cast_possible_truncation, reason = "the value has no fraction and is within 64 bits")]
    if value.fract() == 0.0 && value.abs() < 9.0e18 {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}
