//! What goes around every request: answers that are large are compressed for clients that take it, and a bug of ours is an
//! error to one client, not the end of its connection.

use std::any::Any;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::Predicate;
use tower_http::compression::{CompressionLayer, CompressionLevel};

use super::ApiError;

/// Answers from this size on are compressed (apiserver `defaultGzipThresholdBytes`).
const LEAST_COMPRESSED: u64 = 128 * 1024;

/// Puts the layers around a service.
pub(super) fn around(router: Router) -> Router {
    let compression = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest).compress_when(Large);
    router.layer(compression).layer(CatchPanicLayer::custom(panicked))
}

/// Bodies that are known to be large. What goes on for ever has no length, and is not to wait for more to be compressed.
#[derive(Debug, Clone, Copy)]
struct Large;

impl Predicate for Large {
    fn should_compress<B: hyper::body::Body>(&self, response: &http::Response<B>) -> bool {
        response.status() != StatusCode::SWITCHING_PROTOCOLS
            && response.body().size_hint().exact().is_some_and(|size| size >= LEAST_COMPRESSED)
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> http::Response<Body> {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = said, "a request was given up because of a bug");
    let response: Response = ApiError::internal("the request was given up because of a bug").into_response();
    response
}
