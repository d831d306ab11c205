//! What the server has: versions, groups and resources, in the form of old (one document per group and version) and as one
//! document (`apidiscovery.k8s.io`); health; OpenAPI.
//!
//! No answer here has an ETag. A client that asks whether its copy is still good, and is told so, takes the media type of
//! that answer for that of its copy, and then finds no resources in it.

mod aggregated;
mod openapi;

use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::status::ApiError;
use super::{Inner, answer, negotiate};
use crate::api::resources::{RESOURCES, ResourceType, Subresource};

/// Answers a request for anything but resources.
pub(super) fn answer(server: &Inner, parts: &Parts, segments: &[String]) -> Result<Response, ApiError> {
    if !["GET", "HEAD"].contains(&parts.method.as_str()) {
        return Err(ApiError::no_such_path());
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ok = |document: &Value| Ok(answer::json(StatusCode::OK, document));
    match segments[..] {
        [] => ok(&json!({"paths": paths()})),
        ["version"] => ok(&version(&server.config.version)),
        ["healthz" | "livez" | "readyz"] => Ok(answer::text(StatusCode::OK, "ok")),
        ["healthz" | "livez" | "readyz", "ping"] => Ok(answer::text(StatusCode::OK, "ok")),
        ["api"] => Ok(negotiated(&parts.headers, |is_core| is_core, &core_versions())),
        ["apis"] => Ok(negotiated(&parts.headers, |is_core| !is_core, &groups())),
        ["api", version] => resources("", version).map(|document| answer::json(StatusCode::OK, &document)),
        ["apis", group] => self::group(group).map(|document| answer::json(StatusCode::OK, &document)),
        ["apis", group, version] => resources(group, version).map(|document| answer::json(StatusCode::OK, &document)),
        ["openapi", ref rest @ ..] => openapi::answer(parts, rest),
        _ => Err(ApiError::no_such_path()),
    }
}

/// One document about all groups if the client takes one, else `plain`.
fn negotiated(headers: &HeaderMap, which: fn(bool) -> bool, plain: &Value) -> Response {
    for range in negotiate::accepted(headers).iter().filter(|range| range.takes_json()) {
        let as_list =
            (range.group.as_str(), range.shown_as.as_str()) == ("apidiscovery.k8s.io", "APIGroupDiscoveryList");
        let version = match range.version.as_str() {
            "v2" if as_list => "v2",
            "v2beta1" if as_list => "v2beta1",
            _ if range.shown_as.is_empty() => break,
            _ => continue,
        };
        let mut response = answer::json(StatusCode::OK, &aggregated::document(version, which));
        let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        if let Ok(media) = HeaderValue::from_str(&media) {
            response.headers_mut().insert(header::CONTENT_TYPE, media);
        }
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        return response;
    }
    let mut response = answer::json(StatusCode::OK, plain);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// The groups and their versions, each once, in order.
fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = RESOURCES.iter().map(|resource| (resource.group, resource.version)).collect();
    all.dedup();
    all
}

fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for (group, version) in group_versions().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.extend([format!("/apis/{group}"), format!("/apis/{group}/{version}")]);
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    paths
}

fn version(version: &str) -> Value {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    json!({
        "major": major, "minor": minor, "gitVersion": version,
        "gitCommit": env!("CARGO_PKG_VERSION"), "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The machine's architecture, as Go calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

fn group_document(group: &str) -> Option<Value> {
    let versions: Vec<Value> = group_versions()
        .into_iter()
        .filter(|(name, _)| *name == group)
        .map(|(_, version)| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({"name": group, "versions": versions, "preferredVersion": preferred}))
}

fn groups() -> Value {
    let mut names: Vec<_> =
        group_versions().into_iter().map(|(group, _)| group).filter(|group| !group.is_empty()).collect();
    names.dedup();
    let groups: Vec<Value> = names.into_iter().filter_map(group_document).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(name: &str) -> Result<Value, ApiError> {
    let mut document = group_document(name).filter(|_| !name.is_empty()).ok_or_else(ApiError::no_such_path)?;
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Ok(document)
}

/// `APIResourceList` of a group and version.
fn resources(group: &str, version: &str) -> Result<Value, ApiError> {
    let mut found =
        RESOURCES.iter().filter(|resource| (resource.group, resource.version) == (group, version)).peekable();
    if found.peek().is_none() {
        return Err(ApiError::no_such_path());
    }
    let resources: Vec<Value> = found
        .flat_map(|resource| {
            let below = resource.subresources.iter().map(|subresource| described_below(resource, subresource));
            std::iter::once(described(resource)).chain(below)
        })
        .collect();
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}

fn described(resource: &ResourceType) -> Value {
    let mut described = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs(),
    });
    for (field, names) in [("shortNames", resource.short_names), ("categories", resource.categories)] {
        if !names.is_empty() {
            described[field] = json!(names);
        }
    }
    described
}

fn described_below(resource: &ResourceType, subresource: &Subresource) -> Value {
    let (group, version, kind) = subresource.kind;
    let mut described = json!({
        "name": format!("{}/{}", resource.plural, subresource.name), "singularName": "",
        "namespaced": resource.namespaced, "kind": kind, "verbs": subresource.verbs,
    });
    if !version.is_empty() {
        described["group"] = group.into();
        described["version"] = version.into();
    }
    described
}
