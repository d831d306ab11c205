//! Bodies of requests: read up to a limit, decoded from the forms that clients send, and fitted to their kind.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::Call;
use super::status::ApiError;
use super::verbs::{FieldValidation, WriteOptions};
use crate::api::body::{self, BodyError, MAX_BODY, decode_body, strict_decoding_error};
use crate::api::schema::{DELETE_OPTIONS, GroupVersionKind, conform};
use crate::api::{BadValue, ErrorKind, FieldError};

/// The most bytes of an object that an error shows.
const MAX_SHOWN: usize = 1024;

/// Reads a body.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > MAX_BODY) {
        return Err(ApiError::too_large(MAX_BODY));
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(MAX_BODY)),
        Err(error) => Err(ApiError::bad_request(format!("the body of the request could not be read: {error}"))),
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// The media type of a body, without its parameters; JSON where the client does not say.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let media = content_type(headers).unwrap_or_default().split(';').next().unwrap_or_default();
    let media = media.trim().to_ascii_lowercase();
    if media.is_empty() { "application/json".to_owned() } else { media }
}

/// The kind of what is sent to a resource or subresource.
fn expected(call: &Call<'_>) -> GroupVersionKind<'static> {
    match call.info.subresource {
        Some(subresource) => GroupVersionKind::of_subresource(call.info.resource, subresource),
        None => GroupVersionKind::of(call.info.resource),
    }
}

/// Decodes the object of a request, and says which of its fields its kind does not have.
pub(super) fn object(call: &Call<'_>, body: &[u8], options: &WriteOptions) -> Result<(Value, Vec<String>), ApiError> {
    let expected = expected(call);
    let decoded = decode_body(body, content_type(call.headers), expected).map_err(unusable)?;
    let warnings = match options.validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => decoded.violations(),
        FieldValidation::Strict => {
            decoded.check_strict(expected).map_err(unusable)?;
            Vec::new()
        }
    };
    Ok((decoded.value, warnings))
}

/// Decodes the options of a deletion; none, if the body is empty.
pub(super) fn delete_options(call: &Call<'_>, body: &[u8]) -> Result<Value, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(serde_json::json!({}));
    }
    let decoded = decode_body(body, content_type(call.headers), DELETE_OPTIONS).map_err(unusable)?;
    Ok(decoded.value)
}

/// Reads JSON, whose nesting is bounded.
pub(super) fn json(body: &[u8]) -> Result<Value, ApiError> {
    let (value, _) = body::parse_json(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(value)
}

/// Decodes what server-side apply is to bring about: YAML, of which JSON is a part.
pub(super) fn configuration(
    call: &Call<'_>,
    body: &[u8],
    options: &WriteOptions,
) -> Result<(Value, Vec<String>), ApiError> {
    let (mut value, duplicates) =
        body::parse_yaml(body).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    let unknown = fitted(call, &mut value)?;
    let violations = unknown.iter().map(|path| format!("unknown field {path:?}"));
    let violations: Vec<String> =
        violations.chain(duplicates.iter().map(|path| format!("duplicate field {path:?}"))).collect();
    match (options.validation, strict_decoding_error(&violations)) {
        (FieldValidation::Strict, Some(problem)) => {
            Err(ApiError::bad_request(format!("error strict decoding YAML: {problem}")))
        }
        (FieldValidation::Ignore, _) => Ok((value, Vec::new())),
        (FieldValidation::Warn | FieldValidation::Strict, _) => Ok((value, violations)),
    }
}

/// Fits an object that a patch has changed to its kind, and says which of its fields that does not have.
pub(super) fn fit(call: &Call<'_>, value: &mut Value, options: &WriteOptions) -> Result<Vec<String>, ApiError> {
    let unknown = fitted(call, value)?;
    let violations: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    match (options.validation, strict_decoding_error(&violations)) {
        (FieldValidation::Strict, Some(problem)) => {
            let text = value.to_string();
            let shown = text.get(..MAX_SHOWN.min(text.len())).unwrap_or_default();
            let error = FieldError {
                path: "patch".to_owned(),
                kind: ErrorKind::Invalid,
                value: Some(BadValue::from(shown)),
                detail: problem,
            };
            Err(ApiError::invalid("", "", "", &[error]))
        }
        (FieldValidation::Ignore, _) => Ok(Vec::new()),
        (FieldValidation::Warn | FieldValidation::Strict, _) => Ok(violations),
    }
}

fn fitted(call: &Call<'_>, value: &mut Value) -> Result<Vec<String>, ApiError> {
    let resource = call.info.resource;
    conform(value, GroupVersionKind::of(resource)).map_err(|misfit| {
        let (kind, version) = (resource.kind, resource.version);
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {misfit}"))
    })
}

fn unusable(error: BodyError) -> ApiError {
    match error {
        BodyError::TooLarge => ApiError::too_large(MAX_BODY),
        BodyError::UnsupportedMediaType => {
            let code = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            ApiError::new(code, "UnsupportedMediaType", error.to_string())
        }
        BodyError::Unrecognized { .. } | BodyError::Unhandled { .. } | BodyError::WrongVersion { .. } => {
            ApiError::bad_request(error.to_string())
        }
    }
}
