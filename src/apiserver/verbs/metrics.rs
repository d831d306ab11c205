//! `metrics.k8s.io`: what the node and its pods use, measured when somebody asks.

use axum::response::Response;

use crate::apiserver::Call;
use crate::apiserver::status::ApiError;

/// Answers with what is used.
#[expect(clippy::unused_async, reason = "the node will be asked")]
pub(super) async fn answer(call: &Call<'_>) -> Result<Response, ApiError> {
    let _ = call;
    Err(ApiError::no_such_path())
}
