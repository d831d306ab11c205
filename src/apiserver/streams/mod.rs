//! Requests that go on for as long as the client wants: logs, exec, attach, port-forward and proxy.
//!
//! ```text
//!   log ───────────────────────────────▶ body of the answer ─┐
//!   exec, attach ─┐                 ┌─ WebSocket channels ───┤
//!   port-forward ─┴▶ upgrade: 101 ─▶┤                        ├─▶ NodeAccess
//!                                   └─ SPDY/3.1 streams ─────┤
//!   proxy ─────────────────────────▶ HTTP client ────────────┘
//! ```
//! Which protocols clients need was found by experiment: every kubectl speaks SPDY for something, and every other client
//! WebSockets. What a conversation is made of (`remote_command`, `port_forward`) knows nothing of HTTP, and the two
//! transports (`spdy`, `websocket`) nothing of pods.
//!
//! Peers may be hostile: how many conversations there are, how much of one waits anywhere, and how long a peer may be
//! silent is bounded.

mod activity;
mod container;
mod log;
mod port_forward;
mod proxy;
mod remote_command;
mod spdy;
#[cfg(test)]
pub(super) mod tests;
mod upgrade;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

use self::activity::{Activity, Watched};
use self::remote_command::{SPDY_VERSIONS, Task, Verb, Version, WEBSOCKET_VERSIONS};
use self::upgrade::{Agreement, Offer, Refusal, Transport};
use super::identity::Identity;
use super::node_access::{PodRef, Wanted};
use super::{ApiError, Inner, Query, RequestInfo};

/// Conversations at the same time; more are refused.
const MAX_SESSIONS: usize = 1024;
/// How long a peer may be silent (kubelet `streamingConnectionIdleTimeout`). One that is there answers pings.
const IDLE_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);
/// How long a connection may take to be handed over once its upgrade was granted.
const UPGRADE_LIMIT: Duration = Duration::from_secs(10);
/// Arguments that a command may have.
const MAX_ARGUMENTS: usize = 4096;

/// A connection that is no longer HTTP.
type Io = Watched<TokioIo<Upgraded>>;

/// The conversations of a server; they end with it.
pub(super) struct Sessions {
    permits: Arc<Semaphore>,
    end: CancellationToken,
    _end_with_server: DropGuard,
}

impl Sessions {
    /// None yet.
    pub(super) fn new() -> Self {
        let end = CancellationToken::new();
        Self { permits: Arc::new(Semaphore::new(MAX_SESSIONS)), end: end.clone(), _end_with_server: end.drop_guard() }
    }

    /// Ends them all, and those that begin later.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    /// What is cancelled when they are to end.
    pub(super) fn ending(&self) -> CancellationToken {
        self.end.clone()
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.map_err(|_full| ApiError::too_many_requests("there are too many streams already", 1))
    }

    /// Goes on with `session` once the connection of `on_upgrade` is handed over, until it ends, the peer is silent for
    /// too long, or the server ends.
    fn begin<S>(&self, on_upgrade: OnUpgrade, session: impl FnOnce(Io) -> S + Send + 'static) -> Result<(), ApiError>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let (permit, end) = (self.permit()?, self.end.clone());
        let conversation = async move {
            let upgraded = match timeout(UPGRADE_LIMIT, on_upgrade).await {
                Ok(Ok(upgraded)) => upgraded,
                Ok(Err(error)) => return debug!(%error, "an upgraded connection was not handed over"),
                Err(_elapsed) => return debug!("an upgraded connection was not handed over in time"),
            };
            let activity = Activity::new();
            tokio::select! {
                () = session(Watched::new(TokioIo::new(upgraded), &activity)) => {}
                () = activity.idle(IDLE_LIMIT) => {}
            }
        };
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = conversation => {}
                () = end.cancelled() => {}
            }
        });
        Ok(())
    }
}

/// Answers a request for a subresource that is a stream.
pub(super) async fn handle(
    server: &Inner,
    info: &RequestInfo,
    query: &Query,
    _identity: &Identity,
    request: Request,
) -> Result<Response, ApiError> {
    let subresource = info.subresource.map_or("", |subresource| subresource.name);
    match (info.resource.plural, subresource) {
        ("pods", "log") => log::answer(server, info, &*find_pod(server, info).await?, query).await,
        ("pods", "exec" | "attach") => {
            let pod = find_pod(server, info).await?;
            remote_command(server, &pod, subresource == "exec", query, request)
        }
        ("pods", "portforward") => port_forward(server, &*find_pod(server, info).await?, query, request),
        (_, "proxy") => proxy::answer(server, info, request).await,
        _ => Err(ApiError::no_such_path()),
    }
}

async fn find_pod(server: &Inner, info: &RequestInfo) -> Result<Arc<Pod>, ApiError> {
    find(server, info, info.name()).await
}

/// An object of the request's resource and namespace.
async fn find<T: crate::store::Object>(server: &Inner, info: &RequestInfo, name: &str) -> Result<Arc<T>, ApiError> {
    let object = server.store.get_object(info.resource.stored(), info.namespace(), name);
    let revision = object.as_ref().map_or_else(|| server.store.revision(), |object| object.revision());
    server.durable(revision).await?;
    let missing = || ApiError::not_found(info.resource, name);
    object.ok_or_else(missing)?.typed().ok_or_else(|| ApiError::internal(format!("{name:?} cannot be read")))
}

/// How the node knows a pod. One that no node has yet it does not know (registry/core/pod `streamLocation`).
fn on_node(pod: &Pod) -> Result<PodRef, ApiError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let assigned = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    if !assigned {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    Ok(PodRef { namespace, name, uid: pod.metadata.uid.clone().unwrap_or_default() })
}

/// `exec` and `attach`.
fn remote_command(
    server: &Inner,
    pod: &Pod,
    is_exec: bool,
    query: &Query,
    request: Request,
) -> Result<Response, ApiError> {
    let container = container::choose(pod, query.get("container").unwrap_or_default())?;
    let pod = on_node(pod)?;
    let wanted = wanted(query)?;
    let what = if is_exec { Verb::Exec(command(query)?) } else { Verb::Attach };
    let names = |versions: &[Version]| versions.iter().map(|version| version.name).collect::<Vec<_>>();
    let agreed =
        Offer::of(request.headers()).and_then(|offer| offer.agree(&names(WEBSOCKET_VERSIONS), &names(SPDY_VERSIONS)));
    let Agreement { transport, protocol, headers } = match agreed {
        Ok(agreed) => agreed,
        Err(refusal) => return refused(&refusal),
    };
    if transport == Transport::Spdy
        && let Err(error) = server.node_access.check_running(&pod, &container)
    {
        // As the kubelet's answer comes through: `unable to upgrade connection: container not found ("app")`.
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
    }
    let versions = if transport == Transport::Spdy { SPDY_VERSIONS } else { WEBSOCKET_VERSIONS };
    let version = versions.iter().find(|version| version.name == protocol).copied();
    let version = version.ok_or_else(ApiError::no_such_path)?;
    let task = Task { node: Arc::clone(&server.node_access), pod, container, wanted, what };
    upgrade(server, request, headers, async move |io| match transport {
        Transport::WebSocket => remote_command::serve_websocket(io, version, task).await,
        Transport::Spdy => remote_command::serve_spdy(io, version, task).await,
    })
}

/// Which streams a client asks for (kubelet `remotecommand.NewOptions`).
fn wanted(query: &Query) -> Result<Wanted, ApiError> {
    let tty = query.flag("tty");
    // A terminal has one output.
    let stderr = query.flag("stderr") && !tty;
    let wanted = Wanted { stdin: query.flag("stdin"), stdout: query.flag("stdout"), stderr, tty };
    match wanted {
        Wanted { stdin: false, stdout: false, stderr: false, .. } => {
            Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"))
        }
        wanted => Ok(wanted),
    }
}

fn command(query: &Query) -> Result<Vec<String>, ApiError> {
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    match command.len() {
        0 => Err(ApiError::bad_request("you must specify at least one command for the container")),
        1..=MAX_ARGUMENTS => Ok(command),
        _ => Err(ApiError::bad_request(format!("a command may have at most {MAX_ARGUMENTS} arguments"))),
    }
}

/// `portforward`.
fn port_forward(server: &Inner, pod: &Pod, query: &Query, request: Request) -> Result<Response, ApiError> {
    let pod = on_node(pod)?;
    let agreed = Offer::of(request.headers())
        .and_then(|offer| offer.agree(port_forward::WEBSOCKET_PROTOCOLS, port_forward::SPDY_PROTOCOLS));
    let Agreement { transport, protocol, headers } = match agreed {
        Ok(agreed) => agreed,
        Err(refusal) => return refused(&refusal),
    };
    let target = port_forward::Target { node: Arc::clone(&server.node_access), pod };
    if transport == Transport::Spdy {
        return upgrade(server, request, headers, |io| port_forward::serve_spdy(io, target));
    }
    if protocol == port_forward::TUNNEL_PROTOCOL {
        return upgrade(server, request, headers, async |io| {
            let bytes = websocket::MessageBytes::new(websocket::open(io).await);
            port_forward::serve_spdy(bytes, target).await;
        });
    }
    let ports = port_forward::ports(query).map_err(ApiError::bad_request)?;
    let codec = if protocol.contains("base64") { websocket::Codec::Base64 } else { websocket::Codec::Binary };
    upgrade(server, request, headers, move |io| port_forward::serve_websocket(io, codec, ports, target))
}

/// Grants an upgrade, and goes on with `session` when the connection is handed over.
fn upgrade<S>(
    server: &Inner,
    mut request: Request,
    headers: HeaderMap,
    session: impl FnOnce(Io) -> S + Send + 'static,
) -> Result<Response, ApiError>
where
    S: Future<Output = ()> + Send + 'static,
{
    // HTTP/2 has no upgrades, nor has a request that came no further than this process.
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let on_upgrade =
        on_upgrade.ok_or_else(|| ApiError::bad_request("unable to upgrade: not an HTTP/1.1 connection"))?;
    server.sessions.begin(on_upgrade, session)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = headers;
    Ok(response)
}

/// The answer when there is no protocol that both speak. Clients try another one then.
fn refused(refusal: &Refusal) -> Result<Response, ApiError> {
    if let Refusal::NoUpgrade = refusal {
        return Err(ApiError::bad_request(refusal.to_string()));
    }
    let mut response = plain(refusal.status(), refusal.to_string());
    response.headers_mut().extend(refusal.headers());
    Ok(response)
}

fn plain(code: StatusCode, text: String) -> Response {
    super::answer::text(code, text)
}
