//! What objects look like, as data: the schemas behind `kubectl explain`, and the check of fields in requests.
//!
//! ```text
//!   components.json ─┬─▶ openapi: the documents that clients ask for
//!   (from the types) └─▶ types ─▶ conform: unknown fields, wrong types
//! ```
//!
//! `components.json` holds the JSON schemas of k8s-openapi's types, as far as the resources of this server need them;
//! a test writes it and keeps it true. `metrics.json` has those that the crate does not have.

mod conform;
mod merging;
pub mod openapi;
mod operations;
pub(in crate::api) mod types;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

pub use conform::Misfit;
pub(in crate::api) use conform::shortened;
use types::{TYPES, TypeId};

use super::resources::{RESOURCES, ResourceType, Subresource};

/// A kind of object in one version of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind<'k> {
    /// The API group; empty for the core group.
    pub group: &'k str,
    /// The version of the group.
    pub version: &'k str,
    /// The kind.
    pub kind: &'k str,
}

/// What a request to delete may hold.
pub const DELETE_OPTIONS: GroupVersionKind<'static> =
    GroupVersionKind { group: "", version: "v1", kind: "DeleteOptions" };

impl<'k> GroupVersionKind<'k> {
    /// The kind of a resource's objects.
    pub fn of(resource: &ResourceType) -> GroupVersionKind<'static> {
        GroupVersionKind { group: resource.group, version: resource.version, kind: resource.kind }
    }

    /// The kind of what is sent to a subresource.
    pub fn of_subresource(resource: &ResourceType, subresource: &Subresource) -> GroupVersionKind<'static> {
        match subresource.kind {
            ("", "", kind) => GroupVersionKind { kind, ..Self::of(resource) },
            (group, version, kind) => GroupVersionKind { group, version, kind },
        }
    }

    /// Reads `apiVersion` and `kind`.
    pub fn parse(api_version: &'k str, kind: &'k str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group, version, kind }
    }

    /// What stands in `apiVersion`: `v1`, `discovery.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Makes `value` what its kind allows, as Kubernetes' decoder would: fields that the kind does not have are left out
/// and returned (`spec.containers[0].foo`), as is what is null; quantities and times take their canonical form.
/// What is of a kind without a schema stays as it is.
pub fn conform(value: &mut Value, kind: GroupVersionKind<'_>) -> Result<Vec<String>, Misfit> {
    match type_of(kind) {
        Some(id) => conform::conform(value, id),
        None => Ok(Vec::new()),
    }
}

/// Whether there is a schema of the kind.
pub fn is_known(kind: GroupVersionKind<'_>) -> bool {
    type_of(kind).is_some()
}

/// The type of a kind's objects.
pub(in crate::api) fn type_of(kind: GroupVersionKind<'_>) -> Option<TypeId> {
    KINDS.get(&kind).or_else(|| KINDS.get(&preferred(kind)?)).copied()
}

/// The kind in the version that clients prefer, if it is served in another one.
fn preferred(kind: GroupVersionKind<'_>) -> Option<GroupVersionKind<'static>> {
    let found = RESOURCES.iter().find(|resource| GroupVersionKind::of(resource) == kind)?;
    Some(GroupVersionKind::of(found.preferred()))
}

/// The kind whose schema a resource's objects have: that of the preferred version, unless there is one of its own.
fn described(resource: &'static ResourceType) -> GroupVersionKind<'static> {
    let kind = GroupVersionKind::of(resource);
    if KINDS.contains_key(&kind) { kind } else { GroupVersionKind::of(resource.preferred()) }
}

/// All schemas by name, such as `io.k8s.api.core.v1.Pod`.
fn components() -> &'static Map<String, Value> {
    &COMPONENTS
}

static COMPONENTS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let files = [include_str!("components.json"), include_str!("metrics.json")];
    let parsed = files.map(|text| serde_json::from_str::<Map<_, _>>(text).expect("the file is part of the program"));
    parsed.into_iter().flatten().collect()
});

static KINDS: LazyLock<HashMap<GroupVersionKind<'static>, TypeId>> = LazyLock::new(|| {
    let kinds = components().iter().filter_map(|(name, schema)| Some((kind_of(schema)?, TYPES.named(name)?)));
    kinds.collect()
});

/// The kind that a component says it describes.
fn kind_of(schema: &Value) -> Option<GroupVersionKind<'_>> {
    let kind = schema.get(KIND_EXTENSION)?.get(0)?;
    let text = |key: &str| kind.get(key).and_then(Value::as_str);
    Some(GroupVersionKind { group: text("group")?, version: text("version")?, kind: text("kind")? })
}

/// The key under which a schema says its kinds.
const KIND_EXTENSION: &str = "x-kubernetes-group-version-kind";

#[cfg(test)]
mod tests;
