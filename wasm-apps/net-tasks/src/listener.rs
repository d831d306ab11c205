//! Listening sockets.

use std::net::SocketAddr;

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::ErrorCode;
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use crate::address::{family, to_wasi};
use crate::reactor::Readiness;
use crate::stream::Stream;

/// A listening socket. What waits for it is declared, and so dropped, before it.
pub struct Listener {
    incoming: Readiness,
    socket: TcpSocket,
}

impl Listener {
    /// Listens on `address`; up to `backlog` connections wait to be accepted.
    pub fn bind(address: SocketAddr, backlog: u64) -> Result<Self, ErrorCode> {
        let socket = create_tcp_socket(family(address))?;
        socket.start_bind(&instance_network(), to_wasi(address))?;
        finished(&socket, TcpSocket::finish_bind)?;
        let _a_hint_only = socket.set_listen_backlog_size(backlog);
        socket.start_listen()?;
        finished(&socket, TcpSocket::finish_listen)?;
        Ok(Self { incoming: Readiness::new(socket.subscribe()), socket })
    }

    /// The next connection.
    pub async fn accept(&self) -> Result<Stream, ErrorCode> {
        loop {
            match self.socket.accept() {
                Ok((socket, input, output)) => return Ok(Stream::new(socket, input, output)),
                Err(ErrorCode::WouldBlock) => self.incoming.wait().await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Binding and listening take no time worth a task.
fn finished(socket: &TcpSocket, finish: impl Fn(&TcpSocket) -> Result<(), ErrorCode>) -> Result<(), ErrorCode> {
    let ready = socket.subscribe();
    loop {
        match finish(socket) {
            Err(ErrorCode::WouldBlock) => ready.block(),
            result => return result,
        }
    }
}
