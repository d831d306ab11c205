//! TCP in `wasi:sockets/types@0.3`.

use std::future::poll_fn;

use tokio::sync::oneshot;
use wasmtime::component::{Access, Accessor, FutureReader, Resource, StreamReader};

use super::generated::types::{ErrorCode, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress};
use super::streams::{Accepting, Outcome, Receiving, Sending};
use super::{Fault, SocketError, Sockets, SocketsView};
use crate::runtime::wasm::sockets::tcp::TcpSocket;

/// How a direction of a connection ended.
type Ended = FutureReader<Result<(), ErrorCode>>;

impl SocketsView<'_> {
    fn tcp3(&mut self, socket: &Resource<TcpSocket>) -> Result<&mut TcpSocket, Fault> {
        Ok(self.table.get_mut(socket)?)
    }
}

/// A future that is there already and says why the call failed.
fn failed<T: Send + 'static>(mut access: Access<'_, T, Sockets>, fault: Fault) -> wasmtime::Result<Ended> {
    let code = SocketError::from(fault).downcast()?;
    FutureReader::new(&mut access, async move { wasmtime::error::Ok(Err(code)) })
}

impl<T: Send + 'static> HostTcpSocketWithStore<T> for Sockets {
    async fn connect(
        store: &Accessor<T, Self>,
        this: Resource<TcpSocket>,
        remote: IpSocketAddress,
    ) -> Result<(), SocketError> {
        store.with(|mut access| access.get().tcp3(&this)?.start_connect(remote.into()))?;
        let connected = poll_fn(|context| {
            store.with(|mut access| match access.get().tcp3(&this) {
                Ok(socket) => socket.poll_connected(context),
                Err(fault) => std::task::Poll::Ready(Err(fault)),
            })
        });
        Ok(connected.await?)
    }

    fn listen(
        mut access: Access<'_, T, Self>,
        this: Resource<TcpSocket>,
    ) -> Result<StreamReader<Resource<TcpSocket>>, SocketError> {
        let view = access.getter();
        let mut sockets = access.get();
        let socket = sockets.tcp3(&this)?;
        let accepting = Accepting { listener: socket.listen()?, acceptor: socket.acceptor(), view };
        StreamReader::new(&mut access, accepting).map_err(SocketError::trap)
    }

    fn send(
        mut access: Access<'_, T, Self>,
        this: Resource<TcpSocket>,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<Ended> {
        match access.get().tcp3(&this).and_then(TcpSocket::take_writer) {
            Ok(writer) => {
                let (sender, ended) = oneshot::channel();
                data.pipe(&mut access, Sending { writer, outcome: Outcome::new(sender) })?;
                FutureReader::new(&mut access, ended)
            }
            Err(fault) => {
                data.close(&mut access)?;
                failed(access, fault)
            }
        }
    }

    fn receive(
        mut access: Access<'_, T, Self>,
        this: Resource<TcpSocket>,
    ) -> wasmtime::Result<(StreamReader<u8>, Ended)> {
        match access.get().tcp3(&this).and_then(TcpSocket::take_reader) {
            Ok(reader) => {
                let (sender, ended) = oneshot::channel();
                let stream = StreamReader::new(&mut access, Receiving { reader, outcome: Outcome::new(sender) })?;
                Ok((stream, FutureReader::new(&mut access, ended)?))
            }
            Err(fault) => Ok((StreamReader::new(&mut access, std::iter::empty())?, failed(access, fault)?)),
        }
    }
}

impl HostTcpSocket for SocketsView<'_> {
    fn create(&mut self, family: IpAddressFamily) -> Result<Resource<TcpSocket>, SocketError> {
        let socket = TcpSocket::new(self.network, family.into());
        Ok(self.table.push(socket).map_err(Fault::from)?)
    }

    fn bind(&mut self, this: Resource<TcpSocket>, local: IpSocketAddress) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.bind(local.into())?)
    }

    fn get_local_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.tcp3(&this)?.local_addr()?.into())
    }

    fn get_remote_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.tcp3(&this)?.peer_addr()?.into())
    }

    fn get_is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.listener().is_some())
    }

    fn get_address_family(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family().into())
    }

    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.set_backlog(value)?)
    }

    fn get_keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> Result<bool, SocketError> {
        Ok(self.tcp3(&this)?.options.keep_alive())
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> Result<(), SocketError> {
        self.tcp3(&this)?.options.set_keep_alive(value);
        Ok(())
    }

    fn get_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp3(&this)?.options.keep_alive_idle())
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.options.set_keep_alive_idle(value)?)
    }

    fn get_keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp3(&this)?.options.keep_alive_interval())
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.options.set_keep_alive_interval(value)?)
    }

    fn get_keep_alive_count(&mut self, this: Resource<TcpSocket>) -> Result<u32, SocketError> {
        Ok(self.tcp3(&this)?.options.keep_alive_count())
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.options.set_keep_alive_count(value)?)
    }

    fn get_hop_limit(&mut self, this: Resource<TcpSocket>) -> Result<u8, SocketError> {
        Ok(self.tcp3(&this)?.options.hop_limit())
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.options.set_hop_limit(value)?)
    }

    fn get_receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp3(&this)?.options.receive_buffer())
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.options.set_receive_buffer(value)?)
    }

    fn get_send_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp3(&this)?.options.send_buffer())
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp3(&this)?.options.set_send_buffer(value)?)
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
