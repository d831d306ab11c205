//! The device of a pod's network namespace: whole IP packets, read and written.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::namespace::DeviceHandle;

/// The longest packet: IPv4 has no longer ones, so no datagram is ever cut into fragments.
pub(super) const MTU: usize = 65_535;

/// The device. Dropping it leaves the namespace without a way out.
#[derive(Debug)]
pub(super) struct Device {
    packets: Packets,
    /// Where packets are put together.
    scratch: Mutex<Vec<u8>>,
}

impl Device {
    /// Takes over a descriptor in non-blocking mode. Needs a tokio runtime.
    pub(super) fn new(handle: DeviceHandle) -> io::Result<Self> {
        Ok(Self { packets: Packets::new(handle)?, scratch: Mutex::new(Vec::new()) })
    }

    /// Waits for a packet, puts it into `buffer` and returns its length.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.packets.read(buffer).await
    }

    /// Hands a packet to the namespace. Where the kernel cannot take it, it is lost, as on any wire.
    pub(super) fn write(&self, packet: &[u8]) {
        self.packets.write(packet);
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

/// tokio's only type for a descriptor that isn't a socket's; all that matters is that it can be polled.
#[cfg(unix)]
#[derive(Debug)]
struct Packets(tokio::net::unix::pipe::Receiver);

#[cfg(unix)]
impl Packets {
    fn new(handle: DeviceHandle) -> io::Result<Self> {
        Ok(Self(tokio::net::unix::pipe::Receiver::from_owned_fd_unchecked(handle)?))
    }

    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn write(&self, packet: &[u8]) {
        let _ = rustix::io::write(&self.0, packet);
    }
}

/// Never there.
#[cfg(not(unix))]
#[derive(Debug)]
struct Packets(DeviceHandle);

#[cfg(not(unix))]
impl Packets {
    fn new(handle: DeviceHandle) -> io::Result<Self> {
        Ok(Self(handle))
    }

    #[expect(clippy::unused_async, reason = "as on other systems")]
    async fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn write(&self, _packet: &[u8]) {
        match self.0 {}
    }
}
