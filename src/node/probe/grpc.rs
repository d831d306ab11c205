//! `grpc`: asks the standard health service (kubelet v1.36 `probe/grpc`).

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower_service::Service;

use super::VERSION;
use super::check::Outcome;
use super::dial::Address;
use super::seen::FirstBytes;
use crate::net::PodNetwork;
use crate::pod::go_duration;

/// The wait before a second attempt to connect; each further one is longer (gRPC's connection back-off, without the
/// random part).
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_FACTOR: f64 = 1.6;

/// A server's HTTP/2 begins with a frame of this type: its settings.
const SETTINGS_FRAME: u8 = 4;
/// Where a frame's type is in it.
const FRAME_TYPE: usize = 3;

/// The check of a gRPC probe.
#[derive(Debug)]
pub(super) struct HealthCheck {
    address: Address,
    service: String,
    /// The URL of the server.
    origin: Uri,
}

impl HealthCheck {
    /// Asks the server at `address` for the health of `service`.
    pub(super) fn new(address: Address, service: String) -> Self {
        let origin = Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build();
        Self { address, service, origin: origin.unwrap_or_default() }
    }

    /// Passes if the answer is SERVING and comes within `timeout`.
    pub(super) async fn check(&self, network: &Arc<PodNetwork>, timeout: Duration) -> Outcome {
        let deadline = Instant::now() + timeout;
        let mut backoff = BACKOFF;
        loop {
            let connection = Connection::default();
            match timeout_at(deadline, self.ask(&connection, network, deadline)).await {
                Err(_elapsed) if connection.is_ready() => return self.too_slow(timeout),
                Err(_elapsed) => return self.not_connected(timeout),
                Ok(Ok(response)) => return serving(&response),
                Ok(Err(AskError::Answered(status))) if status.code() == Code::DeadlineExceeded => {
                    return self.too_slow(timeout);
                }
                Ok(Err(AskError::Answered(status))) => return failure(&status),
                // Whoever does not speak HTTP/2 may do so later, as whoever does not listen may.
                Ok(Err(AskError::Unconnected)) => {}
            }
            if timeout_at(deadline, sleep(backoff)).await.is_err() {
                return self.not_connected(timeout);
            }
            backoff = backoff.mul_f64(BACKOFF_FACTOR);
        }
    }

    async fn ask(
        &self,
        connection: &Connection,
        network: &Arc<PodNetwork>,
        deadline: Instant,
    ) -> Result<HealthCheckResponse, AskError> {
        let stream = self.address.connect(network).await.map_err(|_refused| AskError::Unconnected)?;
        let stream = TokioIo::new(connection.first.of(stream));
        let connected = http2::handshake(connection.executor(), stream).await;
        let (sender, driver) = connected.map_err(|_refused| AskError::Unconnected)?;
        connection.executor().execute(driver.map(drop));
        let mut request = tonic::Request::new(HealthCheckRequest { service: self.service.clone() });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut client = HealthClient::with_origin(Channel(sender), self.origin.clone());
        match client.check(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(_no_http2) if !connection.is_ready() => Err(AskError::Unconnected),
            Err(status) => Err(AskError::Answered(status)),
        }
    }

    fn not_connected(&self, timeout: Duration) -> Outcome {
        let (address, within) = (self.address.to_string(), go_duration(timeout));
        Outcome::Failure(format!(
            "timeout: failed to connect service {address:?} within {within}: context deadline exceeded"
        ))
    }

    fn too_slow(&self, timeout: Duration) -> Outcome {
        Outcome::Failure(format!("timeout: health rpc did not complete within {}", go_duration(timeout)))
    }
}

fn serving(response: &HealthCheckResponse) -> Outcome {
    match ServingStatus::try_from(response.status) {
        Ok(ServingStatus::Serving) => Outcome::Success,
        Ok(other) => unhealthy(other.as_str_name()),
        Err(_unknown) => unhealthy(&response.status.to_string()),
    }
}

fn unhealthy(status: &str) -> Outcome {
    Outcome::Failure(format!("service unhealthy (responded with {status:?})"))
}

fn failure(status: &Status) -> Outcome {
    let message = status.message();
    Outcome::Failure(match status.code() {
        Code::Unimplemented => {
            format!("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}")
        }
        code => {
            // Go's spelling of the one name that differs.
            let name = if code == Code::Cancelled { "Canceled".to_owned() } else { format!("{code:?}") };
            format!("error: health rpc probe failed: rpc error: code = {name} desc = {message}")
        }
    })
}

/// Why there is no health to tell.
enum AskError {
    /// There is no HTTP/2 server yet.
    Unconnected,
    /// The server, or the connection to it, said no.
    Answered(Status),
}

/// What belongs to one connection; its tasks end with it.
#[derive(Debug, Default)]
struct Connection {
    tasks: Arc<Mutex<JoinSet<()>>>,
    first: FirstBytes,
}

impl Connection {
    /// Whether the server has greeted with its settings.
    fn is_ready(&self) -> bool {
        self.first.get().get(FRAME_TYPE) == Some(&SETTINGS_FRAME)
    }

    fn executor(&self) -> ConnectionTasks {
        ConnectionTasks(Arc::downgrade(&self.tasks))
    }
}

/// Runs what moves a connection for as long as that is there. The tasks hold clones of this, hence the weak handle.
#[derive(Debug, Clone)]
struct ConnectionTasks(Weak<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for ConnectionTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
        }
    }
}

/// The connection as the gRPC client uses it.
struct Channel(http2::SendRequest<Body>);

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(context).map_err(unavailable)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let user_agent = HeaderValue::try_from(format!("kube-probe/{VERSION}"));
        request.headers_mut().extend(user_agent.map(|value| (header::USER_AGENT, value)));
        self.0.send_request(request).map(|answer| answer.map_err(unavailable)).boxed()
    }
}

fn unavailable(error: hyper::Error) -> Status {
    Status::unavailable(format!("connection error: {error}"))
}
