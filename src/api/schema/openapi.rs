//! OpenAPI documents: what `kubectl explain` shows and clients generate code from.
//!
//! ```text
//!   /openapi/v3                  which documents there are
//!   /openapi/v3/api/v1           one for each group and version, with the schemas its kinds need
//!   /openapi/v2                  everything in one, as Swagger 2.0
//! ```
//!
//! They are written when they are asked for the first time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::operations::{self, Dialect};
use super::{GroupVersionKind, components, kind_of, merging};
use crate::api::resources::RESOURCES;

/// A document as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// What it says.
    pub body: &'static str,
}

const JSON: &str = "application/json";
/// What `Accept` calls Swagger in protobuf, without its `@`, which no media type may have.
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2";

/// `/openapi/v3`: where the documents are.
pub fn index() -> Document {
    Document { content_type: JSON, body: &V3.index }
}

/// The document at `path`, what comes after `/openapi/v3/`: `api/v1`, `apis/discovery.k8s.io/v1`.
pub fn v3(path: &str) -> Option<Document> {
    V3.documents.get(path).map(|body| Document { content_type: JSON, body })
}

/// `/openapi/v2`, for a client that accepts these media types.
pub fn v2(accept: &str) -> Document {
    // `kubectl` takes protobuf only, and asks for it only where the documents of OpenAPI v3 do not say what it wants to
    // know. It is content with a document that says nothing: fields are checked by the server.
    match accept.split(',').next() {
        Some(first) if first.trim().starts_with(PROTOBUF_V2) => {
            Document { content_type: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", body: "" }
        }
        _ => Document { content_type: JSON, body: &V2 },
    }
}

struct Documents {
    index: String,
    documents: BTreeMap<String, String>,
}

static V3: LazyLock<Documents> = LazyLock::new(|| {
    let schemas = annotated();
    let groups: BTreeSet<_> = RESOURCES.iter().map(|resource| (resource.group, resource.version)).collect();
    let documents: BTreeMap<String, String> =
        groups.into_iter().map(|(group, version)| document_v3(&schemas, group, version)).collect();
    let mut paths = Map::new();
    for (path, document) in &documents {
        let url = format!("/openapi/v3/{path}?hash={}", hash(document));
        paths.insert(path.clone(), json!({"serverRelativeURL": url}));
    }
    Documents { index: json!({"paths": paths}).to_string(), documents }
});

static V2: LazyLock<String> = LazyLock::new(|| {
    let paths = RESOURCES.iter().flat_map(|resource| operations::paths(resource, Dialect::V2));
    let mut document = json!({"swagger": "2.0", "info": info(), "paths": paths.collect::<Map<_, _>>()});
    document["definitions"] = Value::Object(annotated());
    in_words_of_v2(&mut document["definitions"]);
    document.to_string()
});

fn info() -> Value {
    json!({"title": "Kubernetes", "version": "unversioned"})
}

/// All schemas, with how their fields merge.
fn annotated() -> Map<String, Value> {
    let mut schemas = components().clone();
    merging::annotate(&mut schemas);
    schemas
}

fn hash(document: &str) -> String {
    Sha256::digest(document.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The path and text of the document of a group and version.
fn document_v3(schemas: &Map<String, Value>, group: &'static str, version: &'static str) -> (String, String) {
    let of_it = || RESOURCES.iter().filter(|resource| (resource.group, resource.version) == (group, version));
    let below = of_it().flat_map(|resource| {
        resource.subresources.iter().map(|subresource| GroupVersionKind::of_subresource(resource, subresource))
    });
    let kinds: BTreeSet<_> = of_it().map(super::described).chain(below).chain([super::DELETE_OPTIONS]).collect();
    let mut names = BTreeSet::new();
    for (name, schema) in schemas {
        if kind_of(schema).is_some_and(|kind| kinds.contains(&kind)) {
            add_with_references(name, schemas, &mut names);
        }
    }
    let mut schemas: Map<String, Value> =
        schemas.iter().filter(|(name, _)| names.contains(name.as_str())).map(owned).collect();
    // A schema that several versions share says so in each of their documents.
    for resource in of_it().filter(|resource| super::described(resource) != GroupVersionKind::of(resource)) {
        let described = super::described(resource);
        let schema = schemas.values_mut().find(|schema| kind_of(schema) == Some(described));
        if let Some(Value::Array(kinds)) = schema.and_then(|schema| schema.get_mut(super::KIND_EXTENSION)) {
            kinds.push(json!({"group": resource.group, "kind": resource.kind, "version": resource.version}));
        }
    }
    let paths = of_it().flat_map(|resource| operations::paths(resource, Dialect::V3));
    let document = json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths.collect::<Map<_, _>>(),
        "components": {"schemas": schemas},
    });
    let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
    (path, document.to_string())
}

fn owned((name, schema): (&String, &Value)) -> (String, Value) {
    (name.clone(), schema.clone())
}

/// Adds a component and all that it refers to.
fn add_with_references<'s>(name: &'s str, schemas: &'s Map<String, Value>, names: &mut BTreeSet<&'s str>) {
    if !names.insert(name) {
        return;
    }
    let mut left: Vec<&Value> = schemas.get(name).into_iter().collect();
    while let Some(schema) = left.pop() {
        match schema {
            Value::Object(fields) => {
                if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                    add_with_references(target.rsplit('/').next().unwrap_or(target), schemas, names);
                }
                left.extend(fields.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
}

/// References have a description beside them, and lead elsewhere.
fn in_words_of_v2(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("allOf").and_then(|all| all.get(0)?.get("$ref")).cloned() {
                fields.remove("allOf");
                fields.insert("$ref".to_owned(), reference);
            }
            if let Some(Value::String(target)) = fields.get_mut("$ref") {
                *target = target.replace("#/components/schemas/", "#/definitions/");
            }
            fields.values_mut().for_each(in_words_of_v2);
        }
        Value::Array(items) => items.iter_mut().for_each(in_words_of_v2),
        _ => {}
    }
}
