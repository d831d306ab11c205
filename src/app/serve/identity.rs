//! Telling whose a request is: by the client's certificate, by who is at the other end of the Unix socket, or by a bearer
//! token. There is no other way in; who says nothing may only ask for the server's health. The administrator may act as
//! somebody else by the headers of `kubectl --as`.

use std::sync::Arc;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::json;
use tracing::debug;

use crate::apiserver::authorize::{Attributes, Policy, Target};
use crate::apiserver::identity::{AUTHENTICATED, Identity, MASTERS, UNAUTHENTICATED};
use crate::apiserver::tokens::Authority;

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");
const IMPERSONATE_UID: HeaderName = HeaderName::from_static("impersonate-uid");
const IMPERSONATE_GROUP: HeaderName = HeaderName::from_static("impersonate-group");
/// What headers begin with that say more of whom to act as.
const IMPERSONATE: &str = "impersonate-";
const IMPERSONATE_EXTRA: &str = "impersonate-extra-";

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not say whose it is, or that is not true.
    Unauthorized,
    /// It is somebody's who may not act as somebody else.
    Forbidden(String),
    /// Its headers make no sense.
    BadRequest(String),
    /// More is asked of the server than it takes on.
    TooMany,
}

/// Tells whose requests are.
#[derive(Debug, Clone)]
pub(super) struct Authenticator {
    authority: Arc<Authority>,
}

impl Authenticator {
    pub(super) fn new(authority: Arc<Authority>) -> Self {
        Self { authority }
    }

    /// The key that service accounts' tokens can be checked with.
    pub(super) fn key_set(&self) -> serde_json::Value {
        self.authority.key_set()
    }

    /// Whose a request is, given who is known to be at the other end of the connection. What proved it is taken out of the
    /// request, so that nothing behind can pass it on.
    pub(super) fn identify(&self, peer: Option<&Identity>, request: &mut Request<Body>) -> Result<Identity, Refusal> {
        let presented = request.headers_mut().remove(AUTHORIZATION);
        let identity = match (peer, presented) {
            // A certificate counts before a token, as with kube-apiserver.
            (Some(identity), _) => identity.clone(),
            (None, Some(presented)) => self.bearer(&presented)?,
            (None, None) => stranger(request)?,
        };
        act_as(identity, request.headers_mut())
    }

    fn bearer(&self, presented: &HeaderValue) -> Result<Identity, Refusal> {
        let presented = presented.to_str().map_err(|_opaque| Refusal::Unauthorized)?;
        let (scheme, token) = presented.trim().split_once(' ').ok_or(Refusal::Unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::Unauthorized);
        }
        let reviewed = self.authority.review(token.trim(), &[]).map_err(|fault| {
            // The client is not told, as with kube-apiserver.
            debug!(%fault, "a bearer token was refused");
            Refusal::Unauthorized
        })?;
        Ok(reviewed.identity)
    }
}

/// Somebody unknown, if the request is one that such may make.
fn stranger(request: &Request<Body>) -> Result<Identity, Refusal> {
    let anonymous = Identity::anonymous();
    let verb = request.method().as_str().to_ascii_lowercase();
    let attributes = Attributes { verb: &verb, target: Target::Path(request.uri().path()) };
    if Policy::default().decide(&anonymous, &attributes).allowed { Ok(anonymous) } else { Err(Refusal::Unauthorized) }
}

/// Whom the request is to be treated as (kube-apiserver `WithImpersonation`): by RBAC's default, only the administrators
/// may be somebody else.
fn act_as(identity: Identity, headers: &mut HeaderMap) -> Result<Identity, Refusal> {
    if !headers.keys().any(|name| name.as_str().starts_with(IMPERSONATE)) {
        return Ok(identity);
    }
    let text = |value: &HeaderValue| {
        let text =
            value.to_str().map_err(|_opaque| Refusal::BadRequest("impersonation headers must be text".to_owned()));
        text.map(str::to_owned)
    };
    let user = headers.get(IMPERSONATE_USER).map(text).transpose()?.filter(|user| !user.is_empty());
    let Some(user) = user else {
        return Err(Refusal::BadRequest(
            "headers impersonate groups, a UID or more without impersonating a user".to_owned(),
        ));
    };
    if !identity.is_in(MASTERS) {
        return Err(Refusal::Forbidden(format!(
            "users {user:?} is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster \
             scope",
            identity.username
        )));
    }
    let named: Vec<String> = headers.get_all(IMPERSONATE_GROUP).iter().map(text).collect::<Result<_, _>>()?;
    let mut acting = Identity { username: user, ..Identity::default() };
    let account = acting.as_service_account().map(|(namespace, name)| Identity::service_account(namespace, name, ""));
    acting.groups = match account {
        Some(account) if named.is_empty() => account.groups,
        _ => named,
    };
    let anonymous = acting.username == Identity::anonymous().username;
    let everybody = if anonymous { UNAUTHENTICATED } else { AUTHENTICATED };
    if !acting.is_in(AUTHENTICATED) && !acting.is_in(UNAUTHENTICATED) {
        acting.groups.push(everybody.to_owned());
    }
    acting.uid = headers.get(IMPERSONATE_UID).map(text).transpose()?;
    for (name, value) in &*headers {
        if let Some(key) = name.as_str().strip_prefix(IMPERSONATE_EXTRA) {
            acting.extra.entry(key.to_owned()).or_default().push(text(value)?);
        }
    }
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(IMPERSONATE)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    Ok(acting)
}

impl Refusal {
    /// The answer, as kube-apiserver words it.
    pub(super) fn into_response(self) -> Response<Body> {
        let (code, reason, message) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized".to_owned()),
            Self::Forbidden(message) => (StatusCode::FORBIDDEN, "Forbidden", message),
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "BadRequest", message),
            Self::TooMany => {
                let message = "Too many requests, please try again later.".to_owned();
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
            }
        };
        let status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code.as_u16(),
        });
        let mut response = json_response(&status);
        *response.status_mut() = code;
        if code == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer that is a JSON document.
pub(super) fn json_response(document: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(document.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::tokens::SigningKey;
    use crate::base::clock::Clock;
    use crate::store::Store;

    fn identify(peer: Option<Identity>, path: &str, headers: &[(&str, &str)]) -> Result<Identity, Refusal> {
        let authority = Authority::new(Store::default(), SigningKey::random().unwrap(), Clock::system());
        let authenticator = Authenticator::new(Arc::new(authority.with_admin_token("s3cret")));
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let identity = authenticator.identify(peer.as_ref(), &mut request);
        let proofs = |name: &HeaderName| name == AUTHORIZATION || name.as_str().starts_with(IMPERSONATE);
        assert!(identity.is_err() || !request.headers().keys().any(proofs), "{:?}", request.headers());
        identity
    }

    #[tokio::test]
    async fn a_bearer_token_must_be_right_to_the_letter() {
        assert_eq!(identify(None, "/api", &[("authorization", "Bearer s3cret")]), Ok(Identity::admin()));
        assert_eq!(identify(None, "/api", &[("authorization", "bearer  s3cret ")]), Ok(Identity::admin()));
        for wrong in ["Bearer S3cret", "Bearer", "Bearer ", "s3cret", "Basic s3cret", "Bearer s3cret s3cret"] {
            let refused = Err(Refusal::Unauthorized);
            assert_eq!(identify(None, "/api", &[("authorization", wrong)]), refused, "{wrong}");
            assert_eq!(identify(None, "/healthz", &[("authorization", wrong)]), refused, "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_says_nothing_may_only_ask_for_health() {
        assert_eq!(identify(None, "/readyz", &[]), Ok(Identity::anonymous()));
        for path in ["/", "/api", "/version", "/readyz/..", "/readyz/etcd", "//readyz", "/openapi/v3"] {
            assert_eq!(identify(None, path, &[]), Err(Refusal::Unauthorized), "{path}");
        }
    }

    #[tokio::test]
    async fn the_administrator_can_act_as_others() {
        let admin = || Some(Identity::admin());
        let robot = identify(admin(), "/api", &[("impersonate-user", "system:serviceaccount:a:robot")]).unwrap();
        assert_eq!(robot.groups, ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]);
        let headers = [
            ("impersonate-user", "jane"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-scopes", "view"),
        ];
        let jane = identify(admin(), "/api", &headers).unwrap();
        assert_eq!(jane.groups, ["dev", "ops", "system:authenticated"]);
        assert_eq!((jane.uid.as_deref(), &jane.extra["scopes"][0][..]), (Some("7"), "view"));
        let nobody = identify(admin(), "/api", &[("impersonate-user", "system:anonymous")]).unwrap();
        assert_eq!(nobody, Identity::anonymous());
    }

    #[tokio::test]
    async fn nobody_else_can_act_as_others() {
        let robot = || Some(Identity::service_account("a", "robot", "u"));
        let refused = identify(robot(), "/api", &[("impersonate-user", "kubernetes-admin")]).unwrap_err();
        assert!(matches!(refused, Refusal::Forbidden(_)), "{refused:?}");
        let refused = identify(None, "/healthz", &[("impersonate-user", "kubernetes-admin")]).unwrap_err();
        assert!(matches!(refused, Refusal::Forbidden(_)), "{refused:?}");
        let refused = identify(robot(), "/api", &[("impersonate-group", MASTERS)]).unwrap_err();
        assert!(matches!(refused, Refusal::BadRequest(_)), "{refused:?}");
    }
}
