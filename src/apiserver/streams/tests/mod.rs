//! Streams as clients use them: HTTP/1.1 over a connection in memory, upgraded where they ask for it, to a node whose
//! programs and servers are told in advance.

mod logs;
mod node;
mod port_forward;
mod proxy;
mod remote_command;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt as _;

pub(in crate::apiserver) use self::node::FakeNode;
use super::spdy::client::{self, ClientHeaders};
use crate::apiserver::ApiServer;
use crate::apiserver::identity::Identity;
use crate::apiserver::tests::Cluster;
use crate::store::Store;

/// Bytes that a connection holds.
const CONNECTION: usize = 64 * 1024;

/// An API server with pods, and a way to connect to it.
struct Server {
    api: ApiServer,
    store: Store,
    node: Arc<FakeNode>,
}

/// A pod with a container `app` that runs; with the fields of its spec and status.
fn pod(name: &str, spec: Value, status: Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": "u"},
        "spec": {"nodeName": "node", "containers": [{"name": "app", "image": "x"}]},
        "status": {"phase": "Running", "podIP": "10.88.0.2", "containerStatuses": [{
            "name": "app", "image": "x", "imageID": "", "ready": true, "restartCount": 1, "state": {"running": {}},
            "lastState": {"terminated": {"exitCode": 1, "containerID": "wasm://0"}},
        }]},
    });
    for (field, changes) in [("spec", spec), ("status", status)] {
        for (key, value) in changes.as_object().cloned().unwrap_or_default() {
            pod[field][key] = value;
        }
    }
    serde_json::from_value(pod).unwrap()
}

impl Server {
    /// A server with a pod `web`, one with two containers, and one that no node has.
    async fn new() -> Self {
        let node = Arc::new(FakeNode::default());
        let cluster = Cluster::with_node(Arc::clone(&node) as Arc<_>).await;
        let store = cluster.store;
        store.create(pod("web", json!({}), json!({}))).unwrap();
        store.create(pod("two", json!({"containers": [{"name": "a"}, {"name": "b"}]}), json!({}))).unwrap();
        store.create(pod("new", json!({"nodeName": null}), json!({}))).unwrap();
        let api = cluster.server;
        Self { api, store, node }
    }

    /// A new connection to it, as that of an administrator.
    async fn connect(&self) -> hyper::client::conn::http1::SendRequest<Body> {
        let (client, server) = tokio::io::duplex(CONNECTION);
        let service = self.api.service().map_request(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(Identity::admin());
            request.map(Body::new)
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
        tokio::spawn(serving.with_upgrades());
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(driver.with_upgrades());
        sender
    }

    async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        self.connect().await.send_request(request).await.unwrap()
    }

    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::builder().method(method).uri(path).header("host", "husk.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path, &[]).await).await
    }

    /// Opens a WebSocket that offers these subprotocols; gives the one that was taken.
    async fn websocket(&self, path: &str, offered: &str) -> Result<(Socket, String), Answer> {
        let mut headers = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        if !offered.is_empty() {
            headers.push(("sec-websocket-protocol", offered));
        }
        let response = self.request("GET", path, &headers).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Answer::of(response).await);
        }
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let taken = response.headers().get("sec-websocket-protocol").map(|name| name.to_str().unwrap().to_owned());
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
        Ok((Socket(socket), taken.unwrap_or_default()))
    }

    /// Opens a SPDY connection that offers these subprotocols.
    async fn spdy(&self, path: &str, offered: &[&str]) -> Result<(Spdy<TokioIo<Upgraded>>, String), Answer> {
        let mut headers = vec![("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        headers.extend(offered.iter().map(|protocol| ("x-stream-protocol-version", *protocol)));
        let response = self.request("POST", path, &headers).await;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Answer::of(response).await);
        }
        assert_eq!(response.headers()["upgrade"], "SPDY/3.1");
        let taken = response.headers().get("x-stream-protocol-version").map(|name| name.to_str().unwrap().to_owned());
        let upgraded = hyper::upgrade::on(response).await.unwrap();
        Ok((Spdy::new(TokioIo::new(upgraded)), taken.unwrap_or_default()))
    }
}

/// An answer that is complete.
#[derive(Debug)]
struct Answer {
    code: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { code: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Code, reason and message of a `Status`.
    #[track_caller]
    fn status(&self) -> (u16, String, String) {
        let status: Value = serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text));
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        (self.code, text("reason"), text("message"))
    }
}

/// A WebSocket of a client's.
struct Socket(WebSocketStream<TokioIo<Upgraded>>);

impl Socket {
    async fn send(&mut self, channel: u8, bytes: &[u8]) {
        let message = [&[channel], bytes].concat();
        self.0.send(Message::binary(message)).await.unwrap();
    }

    /// The next message with something in it; `None` for the close that ends well, which must come.
    async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            match self.0.next().await.expect("a close").expect("a close") {
                Message::Binary(mut bytes) if bytes.len() > 1 => return Some((bytes.split_to(1)[0], bytes)),
                Message::Close(frame) => {
                    assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1000));
                    return None;
                }
                _ => {}
            }
        }
    }

    /// What comes on each channel until the close.
    async fn rest(&mut self) -> std::collections::BTreeMap<u8, String> {
        let mut channels = std::collections::BTreeMap::<u8, String>::new();
        while let Some((channel, bytes)) = self.next().await {
            channels.entry(channel).or_default().push_str(std::str::from_utf8(&bytes).unwrap());
        }
        channels
    }
}

/// A SPDY connection of a client's.
struct Spdy<Io> {
    io: Io,
    headers: ClientHeaders,
    /// What was received and not asked for yet, by stream: the bytes, and whether they are complete.
    received: std::collections::BTreeMap<u32, (Vec<u8>, bool)>,
    replies: Vec<u32>,
    resets: Vec<u32>,
}

impl<Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Spdy<Io> {
    fn new(io: Io) -> Self {
        let received = std::collections::BTreeMap::new();
        Self { io, headers: ClientHeaders::new(), received, replies: Vec::new(), resets: Vec::new() }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Opens a stream, and waits until it is accepted.
    async fn open(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let frame = client::open(stream, false, &headers.to_vec().into(), &mut self.headers);
        self.write(&frame).await;
        while !self.replies.contains(&stream) {
            assert!(self.receive().await, "stream {stream} is never accepted");
        }
    }

    async fn send(&mut self, stream: u32, bytes: &[u8], fin: bool) {
        self.write(&client::data(stream, bytes, fin)).await;
    }

    /// Takes a frame in; `false` at the end of the connection.
    async fn receive(&mut self) -> bool {
        let mut prefix = [0; 8];
        if self.io.read_exact(&mut prefix).await.is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, prefix[5], prefix[6], prefix[7]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload).await.unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(*bytes.first_chunk().unwrap());
        match (prefix[0] & 0x80, prefix[3]) {
            (0, _) => {
                let (bytes, complete) = self.received.entry(number(&prefix)).or_default();
                assert!(!*complete, "data after the end");
                bytes.extend(payload);
                *complete = prefix[4] & 1 == 1;
            }
            (_, 2) => self.replies.push(number(&payload)),
            (_, 3) => self.resets.push(number(&payload)),
            _ => {}
        }
        true
    }

    /// Everything that comes on a stream to its end.
    async fn all(&mut self, stream: u32) -> String {
        loop {
            if let Some((bytes, true)) = self.received.get(&stream) {
                return String::from_utf8(bytes.clone()).unwrap();
            }
            assert!(self.receive().await, "stream {stream} has no end: {:?}", self.received.get(&stream));
        }
    }

    /// Waits until something has come on a stream.
    async fn until(&mut self, stream: u32, expected: &str) {
        while self.received.get(&stream).is_none_or(|(bytes, _)| !bytes.ends_with(expected.as_bytes())) {
            assert!(self.receive().await, "{expected:?} never comes: {:?}", self.received.get(&stream));
        }
    }
}

/// Both ends of a connection in memory.
fn connection() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(CONNECTION)
}
