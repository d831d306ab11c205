//! JSON values as nodes, so that objects which came as JSON are decoded by the same walk as those written in files.

use std::sync::Arc;

use super::{Entry, Node, Value};

/// The nodes of a JSON value; all of them are on line 1.
pub(in crate::api) fn node(json: &serde_json::Value) -> Node {
    let value = match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool { value: *value, written: value.to_string() },
        serde_json::Value::Number(number) => {
            match number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)) {
                Some(value) => Value::Integer { value, written: number.to_string() },
                None => Value::Float { value: number.as_f64().unwrap_or_default(), written: number.to_string() },
            }
        }
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Array(items) => Value::Sequence(items.iter().map(|item| Arc::new(node(item))).collect()),
        serde_json::Value::Object(fields) => Value::Mapping(
            fields
                .iter()
                .map(|(key, value)| Entry { key: key.clone(), line: 1, value: Arc::new(node(value)) })
                .collect(),
        ),
    };
    Node::new(1, value)
}
