//! Deleting objects that may need time: what a request to delete makes of an object, and when one is to be removed.
//!
//! ```text
//!   begin ─▶ Remove                          nothing holds it: gone at once
//!         ─▶ Keep (changed: deletionTimestamp) ──▶ … is_due ──▶ gone
//!                    finalizers, or a pod whose containers are still to be stopped
//! ```
//!
//! The rules are those of kube-apiserver v1.36: `registry/rest BeforeDelete`, `registry/generic/registry Store.Delete`
//! with `updateForGracefulDeletionAndFinalizers`, and the strategies of pods and namespaces.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// The finalizer of an object whose dependents are to be deleted before it.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents are to be let go of before it is removed.
pub const ORPHAN: &str = "orphan";

/// What becomes of the objects that an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds that a pod has to end; what its specification says where not set.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of what it owns.
    pub propagation: Option<Propagation>,
}

/// What a request to delete an object comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The object is to be removed now; it has been changed to what its last state is to be.
    Remove,
    /// The object has been changed, and is to be kept so until [`is_due`].
    Keep,
    /// Nothing changes: the object is being deleted already.
    Pending,
}

/// Changes `object` as a request to delete it does.
pub fn begin(object: &mut Value, options: &DeleteOptions, now: Timestamp) -> Deletion {
    if is_kind(object, "Namespace") {
        return begin_namespace(object, options, now);
    }
    let graceful = match begin_grace(object, options, now) {
        Grace::Pending => return Deletion::Pending,
        Grace::Given(seconds) => Some(seconds),
        Grace::None => None,
    };
    let changed = set_finalizers(object, options);
    let held = has_finalizers(object);
    if graceful.is_none() && held {
        return if mark(object, now) || changed { Deletion::Keep } else { Deletion::Pending };
    }
    if held || graceful.is_some_and(|seconds| seconds > 0) { Deletion::Keep } else { Deletion::Remove }
}

/// Whether nothing holds an object any longer that is being deleted: it has no finalizers and no time left to wait for
/// (which whoever stops it says by deleting it with none). Such an object must be removed by whoever sees it first.
pub fn is_due(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let waits = metadata["deletionGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds > 0);
    let namespace_holds = is_kind(object, "Namespace") && is_filled(&object["spec"]["finalizers"]);
    is_deleted(object) && !waits && !has_finalizers(object) && !namespace_holds
}

/// Whether deletion of an object has been asked for.
pub fn is_deleted(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn is_kind(object: &Value, kind: &str) -> bool {
    object["kind"] == kind && object["apiVersion"] == "v1"
}

fn is_filled(list: &Value) -> bool {
    list.as_array().is_some_and(|items| !items.is_empty())
}

fn has_finalizers(object: &Value) -> bool {
    is_filled(&object["metadata"]["finalizers"])
}

/// `metadata` of an object, made if it is not there.
fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.as_object_mut()?.entry("metadata").or_insert_with(|| json!({})).as_object_mut()
}

enum Grace {
    /// The object is of a kind that is deleted at once.
    None,
    /// It now has so many seconds.
    Given(i64),
    /// It has no more time than is asked for already.
    Pending,
}

/// `BeforeDelete`: pods are given time; others, and pods that have used it up, are not.
fn begin_grace(object: &mut Value, options: &DeleteOptions, now: Timestamp) -> Grace {
    if !is_kind(object, "Pod") {
        return Grace::None;
    }
    if is_deleted(object) {
        return shorten(object, options);
    }
    let seconds = pod_grace_period(object, options);
    if let Some(metadata) = metadata_mut(object) {
        metadata.insert("deletionTimestamp".to_owned(), after(now, seconds));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
    }
    raise_generation(object);
    Grace::Given(seconds)
}

/// A deletion under way can only be made shorter.
fn shorten(object: &mut Value, options: &DeleteOptions) -> Grace {
    let metadata = &object["metadata"];
    let Some(current) = metadata["deletionGracePeriodSeconds"].as_i64().filter(|seconds| *seconds != 0) else {
        return Grace::None;
    };
    let Some(asked) = options.grace_period_seconds.filter(|asked| *asked < current) else { return Grace::Pending };
    // A negative period counts as one second, as it does in `CheckGracefulDelete`.
    let asked = if asked < 0 { 1.min(current) } else { asked };
    let due = metadata["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let due = due.and_then(|due| due.checked_sub(SignedDuration::from_secs(current)).ok());
    if let (Some(metadata), Some(begun)) = (metadata_mut(object), due) {
        metadata.insert("deletionTimestamp".to_owned(), after(begun, asked));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), asked.into());
    }
    Grace::Given(asked)
}

/// `podStrategy.CheckGracefulDelete`: pods that run nowhere, or have ended, need no time.
fn pod_grace_period(pod: &Value, options: &DeleteOptions) -> i64 {
    let unscheduled = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if unscheduled || ended {
        return 0;
    }
    let own = || pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    match options.grace_period_seconds.or_else(own).unwrap_or_default() {
        negative if negative < 0 => 1,
        seconds => seconds,
    }
}

fn after(time: Timestamp, seconds: i64) -> Value {
    let time = time.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(time);
    // Kubernetes' times have whole seconds.
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string().into()
}

fn raise_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    if generation > 0
        && let Some(metadata) = metadata_mut(object)
    {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
}

/// `markAsDeleting`: the object goes as soon as nothing holds it. Whether that changed anything.
fn mark(object: &mut Value, now: Timestamp) -> bool {
    let before = object["metadata"].clone();
    let due = before["deletionTimestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    if due.is_none() {
        raise_generation(object);
    }
    if let Some(metadata) = metadata_mut(object) {
        if due.is_none_or(|due| due > now) {
            metadata.insert("deletionTimestamp".to_owned(), after(now, 0));
        }
        metadata.insert("deletionGracePeriodSeconds".to_owned(), 0.into());
    }
    object["metadata"] != before
}

/// Sets the finalizers that stand for what becomes of dependents (`deletionFinalizersForGarbageCollection`). Whether
/// that changed anything.
fn set_finalizers(object: &mut Value, options: &DeleteOptions) -> bool {
    let has = |name: &str| object["metadata"]["finalizers"].as_array().is_some_and(|all| all.iter().any(|f| f == name));
    let (orphan, foreground) = (has(ORPHAN), has(FOREGROUND));
    let wanted = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if orphan => Some(ORPHAN),
        None if foreground => Some(FOREGROUND),
        None => None,
    };
    if orphan == (wanted == Some(ORPHAN)) && foreground == (wanted == Some(FOREGROUND)) {
        return false;
    }
    let Some(metadata) = metadata_mut(object) else { return false };
    let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(all) = finalizers.as_array_mut() {
        all.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
        all.extend(wanted.map(Value::from));
        if all.is_empty() {
            metadata.remove("finalizers");
        }
    }
    true
}

/// A namespace goes through a phase of its own: it stays until its content is gone and `spec.finalizers` is empty.
fn begin_namespace(namespace: &mut Value, options: &DeleteOptions, now: Timestamp) -> Deletion {
    if is_deleted(namespace) {
        return if is_filled(&namespace["spec"]["finalizers"]) || has_finalizers(namespace) {
            Deletion::Pending
        } else {
            Deletion::Remove
        };
    }
    set_finalizers(namespace, options);
    raise_generation(namespace);
    if let Some(metadata) = metadata_mut(namespace) {
        metadata.insert("deletionTimestamp".to_owned(), after(now, 0));
    }
    namespace["status"]["phase"] = "Terminating".into();
    Deletion::Keep
}

#[cfg(test)]
#[path = "deletion/tests.rs"]
mod tests;
