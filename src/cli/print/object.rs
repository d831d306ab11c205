//! Objects as JSON and YAML, as kubectl prints them: keys in alphabetical order, without managed fields.

use serde_json::Value;

/// The object as people read it: keys sorted, without `managedFields` unless they are asked for.
pub fn tidy(mut object: Value, managed_fields: bool) -> Value {
    if !managed_fields {
        let objects = match object.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) => items.iter_mut().collect(),
            None => vec![&mut object],
        };
        for object in objects {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.shift_remove("managedFields");
            }
        }
    }
    object.sort_all_objects();
    object
}

/// As JSON, indented by four.
pub fn json(object: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A value is always serialisable, into memory.
    let _ = serde::Serialize::serialize(object, &mut serializer);
    String::from_utf8_lossy(&out).into_owned() + "\n"
}

/// As YAML.
///
/// # Errors
/// Whatever the serialiser cannot write.
pub fn yaml(object: &Value) -> anyhow::Result<String> {
    let text = serde_yaml::to_string(object)?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// Text at a path of keys; nothing if there is none.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// What is at a path of keys.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The elements at a path of keys; none if there is no list.
pub fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_printed_in_order_and_without_managed_fields() {
        let object =
            json!({"kind": "List", "items": [{"metadata": {"name": "a", "managedFields": []}, "apiVersion": "v1"}]});
        let tidied = tidy(object.clone(), false).to_string();
        assert_eq!(tidied, r#"{"items":[{"apiVersion":"v1","metadata":{"name":"a"}}],"kind":"List"}"#);
        assert!(tidy(object, true).to_string().contains("managedFields"));
        assert_eq!(json(&json!({"a": [1]})), "{\n    \"a\": [\n        1\n    ]\n}\n");
    }
}
