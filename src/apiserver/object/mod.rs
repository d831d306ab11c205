//! From what a client sends to what is stored: the kind is checked, unknown fields are found, metadata is filled in by the
//! server, the kind's rules are applied, defaults are set, and the result is validated.
//!
//! ```text
//!   body ─▶ accept: of the right kind, known fields ─▶ draft_create: names, metadata, admission, defaults, validation
//!                                                  └─▶ draft_update: what stays as it is, what may change, validation
//! ```

mod metadata;

pub(super) use self::metadata::{count_change, random_suffix};

use serde_json::Value;

use super::rules::{self, Admission, Part};
use super::status::ApiError;
use super::verbs::WriteOptions;
use super::{Call, present};
use crate::api::patch::FieldManager;
use crate::api::resources::{Nature, ResourceType};
use crate::api::support::{FieldNote, SupportReport};
use crate::api::{self, ErrorKind, FieldError, Object};
use crate::store::StoredObject;

/// An object that is ready to be stored, in the form in which it is kept.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) value: Value,
    /// What the client is to be told of it.
    pub(super) warnings: Vec<String>,
}

/// Who manages the fields of a new object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Managers {
    /// Whoever sent it.
    Sender,
    /// Whom it names.
    Named,
}

impl Call<'_> {
    /// Checks that an object is of the resource's kind, and brings it into the form in which it is kept.
    pub(super) fn accept(&self, mut value: Value) -> Result<Value, ApiError> {
        let resource = self.info.resource;
        of_kind(&mut value, &resource.api_version(), resource.kind)?;
        let value = match resource.nature {
            Nature::ViewOf(_) => present::event_to_core(&value),
            _ if resource.is_other_version() => present::in_version_of(resource.preferred(), value),
            _ => value,
        };
        if value["metadata"].is_null() || value["metadata"].is_object() {
            return Ok(value);
        }
        Err(ApiError::bad_request(misfit(resource, "metadata: it must be an object")))
    }

    /// Who changes the object, for its managed fields.
    pub(super) fn field_manager<'m>(&'m self, options: &'m WriteOptions) -> FieldManager<'m> {
        let resource = self.info.resource;
        FieldManager {
            name: &options.manager,
            subresource: self.info.subresource.map(|subresource| subresource.name),
            kind: (resource.stored().group, resource.kind),
            time: self.server.now(),
        }
    }

    /// Makes whoever sends a new object the manager of its fields.
    fn manage(&self, object: &mut Object, options: &WriteOptions) -> Result<(), ApiError> {
        let mut value = object.to_json();
        self.field_manager(options).track_update(None, &mut value);
        let managed = value["metadata"]["managedFields"].take();
        object.metadata_mut().managed_fields = serde_json::from_value(managed).map_err(ApiError::internal)?;
        Ok(())
    }

    fn admission(&self) -> Admission<'_> {
        Admission { server: self.server, resource: self.info.resource.stored() }
    }

    /// A new object.
    pub(super) fn draft_create(
        &self,
        value: Value,
        options: &WriteOptions,
        managers: Managers,
    ) -> Result<Draft, ApiError> {
        let resource = self.info.resource.stored();
        let rules = rules::of(resource);
        let mut value = value;
        metadata::check_place(&mut value, self.info)?;
        metadata::begin(&mut value, self.server.now(), rules.generation.is_some())?;
        if resource.subresource("status").is_some()
            && let Some(fields) = value.as_object_mut()
        {
            fields.shift_remove("status");
        }
        let mut object = typed(resource, &value)?;
        let warnings = supported(resource, &object, (rules.support)(&self.admission(), &object))?;
        api::apply_defaults(&mut object, self.info.namespace());
        if managers == Managers::Sender {
            // What admission adds is nobody's (kube-apiserver `handlers/create.go`).
            self.manage(&mut object, options)?;
        }
        let admission = self.admission();
        metadata::check_namespace(&admission, &object)?;
        (rules.admit)(&admission, &mut object)?;
        api::apply_defaults(&mut object, self.info.namespace());
        refuse(resource, &object, api::validate(&object))?;
        Ok(Draft { value: object.to_json(), warnings })
    }

    /// An object that takes the place of `current`; `value` says how it is to be.
    pub(super) fn draft_update(&self, current: &StoredObject, value: Value, part: Part) -> Result<Draft, ApiError> {
        let resource = self.info.resource.stored();
        let rules = rules::of(resource);
        let old_value = current.value();
        let mut value = value;
        metadata::check_place(&mut value, self.info)?;
        metadata::check_revision(&value, current, self.info, rules.unconditional_update)?;
        let mut new_value = merged(&old_value, value, part, resource)?;
        metadata::keep(&mut new_value, &old_value)?;
        let old = typed(resource, &old_value)?;
        let mut new = typed(resource, &new_value)?;
        api::apply_defaults(&mut new, self.info.namespace());
        (rules.prepare_update)(&self.admission(), part, &mut new, &old)?;
        let mut errors = metadata::check_change(&new, &old);
        errors.extend((rules.check_update)(part, &new, &old));
        refuse(resource, &new, errors)?;
        let mut value = new.to_json();
        if let Some(field) = rules.generation {
            metadata::count_change(&mut value, &old_value, field);
        }
        Ok(Draft { value, warnings: Vec::new() })
    }
}

/// Refuses an object with fields that cannot be had; gives the warnings about those that do not do what they say.
fn supported(resource: &ResourceType, object: &Object, report: SupportReport) -> Result<Vec<String>, ApiError> {
    let refusals = report.refusals.into_iter().map(|FieldNote { path, text, .. }| FieldError {
        path,
        kind: ErrorKind::Forbidden,
        value: None,
        detail: text.to_owned(),
    });
    refuse(resource, object, refusals.collect())?;
    Ok(report.warnings.iter().map(ToString::to_string).collect())
}

/// The object as it is to be: the part that was sent, and the rest as it was.
fn merged(old: &Value, new: Value, part: Part, resource: &'static ResourceType) -> Result<Value, ApiError> {
    let mut new = new;
    match part {
        Part::Main => {
            if resource.subresource("status").is_some() {
                take(&mut new, old, "status");
            }
            Ok(new)
        }
        Part::Sub("status") => {
            let mut merged = old.clone();
            take(&mut merged, &new, "status");
            take(&mut merged, &new, "metadata");
            // What owns an object is not for those to say who tell how it is (`podStatusStrategy.PrepareForUpdate`).
            take(&mut merged["metadata"], &old["metadata"], "ownerReferences");
            Ok(merged)
        }
        Part::Sub(name) => {
            let mut merged = old.clone();
            (rules::of(resource).merge_part)(name, &mut merged, &new)?;
            Ok(merged)
        }
    }
}

/// Makes a field of `to` what it is in `from`: gone, if it is not there.
fn take(to: &mut Value, from: &Value, field: &str) {
    let Some(fields) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) if !value.is_null() => drop(fields.insert(field.to_owned(), value.clone())),
        _ => drop(fields.shift_remove(field)),
    }
}

/// Sees to it that a value says that it is of a kind: those that say nothing are taken to be.
pub(super) fn of_kind(value: &mut Value, api_version: &str, kind: &str) -> Result<(), ApiError> {
    let Some(fields) = value.as_object_mut() else {
        return Err(ApiError::bad_request(format!("the object provided is not a JSON object (must be a {kind})")));
    };
    let said = |field: &str| fields.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let found = (said("apiVersion").unwrap_or(api_version).to_owned(), said("kind").unwrap_or(kind).to_owned());
    if found != (api_version.to_owned(), kind.to_owned()) {
        let (found_version, found_kind) = found;
        let message = format!(
            "the API version in the data ({found_version}, Kind={found_kind}) does not match the expected API version \
             ({api_version}, Kind={kind})"
        );
        return Err(ApiError::bad_request(message));
    }
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    Ok(())
}

fn misfit(resource: &ResourceType, problem: &str) -> String {
    let kind = resource.kind;
    format!("{kind} in version \"{}\" cannot be handled as a {kind}: json: {problem}", resource.version)
}

/// An object from its JSON.
pub(super) fn typed(resource: &ResourceType, value: &Value) -> Result<Object, ApiError> {
    Object::from_json(value).map_err(|problem| ApiError::bad_request(misfit(resource, &problem.to_string())))
}

fn refuse(resource: &ResourceType, object: &Object, errors: Vec<FieldError>) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(resource.group, resource.kind, object.name(), &errors))
}
