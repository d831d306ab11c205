//! What the network programs share: TCP by `wasi:sockets` itself, so that one poll can wait for listeners,
//! connections, standard input, signals and time together, which std's sockets cannot.

pub mod tasks;

use std::net::{IpAddr, SocketAddr};

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
        self.socket.remote_address().map_or_else(|_| "-".to_owned(), |address| from_wasi(address).ip().to_string())
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
    waited(&socket, TcpSocket::finish_bind)?;
    let _a_hint_only = socket.set_listen_backlog_size(BACKLOG);
    socket.start_listen()?;
    waited(&socket, TcpSocket::finish_listen)?;
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

/// Connects to `address`.
pub fn connect(address: SocketAddr) -> Result<Connection, ErrorCode> {
    let socket = create_tcp_socket(family(address))?;
    socket.start_connect(&instance_network(), to_wasi(address))?;
    let (input, output) = waited(&socket, TcpSocket::finish_connect)?;
    Ok(Connection { input, output, socket })
}

fn waited<T>(socket: &TcpSocket, finish: impl Fn(&TcpSocket) -> Result<T, ErrorCode>) -> Result<T, ErrorCode> {
    let ready = socket.subscribe();
    loop {
        match finish(socket) {
            Err(ErrorCode::WouldBlock) => ready.block(),
            result => return result,
        }
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
