//! Tokens of service accounts as clients meet them: issued, believed, refused, void.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::TokenRequestSpec;
use serde_json::json;

use super::*;

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// An authority over a store with a service account and a pod that runs as it.
fn authority() -> Authority {
    let store = Store::default();
    store
        .create::<ServiceAccount>(object(json!({ "metadata": { "namespace": "shop", "name": "till", "uid": "sa-1" } })))
        .unwrap();
    store.create::<Node>(object(json!({ "metadata": { "name": "laptop", "uid": "node-1" } }))).unwrap();
    store
        .create::<Pod>(object(json!({
            "metadata": { "namespace": "shop", "name": "web", "uid": "pod-1" },
            "spec": { "containers": [], "serviceAccountName": "till", "nodeName": "laptop" },
        })))
        .unwrap();
    let now = "2026-05-04T08:00:00Z".parse().unwrap();
    Authority::new(store, SigningKey::random().unwrap(), Clock::starting_at(now))
}

fn request(spec: Value) -> TokenRequest {
    TokenRequest { spec: Some(object::<TokenRequestSpec>(spec)), ..TokenRequest::default() }
}

fn bound_to_pod(seconds: i64) -> TokenRequest {
    request(json!({
        "audiences": [],
        "expirationSeconds": seconds,
        "boundObjectRef": { "apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "pod-1" },
    }))
}

fn token_of(request: &TokenRequest) -> &str {
    request.status.as_ref().unwrap().token.as_ref().unwrap()
}

fn expiry_of(request: &TokenRequest) -> String {
    request.status.as_ref().unwrap().expiration_timestamp.as_ref().unwrap().0.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_token_tells_the_service_account_pod_and_node() {
    let authority = authority();
    let issued = authority.issue("shop", "till", bound_to_pod(3600)).unwrap();
    assert_eq!(issued.metadata.name.as_deref(), Some("till"));
    assert_eq!(issued.spec.as_ref().unwrap().audiences.as_deref(), Some(&[ISSUER.to_owned()][..]));
    assert_eq!(expiry_of(&issued), "2026-05-04T09:00:00Z");
    let Reviewed { identity, audiences } = authority.review(token_of(&issued), &[]).unwrap();
    assert_eq!(audiences, [ISSUER]);
    assert_eq!(identity.username, "system:serviceaccount:shop:till");
    assert_eq!(identity.uid.as_deref(), Some("sa-1"));
    let extra = |what: &str| identity.extra[&format!("authentication.kubernetes.io/{what}")].join(",");
    assert_eq!([extra("pod-name"), extra("pod-uid")], ["web", "pod-1"]);
    assert_eq!([extra("node-name"), extra("node-uid")], ["laptop", "node-1"]);
    assert!(extra("credential-id").starts_with("JTI="));
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_time() {
    let authority = authority();
    let issued = authority.issue("shop", "till", bound_to_pod(600)).unwrap();
    tokio::time::advance(Duration::from_secs(659)).await;
    assert!(authority.review(token_of(&issued), &[]).is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(authority.review(token_of(&issued), &[]), Err(TokenFault::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_admission_has_asked_for_outlives_what_it_says() {
    let authority = authority();
    let issued = authority.issue("shop", "till", bound_to_pod(INJECTED_SECONDS)).unwrap();
    assert_eq!(expiry_of(&issued), "2026-05-04T09:00:07Z");
    tokio::time::advance(Duration::from_secs(30 * 24 * 60 * 60)).await;
    assert!(authority.review(token_of(&issued), &[]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_void_once_its_pod_is_gone_or_another() {
    let authority = authority();
    let issued = authority.issue("shop", "till", bound_to_pod(3600)).unwrap();
    let going = Time(after(authority.clock.now(), 30));
    authority.store.update::<Pod>("shop", "web", |pod| pod.metadata.deletion_timestamp = Some(going.clone())).unwrap();
    assert!(authority.review(token_of(&issued), &[]).is_ok(), "a pod that is ending still has its token");
    tokio::time::advance(Duration::from_secs(91)).await;
    assert_eq!(authority.review(token_of(&issued), &[]), Err(TokenFault::Invalidated));
    authority.store.delete::<Pod>("shop", "web").unwrap();
    assert_eq!(authority.review(token_of(&issued), &[]), Err(TokenFault::Invalidated));
    authority
        .store
        .create::<Pod>(object(json!({ "metadata": { "namespace": "shop", "name": "web", "uid": "pod-2" } })))
        .unwrap();
    let error = authority.review(token_of(&issued), &[]).unwrap_err();
    assert_eq!(error.to_string(), "pod UID (pod-2) does not match service account pod ref claim (pod-1)");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_void_once_its_service_account_is_gone_or_another() {
    let authority = authority();
    let issued = authority.issue("shop", "till", request(json!({}))).unwrap();
    assert!(authority.review(token_of(&issued), &[]).is_ok());
    authority.store.delete::<ServiceAccount>("shop", "till").unwrap();
    let error = authority.review(token_of(&issued), &[]).unwrap_err();
    assert_eq!(error.to_string(), "serviceaccounts \"till\" not found");
    authority
        .store
        .create::<ServiceAccount>(object(json!({ "metadata": { "namespace": "shop", "name": "till", "uid": "sa-2" } })))
        .unwrap();
    let error = authority.review(token_of(&issued), &[]).unwrap_err();
    assert_eq!(error.to_string(), "service account UID (sa-2) does not match claim (sa-1)");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_only_for_whom_it_was_made() {
    let authority = authority();
    let issued = authority.issue("shop", "till", request(json!({ "audiences": ["vault", "mail"] }))).unwrap();
    let error = authority.review(token_of(&issued), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("token audiences [\"vault\", \"mail\"] is invalid for the target audiences [{ISSUER:?}]")
    );
    let reviewed = authority.review(token_of(&issued), &["mail".to_owned(), "other".to_owned()]).unwrap();
    assert_eq!(reviewed.audiences, ["mail"]);
}

#[tokio::test(start_paused = true)]
async fn the_admin_token_is_the_administrators() {
    let authority = authority().with_admin_token("s3cret");
    assert_eq!(authority.review("s3cret", &[]).unwrap().identity, Identity::admin());
    for wrong in ["", "s3cre", "s3cret ", "a.b.c"] {
        assert_eq!(authority.review(wrong, &[]), Err(TokenFault::Unknown), "{wrong:?}");
    }
    let nobody = Authority::new(Store::default(), SigningKey::random().unwrap(), Clock::system()).with_admin_token("");
    assert_eq!(nobody.review("", &[]), Err(TokenFault::Unknown));
}

#[tokio::test(start_paused = true)]
async fn another_servers_token_is_unknown() {
    let issued = authority().issue("shop", "till", request(json!({}))).unwrap();
    assert_eq!(authority().review(token_of(&issued), &[]), Err(TokenFault::Unknown));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_issued_says_why() {
    let authority = authority();
    authority
        .store
        .create::<ServiceAccount>(object(json!({ "metadata": { "namespace": "shop", "name": "other" } })))
        .unwrap();
    let bound = |kind: &str, name: &str, uid: &str| {
        request(json!({ "boundObjectRef": { "apiVersion": "v1", "kind": kind, "name": name, "uid": uid } }))
    };
    for (account, request, error) in [
        ("nobody", request(json!({})), "serviceaccounts \"nobody\" not found"),
        (
            "till",
            request(json!({ "expirationSeconds": 599 })),
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            "till",
            request(json!({ "expirationSeconds": (1_u64 << 32) + 1 })),
            "spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
        (
            "till",
            request(json!({ "audiences": vec!["a"; 33] })),
            "spec.audiences: Invalid value: 33: must have at most 32 items",
        ),
        ("till", bound("Pod", "nil", ""), "pods \"nil\" not found"),
        (
            "till",
            bound("Pod", "web", "pod-0"),
            "Operation cannot be fulfilled on Pod \"web\": the UID in the bound object reference (pod-0) does not match \
             the UID in record (pod-1). The object might have been deleted and then recreated",
        ),
        (
            "other",
            bound("Pod", "web", "pod-1"),
            "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount name.",
        ),
        ("till", bound("Lease", "x", ""), "cannot bind token to object of type v1, Kind=Lease"),
    ] {
        assert_eq!(authority.issue("shop", account, request).unwrap_err().to_string(), error);
    }
}

#[tokio::test(start_paused = true)]
async fn others_can_check_tokens_with_the_published_key() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    let authority = authority();
    let issued = authority.issue("shop", "till", request(json!({}))).unwrap();
    let key = &authority.key_set()["keys"][0];
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let (signed, signature) = token_of(&issued).rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).unwrap();
    let header: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!(header["kid"], key["kid"]);
    assert_eq!(Authority::discovery("https://127.0.0.1:6443")["jwks_uri"], "https://127.0.0.1:6443/openid/v1/jwks");
}
