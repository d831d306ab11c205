//! Copies between a container's pipes or terminal and the in-memory pipes of the node.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::sys;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::runtime::TerminalSize;

/// Bytes that are read at a time; it is what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// An open file of the container's, made ready for waiting.
pub(super) fn asynchronous(fd: OwnedFd) -> io::Result<Arc<AsyncFd<OwnedFd>>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    sys::register(fd).map(Arc::new)
}

/// Reads what there is; an empty chunk is the end. The buffer lives only while something is read: most containers say
/// nothing most of the time.
fn read_chunk(fd: &OwnedFd) -> io::Result<Bytes> {
    let mut buffer = [0; CHUNK];
    match rustix::io::read(fd, &mut buffer) {
        Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
        // A terminal that nobody has open any more.
        Err(rustix::io::Errno::IO) => Ok(Bytes::new()),
        Err(error) => Err(error.into()),
    }
}

/// Copies what the container prints until it has closed its end. If nobody reads it any more, it is read and dropped, so
/// that the container goes on.
pub(super) async fn copy_out(from: Arc<AsyncFd<OwnedFd>>, to: PipeWriter) {
    while let Ok(chunk) = from.async_io(Interest::READABLE, read_chunk).await {
        if chunk.is_empty() {
            break;
        }
        let _ = to.write_all(chunk).await;
    }
    to.close();
}

/// Copies what is typed until there is no more, or the container does not read it.
pub(super) async fn copy_in(from: PipeReader, to: Arc<AsyncFd<OwnedFd>>) {
    while let Ok(Some(mut chunk)) = from.read(CHUNK).await {
        while !chunk.is_empty() {
            let written = to.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, &chunk)?)).await;
            let Ok(written) = written else { return from.close() };
            let _ = chunk.split_to(written);
        }
    }
}

/// Tells a terminal its size.
pub(super) fn resize(terminal: &impl AsFd, size: TerminalSize) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // The terminal may be gone.
    let _ = tcsetwinsize(terminal, size);
}
