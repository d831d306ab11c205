//! `list`: the objects of a resource, all at once or page by page.
//!
//! A list that is read in pages stands still at the revision of its first page. Nothing has to be kept for that: the token
//! of the next page is Kubernetes' (the revision, and after which object to go on), and the list as it was then is the list
//! of now with all changes since undone, for as long as the store remembers them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::read::revision;
use crate::api::resources::ResourceType;
use crate::api::{BadValue, ErrorKind, FieldError};
use crate::apiserver::present::{ListMetadata, Presenter};
use crate::apiserver::selection::Selection;
use crate::apiserver::status::ApiError;
use crate::apiserver::{Call, Inner};
use crate::store::{StoredObject, WatchKind};

/// The most bytes of a token.
const MAX_TOKEN: usize = 4096;
/// The most changes that are undone for a page.
const MAX_UNDONE: usize = 100_000;

const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new \
    list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
    results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
    deleted between the time the first chunk was returned and now may show up in the list.";

/// Answers with the objects that are selected.
pub(super) async fn list(call: &Call<'_>) -> Result<Response, ApiError> {
    let info = call.info;
    let presenter = Presenter::new(info.resource, call.headers, call.query, call.server.now())?;
    let selection = Selection::of(info, call.query)?;
    let (page, all, revision) = objects(call, &selection).await?;
    let mut selected = all[page.start..].iter().filter(|object| selection.matches(object));
    let limit = page.limit.unwrap_or(usize::MAX);
    let shown: Vec<&Arc<StoredObject>> = selected.by_ref().take(limit).collect();
    let mut metadata = ListMetadata { revision, ..ListMetadata::default() };
    if let (Some(last), Some(_)) = (shown.last(), selected.next()) {
        metadata.go_on = Some(Token::after(last, revision).encode());
        // Kubernetes tells how many remain only where it need not look at each.
        let shown_to = page.start + shown.len();
        metadata.remaining = selection.is_everything().then(|| all.len() - shown_to);
    }
    Ok(presenter.list(shown.into_iter().map(Arc::as_ref), &metadata))
}

/// The objects that a request to delete a collection is about.
pub(super) async fn selected(call: &Call<'_>) -> Result<(Vec<Arc<StoredObject>>, u64), ApiError> {
    let selection = Selection::of(call.info, call.query)?;
    let (page, all, revision) = objects(call, &selection).await?;
    let selected = all[page.start..].iter().filter(|object| selection.matches(object));
    Ok((selected.take(page.limit.unwrap_or(usize::MAX)).cloned().collect(), revision))
}

/// Which part of a list is asked for.
struct Page {
    start: usize,
    limit: Option<usize>,
}

async fn objects(call: &Call<'_>, selection: &Selection) -> Result<(Page, Vec<Arc<StoredObject>>, u64), ApiError> {
    check_options(call)?;
    let limit = call.query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let (server, resource) = (call.server, call.info.resource.stored());
    let namespace = call.info.namespace.as_deref();
    let asked = revision(call.query.filled("resourceVersion"))?;
    let token = call.query.filled("continue").map(Token::decode).transpose()?;
    let exact = match (&token, asked) {
        (Some(_), Some(asked)) if asked != 0 => {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
        (Some(token), _) => (token.revision != 0).then_some(token.revision),
        (None, Some(asked)) => {
            server.not_older_than(asked)?;
            (call.query.filled("resourceVersionMatch") == Some("Exact")).then_some(asked)
        }
        (None, None) => None,
    };
    // One object, asked for by its name, needs no list.
    if let (Some((namespace, name)), None, None) = (selection.single(namespace), &token, exact) {
        let revision = server.store.revision();
        let object = server.store.get_object(resource, namespace, name);
        server.durable(object.as_ref().map_or(revision, |object| object.revision().max(revision))).await?;
        let revision = object.as_ref().map_or(revision, |object| object.revision().max(revision));
        return Ok((Page { start: 0, limit }, object.into_iter().collect(), revision));
    }
    let (current, now) = server.store.list_objects(resource, namespace);
    server.durable(now).await?;
    let (objects, revision) = match exact.filter(|exact| *exact != now) {
        None => (current, now),
        Some(exact) => {
            let expired = || match &token {
                Some(token) => {
                    let go_on = Token { revision: 0, ..token.clone() }.encode();
                    ApiError { go_on: Some(go_on), ..ApiError::expired(TOO_OLD) }
                }
                None => ApiError::expired(format!("The resourceVersion for the provided list is too old: {exact}")),
            };
            let then = server.as_it_was(resource, namespace, current, now, exact).ok_or_else(expired)?;
            (then, exact)
        }
    };
    let start = token.map_or(0, |token| {
        objects.partition_point(|object| (object.namespace(), object.name()) <= (&token.namespace, &token.name))
    });
    Ok((Page { start, limit }, objects, revision))
}

impl Inner {
    /// The list that is `current` at the revision `now`, as it was at the revision `then`; `None` if too much has happened
    /// since.
    fn as_it_was(
        &self,
        resource: &'static ResourceType,
        namespace: Option<&str>,
        current: Vec<Arc<StoredObject>>,
        now: u64,
        then: u64,
    ) -> Option<Vec<Arc<StoredObject>>> {
        let mut changes = self.store.watch(resource, namespace, then).ok()?;
        // What the first change of an object changed is what it was.
        let mut before: BTreeMap<(String, String), Option<Arc<StoredObject>>> = BTreeMap::new();
        while let Some(event) = changes.try_next().ok()?.filter(|event| event.revision <= now) {
            let key = (event.object.namespace().to_owned(), event.object.name().to_owned());
            let previous = event.previous.filter(|_| event.kind != WatchKind::Added);
            before.entry(key).or_insert(previous);
            if before.len() > MAX_UNDONE {
                return None;
            }
        }
        if before.is_empty() {
            return Some(current);
        }
        let key = |object: &StoredObject| (object.namespace().to_owned(), object.name().to_owned());
        let mut objects: Vec<_> = current.into_iter().filter(|object| !before.contains_key(&key(object))).collect();
        objects.extend(before.into_values().flatten());
        objects.sort_by(|one, other| (one.namespace(), one.name()).cmp(&(other.namespace(), other.name())));
        Some(objects)
    }
}

/// apimachinery `ValidateListOptions`.
fn check_options(call: &Call<'_>) -> Result<(), ApiError> {
    let query = call.query;
    let forbidden = |path: &str, detail: &str| {
        let path = path.to_owned();
        Err(FieldError { path, kind: ErrorKind::Forbidden, value: None, detail: detail.to_owned() })
    };
    let field = "resourceVersionMatch";
    let checked = match query.filled(field) {
        None if query.filled("sendInitialEvents").is_some() => {
            forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
        }
        None => Ok(()),
        Some(_) if query.filled("resourceVersion").is_none() => {
            forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        Some(_) if query.filled("continue").is_some() => {
            forbidden(field, "resourceVersionMatch is forbidden when continue is provided")
        }
        Some("Exact") if query.filled("resourceVersion") == Some("0") => {
            forbidden(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        Some("Exact" | "NotOlderThan") => Ok(()),
        Some(other) => Err(FieldError {
            path: field.to_owned(),
            kind: ErrorKind::Unsupported,
            value: Some(BadValue::from(other)),
            detail: r#"supported values: "Exact", "NotOlderThan""#.to_owned(),
        }),
    };
    checked.map_err(|error| ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]))
}

/// Where a list goes on: at which revision (0 for what is there by then), after which object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    revision: u64,
    namespace: String,
    name: String,
}

impl Token {
    fn after(object: &StoredObject, revision: u64) -> Self {
        Self { revision, namespace: object.namespace().to_owned(), name: object.name().to_owned() }
    }

    fn encode(&self) -> String {
        let start = format!("{}/{}", self.namespace, self.name);
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": start});
        match serde_json::to_value(ByteString(token.to_string().into_bytes())) {
            Ok(Value::String(text)) => text,
            _ => String::new(),
        }
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let bytes = Some(text).filter(|text| text.len() <= MAX_TOKEN);
        let bytes = bytes.and_then(|text| serde_json::from_value::<ByteString>(text.into()).ok());
        let token: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes.0).ok());
        let fields = token.as_ref().and_then(|token| {
            let (namespace, name) = token["start"].as_str()?.split_once('/')?;
            let revision = token["rv"].as_u64().filter(|_| token["v"] == "meta.k8s.io/v1")?;
            Some(Self { revision, namespace: namespace.to_owned(), name: name.to_owned() })
        });
        fields.ok_or_else(|| ApiError::bad_request("continue key is not valid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_were() {
        for (namespace, name) in [("", "n"), ("default", "a"), ("ns", "pod-1"), ("x", "yz")] {
            let token = Token { revision: 7, namespace: namespace.to_owned(), name: name.to_owned() };
            assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        }
        for wrong in ["", "x", "!!", "e30=", &"A".repeat(MAX_TOKEN + 4)] {
            assert_eq!(Token::decode(wrong).unwrap_err().message, "continue key is not valid");
        }
    }
}
