//! `port-forward` over a WebSocket: for the n-th port of the request channel 2n has the data and 2n + 1 the error, and
//! the first message on each of them is the port's number (kubelet `handleWebSocketStreams`).

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{interval, timeout};

use super::{Peer, Target, forward};
use crate::apiserver::streams::spdy::Gone;
use crate::apiserver::streams::websocket::{self, Channels, Codec, Inbox, Outbox, PING_PERIOD};
use crate::base::pipe::{self, PipeReader, PipeWriter};

/// Ports of one request: as many as there are pairs of channels.
pub(in crate::apiserver::streams) const MAX_PORTS: usize = 127;
/// Bytes of one port that wait to be taken by the pod.
const BUFFER: usize = 64 * 1024;
/// How long a client may take to end a connection of which nothing is left.
const FINISH_LIMIT: Duration = Duration::from_secs(30);

/// The data channel of one port.
struct Channel<'a, Io> {
    outbox: &'a Outbox<Io>,
    number: u8,
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> Peer for Channel<'_, Io> {
    /// There is no message for it.
    const HALF_CLOSES: bool = false;

    async fn write(&self, bytes: Bytes) -> Result<(), Gone> {
        self.outbox.send(self.number, &bytes).await
    }

    async fn finish(&self) -> Result<(), Gone> {
        Ok(())
    }
}

/// Serves a client to its end. At most [`MAX_PORTS`] ports.
pub(in crate::apiserver::streams) async fn serve<Io>(io: Io, codec: Codec, ports: Vec<u16>, target: Target)
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (outbox, mut inbox) = Channels::split(websocket::open(io).await, codec);
    let (writers, readers): (Vec<_>, Vec<_>) = ports.iter().map(|_| pipe::pipe(BUFFER)).unzip();
    let pairs = (0_u8..).step_by(2).zip(ports).zip(readers);
    let all = pairs.map(|((channel, port), reader)| serve_port(&outbox, channel, port, reader, &target));
    let conversation = async {
        join_all(all).await;
        // The client may be gone.
        let _ = outbox.close().await;
    };
    let mut conversation = pin!(conversation);
    let client_left = tokio::select! {
        () = &mut conversation => false,
        () = listen(&mut inbox, writers) => true,
        _ = ping(&outbox) => true,
    };
    let rest = async {
        match client_left {
            // What it has sent before is still for the pod.
            true => conversation.await,
            false => while inbox.next().await.is_some() {},
        }
    };
    let _ = timeout(FINISH_LIMIT, rest).await;
}

async fn ping<Io: AsyncRead + AsyncWrite + Unpin>(outbox: &Outbox<Io>) -> Result<(), Gone> {
    let mut pings = interval(PING_PERIOD);
    pings.tick().await;
    loop {
        pings.tick().await;
        outbox.ping().await?;
    }
}

async fn serve_port<Io>(
    outbox: &Outbox<Io>,
    channel: u8,
    port: u16,
    reader: PipeReader,
    target: &Target,
) -> Result<(), Gone>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let error_channel = channel + 1;
    for number in [channel, error_channel] {
        outbox.send(number, &port.to_le_bytes()).await?;
    }
    match target.connect(port).await {
        Ok(connection) => {
            // Whichever way it ends, there is nothing more to say of it; other ports go on.
            let _ = forward(&reader, &Channel { outbox, number: channel }, connection).await;
        }
        Err(message) => outbox.send(error_channel, message.as_bytes()).await?,
    }
    // What still comes for it leads nowhere, and must not hold up the others.
    reader.discard();
    Ok(())
}

/// Takes what the client sends to its ports, until it is gone.
async fn listen<Io: AsyncRead + AsyncWrite + Unpin>(inbox: &mut Inbox<Io>, writers: Vec<PipeWriter>) {
    while let Some((channel, bytes)) = inbox.next().await {
        let is_data = channel.is_multiple_of(2);
        if let Some(writer) = writers.get(usize::from(channel / 2)).filter(|_| is_data) {
            // A port that does not take it says so itself, if it can.
            let _ = writer.write_all(bytes).await;
        }
    }
}
