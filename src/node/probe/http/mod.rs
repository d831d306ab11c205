//! `httpGet`: a GET request over a connection of its own, for probes and hooks (kubelet v1.36 `probe/http`).

mod exchange;
mod location;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, REFERER, TRAILER, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, HTTPGetAction, HTTPHeader};
use tokio::time::{Instant, timeout_at};

use self::exchange::{Answer, Fault};
use self::location::Location;
use super::VERSION;
use super::check::{Outcome, resolve_port};
use super::dial::Address;
use crate::net::PodNetwork;

/// Bytes of a response's body that are read.
const MAX_BODY: usize = 10 * 1024;
/// Requests made for one check; a redirect by the last one fails it.
const MAX_REQUESTS: usize = 10;

/// What a request is made for, as its `User-Agent` says.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) enum Purpose {
    Probe,
    Lifecycle,
}

impl Purpose {
    fn user_agent(self) -> String {
        match self {
            Self::Probe => format!("kube-probe/{VERSION}"),
            Self::Lifecycle => format!("kube-lifecycle/{VERSION}"),
        }
    }
}

/// A request that got no answer; shows as Go's `url.Error`.
#[derive(Debug)]
pub(in crate::node) struct GetError {
    url: String,
    fault: Fault,
}

impl GetError {
    /// Whether the server spoke plain HTTP where TLS was expected.
    pub(in crate::node) fn is_plain_http(&self) -> bool {
        matches!(self.fault, Fault::PlainHttp)
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Get {:?}: {}", self.url, self.fault)
    }
}

/// The request of an `httpGet` action.
#[derive(Debug, Clone)]
pub(in crate::node) struct HttpGet {
    location: Location,
    /// All headers but `Host`.
    headers: HeaderMap,
    /// The `Host` header that the action sets.
    host: Option<HeaderValue>,
    /// Why the headers cannot be sent.
    invalid: Option<String>,
}

impl HttpGet {
    /// The request of an action of a container (kubelet v1.36 `NewRequestForHTTPGetAction`).
    ///
    /// # Errors
    /// When it leads nowhere: the container has no such port, or the path is none.
    pub(in crate::node) fn new(
        action: &HTTPGetAction,
        container: &Arc<ContainerSpec>,
        network: &PodNetwork,
        purpose: Purpose,
    ) -> Result<Self, String> {
        let port = resolve_port(&action.port, container)?;
        let https = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS"));
        let address = Address::new(action.host.as_deref(), port, network);
        let location = Location::new(https, address, action.path.as_deref().unwrap_or_default())?;
        let given = given_headers(action.http_headers.as_deref().unwrap_or_default());
        let (given, invalid) = given.map_or_else(|error| (HeaderMap::new(), Some(error)), |given| (given, None));
        let host = given.get(HOST).filter(|host| !host.is_empty()).cloned();
        Ok(Self { location, headers: with_defaults(given, purpose), host, invalid })
    }

    /// The same request without TLS, and without what must not be seen by others.
    pub(in crate::node) fn over_http(&self) -> Self {
        let mut plain = self.clone();
        plain.location = plain.location.over_http();
        plain.headers.remove(AUTHORIZATION);
        plain
    }

    /// Host and port as a URL has them.
    pub(in crate::node) fn authority(&self) -> &str {
        self.location.authority()
    }

    /// The check of a probe: it passes with a status from 200 to 399. That a server does not answer, or not in time,
    /// is a failure; only a body that breaks off makes it err.
    pub(super) async fn check(&self, network: &Arc<PodNetwork>, timeout: Duration) -> Result<Outcome, String> {
        let deadline = Instant::now() + timeout;
        let mut answer = match self.follow(network, Some(deadline)).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Outcome::Failure(error.to_string())),
        };
        let body = timeout_at(deadline, answer.body(MAX_BODY)).await.map_err(|_elapsed| {
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)".to_owned()
        })??;
        Ok(match answer.status().as_u16() {
            200..300 => Outcome::Success,
            300..400 => {
                let body = String::from_utf8_lossy(&body);
                Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
            }
            status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        })
    }

    /// Makes the request for a hook, which any response satisfies. A short body is awaited (kubelet v1.36
    /// `discardHTTPRespBody`).
    pub(in crate::node) async fn request(&self, network: &Arc<PodNetwork>) -> Result<(), GetError> {
        let mut answer = self.follow(network, None).await?;
        if answer.content_length().is_none_or(|length| length <= MAX_BODY as u64) {
            // What the server says is none of the hook's business, so neither is how it ends.
            let _ = answer.body(MAX_BODY).await;
        }
        Ok(())
    }

    /// Makes requests until one is not redirected on the same host.
    async fn follow(&self, network: &Arc<PodNetwork>, deadline: Option<Instant>) -> Result<Answer, GetError> {
        let mut location = self.location.clone();
        let mut host = self.host.clone();
        let mut referer = None;
        let mut requests = 0;
        loop {
            requests += 1;
            let answer = self.get(&location, host.as_ref(), referer.as_deref(), network, deadline).await;
            let answer = answer.map_err(|fault| GetError { url: location.to_string(), fault })?;
            let Some(reference) = answer.redirect() else { return Ok(answer) };
            let next = location.join(&reference, network);
            let next = next.map_err(|why| GetError { url: location.to_string(), fault: Fault::Other(why) })?;
            if next.hostname() != self.location.hostname() {
                return Ok(answer);
            }
            if requests >= MAX_REQUESTS {
                let fault = Fault::Other(format!("stopped after {MAX_REQUESTS} redirects"));
                return Err(GetError { url: reference, fault });
            }
            // A Host header survives only a redirect that names no host.
            host = host.filter(|_| !Location::is_absolute(&reference));
            referer = (!location.is_https() || next.is_https()).then(|| location.to_string());
            location = next;
        }
    }

    async fn get(
        &self,
        location: &Location,
        host: Option<&HeaderValue>,
        referer: Option<&str>,
        network: &Arc<PodNetwork>,
        deadline: Option<Instant>,
    ) -> Result<Answer, Fault> {
        if let Some(invalid) = &self.invalid {
            return Err(Fault::Other(invalid.clone()));
        }
        let mut headers = self.headers.clone();
        let named = HeaderValue::from_str(location.authority())
            .map_err(|_invalid| Fault::Other("http: invalid Host header".to_owned()))?;
        headers.insert(HOST, host.cloned().unwrap_or(named));
        if let Some(referer) = referer.and_then(|url| HeaderValue::from_str(url).ok())
            && !headers.contains_key(REFERER)
        {
            headers.insert(REFERER, referer);
        }
        let exchange = exchange::exchange(location, headers, network);
        match deadline {
            None => exchange.await,
            Some(deadline) => timeout_at(deadline, exchange).await.unwrap_or(Err(Fault::Deadline)),
        }
    }
}

/// The headers of an action as they can be sent.
fn given_headers(given: &[HTTPHeader]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for HTTPHeader { name, value } in given {
        let key = HeaderName::try_from(name).map_err(|_| format!("net/http: invalid header field name {name:?}"))?;
        let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes());
        headers.append(key, value.map_err(|_| format!("net/http: invalid header field value for {name:?}"))?);
    }
    Ok(headers)
}

/// Adds `User-Agent` and `Accept` unless they are given, removes them where they are given empty, and takes out what
/// belongs to the connection (kubelet v1.36 `newProbeRequest`, Go's `http.Request.Write`).
fn with_defaults(mut headers: HeaderMap, purpose: Purpose) -> HeaderMap {
    for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER] {
        headers.remove(name);
    }
    let user_agent = purpose.user_agent();
    for (name, default) in [(USER_AGENT, user_agent.as_str()), (ACCEPT, "*/*")] {
        match headers.get(&name).map(HeaderValue::is_empty) {
            None => headers.extend(HeaderValue::from_str(default).map(|value| (name, value))),
            Some(true) => drop(headers.remove(name)),
            Some(false) => {}
        }
    }
    // Only one program asks.
    if let Some(first) = headers.get(USER_AGENT).cloned() {
        headers.insert(USER_AGENT, first);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers
}

/// Whether a response says where to look instead, if it names a place (Go's `redirectBehavior`).
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
