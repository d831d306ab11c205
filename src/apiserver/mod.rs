//! The Kubernetes API over a store: one service that answers requests, whoever carries them here.
//!
//! ```text
//!   http::Request + Identity ─▶ request: what is it about ─▶ authorize ─▶ verbs ─▶ object: admit, default, validate
//!                                     │                                     │            (rules: what a kind does
//!                                     ├ discovery, reviews, metrics         │             differently)
//!                                     └ streams ─▶ NodeAccess               └▶ store
//!                                                               answer, table ◀─┘
//! ```
//!
//! Everything is generic over [`ResourceType`](crate::api::resources::ResourceType): a new resource is an entry in that
//! table, with `rules` and columns where it has any of its own. Listeners, TLS and the proof of who somebody is are
//! not here: who carries a request here puts an [`Identity`] into its extensions, and a request without one is refused.

mod answer;
pub mod authorize;
mod body;
mod discovery;
pub mod identity;
mod lanes;
mod layers;
mod negotiate;
pub mod node_access;
mod object;
mod present;
mod request;
mod rules;
mod selection;
mod status;
mod streams;
pub mod tokens;
mod verbs;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use self::authorize::{Attributes, Policy};
use self::identity::Identity;
use self::lanes::Lanes;
use self::node_access::NodeAccess;
use self::request::Target;
pub use self::request::{Query, RequestInfo};
use self::rules::Rules;
pub use self::status::ApiError;
use self::tokens::Authority;
use crate::api::resources::Nature;
use crate::base::clock::{Clock, Timestamp};
use crate::store::Store;

/// How long a request may take whose answer does not go on by itself (kube-apiserver `--request-timeout`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What an API server is told of the cluster it stands for.
#[derive(Debug, Clone)]
pub struct Config {
    /// The domain of Services, such as `cluster.local`.
    pub cluster_domain: String,
    /// The name of the one node.
    pub node_name: String,
    /// The version of Kubernetes that it says it is, such as `v1.33.1`.
    pub version: String,
    /// The addresses of Services: the first one, and the number of bits that all have in common.
    pub service_range: (std::net::Ipv4Addr, u32),
    /// Who may do what.
    pub policy: Policy,
    /// The time.
    pub clock: Clock,
}

/// The API server. Clones are the same one.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

struct Inner {
    store: Store,
    node_access: Arc<dyn NodeAccess>,
    authority: Arc<Authority>,
    config: Config,
    lanes: Lanes,
    sessions: streams::Sessions,
    /// Held by those whose writes share out something, such as addresses.
    sharing: tokio::sync::Mutex<()>,
}

/// A request that is allowed, with what every verb needs to know of it.
struct Call<'c> {
    server: &'c Inner,
    info: &'c RequestInfo,
    query: &'c Query,
    identity: &'c Identity,
    headers: &'c http::HeaderMap,
}

impl Call<'_> {
    /// A value in the form in which its resource shows it.
    fn shown(&self, value: serde_json::Value) -> serde_json::Value {
        match self.info.resource.nature {
            Nature::ViewOf(_) => present::event_from_core(&value),
            _ if self.info.resource.is_other_version() => present::in_version_of(self.info.resource, value),
            _ => value,
        }
    }
}

impl ApiServer {
    /// A server over `store`, which reaches what runs on the node through `node_access`.
    pub fn new(store: Store, node_access: Arc<dyn NodeAccess>, authority: Arc<Authority>, config: Config) -> Self {
        let (lanes, sessions, sharing) = (Lanes::new(), streams::Sessions::new(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { store, node_access, authority, config, lanes, sessions, sharing }))
    }

    /// Ends what goes on for as long as a client wants: watches, logs that are followed, commands, forwarded ports. For a
    /// server that is about to end, which need not wait for them then.
    pub fn end_streams(&self) {
        self.0.sessions.end();
    }

    /// The service that answers requests; each must have an [`Identity`] in its extensions.
    pub fn service(&self) -> Router {
        layers::around(Router::new().fallback(answer_request).with_state(self.clone()))
    }
}

async fn answer_request(State(server): State<ApiServer>, request: Request) -> Response {
    match server.0.answer(request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    /// Waits until nobody else shares out what objects of such rules get.
    async fn alone(&self, rules: &Rules) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if rules.exclusive { Some(self.sharing.lock().await) } else { None }
    }

    async fn answer(&self, request: Request) -> Result<Response, ApiError> {
        let identity = request.extensions().get::<Identity>().cloned().ok_or_else(ApiError::unauthorized)?;
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let target = Target::of(&parts, &query)?;
        self.authorize(&identity, &parts, &target)?;
        let info = match target {
            Target::Resource(info) => info,
            Target::Other(segments) => return discovery::answer(self, &parts, &segments),
        };
        if info.is_long_running() && info.verb != "watch" {
            let request = Request::from_parts(parts, body);
            return streams::handle(self, &info, &query, &identity, request).await;
        }
        let call = Call { server: self, info: &info, query: &query, identity: &identity, headers: &parts.headers };
        let answer = async {
            let lane = self.lanes.of(&identity);
            // First, so that those who are slow to say what they want are in nobody's way.
            let (body, _room) = lane.receive(&parts, body).await?;
            let _permit = lane.in_flight.acquire().await.map_err(lanes::closed)?;
            verbs::answer(&call, body).await
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::timeout("the request did not complete within the allotted timeout")),
        }
    }

    fn authorize(&self, identity: &Identity, parts: &http::request::Parts, target: &Target) -> Result<(), ApiError> {
        let method = parts.method.as_str().to_ascii_lowercase();
        let attributes = match target {
            Target::Resource(info) => Attributes {
                verb: info.verb,
                target: authorize::Target::Resource {
                    group: info.resource.group,
                    resource: info.resource.plural,
                    subresource: info.subresource.map_or("", |subresource| subresource.name),
                    namespace: info.namespace(),
                    name: info.name(),
                },
            },
            Target::Other(_) => Attributes { verb: &method, target: authorize::Target::Path(parts.uri.path()) },
        };
        let decision = self.config.policy.decide(identity, &attributes);
        if decision.allowed {
            return Ok(());
        }
        let message = attributes.refusal(identity, &decision.reason);
        Err(ApiError::new(http::StatusCode::FORBIDDEN, "Forbidden", message))
    }
}

#[cfg(test)]
mod tests;
