//! `port-forward` over SPDY: the client opens two streams for each connection, with the headers `streamtype` (`data` or
//! `error`), `port` and `requestid`, which pairs them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tracing::debug;

use super::{Peer, Target, forward};
use crate::apiserver::streams::spdy::{self, Connection, Gone, ResetStatus, Stream};

/// How long a client has to open the second stream of a pair (kubelet `DefaultStreamCreationTimeout`).
const PAIR_LIMIT: Duration = Duration::from_secs(30);
/// How often incomplete pairs are looked at.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

impl Peer for Stream {
    const HALF_CLOSES: bool = true;

    async fn write(&self, bytes: Bytes) -> Result<(), Gone> {
        Stream::write(self, bytes).await
    }

    async fn finish(&self) -> Result<(), Gone> {
        Stream::finish(self).await
    }
}

/// The first stream of a pair.
struct Half {
    stream: Stream,
    is_data: bool,
    since: Instant,
}

/// Serves a client to its end.
pub(in crate::apiserver::streams) async fn serve<Io>(io: Io, target: Target)
where
    Io: AsyncRead + AsyncWrite + Send,
{
    let (mut connection, driver) = spdy::connection(io);
    tokio::select! {
        result = driver.run() => {
            if let Err(error) = result {
                debug!(%error, "a SPDY connection ended");
            }
        }
        () = pair_up(&mut connection, Arc::new(target)) => {}
    }
}

/// Pairs up streams and forwards what is on them, until the connection ends.
async fn pair_up(connection: &mut Connection, target: Arc<Target>) {
    let mut waiting: HashMap<String, Half> = HashMap::new();
    // Gone with this future.
    let mut forwarded = JoinSet::new();
    let mut sweeps = interval(SWEEP_PERIOD);
    loop {
        tokio::select! {
            stream = connection.accept() => {
                let Some(stream) = stream else { return };
                if let Some((port, data, error)) = pair(&mut waiting, stream).await {
                    let target = Arc::clone(&target);
                    forwarded.spawn(async move { serve_pair(&target, port, data, error).await });
                }
            }
            _ = sweeps.tick() => {
                let late = waiting.extract_if(|_, half| half.since.elapsed() >= PAIR_LIMIT).collect::<Vec<_>>();
                for (request, half) in late {
                    give_up(&half, &format!("(request={request}) timed out waiting for streams")).await;
                }
            }
            _ = forwarded.join_next(), if !forwarded.is_empty() => {}
        }
    }
}

/// Takes in a stream; gives the port, the data and the error stream once both are there.
async fn pair(waiting: &mut HashMap<String, Half>, stream: Stream) -> Option<(u16, Stream, Stream)> {
    let headers = stream.headers();
    let port = headers.get("port").and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    let is_data = match headers.get("streamtype") {
        Some("data") => Some(true),
        Some("error") => Some(false),
        _ => None,
    };
    let (Some(port), Some(is_data)) = (port, is_data) else {
        let _ = stream.reset(ResetStatus::Refused).await;
        return None;
    };
    // Clients that name no request open the error stream just before the data stream.
    let unnamed = || stream.id().saturating_sub(if is_data { 2 } else { 0 }).to_string();
    let request = headers.get("requestid").map_or_else(unnamed, str::to_owned);
    stream.reply().await.ok()?;
    match waiting.remove(&request) {
        None => {
            waiting.insert(request, Half { stream, is_data, since: Instant::now() });
            None
        }
        Some(half) if half.is_data == is_data => {
            let kind = if is_data { "data" } else { "error" };
            let message = format!("error processing stream for request {request}: {kind} stream already assigned");
            give_up(&half, &message).await;
            let _ = stream.reset(ResetStatus::Refused).await;
            None
        }
        Some(half) if is_data => Some((port, stream, half.stream)),
        Some(half) => Some((port, half.stream, stream)),
    }
}

/// Tells why a pair comes to nothing.
async fn give_up(half: &Half, message: &str) {
    // The connection may be over.
    if half.is_data {
        let _ = half.stream.reset(ResetStatus::Refused).await;
    } else {
        let _ = half.stream.write(message.to_owned().into()).await;
        let _ = half.stream.finish().await;
    }
}

/// Forwards one connection. Clients take its end from both streams', and an error from what the error stream says.
async fn serve_pair(target: &Target, port: u16, data: Stream, error: Stream) -> Result<(), Gone> {
    match target.connect(port).await {
        Ok(connection) => {
            tokio::select! {
                // What was not forwarded is lost with the stream, and the error stream's end tells nothing of it.
                _ = forward(data.reader(), &data, connection) => {}
                () = data.was_reset() => {}
            }
        }
        Err(message) => error.write(message.into()).await?,
    }
    // In this order (kubelet v1.36 `portForward`), and both whatever becomes of the other: kubectl waits for both, and may
    // have reset the one for data.
    let told = error.finish().await;
    data.finish().await.and(told)
}
