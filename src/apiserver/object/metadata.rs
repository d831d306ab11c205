//! Metadata as the server keeps it: names, identity, times, and what an update must leave alone.
//!
//! Source of the rules: apiserver v1.36 `registry/rest` (`BeforeCreate`, `BeforeUpdate`) and apimachinery
//! `ValidateObjectMetaAccessorUpdate`.

use serde_json::{Map, Value, json};

use crate::api::defaults::{NAME_SUFFIX_CHARACTERS, NAME_SUFFIX_LENGTH};
use crate::api::{BadValue, ErrorKind, FieldError, Object};
use crate::apiserver::RequestInfo;
use crate::apiserver::rules::Admission;
use crate::apiserver::status::{ApiError, cause};
use crate::base::clock::Timestamp;
use crate::base::id::PodUid;
use crate::store::StoredObject;
use k8s_openapi::api::core::v1::Namespace;

/// The longest name that is generated.
const MAX_GENERATED: usize = 63;

/// The metadata of an object, made if it is not there.
pub(super) fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    match &mut value["metadata"] {
        Value::Object(fields) => fields,
        _ => unreachable!("it has just been made an object"),
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value["metadata"][field].as_str().unwrap_or_default()
}

/// The object must be where the path says; what it does not say of that is taken from there.
pub(super) fn check_place(value: &mut Value, info: &RequestInfo) -> Result<(), ApiError> {
    let (namespace, name) = (text(value, "namespace"), text(value, "name"));
    if !namespace.is_empty() && info.resource.namespaced && namespace != info.namespace() {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::bad_request(message));
    }
    if let Some(asked) = info.name.as_deref() {
        if name.is_empty() {
            // A patch of what is not there yet may leave it out.
            let message = "name must be provided";
            return Err(ApiError::bad_request(message));
        }
        if name != asked {
            let message = format!("the name of the object ({name}) does not match the name on the URL ({asked})");
            return Err(ApiError::bad_request(message));
        }
    }
    if info.resource.namespaced {
        fields(value).insert("namespace".to_owned(), info.namespace().into());
    }
    Ok(())
}

/// What a new object gets from the server, and must not bring along.
pub(super) fn begin(value: &mut Value, now: Timestamp, counts_generations: bool) -> Result<(), ApiError> {
    if !["", "0"].contains(&text(value, "resourceVersion")) {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, "", message));
    }
    let metadata = fields(value);
    let empty = |metadata: &Map<String, Value>, field: &str| metadata.get(field).is_none_or(|name| name == "");
    if empty(metadata, "name")
        && let Some(prefix) = metadata.get("generateName").and_then(Value::as_str)
        && !prefix.is_empty()
    {
        let name = generated(prefix);
        metadata.insert("name".to_owned(), name.into());
    }
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.shift_remove(field);
    }
    metadata.insert("uid".to_owned(), PodUid::random().to_string().into());
    metadata.insert("creationTimestamp".to_owned(), whole_seconds(now).into());
    if counts_generations {
        metadata.insert("generation".to_owned(), 1.into());
    }
    Ok(())
}

/// A time as Kubernetes writes it.
pub(super) fn whole_seconds(now: Timestamp) -> String {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

/// A name that begins so.
pub(in crate::apiserver) fn generated(prefix: &str) -> String {
    let mut end = prefix.len().min(MAX_GENERATED - NAME_SUFFIX_LENGTH);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &prefix[..end], random_suffix())
}

/// [`NAME_SUFFIX_LENGTH`] of [`NAME_SUFFIX_CHARACTERS`].
pub(in crate::apiserver) fn random_suffix() -> String {
    let letters = NAME_SUFFIX_CHARACTERS.as_bytes();
    let random = uuid::Uuid::new_v4().into_bytes();
    let picked = random.iter().take(NAME_SUFFIX_LENGTH).map(|byte| letters[usize::from(*byte) % letters.len()]);
    picked.map(char::from).collect()
}

/// The namespace of a new object must be there, and stay (admission plugin `NamespaceLifecycle`).
pub(super) fn check_namespace(admission: &Admission<'_>, object: &Object) -> Result<(), ApiError> {
    if !admission.resource.namespaced {
        return Ok(());
    }
    let name = object.namespace();
    let found = admission.server.store.get::<Namespace>("", name);
    let Some(namespace) = found else {
        let resource = crate::api::resources::of_type::<Namespace>().unwrap_or(admission.resource);
        return Err(ApiError::not_found(resource, name));
    };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let message = format!("namespace {name} is being terminated");
    let cause = cause("NamespaceTerminating", &message, "metadata.namespace");
    Err(ApiError::forbidden(admission.resource, object.name(), &why).because(cause))
}

/// An update that names a revision or an object must mean what is there.
pub(super) fn check_revision(
    value: &Value,
    current: &StoredObject,
    info: &RequestInfo,
    unconditional: bool,
) -> Result<(), ApiError> {
    let resource = info.resource;
    let uid = text(value, "uid");
    if !uid.is_empty() && uid != current.uid() {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", current.uid());
        return Err(ApiError::conflict(resource, info.name(), &why));
    }
    match text(value, "resourceVersion") {
        "" | "0" if unconditional => Ok(()),
        "" | "0" => {
            let error = FieldError {
                path: "metadata.resourceVersion".to_owned(),
                kind: ErrorKind::Invalid,
                value: Some(BadValue::Bare("0".to_owned())),
                detail: "must be specified for an update".to_owned(),
            };
            Err(ApiError::invalid(resource.group, resource.kind, info.name(), &[error]))
        }
        asked if asked.parse() == Ok(current.revision()) => Ok(()),
        asked if asked.parse::<u64>().is_err() => {
            Err(ApiError::bad_request(format!("invalid resource version {asked:?}")))
        }
        _ => Err(ApiError::stale(resource, info.name())),
    }
}

/// What an update leaves as it is, whatever it says.
pub(super) fn keep(value: &mut Value, old: &Value) -> Result<(), ApiError> {
    let old = &old["metadata"];
    let metadata = fields(value);
    for field in ["name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion", "generateName"] {
        match old.get(field) {
            Some(kept) => drop(metadata.insert(field.to_owned(), kept.clone())),
            None => drop(metadata.shift_remove(field)),
        }
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        match old.get(field) {
            Some(kept) => drop(metadata.insert(field.to_owned(), kept.clone())),
            None => drop(metadata.shift_remove(field)),
        }
    }
    metadata.shift_remove("selfLink");
    Ok(())
}

/// What must not change of any object.
pub(super) fn check_change(new: &Object, old: &Object) -> Vec<FieldError> {
    let (new, old) = (new.metadata(), old.metadata());
    let mut errors = Vec::new();
    let known = old.finalizers.as_deref().unwrap_or_default();
    let added: Vec<_> =
        new.finalizers.iter().flatten().filter(|finalizer| !known.contains(finalizer)).map(String::as_str).collect();
    if old.deletion_timestamp.is_some() && !added.is_empty() {
        let listed = added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        errors.push(FieldError {
            path: "metadata.finalizers".to_owned(),
            kind: ErrorKind::Forbidden,
            value: None,
            detail: format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            ),
        });
    }
    errors
}

/// Counts a change of what is wanted of an object; `field` says where that stands.
pub(in crate::apiserver) fn count_change(value: &mut Value, old: &Value, field: &str) {
    let changed = if field.is_empty() {
        let wanted = |value: &Value| {
            let mut value = value.clone();
            if let Some(fields) = value.as_object_mut() {
                fields.shift_remove("metadata");
            }
            value
        };
        wanted(value) != wanted(old)
    } else {
        value[field] != old[field]
    };
    if changed {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        fields(value).insert("generation".to_owned(), (generation + 1).into());
    }
}
