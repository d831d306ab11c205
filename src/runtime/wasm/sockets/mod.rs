//! `wasi:sockets` for components, over the pod's network instead of the host's sockets.
//!
//! `tcp` and `udp` are the sockets themselves, as both versions of the interface see them: their states, and which
//! call is allowed in which. `p2` and `p3` are the fronts, which only translate. 0.1 modules have no part in this:
//! they use [`crate::net`] directly.
//!
//! Differs from the specification: sockets of the IPv6 family carry IPv4 too, with mapped addresses, as on Linux;
//! there they would be limited to IPv6.

mod address;
mod bindings;
mod fault;
mod options;
pub(super) mod p2;
#[cfg(feature = "wasi-p3")]
pub(super) mod p3;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, ResourceTable};

use super::state::GuestState;
use crate::net::PodNetwork;

/// Puts the pod's network in the place of wasmtime's sockets, in every version of WASI that has components. The linker
/// must allow shadowing and have wasmtime's interfaces already.
pub(super) fn add_to_linker<T: SocketsHost>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    p2::add_to_linker(linker)?;
    #[cfg(feature = "wasi-p3")]
    p3::add_to_linker(linker)?;
    Ok(())
}

/// What the fronts need of a guest.
pub(super) struct SocketsView<'a> {
    table: &'a mut ResourceTable,
    network: &'a Arc<PodNetwork>,
}

/// Names [`SocketsView`] to the generated code.
pub(super) struct Sockets;

impl HasData for Sockets {
    type Data<'a> = SocketsView<'a>;
}

/// The data of a store whose guest has sockets.
pub(super) trait SocketsHost: Send + 'static {
    /// What the fronts need of it.
    fn sockets(&mut self) -> SocketsView<'_>;
}

impl SocketsHost for GuestState {
    fn sockets(&mut self) -> SocketsView<'_> {
        SocketsView { table: &mut self.table, network: &self.process.network }
    }
}
