//! Watching: the lines of a watch request, and waiting until an object is as it should be or gone.

use std::time::Duration;

use futures::io::AsyncBufReadExt;
use futures::{Stream, TryStreamExt};
use http::Request;
use serde_json::Value;

use super::connection::{AS_JSON, Connection, is_not_found};
use super::kinds::{Kind, query};
use crate::cli::print::object::text;

/// How long to wait before a watch that was cut off is begun again.
const PAUSE: Duration = Duration::from_millis(200);

/// One thing that happened.
#[derive(Debug)]
pub(super) struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `ERROR`.
    pub(super) kind: String,
    pub(super) object: Value,
}

/// The events of a watch request, until the server ends it.
pub(super) async fn events(
    connection: &Connection,
    path: &str,
    accept: &str,
) -> anyhow::Result<impl Stream<Item = std::io::Result<Event>> + Unpin + use<>> {
    let request = Request::get(path).header(http::header::ACCEPT, accept).body(Vec::new())?;
    let lines = connection.client.request_stream(request).await?.lines();
    Ok(lines.try_filter_map(|line| std::future::ready(event(&line))))
}

fn event(line: &str) -> std::io::Result<Option<Event>> {
    if line.is_empty() {
        return Ok(None);
    }
    let mut value: Value = serde_json::from_str(line).map_err(std::io::Error::other)?;
    let kind = text(&value, &["type"]).to_owned();
    let object = value.get_mut("object").map(Value::take).unwrap_or_default();
    Ok((kind != "BOOKMARK").then_some(Event { kind, object }))
}

/// Waits until `done` says so of the object, `None` if it does not exist. The caller limits the time.
pub(super) async fn until<T>(
    connection: &Connection,
    kind: &Kind,
    namespace: &str,
    name: &str,
    done: impl Fn(Option<&Value>) -> Option<T>,
) -> anyhow::Result<T> {
    let path = kind.object_path(namespace, name);
    loop {
        let request = Request::get(&path).header(http::header::ACCEPT, AS_JSON).body(Vec::new())?;
        let found: Option<Value> = match connection.text(request).await {
            Ok(text) => Some(serde_json::from_str(&text)?),
            Err(error) if is_not_found(&error) => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(result) = done(found.as_ref()) {
            return Ok(result);
        }
        let mut parameters = vec![("watch", "1".to_owned()), ("fieldSelector", format!("metadata.name={name}"))];
        if let Some(found) = &found {
            parameters.push(("resourceVersion", text(found, &["metadata", "resourceVersion"]).to_owned()));
        }
        let path = format!("{}{}", kind.path(Some(namespace)), query(&parameters));
        let mut events = events(connection, &path, AS_JSON).await?;
        while let Ok(Some(event)) = events.try_next().await {
            let object = match event.kind.as_str() {
                "ADDED" | "MODIFIED" => Some(&event.object),
                "DELETED" => None,
                _ => break,
            };
            if let Some(result) = done(object) {
                return Ok(result);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
