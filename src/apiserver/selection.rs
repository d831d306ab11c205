//! Which objects a list, a watch or a deletion is about: `labelSelector` and `fieldSelector` of a request.

use super::request::{Query, RequestInfo};
use super::status::ApiError;
use crate::api::selector::{FieldQuery, LabelQuery};
use crate::store::StoredObject;

/// What is selected.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    labels: LabelQuery,
    fields: FieldQuery,
}

impl Selection {
    /// The selectors of a request.
    pub(super) fn of(info: &RequestInfo, query: &Query) -> Result<Self, ApiError> {
        let labels = LabelQuery::parse(query.get("labelSelector").unwrap_or_default());
        let fields = FieldQuery::parse(query.get("fieldSelector").unwrap_or_default(), info.resource);
        let (labels, mut fields) = (labels.map_err(not_understood)?, fields.map_err(not_understood)?);
        // A watch of one object, by its path.
        if let Some(name) = &info.name {
            fields = fields.and_name(name);
        }
        Ok(Self { labels, fields })
    }

    /// Whether every object is selected.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The one object that can be selected, where that is clear from its name.
    pub(super) fn single<'s>(&'s self, namespace: Option<&'s str>) -> Option<(&'s str, &'s str)> {
        let name = self.fields.required("metadata.name")?;
        let namespace = namespace.or_else(|| self.fields.required("metadata.namespace"))?;
        Some((namespace, name))
    }

    /// Whether an object is selected.
    pub(super) fn matches(&self, object: &StoredObject) -> bool {
        let labels = object.labels();
        if !self.labels.matches(|key| labels.get(key).map(String::as_str)) {
            return false;
        }
        // Most selectors of fields name one object; only for others does the object have to be looked into.
        self.fields.is_everything()
            || self.fields.required("metadata.name").is_none_or(|name| name == object.name())
                && self.fields.matches_json(object.json())
    }
}

fn not_understood(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(error.to_string())
}
