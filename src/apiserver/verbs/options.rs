//! What a client says of a write beside the object: dry run, field manager, how strict to be with unknown fields.

use http::header::USER_AGENT;

use crate::api::{BadValue, ErrorKind, FieldError};
use crate::apiserver::Call;
use crate::apiserver::status::ApiError;

/// The longest name of a field manager (`metav1validation.FieldManagerMaxLength`).
const MAX_MANAGER: usize = 128;

/// What is done about fields that a kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::apiserver) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and told of in warnings.
    Warn,
    /// The request is refused.
    Strict,
}

/// How an object is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::apiserver) struct WriteOptions {
    /// Nothing is to be stored.
    pub(in crate::apiserver) dry_run: bool,
    /// Who is the manager of the fields that change.
    pub(in crate::apiserver) manager: String,
    /// Whether the client named that manager.
    pub(in crate::apiserver) manager_named: bool,
    pub(in crate::apiserver) validation: FieldValidation,
    /// Server-side apply takes fields from other managers.
    pub(in crate::apiserver) force: bool,
}

impl WriteOptions {
    /// The options of a request; `kind` is what Kubernetes calls them, such as `CreateOptions`.
    pub(in crate::apiserver) fn of(call: &Call<'_>, kind: &str) -> Result<Self, ApiError> {
        let invalid = |error: FieldError| ApiError::invalid("meta.k8s.io", kind, "", &[error]);
        let mut dry_run = false;
        for value in call.query.all("dryRun") {
            check_dry_run(value).map_err(invalid)?;
            dry_run = true;
        }
        let validation = match call.query.filled("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(invalid(unsupported("fieldValidation", other, r#""Ignore", "Strict", "Warn""#)));
            }
        };
        let named = call.query.filled("fieldManager");
        if let Some(named) = named {
            check_manager(named).map_err(invalid)?;
        }
        let manager = named.map_or_else(|| manager_of(call), str::to_owned);
        let force = call.query.flag("force");
        Ok(Self { dry_run, manager, manager_named: named.is_some(), validation, force })
    }
}

/// The only dry run there is, is that of everything.
pub(super) fn check_dry_run(value: &str) -> Result<(), FieldError> {
    if value == "All" { Ok(()) } else { Err(unsupported("dryRun", value, r#""All""#)) }
}

fn unsupported(path: &str, value: &str, supported: &str) -> FieldError {
    let detail = format!("supported values: {supported}");
    FieldError { path: path.to_owned(), kind: ErrorKind::Unsupported, value: Some(BadValue::from(value)), detail }
}

fn check_manager(manager: &str) -> Result<(), FieldError> {
    let detail = if manager.len() > MAX_MANAGER {
        let detail = format!("may not be more than {MAX_MANAGER} bytes");
        return Err(FieldError { path: "fieldManager".to_owned(), kind: ErrorKind::TooLong, value: None, detail });
    } else if manager.chars().any(char::is_control) {
        "should only contain printable characters".to_owned()
    } else {
        return Ok(());
    };
    let value = Some(BadValue::from(manager));
    Err(FieldError { path: "fieldManager".to_owned(), kind: ErrorKind::Invalid, value, detail })
}

/// Who does not say is called what stands before the first slash of `User-Agent` (kube-apiserver
/// `managerOrUserAgent`).
fn manager_of(call: &Call<'_>) -> String {
    let agent = call.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name: String = agent.split('/').next().unwrap_or_default().chars().take(MAX_MANAGER).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}
