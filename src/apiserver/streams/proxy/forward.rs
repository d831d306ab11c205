//! Passes a request on over a connection into a pod, and the answer back.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONNECTION, HOST, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::location;
use super::target::Target;
use crate::apiserver::node_access::{Connection, Via};
use crate::apiserver::{ApiError, Inner, RequestInfo};
use crate::base::tls;

/// How long the pod has to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Headers that are about one connection (RFC 9110, section 7.6.1).
const OF_ONE_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a request asks for another protocol.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    let mut tokens = lines.flat_map(|line| line.split(','));
    headers.contains_key(UPGRADE) && tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// Passes a request on.
pub(super) async fn forward(
    server: &Inner,
    info: &RequestInfo,
    target: &Target,
    mut request: Request,
) -> Result<Response, ApiError> {
    let upgrade = is_upgrade(request.headers()).then(|| request.extensions_mut().remove::<OnUpgrade>()).flatten();
    let asked_host = host(&request);
    let prefix = prefix(&request, info);
    let outgoing = outgoing(request, info, upgrade.is_some(), &asked_host)?;
    let connection = connect(server, target).await?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await.map_err(|error| failed(&error))?;
    // It ends when the answer is complete, or nobody wants it any more.
    tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            debug!(%error, "a proxied connection ended");
        }
    });
    let mut incoming = sender.send_request(outgoing).await.map_err(|error| failed(&error))?;
    if incoming.status() == StatusCode::SWITCHING_PROTOCOLS {
        let to_pod = incoming.extensions_mut().remove::<OnUpgrade>();
        let (Some(to_client), Some(to_pod)) = (upgrade, to_pod) else {
            return Err(unavailable("it switches to another protocol that was not asked for"));
        };
        server.sessions.begin(to_client, move |client| join(client, to_pod))?;
        return Ok(incoming.map(|_no_body| Body::empty()));
    }
    let own = [format!("{}:{}", target.address, target.port), asked_host];
    remove_connection_headers(incoming.headers_mut());
    let moved = incoming.headers().get(LOCATION);
    let moved = moved.and_then(|to| location::rewrite(to, &prefix, &own.each_ref().map(String::as_str)));
    if let Some(moved) = moved {
        incoming.headers_mut().insert(LOCATION, moved);
    }
    Ok(incoming.map(Body::new))
}

/// The path of the request up to what is passed on.
fn prefix(request: &Request, info: &RequestInfo) -> String {
    let path = request.uri().path();
    path.strip_suffix(&info.rest).unwrap_or(path).to_owned()
}

fn host(request: &Request) -> String {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = || request.uri().authority().map(|authority| authority.as_str());
    header.or_else(authority).unwrap_or_default().to_owned()
}

/// The request as the pod gets it.
fn outgoing(
    request: Request,
    info: &RequestInfo,
    is_upgrade: bool,
    host: &str,
) -> Result<http::Request<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let path = if info.rest.is_empty() { "/" } else { &info.rest };
    let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("{path}{query}").parse::<PathAndQuery>();
    let path = path.map_err(|error| ApiError::bad_request(format!("the path cannot be passed on: {error}")))?;
    let mut headers = parts.headers;
    let upgrade = headers.get(UPGRADE).cloned().filter(|_| is_upgrade);
    remove_connection_headers(&mut headers);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    // Whose the request is was for this server to know, and is nothing for a pod.
    headers.remove(AUTHORIZATION);
    let impersonation = headers.keys().filter(|name| name.as_str().starts_with("impersonate-"));
    for name in impersonation.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    let forwarded = [
        ("x-forwarded-uri", parts.uri.path()),
        ("x-forwarded-host", host),
        // As the handler of Kubernetes says it, by whichever way the request came.
        ("x-forwarded-proto", "https"),
    ];
    for (name, value) in forwarded {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert(HOST, host);
    }
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = parts.method;
    *outgoing.uri_mut() = Uri::from(path);
    *outgoing.version_mut() = Version::HTTP_11;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).into_iter().filter_map(|line| line.to_str().ok());
    let named = lines.flat_map(|line| line.split(',')).filter_map(|token| token.trim().parse::<HeaderName>().ok());
    for name in named.collect::<Vec<_>>().iter().chain(&OF_ONE_CONNECTION) {
        headers.remove(name);
    }
}

async fn connect(server: &Inner, target: &Target) -> Result<Connection, ApiError> {
    let connecting = server.node_access.connect(&target.pod, target.port, Via::Address);
    let failed =
        |why: &dyn std::fmt::Display| unavailable(format!("dial tcp {}:{}: {why}", target.address, target.port));
    let connection = match timeout(CONNECT_LIMIT, connecting).await {
        Ok(connected) => connected.map_err(|error| failed(&error))?,
        Err(_elapsed) => return Err(failed(&"i/o timeout")),
    };
    if !target.tls {
        return Ok(connection);
    }
    let name = ServerName::try_from(target.address.clone()).map_err(unavailable)?;
    let connector = TlsConnector::from(tls::trust_anyone().map_err(unavailable)?);
    match timeout(CONNECT_LIMIT, connector.connect(name, connection)).await {
        Ok(secured) => Ok(Box::new(secured.map_err(unavailable)?)),
        Err(_elapsed) => Err(unavailable("TLS handshake timeout")),
    }
}

/// Moves bytes between a client and a pod that have agreed on another protocol.
async fn join(mut client: crate::apiserver::streams::Io, to_pod: OnUpgrade) {
    if let Ok(pod) = to_pod.await {
        // Whichever side breaks it, it is over.
        let _ = copy_bidirectional(&mut client, &mut TokioIo::new(pod)).await;
    }
}

fn failed(error: &hyper::Error) -> ApiError {
    unavailable(error)
}

/// The pod does not answer (apiserver `proxy.Transport.RoundTrip`).
fn unavailable(why: impl std::fmt::Display) -> ApiError {
    ApiError::unavailable(format!("error trying to reach service: {why}"))
}
