//! One request and its response, on a connection that serves for nothing else.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Fuse};
use http::header::{CONTENT_LENGTH, LOCATION};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::seen::FirstBytes;
use super::super::tls;
use super::is_redirect;
use super::location::Location;
use crate::net::PodNetwork;

/// How HTTP begins where TLS was expected.
const HTTP: &[u8] = b"HTTP/";

/// Why there is no response, in the words of Go's HTTP client.
#[derive(Debug)]
pub(super) enum Fault {
    /// There was not enough time.
    Deadline,
    /// The server answers a TLS handshake in plain HTTP.
    PlainHttp,
    /// Anything else.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deadline => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            Self::PlainHttp => "http: server gave HTTP response to HTTPS client",
            Self::Other(text) => text,
        })
    }
}

/// A response whose body has not been read yet. Dropping it closes the connection.
pub(super) struct Answer {
    response: Response<Incoming>,
    /// What moves bytes while somebody waits for them.
    connection: Pin<Box<Fuse<BoxFuture<'static, ()>>>>,
    ends: Ends,
}

/// Both ends of a connection, ours first.
#[derive(Debug, Clone, Copy)]
struct Ends(SocketAddr, SocketAddr);

/// Connects, asks for what is at `location`, and waits for the headers of the response.
pub(super) async fn exchange(
    location: &Location,
    headers: HeaderMap,
    network: &Arc<PodNetwork>,
) -> Result<Answer, Fault> {
    let stream = location.address().connect(network).await.map_err(Fault::Other)?;
    let ends = Ends(stream.local, stream.peer);
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from(location.path().clone());
    *request.headers_mut() = headers;
    let first = FirstBytes::default();
    let stream = first.of(stream);
    if !location.is_https() {
        return send(stream, request, ends, &first).await;
    }
    match tls::secure(&location.hostname(), stream).await {
        Ok(stream) => send(stream, request, ends, &FirstBytes::default()).await,
        Err(error) if tls::is_no_tls(&error) && first.get().starts_with(HTTP) => Err(Fault::PlainHttp),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Fault::Other("EOF".to_owned())),
        Err(error) => Err(Fault::Other(tls::describe(&error).unwrap_or_else(|| ends.explain(&error)))),
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>, ends: Ends, first: &FirstBytes) -> Result<Answer, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let other = |error: hyper::Error| Fault::Other(ends.explain_hyper(&error, first));
    let mut connecting = http1::Builder::new();
    // Go sends names in this form, and servers exist that rely on it.
    connecting.title_case_headers(true);
    let (mut sender, connection) = connecting.handshake(TokioIo::new(stream)).await.map_err(other)?;
    // Whatever the connection ends with, whoever waits for bytes is told as well.
    let mut connection = Box::pin(connection.map(drop).boxed().fuse());
    let response = drive(&mut connection, sender.send_request(request)).await.map_err(other)?;
    Ok(Answer { response, connection, ends })
}

/// Waits for `work` while the connection moves.
async fn drive<T>(connection: &mut Pin<Box<Fuse<BoxFuture<'static, ()>>>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        () = connection => work.await,
        done = &mut work => done,
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Where the response says to look instead.
    pub(super) fn redirect(&self) -> Option<String> {
        let location = self.response.headers().get(LOCATION).filter(|_| is_redirect(self.status()))?;
        Some(String::from_utf8_lossy(location.as_bytes()).into_owned()).filter(|location| !location.is_empty())
    }

    /// The length that the server announced.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }

    /// Reads the body as far as `limit`.
    ///
    /// # Errors
    /// When it breaks off before.
    pub(super) async fn body(&mut self, limit: usize) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while body.len() < limit {
            let frame = match drive(&mut self.connection, self.response.body_mut().frame()).await {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(self.ends.explain_hyper(&error, &FirstBytes::default())),
            };
            if let Some(bytes) = frame.data_ref() {
                body.extend_from_slice(&bytes[..bytes.len().min(limit - body.len())]);
            }
        }
        Ok(body)
    }
}

impl Ends {
    /// An error of the HTTP client as Go's has it.
    fn explain_hyper(self, error: &hyper::Error, first: &FirstBytes) -> String {
        if let Some(io) = error.source().and_then(|source| source.downcast_ref()) {
            self.explain(io)
        } else if error.is_parse() {
            let first = first.get();
            let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
            let line = line.escape_ascii();
            format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response \"{line}\"")
        } else if error.is_incomplete_message() || error.is_canceled() {
            "EOF".to_owned()
        } else {
            error.to_string()
        }
    }

    /// An error of the connection as Go's `net.OpError` has it.
    fn explain(self, error: &io::Error) -> String {
        let Self(ours, theirs) = self;
        match error.kind() {
            io::ErrorKind::ConnectionReset => format!("read tcp {ours}->{theirs}: read: connection reset by peer"),
            io::ErrorKind::BrokenPipe => format!("write tcp {ours}->{theirs}: write: broken pipe"),
            io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
            _ => error.to_string(),
        }
    }
}
