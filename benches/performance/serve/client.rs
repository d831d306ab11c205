//! A connection to a server's socket that costs as little as can be: answers are counted, not understood.

use std::path::Path;

use anyhow::ensure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// A connection.
pub(super) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(super) async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(UnixStream::connect(socket).await?)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Sends a request, and begins to take its answer, which must be a good one.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<Response<Incoming>> {
        let answer = self.send_any(method, path, headers, body).await?;
        ensure!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        Ok(answer)
    }

    /// The same, whatever the answer.
    pub(super) async fn send_any(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> anyhow::Result<Response<Incoming>> {
        self.0.ready().await?;
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(path).header("host", "husk");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(self.0.send_request(request.body(Full::new(body))?).await?)
    }

    /// Reads something to its end, and gives the bytes of it.
    pub(super) async fn get(&mut self, path: &str, accept: &str) -> anyhow::Result<usize> {
        taken(self.send("GET", path, &[("accept", accept)], &Value::Null).await?).await
    }

    /// Creates or replaces something.
    pub(super) async fn write(&mut self, method: &str, path: &str, object: &Value) -> anyhow::Result<()> {
        taken(self.send(method, path, &[], object).await?).await.map(drop)
    }
}

/// Takes an answer to its end, and gives the bytes of it.
pub(super) async fn taken(answer: Response<Incoming>) -> anyhow::Result<usize> {
    let (mut bytes, mut body) = (0, answer.into_body());
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}
