//! Why a socket call fails, whichever version of the interface it came through.

use wasmtime::component::ResourceTableError;

use crate::net::NetError;

/// A failed call.
#[derive(Debug)]
pub(super) enum Fault {
    /// The network said so.
    Net(NetError),
    /// Not in the state the socket is in.
    InvalidState,
    /// Not with this argument.
    InvalidArgument,
    /// Not on this kind of socket.
    NotSupported,
    /// Nothing yet.
    WouldBlock,
    /// Finished without having been started.
    NotInProgress,
    /// Started while something else is under way.
    ConcurrencyConflict,
    /// The guest broke the rules of the interface.
    Trap(wasmtime::Error),
}

impl From<NetError> for Fault {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}
