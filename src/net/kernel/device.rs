//! The device of a pod's network namespace: whole IP packets, read and written.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use tokio::net::unix::pipe;

/// The longest packet: IPv4 has no longer ones, so no datagram is ever cut into fragments.
pub(super) const MTU: usize = 65_535;

/// The device. Dropping it leaves the namespace without a way out.
#[derive(Debug)]
pub(super) struct Device {
    /// tokio's only type for a descriptor that isn't a socket's; all that matters is that it can be polled.
    fd: pipe::Receiver,
    /// Where packets are put together.
    scratch: Mutex<Vec<u8>>,
}

impl Device {
    /// Takes over a descriptor in non-blocking mode. Needs a tokio runtime.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: pipe::Receiver::from_owned_fd_unchecked(fd)?, scratch: Mutex::new(Vec::new()) })
    }

    /// Waits for a packet, puts it into `buffer` and returns its length.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.fd.readable().await?;
            match self.fd.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Hands a packet to the namespace. Where the kernel cannot take it, it is lost, as on any wire.
    pub(super) fn write(&self, packet: &[u8]) {
        let _ = rustix::io::write(&self.fd, packet);
    }

    /// Hands over a packet of `length` bytes that `build` fills in.
    pub(super) fn write_with<R>(&self, length: usize, build: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if scratch.len() < length {
            scratch.resize(length, 0);
        }
        let packet = &mut scratch[..length];
        let result = build(packet);
        self.write(packet);
        result
    }
}
