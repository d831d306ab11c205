//! What the network programs share: TCP by `wasi:sockets` itself, so that one poll can wait for listeners,
//! connections, standard input, signals and time together, which std's sockets cannot.

pub mod blocking;
pub mod datagrams;
pub mod tasks;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

/// Connections waiting to be accepted.
const BACKLOG: u64 = 128;

/// An open connection. The streams are declared, and so dropped, before the socket they belong to.
pub struct Connection {
    /// What the peer sends.
    pub input: InputStream,
    /// What the peer gets.
    pub output: OutputStream,
    socket: TcpSocket,
}

impl Connection {
    /// The peer's address, for showing.
    pub fn peer(&self) -> String {
        self.peer_address().map_or_else(|_| "-".to_owned(), |address| address.ip().to_canonical().to_string())
    }

    /// The peer's address and port.
    pub fn peer_address(&self) -> Result<SocketAddr, ErrorCode> {
        self.socket.remote_address().map(from_wasi)
    }

    /// Our own address and port.
    pub fn local_address(&self) -> Result<SocketAddr, ErrorCode> {
        self.socket.local_address().map(from_wasi)
    }

    /// Tells the peer that nothing more will be sent.
    pub fn finish_sending(&self) {
        let _already_gone = self.socket.shutdown(ShutdownType::Send);
    }
}

/// Listens on `address`.
pub fn listen(address: SocketAddr) -> Result<TcpSocket, ErrorCode> {
    let socket = create_tcp_socket(family(address))?;
    socket.start_bind(&instance_network(), to_wasi(address))?;
    finished(&socket.subscribe(), || socket.finish_bind(), None)?;
    let _a_hint_only = socket.set_listen_backlog_size(BACKLOG);
    socket.start_listen()?;
    finished(&socket.subscribe(), || socket.finish_listen(), None)?;
    Ok(socket)
}

/// Takes one waiting connection, if there is one.
pub fn accept(listener: &TcpSocket) -> Result<Option<Connection>, ErrorCode> {
    match listener.accept() {
        Ok((socket, input, output)) => Ok(Some(Connection { input, output, socket })),
        Err(ErrorCode::WouldBlock) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Connects to `address`; fails with [`ErrorCode::Timeout`] after `timeout`.
pub fn connect(address: SocketAddr, timeout: Option<Duration>) -> Result<Connection, ErrorCode> {
    let socket = create_tcp_socket(family(address))?;
    socket.start_connect(&instance_network(), to_wasi(address))?;
    let (input, output) = finished(&socket.subscribe(), || socket.finish_connect(), timeout)?;
    Ok(Connection { input, output, socket })
}

/// What `finish` says when it no longer says that it would block.
fn finished<T>(
    ready: &Pollable,
    finish: impl Fn() -> Result<T, ErrorCode>,
    timeout: Option<Duration>,
) -> Result<T, ErrorCode> {
    let timer = timeout.map(timer);
    loop {
        match finish() {
            Err(ErrorCode::WouldBlock) if wait(ready, timer.as_ref()) => {}
            Err(ErrorCode::WouldBlock) => return Err(ErrorCode::Timeout),
            result => return result,
        }
    }
}

/// Ready after this time.
pub fn timer(duration: Duration) -> Pollable {
    subscribe_duration(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// Waits for `ready`, but no longer than for `timer`; whether it is ready.
pub fn wait(ready: &Pollable, timer: Option<&Pollable>) -> bool {
    match timer {
        None => {
            ready.block();
            true
        }
        Some(timer) => poll(&[ready, timer]).contains(&0),
    }
}

fn family(address: SocketAddr) -> IpAddressFamily {
    if address.is_ipv4() { IpAddressFamily::Ipv4 } else { IpAddressFamily::Ipv6 }
}

fn to_wasi(address: SocketAddr) -> IpSocketAddress {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: ip.octets().into() }),
        IpAddr::V6(ip) => {
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address: ip.segments().into(), scope_id: 0 })
        }
    }
}

fn from_wasi(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(address) => (<[u8; 4]>::from(address.address), address.port).into(),
        IpSocketAddress::Ipv6(address) => (<[u16; 8]>::from(address.address), address.port).into(),
    }
}

/// What a system would say.
pub fn explain(error: ErrorCode) -> String {
    match error {
        ErrorCode::AccessDenied => "Permission denied".to_owned(),
        ErrorCode::AddressInUse => "Address in use".to_owned(),
        ErrorCode::AddressNotBindable => "Address not available".to_owned(),
        ErrorCode::ConnectionRefused => "Connection refused".to_owned(),
        ErrorCode::ConnectionReset => "Connection reset by peer".to_owned(),
        ErrorCode::RemoteUnreachable => "Host is unreachable".to_owned(),
        ErrorCode::Timeout => "Operation timed out".to_owned(),
        other => other.name().to_owned(),
    }
}
