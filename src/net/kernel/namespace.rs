//! What the network asks of whoever holds a pod's network namespace: sockets opened in it, and its one device.

use std::fmt;
use std::io;
use std::net::IpAddr;

use futures::future::BoxFuture;
use socket2::Socket;

/// An open device. Where there are no file descriptors there is none.
#[cfg(unix)]
pub type DeviceHandle = std::os::fd::OwnedFd;
/// An open device. Where there are no file descriptors there is none.
#[cfg(not(unix))]
pub type DeviceHandle = std::convert::Infallible;

/// A pod's network namespace, seen from outside. Whoever runs the pod's Linux containers implements it.
///
/// What it hands out is in non-blocking mode and closed on exec.
pub trait KernelNamespace: fmt::Debug + Send + Sync {
    /// Opens a socket in the namespace.
    fn socket(&self, kind: SocketKind) -> BoxFuture<'_, io::Result<Socket>>;

    /// Makes the device that carries the packets of the namespace, with addresses and routes, and sets it up. What it
    /// hands out reads and writes whole IP packets, with nothing before them (`IFF_TUN | IFF_NO_PI`).
    fn open_device<'a>(&'a self, device: &'a DeviceConfig) -> BoxFuture<'a, io::Result<DeviceHandle>>;

    /// Sets a sysctl of the namespace, named as `net.ipv4.ip_local_port_range` is.
    fn set_sysctl<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// Which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// `AF_INET`, `SOCK_STREAM`.
    TcpV4,
    /// `AF_INET6`, `SOCK_STREAM`.
    TcpV6,
    /// `AF_INET`, `SOCK_DGRAM`.
    UdpV4,
    /// `AF_INET6`, `SOCK_DGRAM`.
    UdpV6,
}

impl SocketKind {
    pub(super) const ALL: [Self; 4] = [Self::TcpV4, Self::TcpV6, Self::UdpV4, Self::UdpV6];

    pub(super) fn index(self) -> usize {
        match self {
            Self::TcpV4 => 0,
            Self::TcpV6 => 1,
            Self::UdpV4 => 2,
            Self::UdpV6 => 3,
        }
    }

    /// A TCP socket for an address.
    pub(super) fn tcp(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::TcpV4 } else { Self::TcpV6 }
    }

    /// A UDP socket for an address.
    pub(super) fn udp(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::UdpV4 } else { Self::UdpV6 }
    }
}

/// The device of a pod's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Its name.
    pub name: &'static str,
    /// The pod's address.
    pub address: IpAddr,
    /// How many bits of it all pods have in common. The default route leads to the device too, without a gateway.
    pub prefix: u8,
    /// The longest packet.
    pub mtu: u32,
}
