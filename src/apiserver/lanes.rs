//! What clients may take of the server at the same time. Users and service accounts are apart: what runs in pods is not
//! trusted, and however much it asks for, or however slowly, no user waits for it. (kube-apiserver has priority levels for
//! this.)

use std::sync::Arc;

use axum::body::Body;
use http::Method;
use http::request::Parts;
use hyper::body::Body as _;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::body;
use super::identity::Identity;
use super::status::ApiError;
use crate::api::body::MAX_BODY;

/// The most bytes of a body.
const LONGEST: u64 = MAX_BODY as u64;

/// What those in a lane may take.
pub(super) struct Lane {
    /// Requests that are worked on, beside watches and streams; others wait.
    pub(super) in_flight: Semaphore,
    /// Watches; more are refused.
    pub(super) watches: Arc<Semaphore>,
    /// Bytes of bodies that are on their way or worked on; others wait.
    bodies: Semaphore,
}

impl Lane {
    fn new(in_flight: usize, watches: usize, bodies: usize) -> Self {
        let watches = Arc::new(Semaphore::new(watches));
        Self { in_flight: Semaphore::new(in_flight), watches, bodies: Semaphore::new(bodies) }
    }

    /// Takes the body of a request in, once there is room for it, which is kept for as long as what comes with it is.
    pub(super) async fn receive(&self, request: &Parts, body: Body) -> Result<(Body, SemaphorePermit<'_>), ApiError> {
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        // One whose end is not known may become as long as any; what is too long is refused before any of it is read.
        let bytes = if reads { 0 } else { body.size_hint().exact().unwrap_or(LONGEST).min(LONGEST) };
        let room = self.bodies.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).await.map_err(closed)?;
        if reads {
            return Ok((body, room));
        }
        Ok((body::read(&request.headers, body).await?.into(), room))
    }
}

/// The lanes of a server.
pub(super) struct Lanes {
    users: Lane,
    service_accounts: Lane,
}

impl Lanes {
    /// Nobody is in them yet.
    pub(super) fn new() -> Self {
        Self { users: Lane::new(400, 4096, 256 << 20), service_accounts: Lane::new(100, 1024, 32 << 20) }
    }

    /// The one for somebody.
    pub(super) fn of(&self, identity: &Identity) -> &Lane {
        if identity.as_service_account().is_some() { &self.service_accounts } else { &self.users }
    }
}

/// Lanes close with their server.
pub(super) fn closed(_: AcquireError) -> ApiError {
    ApiError::unavailable("the server is shutting down")
}
