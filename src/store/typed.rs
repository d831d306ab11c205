//! The store as those see it who act on objects: Rust types instead of JSON.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use super::error::StoreError;
use super::object::{Encoded, StoredObject};
use crate::api::resources::{ResourceType, of_type};

/// A kind of object the store can keep.
pub trait Object:
    Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static
{
}

impl<T> Object for T where
    T: Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync + 'static
{
}

/// The resource whose objects are of a type.
fn resource_of<T: Object>() -> &'static ResourceType {
    let Some(resource) = of_type::<T>() else { panic!("{} is not in the table of resources", T::KIND) };
    resource.stored()
}

impl Store {
    /// Adds a new object, under a fresh `resourceVersion`.
    pub fn create<T: Object>(&self, mut object: T) -> Result<Arc<T>, StoreError> {
        let resource = resource_of::<T>();
        let encoded = Encoded::of_typed(resource, &mut object)?;
        let stored = self.add(encoded, |encoded, revision, recent| encoded.at_typed(revision, recent, object))?;
        typed_form(&stored)
    }

    /// The object of that name, if there is one. Kinds without namespaces use an empty one.
    pub fn get<T: Object>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.get_object(resource_of::<T>(), namespace, name)?.typed()
    }

    /// All objects of a kind in one namespace, by name.
    pub fn list<T: Object>(&self, namespace: &str) -> Vec<Arc<T>> {
        let (objects, _) = self.list_objects(resource_of::<T>(), Some(namespace));
        objects.iter().filter_map(|object| object.typed()).collect()
    }

    /// All objects of a kind, by namespace and name.
    pub fn list_all<T: Object>(&self) -> Vec<Arc<T>> {
        let (objects, _) = self.list_objects(resource_of::<T>(), None);
        objects.iter().filter_map(|object| object.typed()).collect()
    }

    /// The revision of the latest change to objects of a kind, for telling whether there was one.
    pub fn revision_of<T: Object>(&self) -> u64 {
        self.lock().collection(resource_of::<T>()).latest
    }

    /// Changes an object in place, under a fresh `resourceVersion` if it is another then. `change` must not itself
    /// change objects.
    pub fn update<T: Object>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, StoreError> {
        let resource = resource_of::<T>();
        let _turn = self.turn(resource, namespace, name);
        let current = self.get_object(resource, namespace, name);
        let current = current.ok_or_else(|| StoreError::not_found(resource, namespace, name))?;
        let before: Arc<T> = typed_form(&current)?;
        let mut object = T::clone(&before);
        change(&mut object);
        object.metadata_mut().resource_version.clone_from(&before.metadata().resource_version);
        if object == *before {
            return Ok(before);
        }
        let encoded = Encoded::of_typed(resource, &mut object)?;
        typed_form(
            &*self
                .replace(&current, encoded, |encoded, revision, recent| encoded.at_typed(revision, recent, object))?,
        )
    }

    /// Takes an object out.
    pub fn delete<T: Object>(&self, namespace: &str, name: &str) -> Result<(), StoreError> {
        let resource = resource_of::<T>();
        let _turn = self.turn(resource, namespace, name);
        let current = self.get_object(resource, namespace, name);
        self.take_out(current.ok_or_else(|| StoreError::not_found(resource, namespace, name))?)?;
        Ok(())
    }
}

/// An object as the type it is kept for.
fn typed_form<T: Object>(stored: &StoredObject) -> Result<Arc<T>, StoreError> {
    stored.typed().ok_or_else(|| StoreError::invalid(stored.resource(), format!("it is no {}", T::API_VERSION)))
}
