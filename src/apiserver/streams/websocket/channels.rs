//! Messages on channels: the first byte (or, with base64, the first character) of each message is the channel's number
//! (apimachinery `wsstream`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::apiserver::streams::spdy::Gone;

/// How bytes become messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::apiserver::streams) enum Codec {
    /// As they are.
    Binary,
    /// As text, for browsers of old.
    Base64,
}

/// A WebSocket with channels.
pub(in crate::apiserver::streams) struct Channels;

/// Sends messages. Clones send on the same socket.
pub(in crate::apiserver::streams) struct Outbox<Io> {
    sink: Arc<Mutex<SplitSink<WebSocketStream<Io>, Message>>>,
    codec: Codec,
}

/// Receives messages.
pub(in crate::apiserver::streams) struct Inbox<Io> {
    stream: SplitStream<WebSocketStream<Io>>,
    codec: Codec,
}

impl<Io> Clone for Outbox<Io> {
    fn clone(&self) -> Self {
        Self { sink: Arc::clone(&self.sink), codec: self.codec }
    }
}

impl Channels {
    /// Both halves of a socket.
    pub(in crate::apiserver::streams) fn split<Io>(socket: WebSocketStream<Io>, codec: Codec) -> (Outbox<Io>, Inbox<Io>)
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let (sink, stream) = socket.split();
        (Outbox { sink: Arc::new(Mutex::new(sink)), codec }, Inbox { stream, codec })
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Outbox<Io> {
    /// Sends bytes on a channel, and waits until they are on their way.
    ///
    /// # Errors
    /// The connection is over.
    pub(in crate::apiserver::streams) async fn send(&self, channel: u8, bytes: &[u8]) -> Result<(), Gone> {
        self.message(self.codec.encode(channel, bytes)).await
    }

    /// Asks the peer whether it is there.
    ///
    /// # Errors
    /// The connection is over.
    pub(in crate::apiserver::streams) async fn ping(&self) -> Result<(), Gone> {
        self.message(Message::Ping(Bytes::new())).await
    }

    /// Tells that nothing more comes, and that all went well: clients take a close without a code for a failure.
    ///
    /// # Errors
    /// The connection is over.
    pub(in crate::apiserver::streams) async fn close(&self) -> Result<(), Gone> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.message(Message::Close(Some(frame))).await
    }

    async fn message(&self, message: Message) -> Result<(), Gone> {
        self.sink.lock().await.send(message).await.map_err(|_broken| Gone)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Inbox<Io> {
    /// The next message with its channel. `None` when the peer is gone, or does what it must not; its socket is told why.
    pub(in crate::apiserver::streams) async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            // Pings are answered by the socket itself.
            let message = match self.stream.next().await?.ok()? {
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
            };
            if let Some(decoded) = self.codec.decode(message) {
                return Some(decoded);
            }
        }
    }
}

impl Codec {
    fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        match self {
            Self::Binary => {
                let mut message = BytesMut::with_capacity(1 + bytes.len());
                message.extend_from_slice(&[channel]);
                message.extend_from_slice(bytes);
                Message::Binary(message.freeze())
            }
            Self::Base64 => {
                let mut message = String::from(char::from(b'0'.wrapping_add(channel)));
                STANDARD.encode_string(bytes, &mut message);
                Message::text(message)
            }
        }
    }

    /// `None` for a message that says nothing, which is passed over as Kubernetes does.
    fn decode(self, mut message: Bytes) -> Option<(u8, Bytes)> {
        let first = *message.first()?;
        let rest = message.split_off(1);
        match self {
            Self::Binary => Some((first, rest)),
            Self::Base64 => Some((first.wrapping_sub(b'0'), STANDARD.decode(&rest).ok()?.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_comes_first() {
        for (codec, message) in
            [(Codec::Binary, Message::binary(&b"\x01hi\n"[..])), (Codec::Base64, Message::text("1aGkK"))]
        {
            assert_eq!(codec.encode(1, b"hi\n"), message);
            assert_eq!(codec.decode(message.into_data()), Some((1, Bytes::from_static(b"hi\n"))));
            assert_eq!(codec.decode(Bytes::new()), None);
        }
        assert_eq!(Codec::Base64.decode(Bytes::from_static(b"0!!!")), None);
        assert_eq!(Codec::Binary.decode(Bytes::from_static(&[255, 0])), Some((255, Bytes::from_static(&[0]))));
    }
}
