//! A byte stream through WebSocket messages, for a protocol within: kubectl's tunnel of SPDY/3.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bytes of one message at most.
const MAX_WRITE: usize = 64 * 1024;

/// A WebSocket as a stream of bytes.
#[derive(Debug)]
pub(in crate::apiserver::streams) struct MessageBytes<Io> {
    socket: WebSocketStream<Io>,
    /// What is left of the message that was received last.
    rest: Bytes,
    closing: bool,
}

impl<Io> MessageBytes<Io> {
    /// The bytes of `socket`'s messages.
    pub(in crate::apiserver::streams) fn new(socket: WebSocketStream<Io>) -> Self {
        Self { socket, rest: Bytes::new(), closing: false }
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for MessageBytes<Io> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.socket).poll_next(context)) {
                None | Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Ok(Message::Binary(bytes))) => this.rest = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            }
        }
        let taken = this.rest.len().min(buffer.remaining());
        buffer.put_slice(&this.rest[..taken]);
        this.rest.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MessageBytes<Io> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_ready(context)).map_err(io_error)?;
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(MAX_WRITE)]);
        let written = piece.len();
        Pin::new(&mut this.socket).start_send(Message::Binary(piece)).map_err(io_error)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context).map_err(io_error)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closing {
            ready!(Pin::new(&mut this.socket).poll_ready(context)).map_err(io_error)?;
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            Pin::new(&mut this.socket).start_send(Message::Close(Some(frame))).map_err(io_error)?;
            this.closing = true;
        }
        match ready!(Pin::new(&mut this.socket).poll_flush(context)) {
            Ok(()) | Err(Error::ConnectionClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(io_error(error))),
        }
    }
}
