//! `proxy`: requests passed on to a port of a pod, or of one of the pods behind a Service, and what the node answers for
//! itself.
//!
//! ```text
//!   …/pods/[SCHEME:]NAME[:PORT]/proxy/PATH  ─▶  PATH at the pod
//! ```
//! The pod's network is reached through the node, so that nothing of the host's can be.

mod forward;
mod location;
mod node;
mod target;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use self::target::Target;
use crate::apiserver::{ApiError, Inner, RequestInfo};

/// Answers a request for a `proxy` subresource.
pub(super) async fn answer(server: &Inner, info: &RequestInfo, request: Request) -> Result<Response, ApiError> {
    let target = match info.resource.plural {
        "nodes" => return node::answer(server, info).await,
        "services" => Target::of_service(server, info).await?,
        _ => Target::of_pod(server, info).await?,
    };
    if info.rest.is_empty() && !forward::is_upgrade(request.headers()) {
        return Ok(with_slash(&request));
    }
    forward::forward(server, info, &target, request).await
}

/// Leads to the same path with a slash at its end, which relative links need (apimachinery `UpgradeAwareHandler`).
fn with_slash(request: &Request) -> Response {
    let uri = request.uri();
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
