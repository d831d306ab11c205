//! `port-forward`: connections into a pod, as pairs of a data and an error stream. Over SPDY a client opens a pair for
//! each connection as it comes; over a WebSocket without SPDY in it there is one for each port of the request.

mod spdy;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

pub(super) use self::spdy::serve as serve_spdy;
use self::websocket::MAX_PORTS;
pub(super) use self::websocket::serve as serve_websocket;
use super::spdy::Gone;
use crate::apiserver::Query;
use crate::apiserver::node_access::{Connection, NodeAccess, PodRef, Via};
use crate::base::pipe::PipeReader;

/// What is spoken over SPDY; without a name, the same.
pub(super) const SPDY_PROTOCOLS: &[&str] = &["portforward.k8s.io", ""];
/// SPDY within the messages of a WebSocket.
pub(super) const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
/// What is spoken over WebSockets; without a name, as `v4.channel.k8s.io`.
pub(super) const WEBSOCKET_PROTOCOLS: &[&str] = &[TUNNEL_PROTOCOL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""];

/// Bytes moved at once.
const CHUNK: usize = 32 * 1024;
/// How long a client may be silent on a connection of which the pod has ended its side (containerd `portForward`).
const LINGER: Duration = Duration::from_millis(500);

/// Whose ports are forwarded.
pub(super) struct Target {
    pub(super) node: Arc<dyn NodeAccess>,
    pub(super) pod: PodRef,
}

impl Target {
    /// Connects; the error is what the client is told (kubelet `portForward`, containerd).
    async fn connect(&self, port: u16) -> Result<Connection, String> {
        self.node.connect(&self.pod, port, Via::Loopback).await.map_err(|error| {
            let PodRef { namespace, name, uid } = &self.pod;
            format!(
                "error forwarding port {port} to pod {name}, uid {uid}: failed to connect to localhost:{port} inside \
                 namespace {namespace:?}: dial tcp4 127.0.0.1:{port}: {error}"
            )
        })
    }
}

/// The client's side of one connection.
trait Peer: Sync {
    /// Whether each side can end what it sends and go on to receive. Without that, the end of one is that of both.
    const HALF_CLOSES: bool;

    async fn write(&self, bytes: Bytes) -> Result<(), Gone>;
    /// The pod sends nothing more.
    async fn finish(&self) -> Result<(), Gone>;
}

/// Moves bytes both ways, until both sides have ended what they send, the client has given up, or the pod has ended and
/// the client says nothing more: clients of old wait for the end of both streams before they end theirs.
async fn forward<P: Peer>(from: &PipeReader, to: &P, connection: Connection) -> Result<(), Gone> {
    let (mut reader, mut writer) = tokio::io::split(connection);
    let pod_has_ended = CancellationToken::new();
    let outwards = async {
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            // A pod that breaks the connection off has nothing more to say either.
            if !reader.read_buf(&mut chunk).await.is_ok_and(|read| read > 0) {
                to.finish().await?;
                pod_has_ended.cancel();
                return if P::HALF_CLOSES { Ok(()) } else { Err(Gone) };
            }
            // What a client has sent before it went is still for the pod.
            if to.write(chunk.freeze()).await.is_err() {
                return Ok(());
            }
        }
    };
    let inwards = async {
        loop {
            let read = tokio::select! {
                biased;
                read = from.read(CHUNK) => read,
                () = lingered(&pod_has_ended) => return Ok(()),
            };
            match read {
                Ok(Some(bytes)) if writer.write_all(&bytes).await.is_ok() => {}
                // The pod does not take any more; that must not hold up the client's other connections.
                Ok(Some(_)) => {
                    from.discard();
                    return Ok(());
                }
                Ok(None) => {
                    let _ = writer.shutdown().await;
                    return Ok(());
                }
                Err(_reset) => return Err(Gone),
            }
        }
    };
    futures::try_join!(outwards, inwards).map(|_both| ())
}

async fn lingered(pod_has_ended: &CancellationToken) {
    pod_has_ended.cancelled().await;
    tokio::time::sleep(LINGER).await;
}

/// The ports that a request over a WebSocket names (kubelet `NewV4Options`).
///
/// # Errors
/// What is wrong with them.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>, String> {
    let mut ports = Vec::new();
    for text in query.all("ports") {
        if text.is_empty() {
            return Err("query parameter \"ports\" cannot be empty".to_owned());
        }
        for port in text.split(',') {
            match port.parse() {
                Ok(0) => return Err(format!("port {text:?} must be > 0")),
                Ok(port) => ports.push(port),
                Err(error) => return Err(format!("unable to parse {text:?} as a port: {error}")),
            }
        }
    }
    match ports.len() {
        0 => Err("query parameter \"ports\" is required".to_owned()),
        1..=MAX_PORTS => Ok(ports),
        _ => Err(format!("at most {MAX_PORTS} ports can be forwarded at once")),
    }
}
