//! UDP in `wasi:sockets/types@0.3`.

use wasmtime::component::{Accessor, Resource};

use super::generated::types::{HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress};
use super::{Fault, SocketError, Sockets, SocketsView};
use crate::runtime::wasm::sockets::udp::{self, UdpSocket};

impl SocketsView<'_> {
    fn udp3(&mut self, socket: &Resource<UdpSocket>) -> Result<&mut UdpSocket, Fault> {
        Ok(self.table.get_mut(socket)?)
    }
}

impl<T: Send> HostUdpSocketWithStore<T> for Sockets {
    async fn send(
        store: &Accessor<T, Self>,
        this: Resource<UdpSocket>,
        data: Vec<u8>,
        remote: Option<IpSocketAddress>,
    ) -> Result<(), SocketError> {
        store.with(|mut access| {
            let mut view = access.get();
            let socket = view.udp3(&this)?;
            let family = socket.family();
            let bound = socket.bound_somewhere()?;
            let target = udp::destination(bound, family, remote.map(Into::into))?;
            Ok(bound.try_send(data.into(), target).map_err(Fault::Net)?)
        })
    }

    async fn receive(
        store: &Accessor<T, Self>,
        this: Resource<UdpSocket>,
    ) -> Result<(Vec<u8>, IpSocketAddress), SocketError> {
        let socket = store.with(|mut access| access.get().udp3(&this)?.bound().cloned())?;
        let datagram = socket.recv().await.map_err(Fault::Net)?;
        Ok((datagram.bytes.into(), datagram.peer.into()))
    }
}

impl HostUdpSocket for SocketsView<'_> {
    fn create(&mut self, family: IpAddressFamily) -> Result<Resource<UdpSocket>, SocketError> {
        let socket = UdpSocket::new(self.network, family.into());
        Ok(self.table.push(socket).map_err(Fault::from)?)
    }

    fn bind(&mut self, this: Resource<UdpSocket>, local: IpSocketAddress) -> Result<(), SocketError> {
        Ok(self.udp3(&this)?.bind(local.into())?)
    }

    fn connect(&mut self, this: Resource<UdpSocket>, remote: IpSocketAddress) -> Result<(), SocketError> {
        Ok(self.udp3(&this)?.connect(remote.into())?)
    }

    fn disconnect(&mut self, this: Resource<UdpSocket>) -> Result<(), SocketError> {
        let socket = self.udp3(&this)?;
        socket.peer_addr()?;
        socket.bound()?.disconnect();
        Ok(())
    }

    fn get_local_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.udp3(&this)?.local_addr()?.into())
    }

    fn get_remote_address(&mut self, this: Resource<UdpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.udp3(&this)?.peer_addr()?.into())
    }

    fn get_address_family(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family().into())
    }

    fn get_unicast_hop_limit(&mut self, this: Resource<UdpSocket>) -> Result<u8, SocketError> {
        Ok(self.udp3(&this)?.options.hop_limit())
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<UdpSocket>, value: u8) -> Result<(), SocketError> {
        Ok(self.udp3(&this)?.options.set_hop_limit(value)?)
    }

    fn get_receive_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64, SocketError> {
        Ok(self.udp3(&this)?.options.receive_buffer())
    }

    fn set_receive_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.udp3(&this)?.options.set_receive_buffer(value)?)
    }

    fn get_send_buffer_size(&mut self, this: Resource<UdpSocket>) -> Result<u64, SocketError> {
        Ok(self.udp3(&this)?.options.send_buffer())
    }

    fn set_send_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.udp3(&this)?.options.set_send_buffer(value)?)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
