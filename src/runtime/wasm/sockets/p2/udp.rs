//! `wasi:sockets/udp@0.2`.

use std::future::poll_fn;
use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::{DynPollable, Network, Pollable, SocketError, subscribe};

use super::SocketsView;
use super::generated::udp::{
    Host, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket, IncomingDatagram, OutgoingDatagram,
};
use super::generated::udp_create_socket;
use crate::net;
use crate::runtime::wasm::sockets::address::Family;
use crate::runtime::wasm::sockets::fault::Fault;
use crate::runtime::wasm::sockets::udp;

/// Datagrams handed over in one call.
const MAX_BATCH: usize = 64;

/// A UDP socket and whether a bind was started but not finished.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub struct UdpSocket {
    inner: udp::UdpSocket,
    binding: bool,
}

/// What a socket receives.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub struct IncomingDatagrams(Arc<net::UdpSocket>);

/// What a socket sends.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub struct OutgoingDatagrams {
    socket: Arc<net::UdpSocket>,
    family: Family,
    /// How many datagrams the last `check-send` permitted.
    permitted: usize,
}

#[async_trait]
impl Pollable for UdpSocket {
    /// Nothing on the socket itself ever waits.
    async fn ready(&mut self) {}
}

#[async_trait]
impl Pollable for IncomingDatagrams {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_ready(context)).await;
    }
}

#[async_trait]
impl Pollable for OutgoingDatagrams {
    /// Sending never waits: what finds no room is lost.
    async fn ready(&mut self) {}
}

impl SocketsView<'_> {
    fn udp(&mut self, socket: &Resource<UdpSocket>) -> Result<&mut UdpSocket, SocketError> {
        Ok(self.table.get_mut(socket)?)
    }
}

impl Host for SocketsView<'_> {}

impl udp_create_socket::Host for SocketsView<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<UdpSocket>, SocketError> {
        let inner = udp::UdpSocket::new(self.network, family.into());
        Ok(self.table.push(UdpSocket { inner, binding: false })?)
    }
}

impl HostUdpSocket for SocketsView<'_> {
    fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<Network>,
        local: IpSocketAddress,
    ) -> Result<(), SocketError> {
        self.check_network(&network)?;
        let socket = self.udp(&this)?;
        if socket.binding {
            return Err(Fault::ConcurrencyConflict.into());
        }
        socket.inner.bind(local.into())?;
        socket.binding = true;
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<UdpSocket>) -> Result<(), SocketError> {
        let socket = self.udp(&this)?;
        if !std::mem::replace(&mut socket.binding, false) {
            return Err(Fault::NotInProgress.into());
        }
        Ok(())
    }

    fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> Result<(Resource<IncomingDatagrams>, Resource<OutgoingDatagrams>), SocketError> {
        let socket = &mut self.udp(&this)?.inner;
        let bound = Arc::clone(socket.bound()?);
        match remote {
            Some(remote) => socket.connect(remote.into())?,
            None => bound.disconnect(),
        }
        let outgoing = OutgoingDatagrams { socket: Arc::clone(&bound), family: socket.family(), permitted: 0 };
        let incoming = self.table.push_child(IncomingDatagrams(bound), &this)?;
        Ok((incoming, self.table.push_child(outgoing, &this)?))
    }

    fn local_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.udp(&this)?.inner.local_addr()?.into())
    }

    fn remote_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.udp(&this)?.inner.peer_addr()?.into())
    }

    fn address_family(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.inner.family().into())
    }

    fn unicast_hop_limit(&mut self, this: Resource<UdpSocket>) -> Result<u8, SocketError> {
        Ok(self.udp(&this)?.inner.options.hop_limit())
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<UdpSocket>, value: u8) -> Result<(), SocketError> {
        Ok(self.udp(&this)?.inner.options.set_hop_limit(value)?)
    }

    fn receive_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64, SocketError> {
        Ok(self.udp(&this)?.inner.options.receive_buffer())
    }

    fn set_receive_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.udp(&this)?.inner.options.set_receive_buffer(value)?)
    }

    fn send_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64, SocketError> {
        Ok(self.udp(&this)?.inner.options.send_buffer())
    }

    fn set_send_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.udp(&this)?.inner.options.set_send_buffer(value)?)
    }

    fn subscribe(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostIncomingDatagramStream for SocketsView<'_> {
    fn receive(
        &mut self,
        this: Resource<IncomingDatagrams>,
        max_results: u64,
    ) -> Result<Vec<IncomingDatagram>, SocketError> {
        let socket = &self.table.get(&this)?.0;
        let limit = usize::try_from(max_results).unwrap_or(MAX_BATCH).min(MAX_BATCH);
        let mut datagrams = Vec::new();
        while datagrams.len() < limit {
            match socket.try_recv() {
                Ok(Some(datagram)) => datagrams
                    .push(IncomingDatagram { data: datagram.bytes.into(), remote_address: datagram.peer.into() }),
                Ok(None) => break,
                // What there is goes first; the report of a refusal may be lost, like any of UDP's.
                Err(_error) if !datagrams.is_empty() => break,
                Err(error) => return Err(Fault::Net(error).into()),
            }
        }
        Ok(datagrams)
    }

    fn subscribe(&mut self, this: Resource<IncomingDatagrams>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<IncomingDatagrams>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostOutgoingDatagramStream for SocketsView<'_> {
    fn check_send(&mut self, this: Resource<OutgoingDatagrams>) -> Result<u64, SocketError> {
        self.table.get_mut(&this)?.permitted = MAX_BATCH;
        Ok(MAX_BATCH as u64)
    }

    fn send(
        &mut self,
        this: Resource<OutgoingDatagrams>,
        datagrams: Vec<OutgoingDatagram>,
    ) -> Result<u64, SocketError> {
        let stream = self.table.get_mut(&this)?;
        if datagrams.len() > std::mem::take(&mut stream.permitted) && !datagrams.is_empty() {
            return Err(SocketError::trap(wasmtime::format_err!("send beyond what check-send permitted")));
        }
        let mut sent = 0;
        for datagram in datagrams {
            match stream.send(datagram) {
                Ok(()) => sent += 1,
                // It is told when the guest sends the rest and this one comes first.
                Err(_fault) if sent > 0 => break,
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(sent)
    }

    fn subscribe(&mut self, this: Resource<OutgoingDatagrams>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<OutgoingDatagrams>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl OutgoingDatagrams {
    fn send(&self, datagram: OutgoingDatagram) -> Result<(), Fault> {
        let target = udp::destination(&self.socket, self.family, datagram.remote_address.map(Into::into))?;
        Ok(self.socket.try_send(datagram.data.into(), target)?)
    }
}
