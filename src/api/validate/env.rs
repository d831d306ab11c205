//! Environment variables and the places their values come from; the downward API's selectors, also for volumes.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, FileKeySelector, ObjectFieldSelector, ResourceFieldSelector};

use super::errors::{Errors, FieldPath};
use super::volume::{local_path_without_backsteps, not_empty};
use super::{formats, text};
use crate::api::field_path;
use crate::api::quantity::Quantity;

/// Fields of the pod that a variable can show, in the order they are listed to the user.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that a downward API volume can show.
const VOLUME_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields that exist, of which only some can be shown in each place.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Where a downward API selector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Env,
    Volume,
}

pub(super) fn variables(errors: &mut Errors, variables: &[EnvVar], path: &FieldPath) {
    for (index, variable) in variables.iter().enumerate() {
        let path = path.index(index);
        if variable.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_each(&path.child("name"), &variable.name, formats::environment_name(&variable.name));
        }
        value_from(errors, variable, &path.child("valueFrom"));
    }
}

fn value_from(errors: &mut Errors, variable: &EnvVar, path: &FieldPath) {
    let Some(source) = &variable.value_from else { return };
    let mut sources = 0;
    if let Some(selector) = &source.field_ref {
        sources += 1;
        field_selector(errors, selector, Place::Env, &path.child("fieldRef"));
    }
    if let Some(selector) = &source.resource_field_ref {
        sources += 1;
        resource_selector(errors, selector, Place::Env, &path.child("resourceFieldRef"));
    }
    if let Some(selector) = &source.config_map_key_ref {
        sources += 1;
        key_selector(errors, &selector.name, &selector.key, &path.child("configMapKeyRef"));
    }
    if let Some(selector) = &source.secret_key_ref {
        sources += 1;
        key_selector(errors, &selector.name, &selector.key, &path.child("secretKeyRef"));
    }
    if let Some(selector) = &source.file_key_ref {
        sources += 1;
        file_selector(errors, selector, &path.child("fileKeyRef"));
    }
    if sources == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or \
                      `fileKeyRef`";
        errors.invalid(path, "", detail);
    } else if !text(&variable.value).is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
}

pub(super) fn sources(errors: &mut Errors, sources: &[EnvFromSource], path: &FieldPath) {
    for (index, source) in sources.iter().enumerate() {
        let item = path.index(index);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            errors.invalid_each(&item.child("prefix"), prefix, formats::environment_name(prefix));
        }
        let config_map = source.config_map_ref.as_ref().map(|source| ("configMapRef", source.name.as_str()));
        let secret = source.secret_ref.as_ref().map(|source| ("secretRef", source.name.as_str()));
        for (field, name) in config_map.into_iter().chain(secret) {
            let path = item.child(field).child("name");
            if name.is_empty() {
                errors.required(&path, "");
            } else {
                errors.invalid_each(&path, name, formats::dns_subdomain(name));
            }
        }
        // As in Kubernetes, these two name the whole list.
        match (config_map, secret) {
            (None, None) => errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some(_), Some(_)) => errors.invalid(path, "", "may not have more than one field specified at a time"),
            _ => {}
        }
    }
}

fn key_selector(errors: &mut Errors, name: &str, key: &str, path: &FieldPath) {
    errors.invalid_each(&path.child("name"), name, formats::dns_subdomain(name));
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.invalid_each(&path.child("key"), key, formats::config_key(key));
    }
}

fn file_selector(errors: &mut Errors, selector: &FileKeySelector, path: &FieldPath) {
    if not_empty(errors, &selector.key, &path.child("key")) {
        errors.invalid_each(&path.child("key"), &selector.key, formats::environment_name(&selector.key));
    }
    if not_empty(errors, &selector.volume_name, &path.child("volumeName")) {
        let name = &selector.volume_name;
        errors.invalid_each(&path.child("volumeName"), name, formats::dns_label(name));
    }
    if not_empty(errors, &selector.path, &path.child("path")) {
        local_path_without_backsteps(errors, &selector.path, &path.child("path"));
    }
}

/// Checks a `fieldRef`: `validateObjectFieldSelector`.
pub(super) fn field_selector(errors: &mut Errors, selector: &ObjectFieldSelector, place: Place, path: &FieldPath) {
    let api_version = text(&selector.api_version);
    if api_version.is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    let field = selector.field_path.as_str();
    if field.is_empty() {
        return errors.required(&path.child("fieldPath"), "");
    }
    let subscripted = field_path::split_subscript(field);
    let unknown = match subscripted {
        _ if api_version != "v1" => Some(format!("unsupported pod version: {api_version}")),
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {field}")),
        None if KNOWN_FIELDS.contains(&field) || field == "spec.host" => None,
        None => Some(format!("field label not supported: {field}")),
    };
    if let Some(unknown) = unknown {
        return errors.invalid(&path.child("fieldPath"), field, &format!("error converting fieldPath: {unknown}"));
    }
    match subscripted {
        Some(("metadata.annotations", key)) => {
            let key = key.to_lowercase();
            errors.invalid_each(path, &key, formats::qualified_name(&key));
        }
        Some((_, key)) => errors.invalid_each(path, key, formats::qualified_name(key)),
        None => {
            let allowed: &[&str] = if place == Place::Env { &ENV_FIELDS } else { &VOLUME_FIELDS };
            let field = if field == "spec.host" { "spec.nodeName" } else { field };
            if !allowed.contains(&field) {
                errors.unsupported(&path.child("fieldPath"), field, allowed);
            }
        }
    }
}

/// Checks a `resourceFieldRef`: `validateContainerResourceFieldSelector`.
pub(super) fn resource_selector(errors: &mut Errors, selector: &ResourceFieldSelector, place: Place, path: &FieldPath) {
    let resource = selector.resource.as_str();
    let huge_pages = resource.starts_with("requests.hugepages-") || resource.starts_with("limits.hugepages-");
    if place == Place::Volume && text(&selector.container_name).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge_pages {
        errors.unsupported(&path.child("resource"), resource, &RESOURCES);
    }
    let Some(Ok(divisor)) = selector.divisor.as_ref().map(Quantity::of) else { return };
    let written = divisor.to_string();
    let (allowed, of): (&[&str], &str) = match resource {
        "limits.cpu" | "requests.cpu" => (&["1m", "1"], "cpu"),
        "limits.memory" | "requests.memory" => (&BYTE_DIVISORS, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (&BYTE_DIVISORS, "local ephemeral storage"),
        _ if huge_pages => (&BYTE_DIVISORS, "hugepages"),
        _ => return,
    };
    if divisor.is_zero() || allowed.contains(&written.as_str()) {
        return;
    }
    let listed = if of == "cpu" { "1m and 1".to_owned() } else { allowed.join(", ") };
    let detail = format!("only divisor's values {listed} are supported with the {of} resource");
    errors.invalid(&path.child("divisor"), resource, &detail);
}
