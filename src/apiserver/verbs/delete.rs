//! `delete` and `deletecollection`.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::options::check_dry_run;
use super::{list, not_stored};
use crate::api::deletion::{self, DeleteOptions, Deletion, Propagation};
use crate::api::{BadValue, ErrorKind, FieldError};
use crate::apiserver::present::{ListMetadata, Presenter};
use crate::apiserver::rules::{self, Admission};
use crate::apiserver::status::{ApiError, success};
use crate::apiserver::{Call, RequestInfo, answer, body};
use crate::store::{Change, ChangeError, Changed, StoredObject};

/// Deletions of a collection after which others get a turn.
const TURN: usize = 64;

/// How a client wants something deleted.
#[derive(Debug, Clone, Default)]
pub(in crate::apiserver) struct Request {
    pub(in crate::apiserver) options: DeleteOptions,
    /// The object must have this UID.
    pub(in crate::apiserver) uid: Option<String>,
    /// The object must be of this revision.
    pub(in crate::apiserver) revision: Option<String>,
    pub(in crate::apiserver) dry_run: bool,
}

/// What became of an object.
pub(in crate::apiserver) enum Deleted {
    /// It is gone; this was its last state.
    Gone(Arc<StoredObject>),
    /// It stays for now, as it is now.
    Stays(Arc<StoredObject>),
    /// It would be so.
    Dry(Value),
}

/// Deletes an object.
pub(super) async fn delete(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let presenter = Presenter::new(call.info.resource, call.headers, call.query, call.server.now())?;
    let request = Request::of(call, bytes)?;
    let deleted = remove(call, call.info, &request).await?;
    let resource = call.info.resource;
    Ok(match deleted {
        Deleted::Gone(object) if !rules::of(resource.stored()).returns_deleted => {
            presenter.value(StatusCode::OK, &success(resource, object.name(), object.uid()))
        }
        Deleted::Gone(object) | Deleted::Stays(object) => answer::bytes(StatusCode::OK, presenter.one(&object)),
        Deleted::Dry(value) => presenter.value(StatusCode::OK, &call.shown(value)),
    })
}

/// Deletes all objects that are selected.
pub(super) async fn delete_collection(call: &Call<'_>, bytes: &Bytes) -> Result<Response, ApiError> {
    let presenter = Presenter::new(call.info.resource, call.headers, call.query, call.server.now())?;
    let request = Request::of(call, bytes)?;
    let (objects, revision) = list::selected(call).await?;
    let mut deleted = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let info = RequestInfo {
            namespace: call.info.namespace.clone(),
            name: Some(object.name().to_owned()),
            ..call.info.clone()
        };
        deleted.extend(remove_unless_gone(call, &info, &request, object)?);
        if index % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    // Once for all of them, and for what others, who were faster, have removed.
    call.server.durable(call.server.store.revision()).await?;
    let metadata = ListMetadata { revision, ..ListMetadata::default() };
    Ok(presenter.list(deleted.iter().map(Arc::as_ref), &metadata))
}

fn remove_unless_gone(
    call: &Call<'_>,
    info: &RequestInfo,
    request: &Request,
    listed: &Arc<StoredObject>,
) -> Result<Option<Arc<StoredObject>>, ApiError> {
    match begin(call, info, request) {
        Ok(Deleted::Gone(object) | Deleted::Stays(object)) => Ok(Some(object)),
        Ok(Deleted::Dry(_)) => Ok(Some(Arc::clone(listed))),
        // Somebody else was faster, which is as good.
        Err(error) if error.reason == "NotFound" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes the object that `info` names, as far as nothing holds it, and waits until that is on disk.
pub(in crate::apiserver) async fn remove(
    call: &Call<'_>,
    info: &RequestInfo,
    request: &Request,
) -> Result<Deleted, ApiError> {
    let deleted = begin(call, info, request)?;
    if let Deleted::Gone(object) | Deleted::Stays(object) = &deleted {
        call.server.durable(object.revision()).await?;
    }
    Ok(deleted)
}

fn begin(call: &Call<'_>, info: &RequestInfo, request: &Request) -> Result<Deleted, ApiError> {
    let resource = info.resource.stored();
    let admission = Admission { server: call.server, resource };
    (rules::of(resource).check_delete)(&admission, info.name())?;
    let mut dry = None;
    let now = call.server.now();
    let changed = call.server.store.change_object(resource, info.namespace(), info.name(), |current| {
        request.check(info, current)?;
        let mut value = Value::clone(&current.value());
        let deletion = deletion::begin(&mut value, &request.options, now);
        if request.dry_run {
            dry = Some(value);
            return Ok(Change::Keep);
        }
        Ok(match deletion {
            Deletion::Remove => Change::Remove,
            Deletion::Keep => Change::Put(value),
            Deletion::Pending => Change::Keep,
        })
    });
    let deleted = match changed {
        Ok(Changed::Removed(object)) => Deleted::Gone(object),
        Ok(Changed::Put(object)) => Deleted::Stays(object),
        Ok(Changed::Kept(object)) => Deleted::Stays(object),
        Err(ChangeError::Refused(error)) => return Err(error),
        Err(ChangeError::Store(error)) => return Err(not_stored(call, info.name(), error)),
    };
    Ok(dry.map_or(deleted, Deleted::Dry))
}

impl Request {
    fn of(call: &Call<'_>, bytes: &Bytes) -> Result<Self, ApiError> {
        let mut options = body::delete_options(call, bytes)?;
        if let Some(seconds) = call.query.number("gracePeriodSeconds")? {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = call.query.filled("propagationPolicy") {
            options["propagationPolicy"] = policy.into();
        }
        for value in call.query.all("dryRun") {
            match &mut options["dryRun"] {
                Value::Array(values) => values.push(value.into()),
                other => *other = json!([value]),
            }
        }
        Self::parse(&options)
    }

    /// What `DeleteOptions` say.
    pub(in crate::apiserver) fn parse(options: &Value) -> Result<Self, ApiError> {
        let invalid = |error: FieldError| ApiError::invalid("", "DeleteOptions", "", &[error]);
        let mut dry_run = false;
        for value in options["dryRun"].as_array().into_iter().flatten() {
            check_dry_run(value.as_str().unwrap_or_default()).map_err(invalid)?;
            dry_run = true;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let preconditions = &options["preconditions"];
        Ok(Self {
            options: DeleteOptions {
                grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
                propagation: propagation(options).map_err(invalid)?,
            },
            uid: text(&preconditions["uid"]),
            revision: text(&preconditions["resourceVersion"]),
            dry_run,
        })
    }

    /// Whether the object is the one that is meant.
    pub(in crate::apiserver) fn check(&self, info: &RequestInfo, current: &StoredObject) -> Result<(), ApiError> {
        let conflict = |why: String| Err(ApiError::conflict(info.resource, info.name(), &why));
        if let Some(uid) = self.uid.as_deref().filter(|uid| *uid != current.uid()) {
            let found = current.uid();
            return conflict(format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({found}). The object might have been \
                 deleted and then recreated"
            ));
        }
        let found = current.revision().to_string();
        if let Some(revision) = self.revision.as_deref().filter(|revision| *revision != found) {
            return conflict(format!(
                "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record \
                 ({found}). The object might have been modified"
            ));
        }
        Ok(())
    }
}

/// `propagationPolicy`, or what stood for it before there was one (apimachinery `ValidateDeleteOptions`).
fn propagation(options: &Value) -> Result<Option<Propagation>, FieldError> {
    let policy = options["propagationPolicy"].as_str();
    if let Some(orphan) = options["orphanDependents"].as_bool() {
        if policy.is_some() {
            return Err(FieldError {
                path: "propagationPolicy".to_owned(),
                kind: ErrorKind::Invalid,
                value: policy.map(BadValue::from),
                detail: "orphanDependents and deletionPropagation cannot be both set".to_owned(),
            });
        }
        return Ok(Some(if orphan { Propagation::Orphan } else { Propagation::Background }));
    }
    match policy {
        None => Ok(None),
        Some("Background") => Ok(Some(Propagation::Background)),
        Some("Foreground") => Ok(Some(Propagation::Foreground)),
        Some("Orphan") => Ok(Some(Propagation::Orphan)),
        Some(other) => Err(FieldError {
            path: "propagationPolicy".to_owned(),
            kind: ErrorKind::Unsupported,
            value: Some(BadValue::from(other)),
            detail: r#"supported values: "Background", "Foreground", "Orphan""#.to_owned(),
        }),
    }
}
