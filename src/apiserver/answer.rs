//! Bodies of answers. A list is the concatenation of what the store keeps: its bytes are put together as the client takes
//! them, so that a list of ten thousand pods costs neither their encoding nor a copy for every client that is slow.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

/// About how many bytes of a list are put together at once.
const PIECE: usize = 256 * 1024;
/// The most warnings of one answer.
const MAX_WARNINGS: usize = 32;
/// The most characters of one warning.
const MAX_WARNING: usize = 512;

/// An answer with JSON that is ready.
pub(super) fn bytes(code: StatusCode, json: Bytes) -> Response {
    with_type(code, "application/json", Body::from(json))
}

/// An answer with a value as JSON.
pub(super) fn json<T: Serialize + ?Sized>(code: StatusCode, value: &T) -> Response {
    // Values that come from JSON, or are made for it, can always be written.
    bytes(code, serde_json::to_vec(value).unwrap_or_default().into())
}

/// An answer with a body of some type.
pub(super) fn with_type(code: StatusCode, media: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Text that some clients read and others only look at the status of.
pub(super) fn text(code: StatusCode, text: impl Into<Body>) -> Response {
    with_type(code, "text/plain; charset=utf-8", text.into())
}

/// A list of items that are ready, between its `head` and `tail`.
pub(super) fn list(head: String, items: Vec<Bytes>, tail: &'static str) -> Response {
    let commas = items.len().saturating_sub(1);
    let size = head.len() + items.iter().map(Bytes::len).sum::<usize>() + commas + tail.len();
    let body = ListBody { head: Some(head), items: items.into_iter(), first: true, tail, left: size as u64 };
    with_type(StatusCode::OK, "application/json", Body::new(body))
}

struct ListBody {
    head: Option<String>,
    items: std::vec::IntoIter<Bytes>,
    first: bool,
    tail: &'static str,
    left: u64,
}

impl ListBody {
    fn piece(&mut self) -> Bytes {
        let mut piece = BytesMut::with_capacity(usize::try_from(self.left).unwrap_or(PIECE).min(PIECE + PIECE / 2));
        if let Some(head) = self.head.take() {
            piece.put_slice(head.as_bytes());
        }
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.put_slice(self.tail.as_bytes());
                break;
            };
            if !std::mem::take(&mut self.first) {
                piece.put_u8(b',');
            }
            piece.put_slice(&item);
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        piece.freeze()
    }
}

impl hyper::body::Body for ListBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready((self.left > 0).then(|| Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Adds `Warning: 299 - "…"` for each warning (apimachinery `net.NewWarningHeader`).
pub(super) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    let mut seen = std::collections::BTreeSet::new();
    for warning in warnings.iter().filter(|warning| seen.insert(*warning)).take(MAX_WARNINGS) {
        let text: String = warning.chars().filter(|c| !c.is_control()).take(MAX_WARNING).collect();
        let text = text.replace('\\', r"\\").replace('"', r#"\""#);
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{text}\"").as_bytes()) {
            headers.append(http::header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_list_of_any_size_comes_in_pieces_of_known_length() {
        for count in [0, 1, 2, 5000] {
            let items = vec![Bytes::from_static(&[b'1'; 200]); count];
            let body = list("[".to_owned(), items, "]").into_body();
            let size = hyper::body::Body::size_hint(&body).exact().unwrap();
            let whole = body.collect().await.unwrap().to_bytes();
            assert_eq!(whole.len() as u64, size);
            let expected = format!("[{}]", vec!["1".repeat(200); count].join(","));
            assert!(whole == expected.as_bytes(), "{count}");
        }
    }

    #[test]
    fn warnings_are_quoted_and_given_once() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, &["unknown field \"spec.foo\"".to_owned(), "a\nb".to_owned(), "a\nb".to_owned()]);
        let values: Vec<_> = headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values, [r#"299 - "unknown field \"spec.foo\"""#, r#"299 - "ab""#]);
    }
}
