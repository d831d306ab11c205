//! A client of the server's socket, as plain as can be: it connects when it must, and says when an answer was cut off.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// How long to wait before looking again whether there is a server.
const PAUSE: Duration = Duration::from_millis(2);

/// The server was gone before the answer was whole: what was asked for may be done or not.
#[derive(Debug)]
pub(super) struct Cut;

/// A client.
pub(super) struct Client {
    socket: PathBuf,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// The answer to a watch, line by line.
pub(super) struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Client {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, connection: None }
    }

    /// Sends a request: code and body of the answer.
    pub(super) async fn send(&mut self, method: &str, path: &str, body: &Value) -> Result<(u16, Value), Cut> {
        let answer = self.begin(method, path, body).await?;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(|_| Cut)?.to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {path} {body:?}"));
        Ok((code, body))
    }

    /// Reads something, from whichever server answers.
    pub(super) async fn read(&mut self, path: &str) -> Option<Value> {
        loop {
            match self.send("GET", path, &Value::Null).await {
                Ok((200, body)) => return Some(body),
                Ok((404, _)) => return None,
                Ok(other) => panic!("{path}: {other:?}"),
                Err(Cut) => {}
            }
        }
    }

    /// Begins a watch.
    pub(super) async fn watch(&mut self, path: &str) -> Result<Lines, Cut> {
        let answer = self.begin("GET", path, &Value::Null).await?;
        assert_eq!(answer.status(), 200, "{path}");
        Ok(Lines { body: answer.into_body(), rest: Vec::new() })
    }

    async fn begin(&mut self, method: &str, path: &str, body: &Value) -> Result<Response<Incoming>, Cut> {
        let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("host", "husk").header("content-type", media);
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let answer = self.connected().await.send_request(request.body(Full::new(body)).unwrap()).await;
        answer.map_err(|_| {
            self.connection = None;
            Cut
        })
    }

    async fn connected(&mut self) -> &mut SendRequest<Full<Bytes>> {
        if let Some(connection) = &mut self.connection
            && connection.ready().await.is_err()
        {
            self.connection = None;
        }
        if self.connection.is_none() {
            self.connection = Some(self.connect().await);
        }
        self.connection.as_mut().unwrap()
    }

    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        loop {
            if let Ok(stream) = UnixStream::connect(&self.socket).await {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                return sender;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Lines {
    /// The next line.
    pub(super) async fn next(&mut self) -> Result<Value, Cut> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await.ok_or(Cut)?.map_err(|_| Cut)?;
            self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}

/// The version of an object or of a list.
#[track_caller]
pub(super) fn version(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.unwrap_or_else(|| panic!("{object}")).parse().unwrap()
}

/// The name of an object.
pub(super) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}
