//! OpenAPI documents.

use axum::response::Response;
use http::request::Parts;

use crate::apiserver::Inner;
use crate::apiserver::status::ApiError;

/// Answers a request below `/openapi`.
pub(super) fn answer(server: &Inner, parts: &Parts, rest: &[&str]) -> Result<Response, ApiError> {
    let _ = (server, parts, rest);
    Err(ApiError::no_such_path())
}
