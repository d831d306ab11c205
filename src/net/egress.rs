//! The edge to the outside: connections through the host's sockets, and moving bytes between those and pipes.
//!
//! What a pod reaches here is what any process of this user reaches, with two exceptions made before it comes to this
//! (`Switch::route`): loopback addresses are the pod's own, and the switch's range never leaves the switch. The host's
//! *other* addresses are outside like any: a pod can use services that the host offers to its network, and nothing
//! that it offers only to itself. That is what a bridge with masquerading gives.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::NetError;
use super::tcp::CONNECT_TIMEOUT;
use crate::base::pipe::{DuplexEnd, PipeReader, PipeWriter, WriteError};

/// Read buffers are allocated in blocks of this many bytes at most…
const READ_BLOCK: usize = 64 * 1024;

/// …and of this many at least, as long as that is enough: an idle connection keeps no more.
const SMALL_BLOCK: usize = 4 * 1024;

/// A block with less room than this is left for a new one.
const MIN_READ: usize = 1024;

/// Connects a socket of the host's.
pub(super) async fn connect(target: SocketAddr) -> Result<TcpStream, NetError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
        Ok(Ok(stream)) => {
            // Guests that want small writes gathered do it themselves: pipes between guests don't delay either.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(error_of_host(&error)),
        Err(_elapsed) => Err(NetError::TimedOut),
    }
}

/// What an error of the host's sockets means to a guest. Everything that has no counterpart, such as the agent's own
/// want of descriptors, looks like an unreachable network.
pub(super) fn error_of_host(error: &io::Error) -> NetError {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => NetError::ConnectionRefused,
        ErrorKind::ConnectionReset => NetError::ConnectionReset,
        ErrorKind::ConnectionAborted => NetError::ConnectionAborted,
        ErrorKind::TimedOut => NetError::TimedOut,
        ErrorKind::PermissionDenied => NetError::AccessDenied,
        ErrorKind::InvalidInput => NetError::Invalid,
        ErrorKind::BrokenPipe => NetError::BrokenPipe,
        ErrorKind::NotConnected => NetError::NotConnected,
        _ => NetError::Unreachable,
    }
}

/// Moves bytes between a host socket and one end of a virtual connection until both directions have ended. Half-closes
/// pass through; a reset on either side resets the other.
pub(super) async fn splice(host: TcpStream, end: DuplexEnd) {
    let DuplexEnd { reader, writer } = end;
    let (mut host_reader, mut host_writer) = host.into_split();
    let result = tokio::try_join!(inward(&mut host_reader, &writer), outward(&mut host_writer, &reader));
    if let Err(Reset) = result {
        reader.reset();
        writer.reset();
        let _ = host_reader.as_ref().set_zero_linger();
        // Dropping it would say an orderly end first.
        host_writer.forget();
    }
}

/// The connection cannot go on.
struct Reset;

async fn inward(host: &mut OwnedReadHalf, writer: &PipeWriter) -> Result<(), Reset> {
    let mut block = BytesMut::new();
    let mut size = SMALL_BLOCK;
    loop {
        // Nothing is taken from the host that the guest has no room for.
        writer.ready().await;
        tokio::select! {
            biased;
            readable = host.readable() => readable.map_err(|_error| Reset)?,
            () = writer.broken() => return Ok(()),
        }
        if block.capacity() < MIN_READ {
            block = BytesMut::with_capacity(size);
        }
        let room = block.capacity();
        match host.try_read_buf(&mut block) {
            Ok(0) => {
                writer.close();
                return Ok(());
            }
            Ok(read) => {
                // What fills its block comes in bulk.
                size = if read == room { READ_BLOCK } else { size };
                match writer.write_all(block.split().freeze()).await {
                    Ok(()) => {}
                    Err(WriteError::Reset) => return Err(Reset),
                    Err(WriteError::Broken | WriteError::Full) => return Ok(()),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if size > SMALL_BLOCK {
                    (block, size) = (BytesMut::new(), SMALL_BLOCK);
                }
            }
            Err(_error) => return Err(Reset),
        }
    }
}

async fn outward(host: &mut OwnedWriteHalf, reader: &PipeReader) -> Result<(), Reset> {
    while let Some(bytes) = next(reader).await? {
        host.write_all(&bytes).await.map_err(|_error| Reset)?;
    }
    host.shutdown().await.map_err(|_error| Reset)
}

async fn next(reader: &PipeReader) -> Result<Option<Bytes>, Reset> {
    reader.read(READ_BLOCK).await.map_err(|_reset| Reset)
}
