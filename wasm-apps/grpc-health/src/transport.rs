//! A connection as the HTTP/2 library wants it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nettool::tasks::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasip2::io::streams::StreamError;

/// A connection on the pod's network.
pub(crate) struct Transport(pub(crate) Stream);

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(self.0.poll_read(context, buffer.remaining())) {
            Ok(bytes) => buffer.put_slice(&bytes),
            Err(StreamError::Closed) => {}
            Err(error) => return Poll::Ready(Err(describe(&error))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(context, bytes).map_err(|error| describe(&error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The pod's network holds nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.finish_sending();
        Poll::Ready(Ok(()))
    }
}

fn describe(error: &StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
    }
}
