//! `watch`: changes as they happen, as lines of JSON.
//!
//! The answer is made as the client takes it: nothing is queued for one that is slow. If it stays so far behind that the
//! store no longer remembers what comes next for it, the last line says so (410), and it has to list anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::read::revision;
use crate::api::{BadValue, ErrorKind, FieldError};
use crate::apiserver::present::Presenter;
use crate::apiserver::request::Query;
use crate::apiserver::selection::Selection;
use crate::apiserver::status::ApiError;
use crate::apiserver::{Call, answer};
use crate::base::clock::Clock;
use crate::store::{Expired, Store, StoredObject, Watch, WatchEvent, WatchKind};

/// How long a watch goes on where the client does not say: between this and twice as long
/// (kube-apiserver `--min-request-timeout`).
const LEAST_SECONDS: u64 = 1800;
/// The longest that a client can ask for.
const MOST_SECONDS: u64 = 7 * 24 * 3600;
/// How often those who asked for bookmarks get one (`bookmarkFrequency`).
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// About how many bytes of events are put together at once.
const PIECE: usize = 64 * 1024;

/// Answers with the changes that are selected.
pub(super) async fn watch(call: &Call<'_>) -> Result<Response, ApiError> {
    let permit = Arc::clone(&call.server.lanes.of(call.identity).watches).try_acquire_owned();
    let permit = permit.map_err(|_| ApiError::too_many_requests("too many watches, please try again later", 5))?;
    let presenter = Presenter::new(call.info.resource, call.headers, call.query, call.server.now())?;
    let selection = Selection::of(call.info, call.query)?;
    let options = Options::of(call.query)?;
    let (initial, since) = begin(call, &options, &selection).await?;
    let (resource, namespace) = (call.info.resource.stored(), call.info.namespace.as_deref());
    let changes = match call.server.store.watch(resource, namespace, since) {
        Ok(changes) => changes,
        // As kube-apiserver does, which has answered with 200 by then.
        Err(expired) => return Ok(lines(Body::from(error_line(&too_old(expired))))),
    };
    let now = Instant::now();
    let events = Events {
        store: call.server.store.clone(),
        presenter,
        clock: call.server.config.clock,
        selection,
        changes,
        initial: initial.into(),
        end_of_initial: options.send_initial.then_some(since),
        bookmarks: options.bookmarks.then_some(now + BOOKMARK_INTERVAL),
        ends: now + options.duration,
        first: true,
        done: false,
        server_ends: call.server.sessions.ending(),
        _permit: permit,
    };
    Ok(lines(Body::from_stream(events.stream())))
}

fn lines(body: Body) -> Response {
    answer::with_type(StatusCode::OK, "application/json", body)
}

/// What a client says of the watch it wants.
struct Options {
    since: Option<u64>,
    bookmarks: bool,
    send_initial: bool,
    duration: Duration,
}

impl Options {
    fn of(query: &Query) -> Result<Self, ApiError> {
        let matching = query.filled("resourceVersionMatch");
        let bookmarks = query.flag("allowWatchBookmarks");
        let send_initial = query.filled("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let problem = match (send_initial, matching) {
            (None, Some(_)) => Some("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
            (Some(_), None) => Some("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
            _ => None,
        };
        if let Some(detail) = problem {
            let field = if matching.is_some() { "resourceVersionMatch" } else { "sendInitialEvents" };
            return Err(invalid(field, ErrorKind::Forbidden, None, detail));
        }
        if let Some(other) = matching.filter(|matching| *matching != "NotOlderThan") {
            let detail = r#"supported values: "NotOlderThan""#;
            return Err(invalid("resourceVersionMatch", ErrorKind::Unsupported, Some(other.into()), detail));
        }
        let send_initial = send_initial == Some(true);
        if send_initial && !bookmarks {
            let detail = "sendInitialEvents requires allowWatchBookmarks";
            return Err(invalid("sendInitialEvents", ErrorKind::Forbidden, None, detail));
        }
        let seconds = query.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
        let seconds = match seconds.filter(|seconds| *seconds > 0) {
            Some(seconds) => seconds.min(MOST_SECONDS),
            // Not all at once, so that those who watch do not come back all at once.
            None => LEAST_SECONDS + u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * LEAST_SECONDS / 256,
        };
        let since = revision(query.filled("resourceVersion"))?;
        Ok(Self { since, bookmarks, send_initial, duration: Duration::from_secs(seconds) })
    }
}

fn invalid(field: &str, kind: ErrorKind, value: Option<BadValue>, detail: &str) -> ApiError {
    let error = FieldError { path: field.to_owned(), kind, value, detail: detail.to_owned() };
    ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error])
}

/// What is there already, if that is to be told, and the revision to go on from.
async fn begin(
    call: &Call<'_>,
    options: &Options,
    selection: &Selection,
) -> Result<(Vec<Arc<StoredObject>>, u64), ApiError> {
    let server = call.server;
    let replays = options.send_initial || options.since.unwrap_or_default() == 0;
    if let Some(since) = options.since.filter(|since| *since > 0) {
        server.not_older_than(since)?;
        if !replays {
            return Ok((Vec::new(), since));
        }
    }
    let (mut objects, revision) =
        server.store.list_objects(call.info.resource.stored(), call.info.namespace.as_deref());
    server.durable(revision).await?;
    objects.retain(|object| selection.matches(object));
    Ok((objects, revision))
}

fn too_old(Expired { since, oldest }: Expired) -> ApiError {
    ApiError::expired(format!("too old resource version: {since} ({oldest})"))
}

fn error_line(error: &ApiError) -> Bytes {
    format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", error.status()).into()
}

/// The events of one watch.
struct Events {
    store: Store,
    presenter: Presenter,
    clock: Clock,
    selection: Selection,
    changes: Watch,
    /// What is there already.
    initial: VecDeque<Arc<StoredObject>>,
    /// The revision at which that was all, if the client wants to know.
    end_of_initial: Option<u64>,
    /// When the next bookmark is due.
    bookmarks: Option<Instant>,
    /// When the watch ends.
    ends: Instant,
    /// Whether nothing was told yet.
    first: bool,
    done: bool,
    server_ends: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Events {
    fn stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        futures::stream::unfold(self, |mut events| async move {
            let piece = events.piece().await?;
            Some((Ok(piece), events))
        })
    }

    /// Some lines; `None` if the watch has ended.
    async fn piece(&mut self) -> Option<Bytes> {
        let mut lines = BytesMut::new();
        while lines.is_empty() && !self.done {
            self.tell_initial(&mut lines);
            if lines.is_empty() {
                self.tell_change(&mut lines).await;
            }
        }
        (!lines.is_empty()).then(|| lines.freeze())
    }

    fn tell_initial(&mut self, lines: &mut BytesMut) {
        while lines.len() < PIECE {
            let Some(object) = self.initial.pop_front() else { break };
            self.tell(lines, "ADDED", &object);
        }
        if self.initial.is_empty()
            && let Some(revision) = self.end_of_initial.take()
        {
            self.bookmark(lines, revision, true);
        }
    }

    /// Waits for something to tell, and tells it with all that there is by then.
    async fn tell_change(&mut self, lines: &mut BytesMut) {
        let bookmark = self.bookmarks.unwrap_or(self.ends).min(self.ends);
        let change = tokio::select! {
            change = self.changes.next() => Some(change),
            () = tokio::time::sleep_until(bookmark) => None,
            () = self.server_ends.cancelled() => {
                self.done = true;
                return;
            }
        };
        match change {
            None if Instant::now() >= self.ends => self.done = true,
            None => self.tell_bookmark(lines).await,
            Some(change) => {
                let mut change = change.map(Some);
                loop {
                    match change {
                        Ok(Some(event)) => self.tell_event(lines, &event),
                        Ok(None) => break,
                        Err(expired) => {
                            lines.put_slice(&error_line(&too_old(expired)));
                            self.done = true;
                            break;
                        }
                    }
                    if lines.len() >= PIECE {
                        break;
                    }
                    change = self.changes.try_next();
                }
            }
        }
    }

    /// An object that no longer is selected is gone for who watches, and one that now is, is new.
    fn tell_event(&mut self, lines: &mut BytesMut, event: &WatchEvent) {
        let was = match event.kind {
            WatchKind::Added => false,
            WatchKind::Modified | WatchKind::Deleted => {
                event.previous.as_ref().is_none_or(|previous| self.selection.matches(previous))
            }
        };
        let is = event.kind != WatchKind::Deleted && self.selection.matches(&event.object);
        match (was, is) {
            (false, true) => self.tell(lines, "ADDED", &event.object),
            (true, true) => self.tell(lines, "MODIFIED", &event.object),
            (true, false) => self.tell(lines, "DELETED", &event.object),
            (false, false) => {}
        }
    }

    fn tell(&mut self, lines: &mut BytesMut, kind: &str, object: &StoredObject) {
        // A watch may go on for hours, and ages with it.
        let shown = self.presenter.at(self.clock.now()).watched(object, std::mem::take(&mut self.first));
        lines.put_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        lines.put_slice(&shown);
        lines.put_slice(b"}\n");
    }

    /// Tells how far the client has come, though nothing happened that it cares about.
    async fn tell_bookmark(&mut self, lines: &mut BytesMut) {
        self.bookmarks = self.bookmarks.map(|_| Instant::now() + BOOKMARK_INTERVAL);
        // Waiting makes sure that what happened so far is seen by the watch.
        if self.store.durable(self.store.revision()).await.is_err() {
            self.done = true;
            return;
        }
        match self.changes.revision() {
            Ok(revision) => self.bookmark(lines, revision, false),
            Err(expired) => {
                lines.put_slice(&error_line(&too_old(expired)));
                self.done = true;
            }
        }
    }

    fn bookmark(&mut self, lines: &mut BytesMut, revision: u64, ends_initial_events: bool) {
        lines.put_slice(b"{\"type\":\"BOOKMARK\",\"object\":");
        lines.put_slice(&self.presenter.bookmark(revision, ends_initial_events));
        lines.put_slice(b"}\n");
    }
}
