//! Errors in the words of Go's library, which print values as Go does.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::super::PatchError;

/// Errors show this much of a value.
const MAX_SHOWN: usize = 1024;

/// `expected a map[string]interface {}, but received a string`.
pub(super) fn bad_type(expected: &str, found: &Value) -> PatchError {
    PatchError::Malformed(format!("expected a {expected}, but received a {}", go_type(found)))
}

/// `map: map[image:x] does not contain declared merge key: name`.
pub(super) fn no_merge_key(item: &Map<String, Value>, key: &str) -> PatchError {
    PatchError::Malformed(format!("map: {} does not contain declared merge key: {key}", shown(|out| object(out, item))))
}

/// `unknown patch type: x in map: map[$patch:x]`.
pub(super) fn unknown_patch_type(directive: &Value, patch: &Map<String, Value>) -> PatchError {
    let (directive, patch) = (shown(|out| value(out, directive)), shown(|out| object(out, patch)));
    PatchError::Malformed(format!("unknown patch type: {directive} in map: {patch}"))
}

/// The items of a patch stand in another order than its list of the order.
pub(super) fn order_differs(items: &[Value], order: &[Value]) -> PatchError {
    let (items, order) = (shown(|out| list(out, items)), shown(|out| list(out, order)));
    let message = format!("The order in patch list:\n{items}\n doesn't match $setElementOrder list:\n{order}\n");
    PatchError::Malformed(message)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn shown(write: impl FnOnce(&mut String)) -> String {
    let mut text = String::new();
    write(&mut text);
    if text.len() > MAX_SHOWN {
        text.truncate(text.floor_char_boundary(MAX_SHOWN));
        text.push('…');
    }
    text
}

fn value(out: &mut String, shown: &Value) {
    // Whatever comes after that is cut off.
    if out.len() > MAX_SHOWN {
        return;
    }
    match shown {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => list(out, items),
        Value::Object(members) => object(out, members),
        // Writing to a string does not fail.
        Value::Bool(_) | Value::Number(_) => drop(write!(out, "{shown}")),
    }
}

fn list(out: &mut String, items: &[Value]) {
    out.push('[');
    for (index, item) in items.iter().enumerate().take(MAX_SHOWN) {
        if index > 0 {
            out.push(' ');
        }
        value(out, item);
    }
    out.push(']');
}

fn object(out: &mut String, members: &Map<String, Value>) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(name, _)| *name);
    out.push_str("map[");
    for (index, (name, member)) in members.into_iter().enumerate().take(MAX_SHOWN) {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(name);
        out.push(':');
        value(out, member);
    }
    out.push(']');
}
