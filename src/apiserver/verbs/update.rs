//! `update`: an object takes the place of another.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::create::{Written, insert, respond};
use super::{WriteOptions, not_stored};
use crate::api::deletion;
use crate::api::patch::keep_times_if_unchanged;
use crate::apiserver::object::{Draft, Managers};
use crate::apiserver::present::Presenter;
use crate::apiserver::rules::{self, Part};
use crate::apiserver::status::ApiError;
use crate::apiserver::{Call, body};
use crate::store::{Change, ChangeError, StoredObject};

/// Puts an object in the place of another.
pub(super) async fn update(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "UpdateOptions")?;
    let presenter = Presenter::new(call.info.resource, call.headers, call.query, call.server.now())?;
    let (value, mut warnings) = body::object(call, bytes, &options)?;
    let value = call.accept(value)?;
    let part = part(call);
    let resource = call.info.resource.stored();
    let exists = call.server.store.get_object(resource, call.info.namespace(), call.info.name()).is_some();
    let (code, (written, more)) = if !exists && part == Part::Main && rules::of(resource).create_on_update {
        (StatusCode::CREATED, insert(call, value, &options, Managers::Sender).await?)
    } else {
        let draft = |current: &StoredObject| {
            let mut draft = call.draft_update(current, value.clone(), part)?;
            call.field_manager(&options).track_update(Some(&current.value()), &mut draft.value);
            Ok(draft)
        };
        (StatusCode::OK, change(call, &options, &draft).await?)
    };
    warnings.extend(more);
    Ok(respond(&presenter, code, &written, &warnings))
}

/// The part of an object that a request is about.
pub(super) fn part(call: &Call<'_>) -> Part {
    call.info.subresource.map_or(Part::Main, |subresource| Part::Sub(subresource.name))
}

/// Stores what `draft` makes of an object. Nobody else changes the object meanwhile.
pub(super) async fn change(
    call: &Call<'_>,
    options: &WriteOptions,
    draft: &(dyn Fn(&StoredObject) -> Result<Draft, ApiError> + Sync),
) -> Result<(Written, Vec<String>), ApiError> {
    let (resource, info) = (call.info.resource.stored(), call.info);
    if options.dry_run {
        let current = call.server.store.get_object(resource, info.namespace(), info.name());
        let current = current.ok_or_else(|| ApiError::not_found(info.resource, info.name()))?;
        let Draft { value, warnings } = draft(&current)?;
        call.server.durable(current.revision()).await?;
        return Ok((Written::Dry(call.shown(value)), warnings));
    }
    let _alone = call.server.alone(rules::of(resource)).await;
    let mut told = Vec::new();
    let changed = call.server.store.change_object(resource, info.namespace(), info.name(), |current| {
        let Draft { value, warnings } = draft(current)?;
        told = warnings;
        Ok(outcome(value, current))
    });
    match changed {
        Ok(changed) => {
            call.server.durable(changed.object().revision()).await?;
            Ok((Written::Stored(Arc::clone(changed.object())), told))
        }
        Err(ChangeError::Refused(error)) => Err(error),
        Err(ChangeError::Store(error)) => Err(not_stored(call, info.name(), error)),
    }
}

/// What is to become of an object that is to be `value`.
fn outcome(mut value: Value, current: &StoredObject) -> Change {
    if deletion::is_due(&value) {
        return Change::Remove;
    }
    keep_times_if_unchanged(&current.value(), &mut value);
    Change::Put(value)
}
