//! The pod network: a user-space switch. Every pod has an address, a port space and a loopback; connections between
//! wasm guests are pairs of in-memory pipes, never OS sockets. Edges lead outside: published ports, egress, probes.
//!
//! ```text
//!  guest ── TcpStream ══ two pipes ══ TcpStream ── guest        same pod (loopback, own address) or another pod
//!  guest ── TcpStream ══ two pipes ══ splice ── host socket     egress, and published ports the other way round
//!  agent ── TcpStream ══ two pipes ══ TcpStream ── guest        probes: `PodNetwork::connect_from_node`
//! ```
//!
//! Port spaces behave as Linux's: `::` listeners take IPv4 too, wildcard and specific addresses get in each other's
//! way, a full accept queue makes clients wait, leaving something unread resets. Pods have an IPv4 address and both
//! loopbacks; IPv6 addresses of their own they don't have yet. What egress reaches is written in `egress`.
//!
//! A pod with Linux containers has a network namespace besides, and its ports in there: see `kernel`.
//!
//! Virtual services (`service`) lead from an address that no pod has to one of several backends; the switch's own DNS
//! (`dns`) answers at one such address. Which services and names there are, somebody else says, in tables.
//!
//! The WASI fronts in `runtime/wasm` translate [`NetError`] to errno one to one. Nothing here knows of WASI or of
//! Kubernetes objects.

mod addr;
mod dns;
mod egress;
mod flow;
mod io;
mod kernel;
mod pod;
mod ports;
mod publish;
mod resolve;
mod service;
mod switch;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use addr::{DNS_ADDRESS, VIRTUAL_RANGE};
pub use dns::{Record, Zone};
pub use kernel::{DeviceConfig, DeviceHandle, KernelNamespace, KernelReach, SocketKind};
pub use pod::{MAX_OUTSIDE_SOCKETS, MAX_TCP_SOCKETS, MAX_UDP_SOCKETS, PodNetwork};
pub use publish::PublishedPort;
pub use resolve::LookupConfig;
pub use service::VirtualPort;
pub use switch::{Egress, Switch};
pub use tcp::{MAX_BACKLOG, TcpBinding, TcpListener, TcpStream};
pub use udp::{Datagram, MAX_DATAGRAM, UdpSocket};

/// What a port belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

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
