//! `log`: what a container has printed, as the body of the answer.

use axum::body::Body;
use axum::response::Response;
use futures::StreamExt as _;
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;

use super::container;
use crate::api::{BadValue, ErrorKind, FieldError};
use crate::apiserver::node_access::{LogOptions, LogStream, NodeError};
use crate::apiserver::{ApiError, Inner, Query, RequestInfo, answer};

/// Answers with a log.
pub(super) async fn answer(server: &Inner, info: &RequestInfo, pod: &Pod, query: &Query) -> Result<Response, ApiError> {
    let mut options = options(info.name(), query)?;
    options.container = container::choose(pod, query.get("container").unwrap_or_default())?;
    let Ok(on_node) = super::on_node(pod) else {
        // A pod that no node has has no log either (apiserver `LocationStreamer`).
        let mut nothing = Response::new(Body::empty());
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    };
    options.instance = container::instance(pod, &options.container, query.flag("previous"))?;
    let permit = server.sessions.permit()?;
    let end = server.sessions.ending();
    let log = server.node_access.logs(&on_node, options).await.map_err(|error| not_read(info, &error))?;
    let pieces = log.take_until(end.cancelled_owned()).map(move |piece| {
        let _held = &permit;
        piece
    });
    Ok(answer::with_type(StatusCode::OK, "text/plain", Body::from_stream(pieces)))
}

/// What a log that cannot be read means (apiserver `GenericHttpResponseChecker`).
fn not_read(info: &RequestInfo, error: &NodeError) -> ApiError {
    match error {
        NodeError::NoPod => ApiError::bad_request(format!("pod {:?} cannot be found - no logs available", info.name())),
        NodeError::NotRunning(_) | NodeError::Exec(_) | NodeError::Connect(_) => {
            ApiError::bad_request(error.to_string())
        }
        NodeError::Log(_) => ApiError::internal(error),
    }
}

/// Reads and checks the options (core validation `ValidatePodLogOptions`).
fn options(pod: &str, query: &Query) -> Result<LogOptions, ApiError> {
    let (tail, limit, since) = (query.number("tailLines")?, query.number("limitBytes")?, query.number("sinceSeconds")?);
    let since_time = match query.filled("sinceTime") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_not_a_time| {
            ApiError::bad_request(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse it"))
        })?),
    };
    let mut errors = Vec::new();
    let mut invalid = |path: &str, value: i64, detail: &str| {
        let value = Some(BadValue::Bare(value.to_string()));
        errors.push(FieldError { path: path.to_owned(), kind: ErrorKind::Invalid, value, detail: detail.to_owned() });
    };
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        invalid("tailLines", tail, "must be greater than or equal to 0");
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        invalid("limitBytes", limit, "must be greater than 0");
    }
    if let Some(since) = since.filter(|since| since_time.is_none() && *since < 1) {
        invalid("sinceSeconds", since, "must be greater than 0");
    }
    if since.is_some() && since_time.is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned();
        errors.push(FieldError { path: String::new(), kind: ErrorKind::Forbidden, value: None, detail });
    }
    let stream = match query.filled("stream") {
        None | Some("All") => None,
        Some("Stdout") => Some(LogStream::Stdout),
        Some("Stderr") => Some(LogStream::Stderr),
        Some(other) => {
            let (kind, value) = (ErrorKind::Unsupported, Some(BadValue::Text(other.to_owned())));
            let detail = r#"supported values: "All", "Stderr", "Stdout""#.to_owned();
            errors.push(FieldError { path: "stream".to_owned(), kind, value, detail });
            None
        }
    };
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", pod, &errors));
    }
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(LogOptions {
        container: String::new(),
        instance: 0,
        follow: query.flag("follow"),
        tail_lines: unsigned(tail),
        since_seconds: since,
        since_time,
        timestamps: query.flag("timestamps"),
        limit_bytes: unsigned(limit),
        stream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let read = |query: &str| options("p", &Query::parse(query));
        assert_eq!(read("").unwrap(), LogOptions::default());
        let all =
            read("follow=true&tailLines=0&sinceTime=2027-01-15T08:00:00Z&timestamps=true&limitBytes=1&stream=Stderr");
        let expected = LogOptions {
            follow: true,
            tail_lines: Some(0),
            since_time: Some("2027-01-15T08:00:00Z".parse().unwrap()),
            timestamps: true,
            limit_bytes: Some(1),
            stream: Some(LogStream::Stderr),
            ..LogOptions::default()
        };
        assert_eq!(all.unwrap(), expected);
        for (query, expected) in [
            ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
            (
                "sinceSeconds=5&sinceTime=2027-01-15T08:00:00Z",
                "<nil>: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
            ("stream=x", r#"stream: Unsupported value: "x": supported values: "All", "Stderr", "Stdout""#),
        ] {
            let error = read(query).unwrap_err();
            assert_eq!(
                (error.code.as_u16(), error.message),
                (422, format!("PodLogOptions \"p\" is invalid: {expected}"))
            );
        }
        for query in ["tailLines=x", "sinceTime=yesterday"] {
            assert_eq!(read(query).unwrap_err().code.as_u16(), 400, "{query}");
        }
    }
}
