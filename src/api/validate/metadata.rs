//! `metadata`, for every kind.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use super::errors::{BadValue, Errors, FieldPath};
use super::{formats, items, text};

/// The most bytes that all annotations together may have.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Checks metadata whose name has the form `name_format`: `apimachinery ValidateObjectMetaAccessor`.
pub(super) fn object_meta(
    errors: &mut Errors,
    metadata: &ObjectMeta,
    namespaced: bool,
    name_format: fn(&str) -> Vec<String>,
) {
    let path = FieldPath::new("metadata");
    let generate_name = text(&metadata.generate_name);
    if !generate_name.is_empty() {
        // A trailing dash is good here, because something follows it.
        let masked = match generate_name.get(..generate_name.len().saturating_sub(2)) {
            Some(start) if generate_name.len() > 1 && generate_name.ends_with('-') => format!("{start}a"),
            _ => generate_name.to_owned(),
        };
        errors.invalid_each(&path.child("generateName"), generate_name, name_format(&masked));
    }
    let name = text(&metadata.name);
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        errors.invalid_each(&path.child("name"), name, name_format(name));
    }
    let namespace = text(&metadata.namespace);
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&path.child("namespace"), ""),
        (true, false) => errors.invalid_each(&path.child("namespace"), namespace, formats::dns_label(namespace)),
        (false, false) => errors.forbidden(&path.child("namespace"), "not allowed on this type"),
        (false, true) => {}
    }
    labels(errors, metadata.labels.as_ref(), &path.child("labels"));
    annotations(errors, metadata.annotations.as_ref(), &path.child("annotations"));
    owners(errors, items(&metadata.owner_references), &path.child("ownerReferences"));
}

/// `ValidateOwnerReferences`.
fn owners(errors: &mut Errors, owners: &[OwnerReference], path: &FieldPath) {
    let mut controller: Option<&OwnerReference> = None;
    for (index, owner) in owners.iter().enumerate() {
        let path = path.index(index);
        for (value, field, detail) in [
            (&owner.api_version, "apiVersion", "version must not be empty"),
            (&owner.kind, "kind", "must not be empty"),
            (&owner.name, "name", "must not be empty"),
            (&owner.uid, "uid", "must not be empty"),
        ] {
            if value.is_empty() {
                errors.invalid(&path.child(field), value, detail);
            }
        }
        if (owner.api_version.as_str(), owner.kind.as_str()) == ("v1", "Event") {
            errors.invalid(&path, BadValue::json(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.controller == Some(true) {
            if let Some(first) = controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    first.name, owner.name
                );
                errors.invalid(&path, BadValue::json(owner), &detail);
            }
            controller.get_or_insert(owner);
        }
    }
}

/// Checks labels, or a selector made of them.
pub(super) fn labels(errors: &mut Errors, labels: Option<&BTreeMap<String, String>>, path: &FieldPath) {
    for (key, value) in labels.into_iter().flatten() {
        errors.invalid_each(path, key, formats::qualified_name(key));
        errors.invalid_each(path, value, formats::label_value(value));
    }
}

fn annotations(errors: &mut Errors, annotations: Option<&BTreeMap<String, String>>, path: &FieldPath) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        errors.invalid_each(path, key, formats::qualified_name(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(path, MAX_ANNOTATIONS);
    }
}

/// Checks a label selector.
pub(super) fn label_selector(errors: &mut Errors, selector: Option<&LabelSelector>, path: &FieldPath) {
    let Some(selector) = selector else { return };
    labels(errors, selector.match_labels.as_ref(), &path.child("matchLabels"));
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let values = requirement.values.as_deref().unwrap_or_default();
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.child("values"), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        errors.invalid_each(&path.child("key"), &requirement.key, formats::qualified_name(&requirement.key));
        for (index, value) in values.iter().enumerate() {
            errors.invalid_each(&path.child("values").index(index), value, formats::label_value(value));
        }
    }
}
