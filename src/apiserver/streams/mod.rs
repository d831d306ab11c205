//! Requests that go on: exec, attach, logs, port forwarding and proxying.

use axum::extract::Request;
use axum::response::Response;

use super::identity::Identity;
use super::{ApiError, Inner, Query, RequestInfo};

/// Answers a request for a subresource that is a stream.
pub(super) async fn handle(
    server: &Inner,
    info: &RequestInfo,
    query: &Query,
    identity: &Identity,
    request: Request,
) -> Result<Response, ApiError> {
    let _ = (server, info, query, identity, request);
    Err(ApiError::unavailable("streams are not there yet"))
}
