//! OpenAPI documents.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::ACCEPT;
use http::request::Parts;

use crate::api::schema::openapi::{self, Document};
use crate::apiserver::answer;
use crate::apiserver::status::ApiError;

/// Answers a request below `/openapi`.
pub(super) fn answer(parts: &Parts, rest: &[&str]) -> Result<Response, ApiError> {
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let document = match rest {
        ["v2"] => Some(openapi::v2(accept)),
        ["v3"] => Some(openapi::index()),
        ["v3", path @ ..] => openapi::v3(&path.join("/")),
        _ => None,
    };
    let Document { content_type, body } = document.ok_or_else(ApiError::no_such_path)?;
    Ok(answer::with_type(StatusCode::OK, content_type, Body::from(body)))
}
