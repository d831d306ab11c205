//! Which objects a list, a watch or a deletion is about: `labelSelector` and `fieldSelector` of a request.

use std::borrow::Cow;

use serde_json::Value;

use super::present;
use super::request::{Query, RequestInfo};
use super::rules::{self, Rules};
use super::status::ApiError;
use crate::api::resources::{Nature, ResourceType};
use crate::api::selector::query::{FieldQuery, LabelQuery};
use crate::store::StoredObject;

/// What is selected.
pub(super) struct Selection {
    rules: &'static Rules,
    labels: LabelQuery,
    fields: FieldQuery,
}

impl Selection {
    /// The selectors of a request, and the name in its path, if there is one.
    pub(super) fn of(info: &RequestInfo, query: &Query) -> Result<Self, ApiError> {
        let rules = rules::of(info.resource.stored());
        let labels = LabelQuery::parse(query.get("labelSelector").unwrap_or_default());
        let labels = labels.map_err(|error| ApiError::bad_request(error.to_string()))?;
        let fields = FieldQuery::parse(query.get("fieldSelector").unwrap_or_default());
        let mut fields = fields.map_err(|error| ApiError::bad_request(error.to_string()))?;
        fields.rename(|field| stored_name(info.resource, field));
        for term in fields.terms() {
            let known = ["metadata.name", "metadata.namespace"].contains(&term.field.as_str())
                || rules.fields.iter().any(|(name, _)| *name == term.field);
            if !known {
                return Err(ApiError::bad_request(format!("field label not supported: {}", term.field)));
            }
        }
        Ok(Self { rules, labels, fields })
    }

    /// Whether every object is selected.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one object that can be selected, where that is clear from its name.
    pub(super) fn single<'s>(&'s self, namespace: Option<&'s str>) -> Option<(&'s str, &'s str)> {
        let term = |field: &str| self.fields.terms().iter().find(|term| term.field == field && !term.negated);
        let name = term("metadata.name")?;
        let namespace = namespace.or_else(|| term("metadata.namespace").map(|term| term.value.as_str()))?;
        Some((namespace, &name.value))
    }

    /// Whether an object is selected.
    pub(super) fn matches(&self, object: &StoredObject) -> bool {
        if !self.labels.is_empty() && !self.labels.matches(Some(object.labels())) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let mut value = None;
        self.fields.terms().iter().all(|term| {
            let equal = match term.field.as_str() {
                "metadata.name" => object.name() == term.value,
                "metadata.namespace" => object.namespace() == term.value,
                field => {
                    let value = value.get_or_insert_with(|| object.value());
                    let default = self.rules.fields.iter().find(|(name, _)| *name == field);
                    text_at(value, field).unwrap_or(Cow::Borrowed(default.map_or("", |(_, default)| default)))
                        == term.value
                }
            };
            equal != term.negated
        })
    }
}

/// The field at a path, as selectors compare it.
fn text_at<'v>(value: &'v Value, path: &str) -> Option<Cow<'v, str>> {
    match path.split('.').try_fold(value, |value, key| value.get(key))? {
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// What a field is called in the form in which objects are kept.
fn stored_name(resource: &ResourceType, field: &str) -> Option<String> {
    let Nature::ViewOf(_) = resource.nature else { return None };
    let (first, rest) = field.split_once('.').map_or((field, ""), |(first, _)| (first, &field[first.len()..]));
    present::event_field_in_core(first).map(|core| format!("{core}{rest}"))
}
