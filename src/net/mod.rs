//! The pod network: a user-space switch. Every pod has an address, a port space and a loopback; connections between
//! wasm guests are pairs of in-memory pipes, never OS sockets. Edges lead outside: published ports, egress, probes.
//!
//! The WASI fronts in `runtime/wasm` translate [`NetError`] to errno one to one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::pipe::{PipeReader, PipeWriter};

/// Why a socket operation failed, in POSIX's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// `EADDRINUSE`.
    #[error("address already in use")]
    AddressInUse,
    /// `EADDRNOTAVAIL`: not an address of this pod.
    #[error("cannot assign requested address")]
    AddressNotAvailable,
    /// `ECONNREFUSED`.
    #[error("connection refused")]
    ConnectionRefused,
    /// `ECONNRESET`.
    #[error("connection reset by peer")]
    ConnectionReset,
    /// `ECONNABORTED`.
    #[error("connection aborted")]
    ConnectionAborted,
    /// `ENETUNREACH`, `EHOSTUNREACH`.
    #[error("network is unreachable")]
    Unreachable,
    /// `EACCES`: egress is denied.
    #[error("permission denied: egress is off")]
    AccessDenied,
    /// `ETIMEDOUT`.
    #[error("connection timed out")]
    TimedOut,
    /// `EINVAL`.
    #[error("invalid argument")]
    Invalid,
    /// `EMSGSIZE`.
    #[error("message too long")]
    MessageTooLong,
    /// `EMFILE`: the pod's limit on sockets.
    #[error("too many open sockets")]
    TooManySockets,
    /// `EAFNOSUPPORT`.
    #[error("address family not supported")]
    FamilyNotSupported,
    /// `EPIPE`.
    #[error("broken pipe")]
    BrokenPipe,
    /// `ENOTCONN`.
    #[error("not connected")]
    NotConnected,
    /// `EAI_NONAME`.
    #[error("name or service not known")]
    NameNotFound,
    /// `EAI_AGAIN`.
    #[error("temporary failure in name resolution")]
    NameTemporary,
}

/// Whether pods may reach what lies outside the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// Connections and DNS go out through the host.
    Allow,
    /// Nothing leaves the switch.
    Deny,
}

/// All pods of this process and the edges to the outside.
#[derive(Debug)]
pub struct Switch {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// One pod's network: its addresses, port space, loopback and names. Detached from the switch by `close` or on drop.
#[derive(Debug)]
pub struct PodNetwork {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpListener {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// One end of a TCP connection. Dropping both handles closes it.
#[derive(Debug)]
pub struct TcpStream {
    /// Our address.
    pub local: SocketAddr,
    /// The other end's address.
    pub peer: SocketAddr,
    /// What the peer sends.
    pub reader: PipeReader,
    /// What we send.
    pub writer: PipeWriter,
}

/// A bound UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// A datagram and where it came from or goes to.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// The content.
    pub bytes: Bytes,
    /// The other end.
    pub peer: SocketAddr,
}

/// A port of the host that leads into a pod, until dropped.
#[derive(Debug)]
pub struct PublishedPort {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// A local port that is taken but does not listen yet; released on drop.
#[derive(Debug)]
pub struct TcpBinding {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

impl Switch {
    /// A switch without pods.
    pub fn new(egress: Egress) -> Arc<Self> {
        todo!("{egress:?}")
    }
    /// Gives a pod its address and names. `hostname` and `domain` resolve inside the pod to its own address.
    pub fn attach(self: &Arc<Self>, hostname: &str, domain: Option<&str>) -> Result<Arc<PodNetwork>, NetError> {
        todo!("{hostname} {domain:?}")
    }
    /// Publishes `pod_port` of `pod` on the host's `host` address (port 0: any), TCP.
    pub async fn publish_tcp(
        &self,
        pod: &Arc<PodNetwork>,
        host: SocketAddr,
        pod_port: u16,
    ) -> std::io::Result<PublishedPort> {
        todo!("{pod:?} {host} {pod_port}")
    }
    /// The same for UDP.
    pub async fn publish_udp(
        &self,
        pod: &Arc<PodNetwork>,
        host: SocketAddr,
        pod_port: u16,
    ) -> std::io::Result<PublishedPort> {
        todo!("{pod:?} {host} {pod_port}")
    }
}

impl PublishedPort {
    /// The host's address, with the port that was chosen.
    pub fn host_addr(&self) -> SocketAddr {
        todo!()
    }
}

impl PodNetwork {
    /// The pod's addresses, the first one being `status.podIP`.
    pub fn ips(&self) -> &[IpAddr] {
        todo!()
    }
    /// Takes a local TCP port (port 0: an ephemeral one).
    pub fn bind_tcp(self: &Arc<Self>, addr: SocketAddr) -> Result<TcpBinding, NetError> {
        todo!("{addr}")
    }
    /// Starts listening; at most `backlog` connections wait to be accepted.
    pub fn listen(&self, binding: TcpBinding, backlog: usize) -> Result<TcpListener, NetError> {
        todo!("{binding:?} {backlog}")
    }
    /// Connects from this pod to `peer`: loopback, own address, another pod's, or outside by policy.
    pub async fn connect(
        self: &Arc<Self>,
        binding: Option<TcpBinding>,
        peer: SocketAddr,
    ) -> Result<TcpStream, NetError> {
        todo!("{binding:?} {peer}")
    }
    /// Binds a UDP socket (port 0: an ephemeral one).
    pub fn bind_udp(self: &Arc<Self>, addr: SocketAddr) -> Result<UdpSocket, NetError> {
        todo!("{addr}")
    }
    /// Resolves a name as a guest would see it: literals, localhost, the pod's own names, hostAliases, then the host's DNS.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, NetError> {
        todo!("{name}")
    }
    /// Adds names that resolve inside this pod only (`spec.hostAliases`).
    pub fn add_host_alias(&self, ip: IpAddr, names: &[String]) {
        todo!("{ip} {names:?}")
    }
    /// Detaches the pod: listeners close, connections are reset.
    pub fn close(&self) {
        todo!()
    }
}
