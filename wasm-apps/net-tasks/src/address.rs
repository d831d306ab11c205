//! Addresses and errors, between std's types and WASI's.

use std::net::{IpAddr, SocketAddr};

use wasip2::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

pub(crate) fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

pub(crate) fn to_wasi(address: SocketAddr) -> IpSocketAddress {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: ip.octets().into() }),
        IpAddr::V6(ip) => {
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address: ip.segments().into(), scope_id: 0 })
        }
    }
}

pub(crate) fn from_wasi(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(address) => (<[u8; 4]>::from(address.address), address.port).into(),
        IpSocketAddress::Ipv6(address) => (<[u16; 8]>::from(address.address), address.port).into(),
    }
}

pub(crate) fn ip_from_wasi(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4(ip) => <[u8; 4]>::from(ip).into(),
        IpAddress::Ipv6(ip) => <[u16; 8]>::from(ip).into(),
    }
}

/// What a system would say, with its number for it.
pub fn explain(error: ErrorCode) -> (u16, &'static str) {
    match error {
        ErrorCode::AccessDenied => (13, "Permission denied"),
        ErrorCode::AddressInUse => (98, "Address in use"),
        ErrorCode::AddressNotBindable => (99, "Address not available"),
        ErrorCode::ConnectionRefused => (111, "Connection refused"),
        ErrorCode::ConnectionReset => (104, "Connection reset by peer"),
        ErrorCode::ConnectionAborted => (103, "Connection aborted"),
        ErrorCode::RemoteUnreachable => (113, "Host is unreachable"),
        ErrorCode::Timeout => (110, "Operation timed out"),
        ErrorCode::NewSocketLimit => (24, "Too many open files"),
        ErrorCode::NameUnresolvable => (2, "Host not found"),
        other => (5, other.name()),
    }
}
