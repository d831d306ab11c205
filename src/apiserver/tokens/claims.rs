//! What a service account's token claims, and whether that still holds (kube-apiserver v1.36 pkg/serviceaccount/claims.go).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Serialize};

use super::ISSUER;
use crate::apiserver::identity::Identity;
use crate::base::clock::Timestamp;
use crate::store::{Object, Store};

/// How far clocks may differ, and how long tokens outlive what they are bound to (`jwt.DefaultLeeway`).
const LEEWAY_SECONDS: i64 = 60;

/// Why a token is not believed. The messages are kube-apiserver's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Nobody has it, or somebody else's server has issued it.
    #[error("invalid bearer token")]
    Unknown,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    Early,
    /// It is for others.
    #[error("token audiences {token:?} is invalid for the target audiences {asked:?}")]
    OtherAudience {
        /// Whom it is for.
        token: Vec<String>,
        /// For whom it should be.
        asked: Vec<String>,
    },
    /// There is no such service account any more.
    #[error("serviceaccounts {name:?} not found")]
    NoAccount {
        /// The service account's name.
        name: String,
    },
    /// The service account is about to be gone.
    #[error("service account {namespace}/{name} has been deleted")]
    DeletedAccount {
        /// The service account's namespace.
        namespace: String,
        /// The service account's name.
        name: String,
    },
    /// What it is bound to, or whose it is, is another object of the same name.
    #[error("{kind} UID ({found}) does not match {claim} ({claimed})")]
    OtherObject {
        /// The kind of the object.
        kind: &'static str,
        /// What the claim is called.
        claim: &'static str,
        /// The UID of the object that is there.
        found: String,
        /// The UID in the token.
        claimed: String,
    },
    /// What it is bound to is gone.
    #[error("service account token has been invalidated")]
    Invalidated,
}

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) aud: Vec<String>,
    pub(super) exp: i64,
    pub(super) iat: i64,
    pub(super) iss: String,
    pub(super) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(super) kubernetes: Kubernetes,
    pub(super) nbf: i64,
    pub(super) sub: String,
}

/// The objects that a token depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kubernetes {
    pub(super) namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<Reference>,
    pub(super) serviceaccount: Reference,
    /// When a longer-lived token should have been replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) warnafter: Option<i64>,
}

/// An object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
}

impl Reference {
    pub(super) fn to(metadata: &ObjectMeta) -> Self {
        Self { name: metadata.name.clone().unwrap_or_default(), uid: metadata.uid.clone().unwrap_or_default() }
    }

    /// Whether that very object is there, and not about to be gone.
    fn check(
        &self,
        found: Option<&ObjectMeta>,
        now: Timestamp,
        kind: &'static str,
        claim: &'static str,
    ) -> Result<(), TokenFault> {
        let metadata = found.filter(|metadata| !is_going(metadata, now)).ok_or(TokenFault::Invalidated)?;
        let found = metadata.uid.clone().unwrap_or_default();
        if found == self.uid {
            Ok(())
        } else {
            Err(TokenFault::OtherObject { kind, claim, found, claimed: self.uid.clone() })
        }
    }
}

impl Claims {
    /// Whether the token is of this server, of this time, and for one of those who are asked for: for whom of them.
    pub(super) fn check(&self, now: Timestamp, asked: &[String]) -> Result<Vec<String>, TokenFault> {
        if self.iss != ISSUER {
            return Err(TokenFault::Unknown);
        }
        let now = now.as_second();
        if now > self.exp.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenFault::Expired);
        }
        if now < self.nbf.saturating_sub(LEEWAY_SECONDS) {
            return Err(TokenFault::Early);
        }
        let audiences: Vec<_> = asked.iter().filter(|audience| self.aud.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            return Err(TokenFault::OtherAudience { token: self.aud.clone(), asked: asked.to_vec() });
        }
        Ok(audiences)
    }

    /// Who has the token.
    pub(super) fn identity(&self) -> Identity {
        let Kubernetes { namespace, node, pod, serviceaccount, .. } = &self.kubernetes;
        let mut extra = BTreeMap::new();
        let mut know = |what: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(format!("authentication.kubernetes.io/{what}"), vec![value.to_owned()]);
            }
        };
        know("credential-id", &format!("JTI={}", self.jti));
        if let Some(pod) = pod {
            know("pod-name", &pod.name);
            know("pod-uid", &pod.uid);
        }
        if let Some(node) = node {
            know("node-name", &node.name);
            know("node-uid", &node.uid);
        }
        Identity { extra, ..Identity::service_account(namespace, &serviceaccount.name, &serviceaccount.uid) }
    }
}

impl Kubernetes {
    /// Whether the objects that the token depends on are still there.
    pub(super) fn check(&self, store: &Store, now: Timestamp) -> Result<(), TokenFault> {
        let Self { namespace, node, pod, secret, serviceaccount, .. } = self;
        let name = || serviceaccount.name.clone();
        let account = metadata::<ServiceAccount>(store, namespace, &serviceaccount.name);
        let account = account.ok_or_else(|| TokenFault::NoAccount { name: name() })?;
        if is_going(&account, now) {
            return Err(TokenFault::DeletedAccount { namespace: namespace.clone(), name: name() });
        }
        serviceaccount.check(Some(&account), now, "service account", "claim")?;
        if let Some(secret) = secret {
            let found = metadata::<Secret>(store, namespace, &secret.name);
            secret.check(found.as_ref(), now, "secret", "service account secret ref claim")?;
        }
        match (pod, node) {
            // The node of a pod is only told of: the token lives and dies with the pod.
            (Some(pod), _) => {
                let found = metadata::<Pod>(store, namespace, &pod.name);
                pod.check(found.as_ref(), now, "pod", "service account pod ref claim")
            }
            (None, Some(node)) => {
                let found = metadata::<Node>(store, "", &node.name);
                node.check(found.as_ref(), now, "node", "service account node ref claim")
            }
            (None, None) => Ok(()),
        }
    }
}

fn metadata<T: Object>(store: &Store, namespace: &str, name: &str) -> Option<ObjectMeta> {
    store.get::<T>(namespace, name).map(|object| object.metadata().clone())
}

/// Whether an object should be gone by now; one that is being deleted counts until its time is up.
fn is_going(metadata: &ObjectMeta, now: Timestamp) -> bool {
    let deletion = metadata.deletion_timestamp.as_ref();
    deletion.is_some_and(|Time(at)| at.as_second() < now.as_second() - LEEWAY_SECONDS)
}
