//! Bearer tokens: issuing those of service accounts and telling whose a token is. A service account's token is bound to
//! objects in the store, and void as soon as they are gone; so nothing has to be remembered of it.
//!
//! Keys and the administrator's token are made and kept by whoever starts the server.

mod claims;
mod jwt;

#[cfg(test)]
mod tests;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};

pub use self::claims::TokenFault;
use self::claims::{Claims, Kubernetes, Reference};
pub use self::jwt::{KeyError, SigningKey};
use super::identity::{Identity, service_account_username};
use crate::base::clock::{Clock, Timestamp};
use crate::store::Store;

/// Who issues the tokens, and whom they are for unless somebody else is named: the API server's name in the cluster.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// How long a token is good if nothing else is asked for (`SetDefaults_TokenRequestSpec`).
const DEFAULT_SECONDS: i64 = 3600;
/// What may be asked for (`ValidateTokenRequest`).
const SECONDS: std::ops::RangeInclusive<i64> = 600..=1 << 32;
/// What admission asks for in the volumes it adds to pods. kube-apiserver v1.36 `TokenREST.Create`: such tokens are good
/// for a year, so that programs which read theirs only once go on working.
const INJECTED_SECONDS: i64 = 3607;
/// How long those are good.
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;
/// Audiences of one token, and bytes of each.
const MAX_AUDIENCES: usize = 32;
const MAX_AUDIENCE_BYTES: usize = 256;

/// Why no token is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no such object.
    #[error("{resource} {name:?} not found")]
    NotFound {
        /// Its resource, such as `serviceaccounts`.
        resource: &'static str,
        /// Its name.
        name: String,
    },
    /// A field has a value it must not have.
    #[error("{field}: Invalid value: {value}: {detail}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value, as messages show it.
        value: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The object that the token is to be bound to does not go with the service account, or is of no suitable kind.
    #[error("{0}")]
    Unsuitable(String),
    /// The object that the token is to be bound to is another one of the same name.
    #[error(
        "Operation cannot be fulfilled on {kind} {name:?}: the UID in the bound object reference ({asked}) does not \
         match the UID in record ({found}). The object might have been deleted and then recreated"
    )]
    OtherObject {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The UID that was named.
        asked: String,
        /// The UID it has.
        found: String,
    },
    /// The key would not sign.
    #[error("the token could not be signed")]
    NotSigned,
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// Whose it is.
    pub identity: Identity,
    /// For which of the audiences that were asked for it is good.
    pub audiences: Vec<String>,
}

/// Issues tokens and tells whose they are.
#[derive(Debug)]
pub struct Authority {
    store: Store,
    key: SigningKey,
    clock: Clock,
    /// The digest of the administrator's token. Comparing digests tells nothing of the token, however long it takes.
    admin: Option<[u8; 32]>,
}

impl Authority {
    /// One that signs with this key.
    pub fn new(store: Store, key: SigningKey, clock: Clock) -> Self {
        Self { store, key, clock, admin: None }
    }

    /// Who has this token is the administrator.
    #[must_use]
    pub fn with_admin_token(self, token: &str) -> Self {
        Self { admin: (!token.is_empty()).then(|| digest(token)), ..self }
    }

    /// Issues a token of a service account: what `create` of the subresource `serviceaccounts/token` does.
    pub fn issue(&self, namespace: &str, name: &str, request: TokenRequest) -> Result<TokenRequest, TokenError> {
        check_names(namespace, name, &request.metadata)?;
        let account = self.store.get::<ServiceAccount>(namespace, name);
        let account = account.ok_or_else(|| not_found("serviceaccounts", name))?;
        let mut spec = request.spec.unwrap_or_default();
        let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
        check_seconds(seconds)?;
        let audiences = spec.audiences.take_if(|audiences| !audiences.is_empty());
        let audiences = audiences.unwrap_or_else(|| vec![ISSUER.to_owned()]);
        check_audiences(&audiences)?;
        let mut bound = match &spec.bound_object_ref {
            Some(reference) => self.bind(namespace, name, reference)?,
            None => Kubernetes::default(),
        };
        let now = self.clock.now();
        let good_for = if bound.pod.is_some() && seconds == INJECTED_SECONDS && audiences == [ISSUER] {
            bound.warnafter = Some(now.as_second() + seconds);
            EXTENDED_SECONDS
        } else {
            seconds
        };
        bound.namespace = namespace.to_owned();
        bound.serviceaccount = Reference::to(&account.metadata);
        let claims = Claims {
            aud: audiences.clone(),
            exp: now.as_second() + good_for,
            iat: now.as_second(),
            iss: ISSUER.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: bound,
            nbf: now.as_second(),
            sub: service_account_username(namespace, name),
        };
        let token = self.key.sign(&claims).map_err(|jwt::SigningFailed| TokenError::NotSigned)?;
        spec.audiences = Some(audiences);
        // What was asked for, also where the token is good for longer: it is then that it should be replaced.
        let expiration_timestamp = Some(Time(after(now, seconds)));
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            creation_timestamp: Some(Time(after(now, 0))),
            ..request.metadata
        };
        let status = Some(TokenRequestStatus { expiration_timestamp, token: Some(token) });
        Ok(TokenRequest { metadata, spec: Some(spec), status })
    }

    /// What a token is bound to (`TokenREST.Create`): a pod that runs as the service account, with its node; a node; or a
    /// secret.
    fn bind(&self, namespace: &str, account: &str, reference: &BoundObjectReference) -> Result<Kubernetes, TokenError> {
        let name = reference.name.as_deref().unwrap_or_default();
        let (version, kind) = (reference.api_version.as_deref(), reference.kind.as_deref().unwrap_or_default());
        match (version, kind) {
            (None | Some("" | "v1"), "Pod") => {
                let pod = self.store.get::<Pod>(namespace, name).ok_or_else(|| not_found("pods", name))?;
                same_object(reference, "Pod", &pod.metadata)?;
                let spec = pod.spec.as_ref();
                let runs_as = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
                if runs_as != account {
                    return Err(TokenError::Unsuitable(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount \
                         name."
                    )));
                }
                let node = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty());
                let node = node.map(|node| match self.store.get::<Node>("", node) {
                    Some(node) => Reference::to(&node.metadata),
                    None => Reference { name: node.to_owned(), uid: String::new() },
                });
                Ok(Kubernetes { pod: Some(Reference::to(&pod.metadata)), node, ..Kubernetes::default() })
            }
            (None | Some("" | "v1"), "Node") => {
                let node = self.store.get::<Node>("", name).ok_or_else(|| not_found("nodes", name))?;
                same_object(reference, "Node", &node.metadata)?;
                Ok(Kubernetes { node: Some(Reference::to(&node.metadata)), ..Kubernetes::default() })
            }
            (None | Some("" | "v1"), "Secret") => {
                let secret = self.store.get::<Secret>(namespace, name).ok_or_else(|| not_found("secrets", name))?;
                same_object(reference, "Secret", &secret.metadata)?;
                Ok(Kubernetes { secret: Some(Reference::to(&secret.metadata)), ..Kubernetes::default() })
            }
            (version, kind) => {
                let version = version.unwrap_or_default();
                Err(TokenError::Unsuitable(format!("cannot bind token to object of type {version}, Kind={kind}")))
            }
        }
    }

    /// Tells whose a token is, if it is good for one of these audiences; for none named, if it is good for this server.
    pub fn review(&self, token: &str, audiences: &[String]) -> Result<Reviewed, TokenFault> {
        let own = [ISSUER.to_owned()];
        let asked = if audiences.is_empty() { &own[..] } else { audiences };
        if self.admin.is_some_and(|admin| admin == digest(token)) {
            // kube-apiserver: tokens that know of no audience are for the server itself.
            let audiences: Vec<_> = asked.iter().filter(|audience| *audience == ISSUER).cloned().collect();
            return if audiences.is_empty() {
                Err(TokenFault::OtherAudience { token: own.to_vec(), asked: asked.to_vec() })
            } else {
                Ok(Reviewed { identity: Identity::admin(), audiences })
            };
        }
        let claims: Claims = self.key.verify(token).map_err(|jwt::NotSigned| TokenFault::Unknown)?;
        let audiences = claims.check(self.clock.now(), asked)?;
        claims.kubernetes.check(&self.store, self.clock.now())?;
        Ok(Reviewed { identity: claims.identity(), audiences })
    }

    /// The document that tells where to find [`Authority::key_set`] (OpenID Connect Discovery 1.0), as others reach the
    /// server at `url`.
    pub fn discovery(url: &str) -> Value {
        json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{url}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// The key that tokens can be checked with, as a set of JSON Web Keys.
    pub fn key_set(&self) -> Value {
        self.key.key_set()
    }
}

fn digest(token: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token).into()
}

fn not_found(resource: &'static str, name: &str) -> TokenError {
    TokenError::NotFound { resource, name: name.to_owned() }
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(now.as_second() + seconds).unwrap_or(Timestamp::MAX)
}

/// A request that names its service account must name the one it is made to.
fn check_names(namespace: &str, name: &str, metadata: &ObjectMeta) -> Result<(), TokenError> {
    let other = |named: &Option<String>, own| named.as_deref().is_some_and(|named| !named.is_empty() && named != own);
    if other(&metadata.name, name) {
        let named = metadata.name.as_deref().unwrap_or_default();
        return Err(TokenError::Unsuitable(format!(
            "the name of the object ({named}) does not match the name on the URL ({name})"
        )));
    }
    if other(&metadata.namespace, namespace) {
        return Err(TokenError::Unsuitable(
            "the namespace of the provided object does not match the namespace sent on the request".to_owned(),
        ));
    }
    Ok(())
}

fn check_seconds(seconds: i64) -> Result<(), TokenError> {
    if SECONDS.contains(&seconds) {
        return Ok(());
    }
    let limit = if seconds < *SECONDS.start() { "less than 10 minutes" } else { "larger than 2^32 seconds" };
    let detail = format!("may not specify a duration {limit}");
    Err(TokenError::Invalid { field: "spec.expirationSeconds", value: seconds.to_string(), detail })
}

/// Differs from Kubernetes: the number and length of audiences is limited, and with it that of tokens.
fn check_audiences(audiences: &[String]) -> Result<(), TokenError> {
    let invalid = |value: String, detail: String| TokenError::Invalid { field: "spec.audiences", value, detail };
    if audiences.len() > MAX_AUDIENCES {
        return Err(invalid(audiences.len().to_string(), format!("must have at most {MAX_AUDIENCES} items")));
    }
    match audiences.iter().find(|audience| audience.len() > MAX_AUDIENCE_BYTES) {
        None => Ok(()),
        Some(long) => {
            let begin: String = long.chars().take(MAX_AUDIENCE_BYTES).collect();
            Err(invalid(format!("{begin:?}"), format!("may not be more than {MAX_AUDIENCE_BYTES} bytes")))
        }
    }
}

fn same_object(reference: &BoundObjectReference, kind: &'static str, found: &ObjectMeta) -> Result<(), TokenError> {
    let asked = reference.uid.as_deref().unwrap_or_default();
    let uid = found.uid.as_deref().unwrap_or_default();
    if asked.is_empty() || asked == uid {
        return Ok(());
    }
    let name = found.name.clone().unwrap_or_default();
    Err(TokenError::OtherObject { kind, name, asked: asked.to_owned(), found: uid.to_owned() })
}
