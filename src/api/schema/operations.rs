//! The requests that resources answer, as OpenAPI documents describe them: OpenAPI 3.0 and, from the same, Swagger 2.0.
//!
//! `kubectl` looks for one thing here: that `PATCH` of a kind takes `fieldValidation`. It then leaves the check of
//! fields to the server.

use serde_json::{Map, Value, json};

use super::{GroupVersionKind, KIND_EXTENSION, components, kind_of};
use crate::api::resources::{Nature, ResourceType};

/// A query parameter: name, type, meaning.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter = ("dryRun", "string", "All: do everything but keep the result.");
const FIELD_MANAGER: Parameter = ("fieldManager", "string", "A name for whoever makes the change.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What to do about fields that are not known or there twice: Ignore, Warn (the default) or Strict.",
);
const FORCE: Parameter = ("force", "boolean", "Take fields over from other managers in case of conflict.");
const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "How long a pod may take to end."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
];
const LIST: &[Parameter] = &[
    ("continue", "string", "Where the part before this one ended."),
    ("fieldSelector", "string", "Which objects, by their fields."),
    ("labelSelector", "string", "Which objects, by their labels."),
    ("limit", "integer", "How many objects at most."),
    ("resourceVersion", "string", "Which state, or since when."),
    ("watch", "boolean", "Tell what changes, too."),
];

/// What patches may be written in. Strategic merge patches are taken, too; not saying so makes `kubectl` compute them
/// from the types it is built with, which is exact, rather than from this document.
const PATCH_TYPES: [&str; 3] =
    ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

/// In which words a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAPI 3.0.
    V3,
    /// Swagger 2.0.
    V2,
}

impl Dialect {
    fn reference(self, component: &str) -> Value {
        match self {
            Self::V3 => json!({"$ref": format!("#/components/schemas/{component}")}),
            Self::V2 => json!({"$ref": format!("#/definitions/{component}")}),
        }
    }

    fn parameter(self, place: &str, (name, of, meaning): Parameter) -> Value {
        let mut parameter = json!({"name": name, "in": place, "description": meaning});
        if place == "path" {
            parameter["required"] = true.into();
        }
        match self {
            Self::V3 => parameter["schema"] = json!({"type": of}),
            Self::V2 => parameter["type"] = of.into(),
        }
        parameter
    }
}

/// The paths of a resource.
pub(super) fn paths(resource: &'static ResourceType, dialect: Dialect) -> Map<String, Value> {
    let kind = GroupVersionKind::of(resource);
    let described = super::described(resource);
    let Some((component, _)) = components().iter().find(|(_, schema)| kind_of(schema) == Some(described)) else {
        return Map::new();
    };
    let describer = Describer { resource, dialect, object: dialect.reference(component) };
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let place = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    let collection = format!("{root}/{}/{place}{}", kind.api_version(), resource.plural);
    let mut paths = Map::new();
    match resource.nature {
        Nature::Stored | Nature::ViewOf(_) => {
            let methods = [describer.list(), describer.create(), describer.delete("deletecollection")];
            paths.insert(collection.clone(), describer.path(false, methods));
            let methods = [describer.read(), describer.replace(), describer.patch(), describer.delete("delete")];
            paths.insert(format!("{collection}/{{name}}"), describer.path(true, methods));
        }
        Nature::Answered => {
            paths.insert(collection, describer.path(false, [describer.create()]));
        }
        Nature::Measured => {
            paths.insert(collection.clone(), describer.path(false, [describer.list()]));
            paths.insert(format!("{collection}/{{name}}"), describer.path(true, [describer.read()]));
        }
    }
    paths
}

struct Describer<'r> {
    resource: &'r ResourceType,
    dialect: Dialect,
    /// What refers to the schema of the kind.
    object: Value,
}

impl Describer<'_> {
    fn path<const N: usize>(&self, named: bool, methods: [(&str, Value); N]) -> Value {
        let mut path: Map<String, Value> =
            methods.into_iter().map(|(method, what)| (method.to_owned(), what)).collect();
        let mut parameters = Vec::new();
        if self.resource.namespaced {
            parameters.push(self.dialect.parameter("path", ("namespace", "string", "The namespace.")));
        }
        if named {
            parameters.push(self.dialect.parameter("path", ("name", "string", "The name of the object.")));
        }
        path.insert("parameters".to_owned(), parameters.into());
        Value::Object(path)
    }

    fn operation(&self, action: &str, parameters: &[Parameter], answer: Option<&Value>) -> Value {
        let ResourceType { group, version, kind, plural, .. } = self.resource;
        let parameters: Vec<Value> =
            parameters.iter().map(|parameter| self.dialect.parameter("query", *parameter)).collect();
        let mut ok = json!({"description": "OK"});
        match (self.dialect, answer) {
            (_, None) => {}
            (Dialect::V3, Some(schema)) => ok["content"] = json!({"application/json": {"schema": schema}}),
            (Dialect::V2, Some(schema)) => ok["schema"] = schema.clone(),
        }
        let mut operation = json!({
            "operationId": format!("{action}_{}_{version}_{plural}", if group.is_empty() { "core" } else { group }),
            "parameters": parameters,
            "responses": {"200": ok},
            "x-kubernetes-action": action,
        });
        operation[KIND_EXTENSION] = json!({"group": group, "kind": kind, "version": version});
        operation
    }

    fn with_body(&self, mut operation: Value, media_types: &[&str], schema: &Value) -> Value {
        match self.dialect {
            Dialect::V3 => {
                let content: Map<String, Value> = media_types
                    .iter()
                    .map(|media_type| ((*media_type).to_owned(), json!({"schema": schema})))
                    .collect();
                operation["requestBody"] = json!({"content": content, "required": true});
            }
            Dialect::V2 => {
                operation["consumes"] = json!(media_types);
                if let Some(parameters) = operation["parameters"].as_array_mut() {
                    parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
                }
            }
        }
        operation
    }

    fn list(&self) -> (&'static str, Value) {
        ("get", self.operation("list", LIST, None))
    }

    fn read(&self) -> (&'static str, Value) {
        ("get", self.operation("get", &[], Some(&self.object)))
    }

    fn create(&self) -> (&'static str, Value) {
        let operation = self.operation("post", WRITE, Some(&self.object));
        ("post", self.with_body(operation, &crate::api::body::ACCEPTED, &self.object))
    }

    fn replace(&self) -> (&'static str, Value) {
        let operation = self.operation("put", WRITE, Some(&self.object));
        ("put", self.with_body(operation, &crate::api::body::ACCEPTED, &self.object))
    }

    fn patch(&self) -> (&'static str, Value) {
        let operation = self.operation("patch", PATCH, Some(&self.object));
        ("patch", self.with_body(operation, &PATCH_TYPES, &json!({"type": "object"})))
    }

    fn delete(&self, action: &str) -> (&'static str, Value) {
        ("delete", self.operation(action, if action == "delete" { DELETE } else { LIST }, None))
    }
}
