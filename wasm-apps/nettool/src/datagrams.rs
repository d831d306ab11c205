//! UDP by `wasi:sockets`: one socket, connected or not, whose reception can be waited for together with other things.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use wasip2::io::poll::Pollable;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::ErrorCode;
use wasip2::sockets::udp::{IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream, UdpSocket};
use wasip2::sockets::udp_create_socket::create_udp_socket;

use crate::{family, finished, from_wasi, timer, to_wasi, wait};

/// A UDP socket. The streams are declared, and so dropped, before the socket they belong to.
pub struct Datagrams {
    streams: Option<(IncomingDatagramStream, OutgoingDatagramStream)>,
    socket: UdpSocket,
}

impl Datagrams {
    /// Takes a local address, which receives from everybody.
    pub fn bind(address: SocketAddr) -> Result<Self, ErrorCode> {
        let socket = create_udp_socket(family(address))?;
        socket.start_bind(&instance_network(), to_wasi(address))?;
        finished(&socket.subscribe(), || socket.finish_bind(), None)?;
        let mut bound = Self { streams: None, socket };
        bound.set_peer(None)?;
        Ok(bound)
    }

    /// A socket that exchanges datagrams with one peer only.
    pub fn connect(peer: SocketAddr) -> Result<Self, ErrorCode> {
        let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let mut connected = Self::bind(SocketAddr::new(any, 0))?;
        connected.set_peer(Some(peer))?;
        Ok(connected)
    }

    /// From now on datagrams are exchanged with `peer` only, or with everybody.
    pub fn set_peer(&mut self, peer: Option<SocketAddr>) -> Result<(), ErrorCode> {
        // A socket has one pair of streams at a time.
        self.streams = None;
        self.streams = Some(self.socket.stream(peer.map(to_wasi))?);
        Ok(())
    }

    /// Our own address and port.
    pub fn local_address(&self) -> Result<SocketAddr, ErrorCode> {
        self.socket.local_address().map(from_wasi)
    }

    /// Sends one datagram to the peer.
    pub fn send(&self, data: &[u8]) -> Result<(), ErrorCode> {
        let Some((_, outgoing)) = &self.streams else { return Err(ErrorCode::InvalidState) };
        let writable = outgoing.subscribe();
        while outgoing.check_send()? == 0 {
            writable.block();
        }
        outgoing.send(&[OutgoingDatagram { data: data.to_vec(), remote_address: None }]).map(drop)
    }

    /// A datagram that has arrived, and where from.
    pub fn try_receive(&self) -> Result<Option<(Vec<u8>, SocketAddr)>, ErrorCode> {
        let Some((incoming, _)) = &self.streams else { return Err(ErrorCode::InvalidState) };
        let datagram = incoming.receive(1)?.pop();
        Ok(datagram.map(|datagram| (datagram.data, from_wasi(datagram.remote_address))))
    }

    /// The next datagram; [`ErrorCode::Timeout`] when none comes in time.
    pub fn receive(&self, limit: Duration) -> Result<Vec<u8>, ErrorCode> {
        let Some(arrival) = self.arrival() else { return Err(ErrorCode::InvalidState) };
        let timer = timer(limit);
        loop {
            if let Some((data, _)) = self.try_receive()? {
                return Ok(data);
            }
            if timer.ready() || !wait(&arrival, Some(&timer)) {
                return Err(ErrorCode::Timeout);
            }
        }
    }

    /// Ready while a datagram waits; to be dropped before the socket and before the peer is set.
    pub fn arrival(&self) -> Option<Pollable> {
        self.streams.as_ref().map(|(incoming, _)| incoming.subscribe())
    }
}
