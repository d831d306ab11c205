//! `create`: a new object.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use super::{WriteOptions, not_stored};
use crate::api::resources::{self, ResourceType};
use crate::apiserver::object::{Draft, Managers};
use crate::apiserver::present::Presenter;
use crate::apiserver::rules;
use crate::apiserver::status::ApiError;
use crate::apiserver::{Call, answer, body};
use crate::store::{Change, StoreError, StoredObject};

/// How often another name is generated for an object whose generated name is taken (`Create` in `registry/store.go`).
const MAX_NAMES: usize = 8;

/// How long an object is waited for that others are about to make.
const APPEARANCE: Duration = Duration::from_millis(1500);

/// What writing came to.
pub(super) enum Written {
    /// An object as it is stored.
    Stored(Arc<StoredObject>),
    /// What would have been stored.
    Dry(Value),
}

/// Creates an object.
pub(super) async fn create(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let presenter = Presenter::new(call.info.resource, call.headers, call.query, call.server.now())?;
    let (value, mut warnings) = body::object(call, bytes, &options)?;
    let value = call.accept(value)?;
    let (written, more) = insert(call, value, &options, Managers::Sender).await?;
    warnings.extend(more);
    Ok(respond(&presenter, StatusCode::CREATED, &written, &warnings))
}

/// Answers with what was written.
pub(super) fn respond(presenter: &Presenter, code: StatusCode, written: &Written, warnings: &[String]) -> Response {
    let mut response = match written {
        Written::Stored(object) => answer::bytes(code, presenter.one(object)),
        Written::Dry(value) => presenter.value(code, value),
    };
    answer::warn(response.headers_mut(), warnings);
    response
}

/// Makes a new object of what a client sent, and stores it.
pub(super) async fn insert(
    call: &Call<'_>,
    value: Value,
    options: &WriteOptions,
    managers: Managers,
) -> Result<(Written, Vec<String>), ApiError> {
    let resource = call.info.resource.stored();
    let generates = value["metadata"]["name"].as_str().unwrap_or_default().is_empty();
    let rules = rules::of(resource);
    if let Some((kind, name)) = (rules.awaits)(&value) {
        appears(call, kind, &name).await;
    }
    let _alone = call.server.alone(rules).await;
    for attempt in 1.. {
        let Draft { value, warnings } = call.draft_create(value.clone(), options, managers)?;
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if options.dry_run {
            let namespace = call.info.namespace();
            if call.server.store.get_object(resource, namespace, &name).is_some() {
                return Err(ApiError::already_exists(call.info.resource, &name));
            }
            return Ok((Written::Dry(call.shown(value)), warnings));
        }
        match call.server.store.create_object(resource, value) {
            Ok(object) => {
                keep_if_namespaced(call, &object)?;
                call.server.durable(object.revision()).await?;
                return Ok((Written::Stored(object), warnings));
            }
            Err(StoreError::AlreadyExists { .. }) if generates && attempt < MAX_NAMES => {}
            Err(error) => return Err(not_stored(call, &name, error)),
        }
    }
    Err(ApiError::internal("no name was free"))
}

/// Takes a new object out again whose namespace went while it was made.
fn keep_if_namespaced(call: &Call<'_>, object: &StoredObject) -> Result<(), ApiError> {
    let (store, namespace) = (&call.server.store, object.namespace());
    if namespace.is_empty() || store.get::<Namespace>("", namespace).is_some() {
        return Ok(());
    }
    let taken_out = store.change_object(object.resource(), namespace, object.name(), |latest| {
        let same = latest.uid() == object.uid();
        Ok::<_, std::convert::Infallible>(if same { Change::Remove } else { Change::Keep })
    });
    if let Err(error) = taken_out {
        tracing::debug!(%error, "an object whose namespace is gone could not be taken out");
    }
    let namespaces = resources::of_type::<Namespace>().unwrap_or(call.info.resource);
    Err(ApiError::not_found(namespaces, namespace))
}

/// Waits a moment for an object that others make, if it is not there yet. A namespace that is not there, or is about to be
/// gone, gets none.
async fn appears(call: &Call<'_>, kind: &'static ResourceType, name: &str) {
    let store = &call.server.store;
    let namespace = call.info.namespace();
    let stays = store.get::<Namespace>("", namespace).is_some_and(|found| found.metadata.deletion_timestamp.is_none());
    if !stays {
        return;
    }
    let mut changes = store.changes();
    let there = async {
        while store.get_object(kind, namespace, name).is_none() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    // Whether it has come by then is for admission to see.
    let _ = tokio::time::timeout(APPEARANCE, there).await;
}
