//! The verbs, one file each: what is asked of the store, and what is answered.

mod create;
mod delete;
mod list;
mod metrics;
mod options;
mod patch;
mod pods;
mod read;
mod reviews;
mod update;
mod watch;

use axum::body::Body;
use axum::response::Response;

pub(super) use self::options::{FieldValidation, WriteOptions};
use super::status::ApiError;
use super::{Call, Inner, body};
use crate::api::resources::{Nature, Subresource};
use crate::store::{StoreError, StoreFailed};

/// Answers a request that does not go on, or is a watch.
pub(super) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    match call.info.resource.nature {
        Nature::Stored | Nature::ViewOf(_) => kept(call, body).await,
        Nature::Answered => reviews::answer(call, &body::read(call.headers, body).await?).await,
        Nature::Measured => metrics::answer(call).await,
    }
}

async fn kept(call: &Call<'_>, request_body: Body) -> Result<Response, ApiError> {
    let read = async || body::read(call.headers, request_body).await;
    match (call.info.verb, call.info.subresource) {
        ("get", _) => read::get(call).await,
        ("list", None) => list::list(call).await,
        ("watch", None) => watch::watch(call).await,
        ("create", Some(Subresource { name: "binding", .. })) => pods::bind(call, &read().await?).await,
        ("create", Some(Subresource { name: "eviction", .. })) => pods::evict(call, &read().await?).await,
        ("create", Some(Subresource { name: "token", .. })) => reviews::token(call, &read().await?).await,
        ("create", None) => create::create(call, &read().await?).await,
        ("update", _) => update::update(call, &read().await?).await,
        ("patch", _) => patch::patch(call, &read().await?).await,
        ("delete", None) => delete::delete(call, &read().await?).await,
        ("deletecollection", None) => delete::delete_collection(call, &read().await?).await,
        _ => Err(ApiError::method_not_allowed(call.info.resource)),
    }
}

impl Inner {
    /// Waits until what was read or written would survive a crash; nothing else is ever told.
    pub(super) async fn durable(&self, revision: u64) -> Result<(), ApiError> {
        self.store.durable(revision).await.map_err(|error| failed(&error))
    }
}

fn failed(error: &StoreFailed) -> ApiError {
    match error {
        StoreFailed::Disk { .. } => ApiError::internal(error),
        StoreFailed::Behind { .. } => ApiError::too_many_requests(error.to_string(), 1),
    }
}

/// What a failure to store an object means for who asked for it.
fn not_stored(call: &Call<'_>, name: &str, error: StoreError) -> ApiError {
    match error {
        StoreError::AlreadyExists { .. } => ApiError::already_exists(call.info.resource, name),
        StoreError::NotFound { .. } => ApiError::not_found(call.info.resource, name),
        StoreError::Invalid { .. } => ApiError::bad_request(error.to_string()),
        StoreError::TooLarge { .. } => {
            ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", error.to_string())
        }
        StoreError::Failed(error) => failed(&error),
    }
}
