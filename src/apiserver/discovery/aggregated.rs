//! All groups with all their resources in one document: `APIGroupDiscoveryList` of `apidiscovery.k8s.io`.

use serde_json::{Value, json};

use super::group_versions;
use crate::api::resources::{RESOURCES, ResourceType, Subresource};

/// The document: of the core group, or of all others.
pub(super) fn document(version: &str, which: fn(bool) -> bool) -> Value {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (group, version) in group_versions().into_iter().filter(|(group, _)| which(group.is_empty())) {
        match groups.last_mut().filter(|(last, _)| *last == group) {
            Some((_, versions)) => versions.push(version),
            None => groups.push((group, vec![version])),
        }
    }
    let items: Vec<Value> = groups.into_iter().map(|(group, versions)| described_group(group, &versions)).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
        "items": items,
    })
}

fn described_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let of_it = RESOURCES.iter().filter(|resource| (resource.group, resource.version) == (group, *version));
            let resources: Vec<Value> = of_it.map(described).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn described(resource: &ResourceType) -> Value {
    let mut described = json!({
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs(),
    });
    for (field, names) in [("shortNames", resource.short_names), ("categories", resource.categories)] {
        if !names.is_empty() {
            described[field] = json!(names);
        }
    }
    if !resource.subresources.is_empty() {
        let below: Vec<Value> = resource.subresources.iter().map(|below| described_below(resource, below)).collect();
        described["subresources"] = below.into();
    }
    described
}

fn described_below(resource: &ResourceType, subresource: &Subresource) -> Value {
    let (mut group, mut version, name) = subresource.kind;
    if version.is_empty() {
        (group, version) = (resource.group, resource.version);
    }
    json!({"subresource": subresource.name, "responseKind": kind(group, version, name), "verbs": subresource.verbs})
}
