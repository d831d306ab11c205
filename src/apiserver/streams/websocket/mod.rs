//! What goes over a WebSocket once the upgrade is granted: messages on numbered channels, as `exec`, `attach` and the older
//! `port-forward` use them, or the bytes of another protocol.

mod bytes;
mod channels;

use std::time::Duration;

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub(super) use self::bytes::MessageBytes;
pub(super) use self::channels::{Channels, Codec, Inbox, Outbox};

/// Bytes of a message that a client may send (golang.org/x/net/websocket, which Kubernetes uses, has this limit): some
/// clients send a whole file in one.
const MAX_MESSAGE: usize = 32 << 20;
/// Bytes of output that may wait within the socket, beside the message that is being sent.
const MAX_WRITE_BUFFER: usize = 1 << 20;
/// How often a client is asked whether it is there: nothing else tells that it is not while it has nothing to say.
pub(super) const PING_PERIOD: Duration = Duration::from_secs(30);

/// Speaks WebSocket over an upgraded connection.
pub(super) async fn open<Io>(io: Io) -> WebSocketStream<Io>
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}
