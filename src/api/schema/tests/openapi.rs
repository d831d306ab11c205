//! What the documents say, as clients look at it.

use serde_json::Value;

use crate::api::resources::{Nature, RESOURCES};
use crate::api::schema::{GroupVersionKind, openapi};

fn parsed(document: openapi::Document) -> Value {
    assert_eq!(document.content_type, "application/json");
    serde_json::from_str(document.body).unwrap()
}

fn core() -> Value {
    parsed(openapi::v3("api/v1").unwrap())
}

fn schema<'d>(document: &'d Value, name: &str) -> &'d Value {
    &document["components"]["schemas"][name]
}

/// Every `$ref` below a value.
fn references<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_group_and_version_has_a_document_that_is_whole() {
    let index = parsed(openapi::index());
    let paths = index["paths"].as_object().unwrap();
    for resource in RESOURCES {
        let kind = GroupVersionKind::of(resource);
        let root = if resource.group.is_empty() { "api" } else { "apis" };
        let path = format!("{root}/{}", kind.api_version());
        let url = paths[&path]["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")), "{url}");
        let document = parsed(openapi::v3(&path).unwrap());
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
        }
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let of_kind = schemas.values().filter(|schema| {
            schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(|found| {
                (found["group"].as_str(), found["version"].as_str(), found["kind"].as_str())
                    == (Some(kind.group), Some(kind.version), Some(kind.kind))
            })
        });
        assert_eq!(of_kind.count(), 1, "{kind:?}");
    }
    assert!(openapi::v3("apis/apps/v1").is_none());
    assert!(openapi::v3("").is_none());
}

#[test]
fn kubectl_finds_that_the_server_checks_fields() {
    for resource in RESOURCES.iter().filter(|resource| matches!(resource.nature, Nature::Stored | Nature::ViewOf(_))) {
        let kind = GroupVersionKind::of(resource);
        let root = if resource.group.is_empty() { "api" } else { "apis" };
        let document = parsed(openapi::v3(&format!("{root}/{}", kind.api_version())).unwrap());
        let paths = document["paths"].as_object().unwrap();
        let patch = paths
            .values()
            .map(|path| &path["patch"])
            .find(|patch| patch["x-kubernetes-group-version-kind"]["kind"] == kind.kind)
            .unwrap_or_else(|| panic!("no patch of {}", kind.kind));
        assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation"));
        // Else kubectl would compute strategic merge patches from these schemas.
        let media_types = patch["requestBody"]["content"].as_object().unwrap();
        assert!(!media_types.contains_key("application/strategic-merge-patch+json"));
    }
}

#[test]
fn explain_has_something_to_say() {
    let document = core();
    let pod = schema(&document, "io.k8s.api.core.v1.Pod");
    assert_eq!(pod["required"], Value::Null);
    assert_eq!(pod["properties"]["spec"]["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.PodSpec");
    let containers = &schema(&document, "io.k8s.api.core.v1.PodSpec")["properties"]["containers"];
    assert!(containers["description"].as_str().unwrap().starts_with("List of containers belonging to the pod."));
    assert_eq!(schema(&document, "io.k8s.api.core.v1.PodSpec")["required"], serde_json::json!(["containers"]));
    let binding = schema(&document, "io.k8s.api.core.v1.Binding");
    assert_eq!(binding["x-kubernetes-group-version-kind"][0]["kind"], "Binding");
}

#[test]
fn fields_say_how_they_merge() {
    let document = core();
    let property = |owner: &str, field: &str| {
        let property = &schema(&document, &format!("io.k8s.api.core.v1.{owner}"))["properties"][field];
        let text = |key: &str| property[key].as_str().unwrap_or_default().to_owned();
        let keys: Vec<_> = property["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().collect();
        (
            text("x-kubernetes-list-type"),
            keys.into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            text("x-kubernetes-patch-strategy"),
            text("x-kubernetes-patch-merge-key"),
            text("x-kubernetes-map-type"),
        )
    };
    let expect = |list: &str, keys: &str, strategy: &str, key: &str, map: &str| {
        (list.to_owned(), keys.to_owned(), strategy.to_owned(), key.to_owned(), map.to_owned())
    };
    assert_eq!(property("PodSpec", "containers"), expect("map", "name", "merge", "name", ""));
    assert_eq!(property("Container", "ports"), expect("map", "containerPort,protocol", "merge", "containerPort", ""));
    assert_eq!(property("Container", "args"), expect("atomic", "", "", "", ""));
    assert_eq!(property("ServiceSpec", "selector"), expect("", "", "", "", "atomic"));
    assert_eq!(property("NodeSpec", "podCIDRs"), expect("set", "", "merge", "", ""));
    let selector = schema(&document, "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector");
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
}

#[test]
fn swagger_is_for_those_who_do_not_insist_on_protobuf() {
    let kubectl = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let document = openapi::v2(kubectl);
    assert_eq!(document.content_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert_eq!(document.body, "");
    for accept in ["application/json", "*/*", ""] {
        let document = parsed(openapi::v2(accept));
        assert_eq!(document["swagger"], "2.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation"));
        let spec = &document["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
        assert_eq!(spec["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
        assert!(spec["description"].is_string());
    }
}
