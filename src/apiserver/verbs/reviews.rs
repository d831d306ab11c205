//! What is answered and forgotten: who somebody is, whose a token is, what somebody may do; and tokens of service accounts.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenRequest, TokenReview, TokenReviewStatus,
};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    SubjectAccessReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::options::WriteOptions;
use crate::api::resources::ResourceType;
use crate::api::{BadValue, ErrorKind, FieldError};
use crate::apiserver::authorize::{Attributes, Target};
use crate::apiserver::identity::Identity;
use crate::apiserver::status::ApiError;
use crate::apiserver::tokens::TokenError;
use crate::apiserver::{Call, answer, body};

/// Answers a review.
pub(super) async fn answer(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let resource = call.info.resource;
    let (value, warnings) = body::object(call, bytes, &options)?;
    let mut answered = match resource.kind {
        "SelfSubjectReview" => json_of(&self_subject(call)),
        "TokenReview" => json_of(&token_review(call, typed(resource, value)?)),
        "SelfSubjectAccessReview" => json_of(&self_access(call, typed(resource, value)?)?),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => json_of(&access(call, typed(resource, value)?)?),
        "SelfSubjectRulesReview" => json_of(&rules(call, typed(resource, value)?)),
        _ => return Err(ApiError::no_such_path()),
    }?;
    answered["kind"] = resource.kind.into();
    answered["apiVersion"] = resource.api_version().into();
    let mut response = answer::json(StatusCode::CREATED, &answered);
    answer::warn(response.headers_mut(), &warnings);
    Ok(response)
}

fn json_of<T: Serialize>(value: &T) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(ApiError::internal)
}

fn typed<T: DeserializeOwned>(resource: &ResourceType, mut value: Value) -> Result<T, ApiError> {
    // A local review has the fields of another kind.
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove("kind");
        fields.shift_remove("apiVersion");
    }
    serde_json::from_value(value).map_err(|error| {
        let kind = resource.kind;
        ApiError::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: json: {error}"))
    })
}

fn self_subject(call: &Call<'_>) -> SelfSubjectReview {
    SelfSubjectReview {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            creation_timestamp: Some(Time(call.server.now())),
            ..Default::default()
        },
        status: Some(SelfSubjectReviewStatus { user_info: Some(call.identity.user_info()) }),
    }
}

fn token_review(call: &Call<'_>, mut review: TokenReview) -> TokenReview {
    let token = review.spec.token.clone();
    let audiences = review.spec.audiences.clone().unwrap_or_default();
    review.status = Some(match call.server.authority.review(&token, &audiences) {
        Ok(reviewed) => TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(reviewed.audiences),
            user: Some(reviewed.identity.user_info()),
            error: None,
        },
        Err(fault) => TokenReviewStatus {
            authenticated: Some(false),
            error: Some(fault.to_string()),
            ..TokenReviewStatus::default()
        },
    });
    review
}

fn invalid(call: &Call<'_>, path: &str, kind: ErrorKind, value: Option<BadValue>, detail: &str) -> ApiError {
    let error = FieldError { path: path.to_owned(), kind, value, detail: detail.to_owned() };
    ApiError::invalid(call.info.resource.group, call.info.resource.kind, "", &[error])
}

/// Whether somebody may do what a review asks about.
fn decide(
    call: &Call<'_>,
    identity: &Identity,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> Result<SubjectAccessReviewStatus, ApiError> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let decision = match (resource, path) {
        (Some(wanted), None) => {
            let [verb, group, resource, subresource, namespace, name] =
                [&wanted.verb, &wanted.group, &wanted.resource, &wanted.subresource, &wanted.namespace, &wanted.name]
                    .map(text);
            let target = Target::Resource {
                group: &group,
                resource: &resource,
                subresource: &subresource,
                namespace: &namespace,
                name: &name,
            };
            call.server.config.policy.decide(identity, &Attributes { verb: &verb, target })
        }
        (None, Some(wanted)) => {
            let (verb, path) = (text(&wanted.verb), text(&wanted.path));
            call.server.config.policy.decide(identity, &Attributes { verb: &verb, target: Target::Path(&path) })
        }
        (Some(_), Some(_)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            return Err(invalid(
                call,
                "spec.nonResourceAttributes",
                ErrorKind::Invalid,
                Some(BadValue::Bare("{}".to_owned())),
                detail,
            ));
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return Err(invalid(
                call,
                "spec.resourceAttributes",
                ErrorKind::Invalid,
                Some(BadValue::Bare("null".to_owned())),
                detail,
            ));
        }
    };
    Ok(SubjectAccessReviewStatus {
        allowed: decision.allowed,
        reason: Some(decision.reason).filter(|reason| !reason.is_empty()),
        ..SubjectAccessReviewStatus::default()
    })
}

fn self_access(call: &Call<'_>, mut review: SelfSubjectAccessReview) -> Result<SelfSubjectAccessReview, ApiError> {
    let spec = &review.spec;
    let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    review.status = Some(decide(call, call.identity, resource, path)?);
    Ok(review)
}

fn access(call: &Call<'_>, mut review: SubjectAccessReview) -> Result<SubjectAccessReview, ApiError> {
    let spec = &review.spec;
    let user = spec.user.clone().unwrap_or_default();
    let groups = spec.groups.clone().unwrap_or_default();
    if user.is_empty() && groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return Err(invalid(call, "spec.user", ErrorKind::Invalid, Some(BadValue::from("")), detail));
    }
    if call.info.resource.namespaced {
        let asked = spec.resource_attributes.as_ref().and_then(|wanted| wanted.namespace.clone()).unwrap_or_default();
        if asked != call.info.namespace() {
            let detail = format!("must match metadata.namespace: {}", call.info.namespace());
            let path = "spec.resourceAttributes.namespace";
            return Err(invalid(call, path, ErrorKind::Invalid, Some(BadValue::from(asked)), &detail));
        }
    }
    let identity =
        Identity { username: user, uid: spec.uid.clone(), groups, extra: spec.extra.clone().unwrap_or_default() };
    let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    review.status = Some(decide(call, &identity, resource, path)?);
    Ok(review)
}

fn rules(call: &Call<'_>, mut review: SelfSubjectRulesReview) -> SelfSubjectRulesReview {
    review.status = Some(call.server.config.policy.rules(call.identity));
    review
}

/// Issues a token of a service account.
pub(super) async fn token(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "CreateOptions")?;
    let (value, warnings) = body::object(call, bytes, &options)?;
    let request: TokenRequest = typed(call.info.resource, value)?;
    let (namespace, name) = (call.info.namespace(), call.info.name());
    let issued = call.server.authority.issue(namespace, name, request).map_err(|error| not_issued(call, error))?;
    let mut response = answer::json(StatusCode::CREATED, &json_of(&issued)?);
    answer::warn(response.headers_mut(), &warnings);
    Ok(response)
}

fn not_issued(call: &Call<'_>, error: TokenError) -> ApiError {
    match error {
        TokenError::NotFound { resource, name } => {
            let missing = crate::api::resources::find("", resource).unwrap_or(call.info.resource);
            ApiError::not_found(missing, &name)
        }
        TokenError::Invalid { field, value, detail } => {
            let error = FieldError {
                path: field.to_owned(),
                kind: ErrorKind::Invalid,
                value: Some(BadValue::Bare(value)),
                detail,
            };
            ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[error])
        }
        TokenError::Unsuitable(message) => ApiError::bad_request(message),
        TokenError::OtherObject { .. } => ApiError::new(StatusCode::CONFLICT, "Conflict", error.to_string()),
        TokenError::NotSigned => ApiError::internal(error),
    }
}
