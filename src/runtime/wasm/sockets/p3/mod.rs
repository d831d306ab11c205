//! `wasi:sockets@0.3`: async calls, streams and futures.

mod lookup;
mod streams;
mod tcp;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use wasmtime::component::Linker;
use wasmtime_wasi::TrappableError;

use super::address::Family;
use super::bindings::p3::wasi::sockets as generated;
use super::fault::Fault;
use super::{Sockets, SocketsHost, SocketsView};
use crate::net::NetError;
use generated::types::{
    self, ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

/// A failed call: an error code for the guest, or a trap.
pub(in crate::runtime::wasm) type SocketError = TrappableError<ErrorCode>;

/// Puts the pod's network in the place of wasmtime's 0.3 sockets.
pub(in crate::runtime::wasm) fn add_to_linker<T: SocketsHost>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Sockets>(linker, T::sockets)?;
    generated::ip_name_lookup::add_to_linker::<_, Sockets>(linker, T::sockets)
}

impl types::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }
}

impl From<Fault> for SocketError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Net(error) => code_of(error).into(),
            // The last three belong to calls that 0.3 does not have.
            Fault::InvalidState | Fault::WouldBlock | Fault::NotInProgress | Fault::ConcurrencyConflict => {
                ErrorCode::InvalidState.into()
            }
            Fault::InvalidArgument => ErrorCode::InvalidArgument.into(),
            Fault::NotSupported => ErrorCode::NotSupported.into(),
            Fault::Trap(error) => Self::trap(error),
        }
    }
}

/// The code for an error of the network's.
fn code_of(error: NetError) -> ErrorCode {
    match error {
        NetError::AddressInUse => ErrorCode::AddressInUse,
        NetError::AddressNotAvailable => ErrorCode::AddressNotBindable,
        NetError::ConnectionRefused => ErrorCode::ConnectionRefused,
        NetError::ConnectionReset => ErrorCode::ConnectionReset,
        NetError::ConnectionAborted => ErrorCode::ConnectionAborted,
        NetError::Unreachable => ErrorCode::RemoteUnreachable,
        NetError::AccessDenied => ErrorCode::AccessDenied,
        NetError::TimedOut => ErrorCode::Timeout,
        NetError::Invalid | NetError::FamilyNotSupported => ErrorCode::InvalidArgument,
        NetError::MessageTooLong => ErrorCode::DatagramTooLarge,
        NetError::BrokenPipe => ErrorCode::ConnectionBroken,
        NetError::NotConnected => ErrorCode::InvalidState,
        // 0.3 has no codes for these.
        NetError::TooManySockets | NetError::NameNotFound | NetError::NameTemporary => {
            ErrorCode::Other(Some(error.to_string()))
        }
    }
}

impl From<IpAddressFamily> for Family {
    fn from(family: IpAddressFamily) -> Self {
        match family {
            IpAddressFamily::Ipv4 => Self::Ipv4,
            IpAddressFamily::Ipv6 => Self::Ipv6,
        }
    }
}

impl From<Family> for IpAddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }
}

impl From<IpSocketAddress> for SocketAddr {
    fn from(address: IpSocketAddress) -> Self {
        match address {
            IpSocketAddress::Ipv4(v4) => {
                let (a, b, c, d) = v4.address;
                SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), v4.port).into()
            }
            IpSocketAddress::Ipv6(v6) => {
                let (a, b, c, d, e, f, g, h) = v6.address;
                let ip = Ipv6Addr::new(a, b, c, d, e, f, g, h);
                SocketAddrV6::new(ip, v6.port, v6.flow_info, v6.scope_id).into()
            }
        }
    }
}

impl From<SocketAddr> for IpSocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::Ipv4(Ipv4SocketAddress { port: v4.port(), address: v4.ip().octets().into() }),
            SocketAddr::V6(v6) => Self::Ipv6(Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: v6.ip().segments().into(),
                scope_id: v6.scope_id(),
            }),
        }
    }
}

impl From<IpAddr> for IpAddress {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::Ipv4(ip.octets().into()),
            IpAddr::V6(ip) => Self::Ipv6(ip.segments().into()),
        }
    }
}
