//! How objects are shown to a client: as they are, as rows of a table, or by their metadata alone.

mod columns;
mod events;
mod slice;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

pub(super) use self::events::{from_core as event_from_core, to_core as event_to_core};
use super::answer;
use super::negotiate::{self, Form};
use super::request::Query;
use super::status::ApiError;
use crate::api::resources::{Nature, ResourceType};
use crate::base::clock::Timestamp;
use crate::store::StoredObject;

/// What rows of a table have beside their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    Nothing,
    Metadata,
    Object,
}

/// Shows the objects of a resource in the form a client wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presenter {
    resource: &'static ResourceType,
    form: Form,
    include: Include,
    now: Timestamp,
}

/// What is said of a list as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct ListMetadata {
    /// The revision it shows.
    pub(super) revision: u64,
    /// How it can be gone on with, if there is more.
    pub(super) go_on: Option<String>,
    /// How many objects follow, if that is known.
    pub(super) remaining: Option<usize>,
}

impl ListMetadata {
    fn json(&self) -> Value {
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if let Some(token) = &self.go_on {
            metadata["continue"] = token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }
}

impl Presenter {
    /// One that shows objects as a request wants it.
    pub(super) fn new(
        resource: &'static ResourceType,
        headers: &HeaderMap,
        query: &Query,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let form = negotiate::form(headers)?;
        let include = match query.filled("includeObject") {
            None | Some("Metadata") => Include::Metadata,
            Some("None") => Include::Nothing,
            Some("Object") => Include::Object,
            Some(other) => {
                let message = format!("unrecognized includeObject value: {other:?}: use None, Metadata or Object");
                return Err(ApiError::bad_request(message));
            }
        };
        Ok(Self { resource, form, include, now })
    }

    /// The same at another time, which ages are counted to.
    pub(super) fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// The object as it is.
    pub(super) fn plain(&self, object: &StoredObject) -> Bytes {
        match self.resource.nature {
            Nature::ViewOf(_) => serde_json::to_vec(&events::from_core(&object.value())).unwrap_or_default().into(),
            _ if self.resource.is_other_version() => {
                let value = in_version_of(self.resource, Value::clone(&object.value()));
                serde_json::to_vec(&value).unwrap_or_default().into()
            }
            _ => object.json().clone(),
        }
    }

    /// One object by itself.
    pub(super) fn one(&self, object: &StoredObject) -> Bytes {
        match self.form {
            Form::Plain => self.plain(object),
            Form::Metadata => Self::partial(object).into(),
            Form::Table => {
                let metadata = ListMetadata { revision: object.revision(), ..ListMetadata::default() };
                let mut table = self.table_head(&metadata, true).into_bytes();
                self.row(&mut table, object);
                table.extend_from_slice(b"]}");
                table.into()
            }
        }
    }

    /// One object as an event of a watch shows it: only the `first` table says what its columns are.
    pub(super) fn watched(&self, object: &StoredObject, first: bool) -> Bytes {
        if self.form != Form::Table || first {
            return self.one(object);
        }
        let metadata = ListMetadata { revision: object.revision(), ..ListMetadata::default() };
        let mut table = self.table_head(&metadata, false).into_bytes();
        self.row(&mut table, object);
        table.extend_from_slice(b"]}");
        table.into()
    }

    /// An object of this kind that says nothing but a revision.
    pub(super) fn bookmark(&self, revision: u64, ends_initial_events: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let bookmark = match self.form {
            Form::Plain => {
                json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": metadata})
            }
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": null,
                "rows": [],
            }),
        };
        serde_json::to_vec(&bookmark).unwrap_or_default().into()
    }

    /// A list of objects.
    pub(super) fn list<'o>(
        &self,
        objects: impl Iterator<Item = &'o StoredObject>,
        metadata: &ListMetadata,
    ) -> Response {
        match self.form {
            Form::Plain => {
                let items = objects.map(|object| self.plain(object)).collect();
                let head = list_head(&format!("{}List", self.resource.kind), &self.resource.api_version(), metadata);
                answer::list(head, items, "]}")
            }
            Form::Metadata => {
                let items = objects.map(|object| Self::partial(object).into()).collect();
                answer::list(list_head("PartialObjectMetadataList", "meta.k8s.io/v1", metadata), items, "]}")
            }
            Form::Table => {
                let rows = objects.map(|object| {
                    let mut row = Vec::new();
                    self.row(&mut row, object);
                    row.into()
                });
                answer::list(self.table_head(metadata, true), rows.collect(), "]}")
            }
        }
    }

    /// An object that was made of a request and is not stored; or a `Status`.
    pub(super) fn value(&self, code: StatusCode, value: &Value) -> Response {
        match self.form {
            Form::Metadata if value["kind"] != "Status" => {
                let partial = json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"],
                });
                answer::json(code, &partial)
            }
            _ => answer::json(code, value),
        }
    }

    fn partial(object: &StoredObject) -> Vec<u8> {
        let mut partial = br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#.to_vec();
        partial.extend_from_slice(slice::metadata(object.json()));
        partial.push(b'}');
        partial
    }

    fn table_head(&self, metadata: &ListMetadata, with_columns: bool) -> String {
        let columns = if with_columns { columns::definitions(self.resource) } else { Value::Null };
        let metadata = metadata.json();
        format!(
            r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{metadata},"columnDefinitions":{columns},"rows":["#
        )
    }

    fn row(&self, to: &mut Vec<u8>, object: &StoredObject) {
        let cells = Value::Array(columns::cells(self.resource, object, self.now));
        to.extend_from_slice(format!(r#"{{"cells":{cells}"#).as_bytes());
        match self.include {
            Include::Nothing => {}
            Include::Metadata => {
                to.extend_from_slice(br#","object":"#);
                to.append(&mut Self::partial(object));
            }
            Include::Object => {
                to.extend_from_slice(br#","object":"#);
                to.extend_from_slice(&self.plain(object));
            }
        }
        to.push(b'}');
    }
}

/// An object, as it is in the version of its group for which `resource` stands.
pub(super) fn in_version_of(resource: &ResourceType, mut object: Value) -> Value {
    object["apiVersion"] = resource.api_version().into();
    object
}

fn list_head(kind: &str, api_version: &str, metadata: &ListMetadata) -> String {
    let metadata = metadata.json();
    format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#)
}
