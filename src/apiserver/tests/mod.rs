//! Requests to the service in process, as a client sends them: what is answered, and what becomes of the objects.

mod basics;
mod documents;
mod hostile;
mod kinds;
mod patches;
mod pods;
mod watching;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::authorize::Policy;
use super::identity::Identity;
use super::node_access::NodeAccess;
use super::streams::tests::FakeNode;
use super::tokens::{Authority, SigningKey};
use super::{ApiServer, Config};
use crate::base::clock::Clock;
use crate::store::Store;

/// A server with the namespaces `default` and `other`, and a way to send it requests.
pub(super) struct Cluster {
    pub(super) store: Store,
    pub(super) server: ApiServer,
    service: Router,
}

/// What a request was answered with.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    pub(super) text: String,
}

impl Answer {
    /// The warnings, as they are in headers.
    pub(super) fn warnings(&self) -> Vec<&str> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The object, of an answer that must be good.
    #[track_caller]
    pub(super) fn good(self) -> Value {
        assert!(self.code.is_success(), "{} {}", self.code, self.text);
        self.body
    }

    /// Code, reason and message of an answer that must be an error.
    #[track_caller]
    pub(super) fn error(&self) -> (u16, &str, &str) {
        assert_eq!((&self.body["kind"], &self.body["status"]), (&json!("Status"), &json!("Failure")), "{}", self.text);
        assert_eq!(self.body["code"], self.code.as_u16());
        let text = |field: &str| self.body[field].as_str().unwrap_or_default();
        (self.code.as_u16(), text("reason"), text("message"))
    }
}

impl Cluster {
    pub(super) async fn new() -> Self {
        Self::with_node(Arc::new(FakeNode::default())).await
    }

    /// A server that reaches pods through `node`.
    pub(super) async fn with_node(node: Arc<dyn NodeAccess>) -> Self {
        let store = Store::default();
        let clock = Clock::starting_at("2027-01-15T08:00:00Z".parse().unwrap());
        let key = SigningKey::random().unwrap();
        let authority = Arc::new(Authority::new(store.clone(), key, clock));
        let config = Config {
            cluster_domain: "cluster.local".to_owned(),
            node_name: "node".to_owned(),
            version: "v1.33.1".to_owned(),
            service_range: ([10, 96, 0, 0].into(), 16),
            policy: Policy::default(),
            clock,
        };
        let server = ApiServer::new(store.clone(), node, authority, config);
        let cluster = Self { store, service: server.service(), server };
        for name in ["default", "other"] {
            cluster.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await.good();
        }
        cluster.post(ACCOUNTS, json!({"metadata": {"name": "default"}})).await.good();
        cluster
    }

    pub(super) async fn send_raw(&self, request: Request<Body>) -> http::Response<Body> {
        self.service.clone().oneshot(request).await.unwrap()
    }

    pub(super) fn request(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(uri).extension(Identity::admin());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body).unwrap()
    }

    pub(super) async fn send(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let response = self.send_raw(self.request(method, uri, headers, body.into())).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Answer { code: parts.status, headers: parts.headers, body, text }
    }

    pub(super) async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, &[], "").await
    }

    pub(super) async fn post(&self, uri: &str, body: Value) -> Answer {
        self.send("POST", uri, &[], body.to_string()).await
    }

    pub(super) async fn put(&self, uri: &str, body: Value) -> Answer {
        self.send("PUT", uri, &[], body.to_string()).await
    }

    pub(super) async fn delete(&self, uri: &str, body: Value) -> Answer {
        self.send("DELETE", uri, &[], body.to_string()).await
    }

    /// Creates a ConfigMap.
    pub(super) async fn config_map(&self, name: &str, data: Value) -> Value {
        self.post(MAPS, json!({"metadata": {"name": name}, "data": data})).await.good()
    }
}

pub(super) const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(super) const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";
