//! `wasi:sockets@0.2`: non-blocking calls with start and finish, and pollables.

mod lookup;
mod streams;
mod tcp;
mod udp;

use std::task::{Context, Waker};

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network;
use wasmtime_wasi::p2::{Network, SocketError};

#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub use self::lookup::ResolvedAddresses;
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub use self::tcp::TcpSocket;
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub use self::udp::{IncomingDatagrams, OutgoingDatagrams, UdpSocket};
use super::address::Family;
use super::bindings::p2::wasi::sockets as generated;
use super::fault::Fault;
use super::{Sockets, SocketsHost, SocketsView};
use crate::net::NetError;
use network::{ErrorCode, IpAddressFamily};

/// Puts the pod's network in the place of wasmtime's 0.2 sockets.
pub(in crate::runtime::wasm) fn add_to_linker<T: SocketsHost>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    // With the function that tells a guest why a stream failed, which counts as unstable.
    let mut options = network::LinkOptions::default();
    options.network_error_code(true);
    network::add_to_linker::<_, Sockets>(linker, &options, T::sockets)?;
    generated::tcp::add_to_linker::<_, Sockets>(linker, T::sockets)?;
    generated::tcp_create_socket::add_to_linker::<_, Sockets>(linker, T::sockets)?;
    generated::udp::add_to_linker::<_, Sockets>(linker, T::sockets)?;
    generated::udp_create_socket::add_to_linker::<_, Sockets>(linker, T::sockets)?;
    generated::ip_name_lookup::add_to_linker::<_, Sockets>(linker, T::sockets)
}

impl SocketsView<'_> {
    /// The handle stands for the permission to use the network; there is but one network.
    fn check_network(&self, network: &Resource<Network>) -> Result<(), SocketError> {
        self.table.get(network)?;
        Ok(())
    }
}

impl network::HostNetwork for SocketsView<'_> {
    fn drop(&mut self, this: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl network::Host for SocketsView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    /// Why a stream failed, if it is one of a socket's.
    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<std::io::Error>().map(ErrorCode::from))
    }
}

/// For asking a future how far it is, without being told later.
fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl From<Fault> for SocketError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Net(error) => code_of(error).into(),
            Fault::InvalidState => ErrorCode::InvalidState.into(),
            Fault::InvalidArgument => ErrorCode::InvalidArgument.into(),
            Fault::NotSupported => ErrorCode::NotSupported.into(),
            Fault::WouldBlock => ErrorCode::WouldBlock.into(),
            Fault::NotInProgress => ErrorCode::NotInProgress.into(),
            Fault::ConcurrencyConflict => ErrorCode::ConcurrencyConflict.into(),
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
        NetError::TooManySockets => ErrorCode::NewSocketLimit,
        // 0.2 has no code of its own for it; streams say `closed`.
        NetError::BrokenPipe => ErrorCode::Unknown,
        NetError::NotConnected => ErrorCode::InvalidState,
        NetError::NameNotFound => ErrorCode::NameUnresolvable,
        NetError::NameTemporary => ErrorCode::TemporaryResolverFailure,
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
