//! What a type is made of, from the server's OpenAPI document, as `kubectl explain` prints it.

use serde_json::{Map, Value};

use super::object::{list, text};

/// Columns of a line of prose.
const WIDTH: usize = 80;
/// How deeply fields of fields are shown.
const MAX_DEPTH: usize = 24;
/// Where schemas of the document are referred to.
const REFERENCE: &str = "#/components/schemas/";

/// The schemas of one group and version.
#[derive(Debug, Clone, Copy)]
pub struct Schemas<'a>(&'a Map<String, Value>);

impl<'a> Schemas<'a> {
    /// Those of an OpenAPI document.
    pub fn of(document: &'a Value) -> Option<Self> {
        document.pointer("/components/schemas").and_then(Value::as_object).map(Self)
    }

    /// The schema of a kind.
    pub fn kind(self, group: &str, version: &str, kind: &str) -> Option<&'a Value> {
        let is = |value: &Value| {
            text(value, &["group"]) == group && text(value, &["version"]) == version && text(value, &["kind"]) == kind
        };
        self.0.values().find(|schema| list(schema, &["x-kubernetes-group-version-kind"]).iter().any(is))
    }

    /// The name of the schema that a field refers to, itself or by its elements.
    fn reference(field: &Value) -> Option<&str> {
        let direct = field.get("$ref").or_else(|| list(field, &["allOf"]).first()?.get("$ref")).and_then(Value::as_str);
        match direct {
            Some(reference) => reference.strip_prefix(REFERENCE),
            None => Self::reference(field.get("items").or_else(|| field.get("additionalProperties"))?),
        }
    }

    /// The schema whose fields a field has: its own if it refers to none.
    fn resolve(self, field: &'a Value) -> &'a Value {
        Self::reference(field).and_then(|name| self.0.get(name)).unwrap_or(field)
    }

    fn fields(self, schema: &'a Value) -> Vec<(&'a str, &'a Value)> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut fields: Vec<_> = properties.into_iter().flatten().map(|(name, field)| (name.as_str(), field)).collect();
        fields.sort_by_key(|(name, _)| *name);
        fields
    }

    /// How a field's type is called: `string`, `[]Container`, `map[string]string`.
    fn type_of(self, field: &Value) -> String {
        let direct = field.get("$ref").or_else(|| list(field, &["allOf"]).first()?.get("$ref")).and_then(Value::as_str);
        if let Some(reference) = direct {
            // A type that is but a text or number is called what it is.
            let schema = reference.strip_prefix(REFERENCE).and_then(|name| self.0.get(name));
            let plain = schema.map(|schema| text(schema, &["type"])).filter(|name| !matches!(*name, "" | "object"));
            return plain.unwrap_or_else(|| reference.rsplit('.').next().unwrap_or_default()).to_owned();
        }
        match text(field, &["type"]) {
            "array" => format!("[]{}", field.get("items").map_or("Object".to_owned(), |items| self.type_of(items))),
            "object" => match field.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) => format!("map[string]{}", self.type_of(values)),
                None => "Object".to_owned(),
            },
            "" => "Object".to_owned(),
            name => name.to_owned(),
        }
    }

    /// Explains what is at a path of fields in a kind.
    ///
    /// # Errors
    /// That there is no such field.
    pub fn explain(self, kind: &'a Value, path: &[&str], recursive: bool) -> Result<String, String> {
        let (mut schema, mut field) = (kind, None);
        for name in path {
            let found = self.fields(schema).into_iter().find(|(known, _)| known == name);
            let (_, found) = found.ok_or_else(|| format!("field {name:?} does not exist"))?;
            (schema, field) = (self.resolve(found), Some(found));
        }
        let mut out = String::new();
        if let (Some(field), Some(name)) = (field, path.last()) {
            out.push_str(&format!("FIELD: {name} <{}>\n\n\n", self.type_of(field)));
        }
        out.push_str("DESCRIPTION:\n");
        let own = field.map_or("", |field| text(field, &["description"]));
        let of_type = text(schema, &["description"]);
        match (own, of_type) {
            ("", "") => out.push_str("    <empty>\n"),
            (own, of_type) => {
                out.push_str(&wrap(own, 4));
                if of_type != own {
                    out.push_str(&wrap(of_type, 4));
                }
            }
        }
        out.push_str("    \n");
        if schema.get("properties").is_some() {
            out.push_str("FIELDS:\n");
            self.print_fields(schema, recursive, 1, &mut Vec::new(), &mut out);
        }
        out.push('\n');
        Ok(out)
    }

    fn print_fields(
        self,
        schema: &'a Value,
        recursive: bool,
        depth: usize,
        within: &mut Vec<&'a str>,
        out: &mut String,
    ) {
        let required: Vec<&str> = list(schema, &["required"]).iter().filter_map(Value::as_str).collect();
        for (name, field) in self.fields(schema) {
            let mark = if required.contains(&name) { " -required-" } else { "" };
            out.push_str(&format!("{}{name}\t<{}>{mark}\n", "  ".repeat(depth), self.type_of(field)));
            if !recursive {
                out.push_str(&wrap(text(field, &["description"]), 4));
                out.push('\n');
                continue;
            }
            // Types that contain themselves are shown once.
            let reference = Self::reference(field).filter(|name| !within.contains(name) && depth < MAX_DEPTH);
            if let Some(reference) = reference {
                within.push(reference);
                self.print_fields(self.resolve(field), true, depth + 1, within, out);
                within.pop();
            }
        }
    }
}

/// Prose in lines, indented.
fn wrap(prose: &str, indent: usize) -> String {
    let mut out = String::new();
    for paragraph in prose.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_explained_by_path() {
        let document = json!({"components": {"schemas": {
            "x.Pod": {
                "description": "A pod.",
                "properties": {"spec": {"description": "What is wanted.", "allOf": [{"$ref": "#/components/schemas/x.Spec"}]}},
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
            },
            "x.Spec": {
                "description": "A spec.",
                "required": ["args"],
                "properties": {
                    "args": {"type": "array", "items": {"type": "string"}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "more": {"$ref": "#/components/schemas/x.Spec"},
                },
            },
        }}});
        let schemas = Schemas::of(&document).unwrap();
        let pod = schemas.kind("", "v1", "Pod").unwrap();
        let told = schemas.explain(pod, &["spec"], true).unwrap();
        assert!(told.starts_with("FIELD: spec <Spec>\n\n\nDESCRIPTION:\n    What is wanted.\n    A spec.\n"), "{told}");
        assert!(
            told.contains("  args\t<[]string> -required-\n  labels\t<map[string]string>\n  more\t<Spec>\n"),
            "{told}"
        );
        assert!(schemas.explain(pod, &[], false).unwrap().contains("  spec\t<Spec>\n    What is wanted.\n"));
        assert_eq!(schemas.explain(pod, &["nope"], false).unwrap_err(), "field \"nope\" does not exist");
    }
}
