//! `wasi:sockets/tcp@0.2`.

use std::future::poll_fn;
use std::task::Poll;

use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Network, Pollable, SocketError, subscribe};

use super::generated::tcp::{Host, HostTcpSocket, ShutdownType};
use super::generated::tcp_create_socket;
use super::streams::{Receiving, Sending};
use super::{SocketsView, noop};
use crate::runtime::wasm::sockets::fault::Fault;
use crate::runtime::wasm::sockets::tcp;

/// A TCP socket and what was started on it but not finished.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub struct TcpSocket {
    inner: tcp::TcpSocket,
    started: Option<Operation>,
}

/// An operation that is started and finished in two calls.
enum Operation {
    Bind,
    Listen,
    /// With the outcome, once it is known.
    Connect(Option<Result<(), Fault>>),
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

impl TcpSocket {
    fn new(inner: tcp::TcpSocket) -> Self {
        Self { inner, started: None }
    }

    fn check_idle(&self) -> Result<(), Fault> {
        if self.started.is_some() { Err(Fault::ConcurrencyConflict) } else { Ok(()) }
    }

    fn start_connect(&mut self, peer: std::net::SocketAddr) -> Result<(), Fault> {
        self.check_idle()?;
        self.inner.start_connect(peer)?;
        // Most connections stay in the switch and are there at once.
        let outcome = match self.inner.poll_connected(&mut noop()) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        };
        self.started = Some(Operation::Connect(outcome));
        Ok(())
    }

    fn finish_connect(&mut self) -> Result<(), Fault> {
        let Some(Operation::Connect(outcome)) = &mut self.started else { return Err(Fault::NotInProgress) };
        let outcome = match outcome.take() {
            Some(outcome) => outcome,
            None => match self.inner.poll_connected(&mut noop()) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => return Err(Fault::WouldBlock),
            },
        };
        self.started = None;
        outcome
    }
}

#[async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        match &mut self.started {
            Some(Operation::Connect(outcome @ None)) => {
                *outcome = Some(poll_fn(|context| self.inner.poll_connected(context)).await);
            }
            Some(_) => {}
            None => {
                if let Some(listener) = self.inner.listener() {
                    poll_fn(|context| listener.poll_ready(context)).await;
                }
            }
        }
    }
}

impl SocketsView<'_> {
    fn tcp(&mut self, socket: &Resource<TcpSocket>) -> Result<&mut TcpSocket, SocketError> {
        Ok(self.table.get_mut(socket)?)
    }

    fn push_streams(&mut self, socket: &Resource<TcpSocket>) -> Result<Streams, SocketError> {
        let (reader, writer) = self.tcp(socket)?.inner.handles()?;
        let input: DynInputStream = Box::new(Receiving::new(reader));
        let output: DynOutputStream = Box::new(Sending::new(writer));
        Ok((self.table.push_child(input, socket)?, self.table.push_child(output, socket)?))
    }
}

impl Host for SocketsView<'_> {}

impl tcp_create_socket::Host for SocketsView<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> Result<Resource<TcpSocket>, SocketError> {
        let socket = TcpSocket::new(tcp::TcpSocket::new(self.network, family.into()));
        Ok(self.table.push(socket)?)
    }
}

impl HostTcpSocket for SocketsView<'_> {
    fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        local: IpSocketAddress,
    ) -> Result<(), SocketError> {
        self.check_network(&network)?;
        let socket = self.tcp(&this)?;
        socket.check_idle()?;
        socket.inner.bind(local.into())?;
        socket.started = Some(Operation::Bind);
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<TcpSocket>) -> Result<(), SocketError> {
        let socket = self.tcp(&this)?;
        let Some(Operation::Bind) = socket.started else { return Err(Fault::NotInProgress.into()) };
        socket.started = None;
        Ok(())
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        remote: IpSocketAddress,
    ) -> Result<(), SocketError> {
        self.check_network(&network)?;
        Ok(self.tcp(&this)?.start_connect(remote.into())?)
    }

    fn finish_connect(&mut self, this: Resource<TcpSocket>) -> Result<Streams, SocketError> {
        self.tcp(&this)?.finish_connect()?;
        self.push_streams(&this)
    }

    fn start_listen(&mut self, this: Resource<TcpSocket>) -> Result<(), SocketError> {
        let socket = self.tcp(&this)?;
        socket.check_idle()?;
        if !socket.inner.is_bound() {
            return Err(Fault::InvalidState.into());
        }
        socket.inner.listen()?;
        socket.started = Some(Operation::Listen);
        Ok(())
    }

    fn finish_listen(&mut self, this: Resource<TcpSocket>) -> Result<(), SocketError> {
        let socket = self.tcp(&this)?;
        let Some(Operation::Listen) = socket.started else { return Err(Fault::NotInProgress.into()) };
        socket.started = None;
        Ok(())
    }

    fn accept(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> Result<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>), SocketError> {
        let listening = &self.tcp(&this)?.inner;
        let listener = listening.listener().ok_or(Fault::InvalidState)?;
        let stream = listener.try_accept().map_err(Fault::Net)?.ok_or(Fault::WouldBlock)?;
        let accepted = TcpSocket::new(listening.acceptor().accepted(stream));
        let accepted = self.table.push(accepted)?;
        let (input, output) = self.push_streams(&accepted)?;
        Ok((accepted, input, output))
    }

    fn local_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.tcp(&this)?.inner.local_addr()?.into())
    }

    fn remote_address(&mut self, this: Resource<TcpSocket>) -> Result<IpSocketAddress, SocketError> {
        Ok(self.tcp(&this)?.inner.peer_addr()?.into())
    }

    fn is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&this)?.inner.listener().is_some())
    }

    fn address_family(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.inner.family().into())
    }

    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.set_backlog(value)?)
    }

    fn keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> Result<bool, SocketError> {
        Ok(self.tcp(&this)?.inner.options.keep_alive())
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> Result<(), SocketError> {
        self.tcp(&this)?.inner.options.set_keep_alive(value);
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp(&this)?.inner.options.keep_alive_idle())
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.options.set_keep_alive_idle(value)?)
    }

    fn keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp(&this)?.inner.options.keep_alive_interval())
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.options.set_keep_alive_interval(value)?)
    }

    fn keep_alive_count(&mut self, this: Resource<TcpSocket>) -> Result<u32, SocketError> {
        Ok(self.tcp(&this)?.inner.options.keep_alive_count())
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.options.set_keep_alive_count(value)?)
    }

    fn hop_limit(&mut self, this: Resource<TcpSocket>) -> Result<u8, SocketError> {
        Ok(self.tcp(&this)?.inner.options.hop_limit())
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.options.set_hop_limit(value)?)
    }

    fn receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp(&this)?.inner.options.receive_buffer())
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.options.set_receive_buffer(value)?)
    }

    fn send_buffer_size(&mut self, this: Resource<TcpSocket>) -> Result<u64, SocketError> {
        Ok(self.tcp(&this)?.inner.options.send_buffer())
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> Result<(), SocketError> {
        Ok(self.tcp(&this)?.inner.options.set_send_buffer(value)?)
    }

    fn subscribe(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn shutdown(&mut self, this: Resource<TcpSocket>, which: ShutdownType) -> Result<(), SocketError> {
        let (reader, writer) = self.tcp(&this)?.inner.handles()?;
        if matches!(which, ShutdownType::Receive | ShutdownType::Both) {
            reader.discard();
        }
        if matches!(which, ShutdownType::Send | ShutdownType::Both) {
            writer.close();
        }
        Ok(())
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
