//! `patch`: an object is changed as one of four kinds of patch says.

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::WriteOptions;
use super::create::{insert, respond};
use super::update::{change, part};
use crate::api::patch::{ApplyError, PatchError, json_patch, merge_patch, strategic_merge_patch};
use crate::api::{ErrorKind, FieldError};
use crate::apiserver::object::Managers;
use crate::apiserver::present::Presenter;
use crate::apiserver::rules::Part;
use crate::apiserver::status::{ApiError, cause};
use crate::apiserver::{Call, body};
use crate::store::StoredObject;

/// The kinds of patch, by their media types.
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Changes an object as a patch says.
pub(super) async fn patch(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let options = WriteOptions::of(call, "PatchOptions")?;
    let presenter = Presenter::new(call.info.resource, call.headers, call.query, call.server.now())?;
    let media = body::media_type(call.headers);
    check_options(&options, call, media == APPLY)?;
    let patch = match media.as_str() {
        // Read where it is applied.
        JSON => Patch::Json(bytes),
        MERGE => Patch::Merge(body::json(bytes)?),
        STRATEGIC => Patch::Strategic(body::json(bytes)?),
        APPLY => return apply(call, &presenter, bytes, &options).await,
        other => return Err(ApiError::unsupported_media_type(other, &[JSON, MERGE, APPLY, STRATEGIC])),
    };
    let draft = |current: &StoredObject| {
        let old = current.value();
        let shown = call.shown(Value::clone(&old));
        let patched = patch.apply(&shown, (call.info.resource.group, call.info.resource.kind));
        let mut patched = patched.map_err(|error| not_patched(&error))?;
        let warnings = body::fit(call, &mut patched, &options)?;
        let mut draft = call.draft_update(current, call.accept(patched)?, part(call))?;
        draft.warnings.extend(warnings);
        call.field_manager(&options).track_update(Some(&old), &mut draft.value);
        Ok(draft)
    };
    let (written, warnings) = change(call, &options, &draft).await?;
    Ok(respond(&presenter, StatusCode::OK, &written, &warnings))
}

/// A patch that changes what is there.
enum Patch<'p> {
    Json(&'p [u8]),
    Merge(Value),
    Strategic(Value),
}

impl Patch<'_> {
    fn apply(&self, object: &Value, kind: (&str, &str)) -> Result<Value, PatchError> {
        match self {
            Self::Json(patch) => json_patch(object, patch),
            Self::Merge(patch) => merge_patch(object, patch),
            Self::Strategic(patch) => strategic_merge_patch(object, patch, kind),
        }
    }
}

/// Server-side apply: the object is to have what the configuration says, and is made if it is not there.
async fn apply(
    call: &Call<'_>,
    presenter: &Presenter,
    bytes: &Bytes,
    options: &WriteOptions,
) -> Result<Response, ApiError> {
    let (mut configuration, warnings) = body::configuration(call, bytes, options)?;
    name(call, &mut configuration)?;
    let configuration = call.accept(configuration)?;
    let manager = call.field_manager(options);
    let resource = call.info.resource.stored();
    let exists = || call.server.store.get_object(resource, call.info.namespace(), call.info.name()).is_some();
    if !exists() && part(call) == Part::Main {
        let new = manager.apply(None, &configuration, options.force).map_err(|error| not_applied(&error))?;
        match insert(call, new, options, Managers::Named).await {
            // Somebody else was faster.
            Err(error) if error.reason == "AlreadyExists" => {}
            inserted => {
                let (written, mut more) = inserted?;
                more.extend(warnings);
                return Ok(respond(presenter, StatusCode::CREATED, &written, &more));
            }
        }
    }
    let draft = |current: &StoredObject| {
        let live = current.value();
        let applied = manager.apply(Some(&live), &configuration, options.force);
        let applied = applied.map_err(|error| not_applied(&error))?;
        call.draft_update(current, applied, part(call))
    };
    let (written, mut more) = change(call, options, &draft).await?;
    more.extend(warnings);
    Ok(respond(presenter, StatusCode::OK, &written, &more))
}

/// A configuration is for the object in the path, whether or not it says so.
fn name(call: &Call<'_>, configuration: &mut Value) -> Result<(), ApiError> {
    if configuration["metadata"].is_null() {
        configuration["metadata"] = json!({});
    }
    if !configuration["metadata"].is_object() {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    if !configuration["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    if configuration["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
        configuration["metadata"]["name"] = call.info.name().into();
    }
    Ok(())
}

/// `ValidatePatchOptions`.
fn check_options(options: &WriteOptions, call: &Call<'_>, is_apply: bool) -> Result<(), ApiError> {
    let problem = if is_apply && !options.manager_named {
        ("fieldManager", ErrorKind::Required, "is required for apply patch")
    } else if !is_apply && call.query.filled("force").is_some() {
        ("force", ErrorKind::Forbidden, "may not be specified for non-apply patch")
    } else {
        return Ok(());
    };
    let (path, kind, detail) = problem;
    let error = FieldError { path: path.to_owned(), kind, value: None, detail: detail.to_owned() };
    Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[error]))
}

fn not_patched(error: &PatchError) -> ApiError {
    match error {
        PatchError::Malformed(message) => ApiError::bad_request(message.as_str()),
        PatchError::Inapplicable(message) => {
            let code = StatusCode::UNPROCESSABLE_ENTITY;
            let message = format!("the server rejected our request due to an error in our request: {message}");
            // Without the name of the object: kubectl shows either that or the message.
            ApiError::new(code, "Invalid", message)
        }
        PatchError::TooLarge(message) => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message.as_str())
        }
    }
}

fn not_applied(error: &ApplyError) -> ApiError {
    match error {
        ApplyError::Patch(error) => not_patched(error),
        ApplyError::Conflicts(conflicts) => {
            let error = ApiError::new(StatusCode::CONFLICT, "Conflict", conflicts.to_string());
            conflicts.iter().fold(error, |error, conflict| {
                error.because(cause("FieldManagerConflict", &conflict.message(), &conflict.field))
            })
        }
    }
}
