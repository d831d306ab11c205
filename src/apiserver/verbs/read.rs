//! `get`: one object.

use axum::response::Response;
use http::StatusCode;

use crate::apiserver::Call;
use crate::apiserver::answer;
use crate::apiserver::present::Presenter;
use crate::apiserver::status::{ApiError, cause};

/// Answers with an object, or with its subresource that shows all of it.
pub(super) async fn get(call: &Call<'_>) -> Result<Response, ApiError> {
    let info = call.info;
    let presenter = Presenter::new(info.resource, call.headers, call.query, call.server.now())?;
    if let Some(asked) = revision(call.query.filled("resourceVersion"))? {
        call.server.not_older_than(asked)?;
    }
    // What is found is as new as this revision; it is told once that is durable.
    let object = call.server.store.get_object(info.resource.stored(), info.namespace(), info.name());
    let revision = object.as_ref().map_or_else(|| call.server.store.revision(), |object| object.revision());
    call.server.durable(revision).await?;
    let object = object.ok_or_else(|| ApiError::not_found(info.resource, info.name()))?;
    Ok(answer::bytes(StatusCode::OK, presenter.one(&object)))
}

/// A `resourceVersion` that a client asks for.
pub(super) fn revision(text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let parse =
        |text: &str| text.parse().map_err(|_| ApiError::bad_request(format!("invalid resource version {text:?}")));
    text.map(parse).transpose()
}

impl crate::apiserver::Inner {
    /// Revisions that are yet to come cannot be shown (apiserver `storage.NewTooLargeResourceVersionError`).
    pub(super) fn not_older_than(&self, asked: u64) -> Result<(), ApiError> {
        let current = self.store.revision();
        if asked <= current {
            return Ok(());
        }
        let message = format!("Too large resource version: {asked}, current: {current}");
        let cause = cause("ResourceVersionTooLarge", "Too large resource version", "");
        Err(ApiError::timeout(message).because(cause).retry_after(1))
    }
}
