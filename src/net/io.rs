//! tokio's I/O traits for virtual connections, so that HTTP servers and clients of the agent's can run over them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TcpStream;
use crate::base::pipe::{ReadError, WriteError};

/// Most bytes copied in one write; longer ones are cut, as sockets may.
const MAX_WRITE: usize = 64 * 1024;

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match ready!(self.reader.poll_read(context, buffer.remaining())) {
            Ok(Some(bytes)) => {
                buffer.put_slice(&bytes);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(read_error(error)),
        })
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            match self.writer.room() {
                Err(error) => return Poll::Ready(Err(write_error(error))),
                Ok(0) => ready!(self.writer.poll_ready(context)),
                Ok(room) => {
                    let chunk = Bytes::copy_from_slice(&bytes[..bytes.len().min(room).min(MAX_WRITE)]);
                    match self.writer.try_write(&chunk) {
                        Err(WriteError::Full) => {}
                        result => return Poll::Ready(result.map_err(write_error)),
                    }
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.close();
        Poll::Ready(Ok(()))
    }
}

fn read_error(error: ReadError) -> io::Error {
    match error {
        ReadError::Reset => io::ErrorKind::ConnectionReset.into(),
        ReadError::Empty => io::ErrorKind::WouldBlock.into(),
        ReadError::End => io::ErrorKind::UnexpectedEof.into(),
    }
}

fn write_error(error: WriteError) -> io::Error {
    match error {
        WriteError::Reset => io::ErrorKind::ConnectionReset.into(),
        WriteError::Broken => io::ErrorKind::BrokenPipe.into(),
        WriteError::Full => io::ErrorKind::WouldBlock.into(),
    }
}
