//! A guest's UDP socket.

use std::net::SocketAddr;
use std::sync::Arc;

use super::address::Family;
use super::fault::Fault;
use super::options::Options;
use crate::net::{PodNetwork, UdpSocket as NetSocket};

/// One UDP socket, bound or not.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
#[derive(Debug)]
pub struct UdpSocket {
    network: Arc<PodNetwork>,
    family: Family,
    pub(super) options: Options,
    bound: Option<Arc<NetSocket>>,
}

impl UdpSocket {
    pub(super) fn new(network: &Arc<PodNetwork>, family: Family) -> Self {
        Self { network: Arc::clone(network), family, options: Options::default(), bound: None }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn bind(&mut self, local: SocketAddr) -> Result<(), Fault> {
        if self.bound.is_some() {
            return Err(Fault::InvalidState);
        }
        self.bound = Some(Arc::new(self.network.bind_udp(self.family.check_local(local)?)?));
        Ok(())
    }

    /// The socket, which must be bound.
    pub(super) fn bound(&self) -> Result<&Arc<NetSocket>, Fault> {
        self.bound.as_ref().ok_or(Fault::InvalidState)
    }

    /// The socket, on an ephemeral port if it was not bound.
    pub(super) fn bound_somewhere(&mut self) -> Result<&Arc<NetSocket>, Fault> {
        if self.bound.is_none() {
            self.bind(self.family.unspecified())?;
        }
        self.bound()
    }

    /// Connects, binding first where needed.
    pub(super) fn connect(&mut self, peer: SocketAddr) -> Result<(), Fault> {
        let peer = self.family.check_remote(peer)?;
        Ok(self.bound_somewhere()?.connect(peer)?)
    }

    pub(super) fn local_addr(&self) -> Result<SocketAddr, Fault> {
        Ok(self.bound()?.local_addr())
    }

    pub(super) fn peer_addr(&self) -> Result<SocketAddr, Fault> {
        self.bound()?.peer_addr().ok_or(Fault::InvalidState)
    }
}

/// Where a datagram goes: a connected socket sends to its peer only, one that is not must be told.
pub(super) fn destination(
    socket: &NetSocket,
    family: Family,
    given: Option<SocketAddr>,
) -> Result<Option<SocketAddr>, Fault> {
    match (socket.peer_addr(), given) {
        (Some(peer), Some(given)) if peer != given => Err(Fault::InvalidArgument),
        (Some(_), _) => Ok(None),
        (None, Some(given)) => Ok(Some(family.check_remote(given)?)),
        (None, None) => Err(Fault::InvalidArgument),
    }
}
