//! The rules of `wasi:sockets` as the fronts show them, called as a guest's imports are.

use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, Network, SocketError, StreamError};

use super::bindings::p2::wasi::sockets::ip_name_lookup::{Host as _, HostResolveAddressStream as _};
use super::bindings::p2::wasi::sockets::tcp::{HostTcpSocket, ShutdownType};
use super::bindings::p2::wasi::sockets::tcp_create_socket::Host as _;
use super::bindings::p2::wasi::sockets::udp::{
    HostIncomingDatagramStream as _, HostOutgoingDatagramStream as _, HostUdpSocket, OutgoingDatagram,
};
use super::bindings::p2::wasi::sockets::udp_create_socket::Host as _;
use super::p2::{TcpSocket, UdpSocket};
use super::*;
use crate::net::{Egress, Switch};
use wasmtime::component::Resource;

/// One guest, alone in its pod.
struct Guest {
    table: ResourceTable,
    network: Arc<PodNetwork>,
}

impl Guest {
    fn new() -> Self {
        let network = Switch::new(Egress::Deny).attach("web-0", None).unwrap();
        Self { table: ResourceTable::new(), network }
    }

    fn view(&mut self) -> SocketsView<'_> {
        SocketsView { table: &mut self.table, network: &self.network }
    }

    fn instance_network(&mut self) -> Resource<Network> {
        // wasmtime gives out the handle, and nobody else can make one: borrow it from a context of its own.
        use wasmtime_wasi::p2::bindings::sockets::instance_network::Host as _;
        use wasmtime_wasi::sockets::{WasiSocketsCtx, WasiSocketsCtxView};
        let mut ctx = WasiSocketsCtx::default();
        WasiSocketsCtxView { ctx: &mut ctx, table: &mut self.table }.instance_network().unwrap()
    }

    fn tcp(&mut self, family: IpAddressFamily) -> Resource<TcpSocket> {
        self.view().create_tcp_socket(family).unwrap()
    }

    fn bind(&mut self, socket: &Resource<TcpSocket>, address: &str) -> Result<(), ErrorCode> {
        let network = self.instance_network();
        HostTcpSocket::start_bind(&mut self.view(), borrow(socket), network, at(address)).map_err(code)?;
        HostTcpSocket::finish_bind(&mut self.view(), borrow(socket)).map_err(code)
    }

    fn listen(&mut self, address: &str) -> Resource<TcpSocket> {
        let socket = self.tcp(family(address));
        self.bind(&socket, address).unwrap();
        HostTcpSocket::start_listen(&mut self.view(), borrow(&socket)).unwrap();
        self.view().finish_listen(borrow(&socket)).unwrap();
        socket
    }

    fn connect(
        &mut self,
        socket: &Resource<TcpSocket>,
        address: &str,
    ) -> Result<(Resource<DynInputStream>, Resource<DynOutputStream>), ErrorCode> {
        let network = self.instance_network();
        self.view().start_connect(borrow(socket), network, at(address)).map_err(code)?;
        self.view().finish_connect(borrow(socket)).map_err(code)
    }
}

fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

fn code(error: SocketError) -> ErrorCode {
    error.downcast().unwrap()
}

fn at(address: &str) -> IpSocketAddress {
    address.parse::<SocketAddr>().unwrap().into()
}

fn family(address: &str) -> IpAddressFamily {
    if address.starts_with('[') { IpAddressFamily::Ipv6 } else { IpAddressFamily::Ipv4 }
}

#[tokio::test]
async fn a_connection_carries_bytes_both_ways_and_ends_in_halves() {
    let mut guest = Guest::new();
    let listener = guest.listen("127.0.0.1:80");
    assert!(matches!(code(guest.view().accept(borrow(&listener)).unwrap_err()), ErrorCode::WouldBlock));

    let client = guest.tcp(IpAddressFamily::Ipv4);
    let (client_in, client_out) = guest.connect(&client, "127.0.0.1:80").unwrap();
    let (server, server_in, server_out) = guest.view().accept(borrow(&listener)).unwrap();
    let local = SocketAddr::from(HostTcpSocket::local_address(&mut guest.view(), borrow(&client)).unwrap());
    let peer = SocketAddr::from(HostTcpSocket::remote_address(&mut guest.view(), borrow(&server)).unwrap());
    assert_eq!(local, peer);

    let output = guest.table.get_mut(&client_out).unwrap();
    assert!(output.check_write().unwrap() >= 4096);
    output.write("request".into()).unwrap();
    guest.view().shutdown(borrow(&client), ShutdownType::Send).unwrap();
    let input = guest.table.get_mut(&server_in).unwrap();
    assert_eq!(input.read(100).unwrap(), "request");
    assert!(matches!(input.read(100), Err(StreamError::Closed)));
    let refused = guest.table.get_mut(&client_out).unwrap().write("more".into());
    assert!(matches!(refused, Err(StreamError::Closed)));

    guest.table.get_mut(&server_out).unwrap().write("response".into()).unwrap();
    let input = guest.table.get_mut(&client_in).unwrap();
    assert_eq!(input.read(4).unwrap(), "resp");
    assert_eq!(input.read(100).unwrap(), "onse");
    assert!(input.read(100).unwrap().is_empty(), "open, and nothing there");
}

#[tokio::test]
async fn a_reset_is_told_once_with_its_reason() {
    let mut guest = Guest::new();
    let listener = guest.listen("127.0.0.1:80");
    let client = guest.tcp(IpAddressFamily::Ipv4);
    let (input, output) = guest.connect(&client, "127.0.0.1:80").unwrap();
    HostTcpSocket::drop(&mut guest.view(), listener).unwrap();
    let Err(StreamError::LastOperationFailed(error)) = guest.table.get_mut(&input).unwrap().read(1) else {
        panic!("the listener was closed with the connection in its queue");
    };
    let error = guest.table.push(error).unwrap();
    let reason = wasmtime_wasi::p2::bindings::sockets::network::Host::network_error_code(&mut guest.view(), error);
    assert_eq!(reason.unwrap(), Some(ErrorCode::ConnectionReset));
    assert!(matches!(guest.table.get_mut(&input).unwrap().read(1), Err(StreamError::Closed)));
    let write = guest.table.get_mut(&output).unwrap().check_write();
    assert!(matches!(write, Err(StreamError::LastOperationFailed(_))));
}

#[tokio::test]
async fn addresses_are_checked_as_the_specification_says() {
    let mut guest = Guest::new();
    let _taken = guest.listen("127.0.0.1:80");
    for (socket_family, address, expected) in [
        (IpAddressFamily::Ipv4, "127.0.0.1:80", ErrorCode::AddressInUse),
        (IpAddressFamily::Ipv4, "0.0.0.0:80", ErrorCode::AddressInUse),
        (IpAddressFamily::Ipv4, "192.0.2.1:80", ErrorCode::AddressNotBindable),
        (IpAddressFamily::Ipv4, "[::1]:80", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv6, "127.0.0.1:80", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv4, "224.0.0.1:80", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv4, "255.255.255.255:80", ErrorCode::InvalidArgument),
    ] {
        let socket = guest.tcp(socket_family);
        assert_eq!(guest.bind(&socket, address), Err(expected), "bind {address}");
    }
    for (socket_family, address, expected) in [
        (IpAddressFamily::Ipv4, "127.0.0.1:81", ErrorCode::ConnectionRefused),
        (IpAddressFamily::Ipv4, "0.0.0.0:80", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv4, "127.0.0.1:0", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv4, "[::1]:80", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv4, "224.0.0.1:80", ErrorCode::InvalidArgument),
        (IpAddressFamily::Ipv4, "192.0.2.1:80", ErrorCode::AccessDenied),
        (IpAddressFamily::Ipv4, "10.88.99.99:80", ErrorCode::RemoteUnreachable),
    ] {
        let socket = guest.tcp(socket_family);
        assert_eq!(guest.connect(&socket, address).map(|_| ()), Err(expected), "connect {address}");
    }
}

#[tokio::test]
async fn calls_out_of_turn_are_refused() {
    let mut guest = Guest::new();
    let socket = guest.tcp(IpAddressFamily::Ipv4);
    assert_eq!(
        HostTcpSocket::finish_bind(&mut guest.view(), borrow(&socket)).map_err(code),
        Err(ErrorCode::NotInProgress)
    );
    let finished = guest.view().finish_connect(borrow(&socket)).map(|_| ()).map_err(code);
    assert_eq!(finished, Err(ErrorCode::NotInProgress));
    let listening = HostTcpSocket::start_listen(&mut guest.view(), borrow(&socket)).map_err(code);
    assert_eq!(listening, Err(ErrorCode::InvalidState), "0.2 listens only on bound sockets");
    let shutdown = guest.view().shutdown(borrow(&socket), ShutdownType::Both).map_err(code);
    assert_eq!(shutdown, Err(ErrorCode::InvalidState));
    guest.bind(&socket, "127.0.0.1:0").unwrap();
    assert_eq!(guest.bind(&socket, "127.0.0.1:0"), Err(ErrorCode::InvalidState));
    HostTcpSocket::start_listen(&mut guest.view(), borrow(&socket)).unwrap();
    let again = HostTcpSocket::start_listen(&mut guest.view(), borrow(&socket)).map_err(code);
    assert_eq!(again, Err(ErrorCode::ConcurrencyConflict));
    guest.view().finish_listen(borrow(&socket)).unwrap();
    assert!(guest.view().is_listening(borrow(&socket)).unwrap());
    assert_eq!(guest.connect(&socket, "127.0.0.1:80").map(|_| ()), Err(ErrorCode::InvalidState));
}

#[tokio::test]
async fn options_are_checked_and_kept() {
    let mut guest = Guest::new();
    let socket = guest.tcp(IpAddressFamily::Ipv4);
    let mut view = guest.view();
    let view: &mut dyn HostTcpSocket = &mut view;
    for (name, result) in [
        ("backlog", view.set_listen_backlog_size(borrow(&socket), 0)),
        ("hop limit", view.set_hop_limit(borrow(&socket), 0)),
        ("keep-alive count", view.set_keep_alive_count(borrow(&socket), 0)),
        ("keep-alive interval", view.set_keep_alive_interval(borrow(&socket), 0)),
        ("keep-alive idle time", view.set_keep_alive_idle_time(borrow(&socket), 0)),
        ("send buffer", view.set_send_buffer_size(borrow(&socket), 0)),
        ("receive buffer", view.set_receive_buffer_size(borrow(&socket), 0)),
    ] {
        assert_eq!(result.map_err(code), Err(ErrorCode::InvalidArgument), "{name}");
    }
    view.set_keep_alive_enabled(borrow(&socket), true).unwrap();
    view.set_keep_alive_idle_time(borrow(&socket), 42_000_000_001).unwrap();
    view.set_keep_alive_interval(borrow(&socket), 1).unwrap();
    view.set_hop_limit(borrow(&socket), 7).unwrap();
    view.set_send_buffer_size(borrow(&socket), 65_536).unwrap();
    assert!(view.keep_alive_enabled(borrow(&socket)).unwrap());
    assert_eq!(view.keep_alive_idle_time(borrow(&socket)).unwrap(), 42_000_000_000, "whole seconds");
    assert_eq!(view.keep_alive_interval(borrow(&socket)).unwrap(), 1_000_000_000, "at least one");
    assert_eq!(view.hop_limit(borrow(&socket)).unwrap(), 7);
    assert_eq!(view.send_buffer_size(borrow(&socket)).unwrap(), 65_536);
}

#[tokio::test]
async fn datagrams_pass_and_need_permission() {
    let mut guest = Guest::new();
    let mut bound = |address: &str| -> Resource<UdpSocket> {
        let network = guest.instance_network();
        let socket = guest.view().create_udp_socket(family(address)).unwrap();
        HostUdpSocket::start_bind(&mut guest.view(), borrow(&socket), network, at(address)).unwrap();
        HostUdpSocket::finish_bind(&mut guest.view(), borrow(&socket)).unwrap();
        socket
    };
    let (server, client) = (bound("127.0.0.1:53"), bound("127.0.0.1:9"));
    let (server_in, _server_out) = guest.view().stream(borrow(&server), None).unwrap();
    let (_client_in, client_out) = guest.view().stream(borrow(&client), None).unwrap();
    let datagram = |data: &[u8], to: Option<&str>| OutgoingDatagram { data: data.to_vec(), remote_address: to.map(at) };

    let unpermitted = guest.view().send(borrow(&client_out), vec![datagram(b"x", Some("127.0.0.1:53"))]);
    assert!(unpermitted.unwrap_err().downcast().is_err(), "sending without check-send traps");

    assert!(guest.view().check_send(borrow(&client_out)).unwrap() >= 2);
    let batch = vec![datagram(b"a", Some("127.0.0.1:53")), datagram(b"b", Some("127.0.0.1:53"))];
    assert_eq!(guest.view().send(borrow(&client_out), batch).unwrap(), 2);
    let received = guest.view().receive(borrow(&server_in), 10).unwrap();
    let seen: Vec<_> = received.iter().map(|one| (&one.data[..], SocketAddr::from(one.remote_address))).collect();
    let from = "127.0.0.1:9".parse().unwrap();
    assert_eq!(seen, [(&b"a"[..], from), (&b"b"[..], from)]);
    assert!(guest.view().receive(borrow(&server_in), 10).unwrap().is_empty());

    for (data, to, expected) in [
        (vec![0; 3], None, ErrorCode::InvalidArgument),
        (vec![0; 3], Some("127.0.0.1:0"), ErrorCode::InvalidArgument),
        (vec![0; 65_508], Some("127.0.0.1:53"), ErrorCode::DatagramTooLarge),
        (vec![0; 3], Some("192.0.2.1:53"), ErrorCode::AccessDenied),
    ] {
        guest.view().check_send(borrow(&client_out)).unwrap();
        let result = guest.view().send(borrow(&client_out), vec![datagram(&data, to)]).map_err(code);
        assert_eq!(result, Err(expected), "{} bytes to {to:?}", data.len());
    }

    let (_in, out) = guest.view().stream(borrow(&client), Some(at("127.0.0.1:53"))).unwrap();
    guest.view().check_send(borrow(&out)).unwrap();
    let elsewhere = guest.view().send(borrow(&out), vec![datagram(b"x", Some("127.0.0.1:54"))]).map_err(code);
    assert_eq!(elsewhere, Err(ErrorCode::InvalidArgument), "connected to another");
}

#[tokio::test]
async fn names_resolve_one_address_after_the_other() {
    let mut guest = Guest::new();
    let network = guest.instance_network();
    let stream = guest.view().resolve_addresses(borrow(&network), "localhost".to_owned()).unwrap();
    let mut next = || guest.view().resolve_next_address(borrow(&stream)).map(|ip| ip.is_some()).map_err(code);
    assert_eq!([next(), next(), next()], [Ok(true), Ok(true), Ok(false)]);
    let unknown = guest.view().resolve_addresses(borrow(&network), "example.com".to_owned()).unwrap();
    let answer = guest.view().resolve_next_address(unknown).map(|_| ()).map_err(code);
    assert_eq!(answer, Err(ErrorCode::NameUnresolvable));
    let malformed = guest.view().resolve_addresses(network, "not a name".to_owned()).map(|_| ()).map_err(code);
    assert_eq!(malformed, Err(ErrorCode::InvalidArgument));
}

#[tokio::test]
async fn a_socket_says_when_it_is_ready() {
    use wasmtime_wasi::p2::Pollable;
    let mut guest = Guest::new();
    let listener = guest.listen("[::]:80");
    let is_ready = |guest: &mut Guest| {
        let socket: &mut TcpSocket = guest.table.get_mut(&listener).unwrap();
        let mut ready = socket.ready();
        matches!(ready.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
    };
    assert!(!is_ready(&mut guest));
    let client = guest.tcp(IpAddressFamily::Ipv4);
    guest.connect(&client, "127.0.0.1:80").unwrap();
    assert!(is_ready(&mut guest));
    let (server, ..) = guest.view().accept(borrow(&listener)).unwrap();
    let peer = SocketAddr::from(HostTcpSocket::remote_address(&mut guest.view(), server).unwrap());
    assert_eq!(peer.ip(), "::ffff:127.0.0.1".parse::<std::net::IpAddr>().unwrap(), "IPv4 on an IPv6 socket");
    assert!(!is_ready(&mut guest));
}
