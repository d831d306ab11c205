//! What controllers do to any object: create it complete, change it if it is still the one they mean, delete it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::Value;

use crate::api::defaults::{NAME_SUFFIX_CHARACTERS, NAME_SUFFIX_LENGTH};
use crate::api::deletion::{self, DeleteOptions, Deletion};
use crate::api::resources::{ResourceType, of_type};
use crate::base::id::PodUid;
use crate::store::{Change, ChangeError, Changed, Store, StoreError, StoredObject};

/// What the API server adds to the metadata of an object that is created.
pub fn stamp(metadata: &mut ObjectMeta, now: Timestamp) {
    metadata.uid = Some(PodUid::random().to_string());
    metadata.creation_timestamp = Some(seconds(now));
}

/// A time as objects have it: whole seconds.
pub fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// Which object is meant: not an earlier or later one of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its namespace; empty for kinds that have none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl ObjectKey {
    /// The key of an object.
    pub fn of(object: &StoredObject) -> Self {
        let (namespace, name, uid) = (object.namespace(), object.name(), object.uid());
        Self { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }

    /// The same from the metadata of a typed one.
    pub fn of_metadata(metadata: &ObjectMeta) -> Self {
        let field = |value: &Option<String>| value.clone().unwrap_or_default();
        Self { namespace: field(&metadata.namespace), name: field(&metadata.name), uid: field(&metadata.uid) }
    }
}

/// Changes an object, if it is still there. `change` may say that it is to stay as it is.
///
/// # Errors
/// When the store fails.
pub fn change(
    store: &Store,
    resource: &'static ResourceType,
    key: &ObjectKey,
    change: impl FnOnce(&mut Value) -> Change,
) -> Result<Option<Changed>, StoreError> {
    let changed = store.change_object(resource, &key.namespace, &key.name, |stored| {
        if stored.uid() != key.uid {
            return Err(());
        }
        let mut object = Value::clone(&stored.value());
        Ok(change(&mut object))
    });
    match changed {
        Ok(changed) => Ok(Some(changed)),
        Err(ChangeError::Refused(()) | ChangeError::Store(StoreError::NotFound { .. })) => Ok(None),
        Err(ChangeError::Store(error)) => Err(error),
    }
}

/// Edits an object in place, if it is still there; one that nothing holds any more goes with that.
///
/// # Errors
/// When the store fails.
pub fn edit(
    store: &Store,
    resource: &'static ResourceType,
    key: &ObjectKey,
    edit: impl FnOnce(&mut Value),
) -> Result<Option<Changed>, StoreError> {
    change(store, resource, key, |object| {
        edit(object);
        if deletion::is_due(object) { Change::Remove } else { Change::Put(object.take()) }
    })
}

/// Asks for the deletion of an object, if it is still there and `wanted` agrees.
///
/// # Errors
/// When the store fails.
pub fn delete(
    store: &Store,
    resource: &'static ResourceType,
    key: &ObjectKey,
    options: &DeleteOptions,
    now: Timestamp,
    wanted: impl FnOnce(&Value) -> bool,
) -> Result<Option<Changed>, StoreError> {
    change(store, resource, key, |object| {
        if !wanted(object) {
            return Change::Keep;
        }
        match deletion::begin(object, options, now) {
            Deletion::Remove => Change::Remove,
            Deletion::Keep => Change::Put(object.take()),
            Deletion::Pending => Change::Keep,
        }
    })
}

/// Takes a finalizer out of an object's list.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) else { return };
    finalizers.retain(|found| found != finalizer);
    if finalizers.is_empty() {
        metadata.shift_remove("finalizers");
    }
}

/// Adds a finalizer to an object's list.
pub(super) fn add_finalizer(object: &mut Value, finalizer: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let finalizers = metadata.entry("finalizers").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(finalizers) = finalizers.as_array_mut() {
        finalizers.push(finalizer.into());
    }
}

/// The resource whose objects are of a type. All types that controllers know have one.
pub fn resource_of<T: k8s_openapi::Resource>() -> &'static ResourceType {
    let Some(resource) = of_type::<T>() else { panic!("{} is not in the table of resources", T::KIND) };
    resource.stored()
}

/// The random end of a name that is generated.
pub fn random_suffix() -> String {
    let letters = NAME_SUFFIX_CHARACTERS.as_bytes();
    let random = uuid::Uuid::new_v4().into_bytes();
    let suffix = random.iter().take(NAME_SUFFIX_LENGTH);
    suffix.map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect()
}
