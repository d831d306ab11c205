//! One revision of one object: its JSON, serialised once, with what is asked of it often taken out, and its other forms
//! made when they are asked for.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::StoreError;
use super::typed::Object;
use crate::api::resources::ResourceType;

/// Bytes of JSON an object may have, as etcd has it (`--max-request-bytes`).
pub const MAX_OBJECT_BYTES: usize = 3 << 19;

/// Bytes of JSON whose parsed values are kept because they were asked for lately.
const MAX_RECENT_BYTES: usize = 4 << 20;

/// What is taken out of an object's metadata when it is stored, because selectors and garbage collection ask for it of
/// many objects at once. The rest (annotations, managed fields) is in [`StoredObject::value`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace; empty for kinds that have none.
    #[serde(default, deserialize_with = "or_default")]
    pub namespace: String,
    /// What tells it from an earlier object of its name.
    #[serde(default, deserialize_with = "or_default")]
    pub uid: String,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Whose dependent it is.
    #[serde(default, deserialize_with = "or_default")]
    pub owner_references: Vec<OwnerReference>,
    /// Who has to agree to its removal.
    #[serde(default, deserialize_with = "or_default")]
    pub finalizers: Vec<String>,
    /// When it is to be removed, or was to be.
    #[serde(default)]
    pub deletion_timestamp: Option<Time>,
    /// The seconds between the request for its deletion and that time.
    #[serde(default)]
    pub deletion_grace_period_seconds: Option<i64>,
    /// How often what is wanted of it was changed.
    #[serde(default)]
    pub generation: Option<i64>,
}

/// `null` is as good as nothing (`json.Unmarshal` of Go).
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl From<&ObjectMeta> for Metadata {
    fn from(metadata: &ObjectMeta) -> Self {
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            owner_references: metadata.owner_references.clone().unwrap_or_default(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
            deletion_timestamp: metadata.deletion_timestamp.clone(),
            deletion_grace_period_seconds: metadata.deletion_grace_period_seconds,
            generation: metadata.generation,
        }
    }
}

/// One revision of one object. Never changes.
pub struct StoredObject {
    resource: &'static ResourceType,
    metadata: Metadata,
    revision: u64,
    json: Bytes,
    forms: Mutex<Forms>,
    recent: Arc<RecentValues>,
}

/// The other forms of an object, as far as somebody asked for them.
#[derive(Default)]
struct Forms {
    value: Weak<Value>,
    typed: Option<Arc<dyn Any + Send + Sync>>,
    /// Whether there is a newer revision: of this one no typed form is kept any more.
    superseded: bool,
}

impl std::fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { resource, metadata, revision, .. } = self;
        write!(f, "{} {}/{} at {revision}", resource.kind, metadata.namespace, metadata.name)
    }
}

impl StoredObject {
    /// The resource it is kept under.
    pub fn resource(&self) -> &'static ResourceType {
        self.resource
    }

    /// Its namespace; empty for kinds that have none.
    pub fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// What tells it from an earlier object of its name; empty if nobody gave it one.
    pub fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.metadata.labels
    }

    /// What was taken out of its metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The revision that made it so: its `resourceVersion`.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// It as JSON: `apiVersion` and `kind` first, `resourceVersion` in `metadata`, no white space.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// It as a value. What was asked for lately is still there; else it is parsed.
    pub fn value(&self) -> Arc<Value> {
        if let Some(value) = self.forms().value.upgrade() {
            return value;
        }
        // Only JSON that was made from a value, or was checked when the file was opened, ever gets here.
        let value: Arc<Value> = Arc::new(serde_json::from_slice(&self.json).unwrap_or_default());
        self.forms().value = Arc::downgrade(&value);
        self.recent.keep(self.json.len(), value.clone());
        value
    }

    /// It as a Rust type, unless it is of another kind. Kept for as long as it is the latest revision.
    pub fn typed<T: Object>(&self) -> Option<Arc<T>> {
        if let Some(typed) = &self.forms().typed
            && let Ok(typed) = typed.clone().downcast()
        {
            return Some(typed);
        }
        let typed: Arc<T> = match serde_json::from_slice(&self.json) {
            Ok(typed) => Arc::new(typed),
            Err(error) => {
                tracing::debug!(object = ?self, %error, "an object is not of the type asked for");
                return None;
            }
        };
        self.keep_typed(typed.clone());
        Some(typed)
    }

    /// An object that was kept as JSON.
    pub(super) fn restored(
        resource: &'static ResourceType,
        revision: u64,
        json: Bytes,
        recent: &Arc<RecentValues>,
    ) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Whole {
            metadata: Metadata,
        }
        let start = head(resource) + &version(revision);
        if !json.starts_with(start.as_bytes()) {
            // Its group has got another version since.
            let value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
            let encoded = Encoded::of_value(resource, value).map_err(|error| error.to_string())?;
            return Ok(encoded.at(revision, recent));
        }
        let Whole { metadata } = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        Ok(Self { resource, metadata, revision, json, forms: Mutex::default(), recent: recent.clone() })
    }

    fn keep_typed(&self, typed: Arc<dyn Any + Send + Sync>) {
        let mut forms = self.forms();
        if !forms.superseded {
            forms.typed = Some(typed);
        }
    }

    /// Lets go of what only the latest revision keeps.
    pub(super) fn supersede(&self) {
        let mut forms = self.forms();
        forms.superseded = true;
        forms.typed = None;
    }

    /// The same object as it was removed: with the revision of its removal.
    pub(super) fn removed_at(&self, revision: u64) -> Self {
        let body = self.unversioned();
        let removed = Encoded { resource: self.resource, metadata: self.metadata.clone(), json: body };
        let removed = removed.at(revision, &self.recent);
        removed.supersede();
        removed
    }

    /// Its JSON without `resourceVersion`.
    fn unversioned(&self) -> Vec<u8> {
        let start = head(self.resource).len();
        let end = start + version(self.revision).len();
        [&self.json[..start], &self.json[end..]].concat()
    }

    /// Whether it has that content: no matter at which revision, or in which order its fields stand.
    pub(super) fn has_content(&self, other: &Encoded) -> bool {
        let start = head(self.resource).len();
        let end = start + version(self.revision).len();
        // Another order of the same fields has the same length.
        if self.json.len() - (end - start) != other.json.len() {
            return false;
        }
        if self.json[end..] == other.json[start..] {
            return true;
        }
        let mut own = Value::clone(&self.value());
        if let Some(metadata) = own.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("resourceVersion");
        }
        serde_json::from_slice::<Value>(&other.json).is_ok_and(|other| own == other)
    }

    fn forms(&self) -> MutexGuard<'_, Forms> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the JSON of a resource's objects begins with, up to where `resourceVersion` stands.
fn head(resource: &ResourceType) -> String {
    format!(r#"{{"apiVersion":"{}","kind":"{}","metadata":{{"#, resource.api_version(), resource.kind)
}

/// `resourceVersion` as it stands in JSON, in front of another field.
fn version(revision: u64) -> String {
    format!(r#""resourceVersion":"{revision}","#)
}

fn write(json: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(json, value)
}

/// An object that has no revision yet.
#[derive(Debug)]
pub(super) struct Encoded {
    resource: &'static ResourceType,
    metadata: Metadata,
    /// Begins with [`head`], has no `resourceVersion`.
    json: Vec<u8>,
}

impl Encoded {
    pub(super) fn of_value(resource: &'static ResourceType, value: Value) -> Result<Self, StoreError> {
        let invalid = |problem: &dyn std::fmt::Display| StoreError::invalid(resource, problem);
        let Value::Object(mut object) = value else { return Err(invalid(&"it is not a JSON object")) };
        let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
            return Err(invalid(&"it has no metadata"));
        };
        metadata.shift_remove("resourceVersion");
        let extracted = Metadata::deserialize(&*metadata).map_err(|error| invalid(&format!("metadata: {error}")))?;

        let mut json = head(resource).into_bytes();
        json.pop();
        write(&mut json, metadata).map_err(|error| invalid(&error))?;
        for (field, value) in &object {
            if !["apiVersion", "kind", "metadata"].contains(&field.as_str()) {
                json.push(b',');
                write(&mut json, field).map_err(|error| invalid(&error))?;
                json.push(b':');
                write(&mut json, value).map_err(|error| invalid(&error))?;
            }
        }
        json.push(b'}');
        Self { resource, metadata: extracted, json }.checked()
    }

    pub(super) fn of_typed<T: Object>(resource: &'static ResourceType, object: &mut T) -> Result<Self, StoreError> {
        object.metadata_mut().resource_version = None;
        let metadata = Metadata::from(object.metadata());
        let json = serde_json::to_vec(object).map_err(|error| StoreError::invalid(resource, error))?;
        // Most types are written in the order that is wanted.
        if json.starts_with(head(resource).as_bytes()) {
            return Self { resource, metadata, json }.checked();
        }
        let value = serde_json::from_slice(&json).map_err(|error| StoreError::invalid(resource, error))?;
        Self::of_value(resource, value)
    }

    fn checked(self) -> Result<Self, StoreError> {
        let Self { resource, metadata, json } = &self;
        if metadata.name.is_empty() {
            return Err(StoreError::invalid(resource, "it has no name"));
        }
        // The byte that separates them in keys.
        if metadata.name.contains('\0') || metadata.namespace.contains('\0') {
            return Err(StoreError::invalid(resource, "there is a zero byte in its name or namespace"));
        }
        if json.len() > MAX_OBJECT_BYTES {
            let (kind, name, size) = (resource.kind, metadata.name.clone(), json.len());
            return Err(StoreError::TooLarge { kind, name, size, limit: MAX_OBJECT_BYTES });
        }
        Ok(self)
    }

    pub(super) fn resource(&self) -> &'static ResourceType {
        self.resource
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The object as it is from that revision on.
    pub(super) fn at(self, revision: u64, recent: &Arc<RecentValues>) -> StoredObject {
        let Self { resource, metadata, json } = self;
        let (head, rest) = json.split_at(head(resource).len());
        let json = [head, version(revision).as_bytes(), rest].concat().into();
        StoredObject { resource, metadata, revision, json, forms: Mutex::default(), recent: recent.clone() }
    }

    /// The same, with its typed form.
    pub(super) fn at_typed<T: Object>(self, revision: u64, recent: &Arc<RecentValues>, mut typed: T) -> StoredObject {
        let stored = self.at(revision, recent);
        typed.metadata_mut().resource_version = Some(revision.to_string());
        stored.keep_typed(Arc::new(typed));
        stored
    }
}

/// The parsed values that were asked for last. Watchers and lists ask for the same ones at about the same time, and
/// parsed they take ten times the memory, so that only a few can be kept.
#[derive(Debug, Default)]
pub(super) struct RecentValues {
    kept: Mutex<KeptValues>,
}

#[derive(Debug, Default)]
struct KeptValues {
    /// Bytes of the JSON of all of them.
    bytes: usize,
    /// With the bytes of its JSON each, the one that came first in front.
    values: VecDeque<(usize, Arc<Value>)>,
}

impl RecentValues {
    fn keep(&self, bytes: usize, value: Arc<Value>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values.push_back((bytes, value));
        kept.bytes += bytes;
        while kept.bytes > MAX_RECENT_BYTES
            && let Some((bytes, _)) = kept.values.pop_front()
        {
            kept.bytes -= bytes;
        }
    }
}
