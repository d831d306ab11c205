//! Errors as clients get them: `Status` objects with Kubernetes' codes, reasons, words and causes
//! (apimachinery v1.36 `pkg/api/errors`).

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer;
use crate::api::resources::ResourceType;
use crate::api::{ErrorKind, FieldError, invalid_message};

/// The most causes that an answer lists.
const MAX_CAUSES: usize = 200;

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub code: StatusCode,
    /// `reason`: what programs branch on. Empty for errors that have none.
    pub reason: &'static str,
    /// `message`, for people.
    pub message: String,
    /// `details`.
    pub details: Box<Map<String, Value>>,
    /// `metadata.continue`: how a list can be gone on with in spite of the error.
    pub go_on: Option<String>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// One of `details.causes`.
pub(super) fn cause(reason: &str, message: &str, field: &str) -> Value {
    let mut cause = json!({"reason": reason, "message": message});
    if !field.is_empty() {
        cause["field"] = field.into();
    }
    cause
}

/// `details` that name an object of a resource.
fn names(resource: &ResourceType, name: &str) -> Map<String, Value> {
    let parts = [("name", name), ("group", resource.group), ("kind", resource.plural)];
    let parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
    parts.map(|(key, text)| (key.to_owned(), text.into())).collect()
}

impl ApiError {
    /// An error with nothing but what every error has.
    pub fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default(), go_on: None }
    }

    /// Says which object it is about.
    pub(super) fn about(mut self, resource: &ResourceType, name: &str) -> Self {
        *self.details = names(resource, name);
        self
    }

    /// Adds one of `details.causes`.
    pub(super) fn because(mut self, cause: Value) -> Self {
        let causes = self.details.entry("causes").or_insert_with(|| json!([]));
        if let Some(causes) = causes.as_array_mut().filter(|causes| causes.len() < MAX_CAUSES) {
            causes.push(cause);
        }
        self
    }

    /// Says when to try again.
    pub(super) fn retry_after(mut self, seconds: u32) -> Self {
        self.details.insert("retryAfterSeconds".to_owned(), seconds.into());
        self
    }

    /// There is no such object.
    pub fn not_found(resource: &ResourceType, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.group_resource());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(resource, name)
    }

    /// There is nothing at that path.
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// The name is taken.
    pub fn already_exists(resource: &ResourceType, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.group_resource());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(resource, name)
    }

    /// The object is not what the client thinks it is.
    pub fn conflict(resource: &ResourceType, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.group_resource());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(resource, name)
    }

    /// The object was changed by somebody else since the client saw it.
    pub fn stale(resource: &ResourceType, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// What is asked for is not allowed.
    pub fn forbidden(resource: &ResourceType, name: &str, why: &str) -> Self {
        let what = match name {
            "" => resource.group_resource(),
            name => format!("{} \"{name}\"", resource.group_resource()),
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", format!("{what} is forbidden: {why}")).about(resource, name)
    }

    /// The request does not say who sends it.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// The object breaks rules.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = invalid_message(&qualified, name, errors);
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        for (key, text) in [("name", name), ("group", group), ("kind", kind)] {
            if !text.is_empty() {
                error.details.insert(key.to_owned(), text.into());
            }
        }
        errors.iter().fold(error, |error, problem| {
            // A cause has the message without the path, which it names apart.
            let text = problem.to_string();
            let message = text.strip_prefix(&format!("{}: ", problem.path)).unwrap_or(&text);
            error.because(cause(cause_type(problem.kind), message, &problem.path))
        })
    }

    /// The resource has no such verb.
    pub fn method_not_allowed(resource: &ResourceType) -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).about(resource, "")
    }

    /// The body is in a form that is not understood.
    pub fn unsupported_media_type(found: &str, understood: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {} (got {found:?})",
            understood.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// Nothing that the client accepts can be answered.
    pub fn not_acceptable(understood: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", understood.join(", "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// The body is larger than any may be.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity is too large: limit is {limit}");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// The revision is no longer there.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// The server has enough to do.
    pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).retry_after(seconds)
    }

    /// It took too long.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
    }

    /// Something is wrong here.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", format!("Internal error occurred: {text}"))
            .because(json!({"message": text}))
    }

    /// Something that is asked for is not there at the moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
        });
        if let Some(token) = &self.go_on {
            status["metadata"]["continue"] = token.as_str().into();
        }
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_empty() {
            status["details"] = Value::Object(Map::clone(&self.details));
        }
        status["code"] = self.code.as_u16().into();
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = answer::json(self.code, &self.status());
        if let Some(seconds) = self.details.get("retryAfterSeconds").and_then(Value::as_u64) {
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// `metav1.CauseType` of an error of a field.
fn cause_type(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Required => "FieldValueRequired",
        ErrorKind::Invalid => "FieldValueInvalid",
        ErrorKind::Unsupported => "FieldValueNotSupported",
        ErrorKind::Duplicate => "FieldValueDuplicate",
        ErrorKind::NotFound => "FieldValueNotFound",
        ErrorKind::Forbidden => "FieldValueForbidden",
        ErrorKind::TooLong => "FieldValueTooLong",
        ErrorKind::TooMany => "FieldValueTooMany",
    }
}

/// `Status` of something that was done and has nothing to show.
pub(super) fn success(resource: &ResourceType, name: &str, uid: &str) -> Value {
    let mut details = names(resource, name);
    if !uid.is_empty() {
        details.insert("uid".to_owned(), uid.into());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
