//! What the packets lead to that a pod's kernel sends out of its device: other kernels as they are, and everything else
//! by way of the switch.
//!
//! ```text
//!   TCP to a pod with a kernel ────────▶ its device              UDP to the switch's DNS ────────▶ answered
//!   TCP to anything else ──────────────▶ `connections`           UDP to a socket of the switch's ─▶ its queue
//!   echo to the node, or a wasm pod ───▶ answered                UDP to a virtual address, out ──▶ `datagrams`
//! ```
//!
//! Packets are hostile: containers may have the right to make up their own. None with a foreign source goes anywhere.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use smoltcp::wire::Icmpv4DstUnreachable as Unreachable;

use super::connections::{Connection, Connections, Key};
use super::datagrams::Datagrams;
use super::device::{Device, MTU};
use super::packet::{self, Content, Received, Segment};
use crate::base::pipe::DuplexEnd;
use crate::net::dns::Server;
use crate::net::pod::PodCore;
use crate::net::switch::{self, Route};
use crate::net::{NetError, Protocol, Switch, TcpBinding, tcp};

/// Packets handled before other tasks get their turn.
const BURST: usize = 64;

/// Hands on what comes out of one pod's device.
#[derive(Debug)]
pub(super) struct Router {
    switch: Arc<Switch>,
    core: Weak<PodCore>,
    ip: Ipv4Addr,
    pub(super) device: Arc<Device>,
    pub(super) connections: Arc<Connections>,
    pub(super) datagrams: Datagrams,
}

impl Router {
    pub(super) fn new(switch: &Arc<Switch>, core: &Arc<PodCore>, device: Device) -> Arc<Self> {
        let device = Arc::new(device);
        Arc::new(Self {
            switch: Arc::clone(switch),
            core: Arc::downgrade(core),
            ip: core.ip,
            connections: Connections::new(Arc::clone(&device)),
            datagrams: Datagrams::new(switch, core, &device),
            device,
        })
    }

    /// Hands on packets until the device is gone.
    pub(super) async fn run(self: Arc<Self>) {
        let mut buffer = vec![0; MTU];
        let mut handled = 0_usize;
        while let Ok(length) = self.device.read(&mut buffer).await {
            if let Some(received) = Received::read(&buffer[..length]) {
                self.handle(&received);
            }
            handled += 1;
            if handled.is_multiple_of(BURST) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn handle(self: &Arc<Self>, packet: &Received<'_>) {
        let Some(core) = self.core.upgrade() else { return };
        if packet.source != self.ip || packet.target.is_multicast() || packet.target.is_broadcast() {
            return;
        }
        match packet.content {
            Content::Tcp(segment) => self.handle_segment(&core, packet, &segment),
            Content::Udp { source_port, target_port, payload } => {
                let target = SocketAddrV4::new(packet.target, target_port);
                self.handle_datagram(&core, packet, source_port, target, payload);
            }
            Content::Echo { ident, seq_no, data } => match self.kernel_of(&core, packet.target) {
                Ok(Some(other)) => other.write(packet.bytes),
                Ok(None) => packet::send_echo_reply(&self.device, packet, ident, seq_no, data),
                Err(error) => self.refuse(packet, error),
            },
            Content::Refused { sender, receiver } => self.handle_refusal(&core, packet, sender, receiver),
            Content::OtherIcmp => {
                if let Ok(Some(other)) = self.kernel_of(&core, packet.target) {
                    other.write(packet.bytes);
                }
            }
            Content::Other => packet::send_unreachable(&self.device, packet, Unreachable::ProtoUnreachable),
        }
    }

    /// The device of the pod at an address; `None` for one that has none, and for the node. Nothing outside the switch
    /// can be reached by whole packets.
    fn kernel_of(&self, core: &Arc<PodCore>, ip: Ipv4Addr) -> Result<Option<Arc<Device>>, NetError> {
        match self.switch.route(core, ip.into())? {
            Route::Pod(pod) => Ok(pod.kernel().and_then(|kernel| kernel.device())),
            Route::Outside | Route::Dns => Err(NetError::AccessDenied),
        }
    }

    fn handle_segment(self: &Arc<Self>, core: &Arc<PodCore>, packet: &Received<'_>, segment: &Segment) {
        let peer = SocketAddrV4::new(packet.target, segment.target_port);
        let key = Key { peer, port: segment.source_port };
        if let Some(connection) = self.connections.get(key)
            && !(segment.is_syn && connection.is_ending())
        {
            return connection.take(&self.device, packet.bytes);
        }
        if let Ok(Some(other)) = self.kernel_of(core, packet.target) {
            return other.write(packet.bytes);
        }
        if !segment.is_syn {
            return packet::send_reset(&self.device, packet, segment);
        }
        // A pod that has too many of them finds that nobody answers any more, and tries again.
        if let Some(connection) = self.connections.enter(key) {
            let syn = Bytes::copy_from_slice(packet.bytes);
            tokio::spawn(Arc::clone(self).lead(Arc::clone(core), key, connection, syn));
        }
    }

    /// Connects to what the pod asks for, and then agrees; or says why not.
    async fn lead(self: Arc<Self>, core: Arc<PodCore>, key: Key, connection: Arc<Connection>, syn: Bytes) {
        let binding = TcpBinding::of_kernel(&core, key.port);
        let connected = tokio::select! {
            connected = tcp::connect(&self.switch, &core, Some(binding), key.peer.into()) => connected,
            () = connection.aborted() => return,
        };
        drop(core);
        match connected {
            Ok(stream) => {
                let end = DuplexEnd { reader: stream.reader, writer: stream.writer };
                self.connections.answer(key, &connection, end, &syn).await;
            }
            Err(error) => {
                self.connections.remove(key, &connection);
                if let Some(packet) = Received::read(&syn) {
                    self.refuse(&packet, error);
                }
            }
        }
    }

    fn handle_datagram(
        &self,
        core: &Arc<PodCore>,
        packet: &Received<'_>,
        source_port: u16,
        target: SocketAddrV4,
        payload: &[u8],
    ) {
        let source = SocketAddrV4::new(self.ip, source_port);
        if switch::is_dns(target.into()) {
            let device = Arc::clone(&self.device);
            return Server::answer_datagram(self.switch.dns(), payload, core.question_place(), move |answer| {
                packet::send_datagram(&device, target, source, &answer);
            });
        }
        match self.switch.services().find(Protocol::Udp, target.into()) {
            Ok(None) => {}
            Ok(Some(_)) => return self.relay(packet, source_port, target, payload),
            Err(error) => return self.refuse(packet, error),
        }
        let pod = match self.switch.route(core, packet.target.into()) {
            Ok(Route::Pod(pod)) => pod,
            Ok(Route::Outside) => return self.relay(packet, source_port, target, payload),
            Ok(Route::Dns) => return,
            Err(error) => return self.refuse(packet, error),
        };
        match pod.find_datagram_queue(target.into()) {
            Some(queue) => {
                if !queue.deliver(Bytes::copy_from_slice(payload), SocketAddr::V4(source)) {
                    self.refuse(packet, NetError::ConnectionRefused);
                }
            }
            None => match pod.kernel().and_then(|kernel| kernel.device()) {
                Some(other) => other.write(packet.bytes),
                None => self.refuse(packet, NetError::ConnectionRefused),
            },
        }
    }

    /// Sends a datagram by a socket of the switch's that stands for the pod's port.
    fn relay(&self, packet: &Received<'_>, source_port: u16, target: SocketAddrV4, payload: &[u8]) {
        if let Err(error) = self.datagrams.send(source_port, target, payload) {
            self.refuse(packet, error);
        }
    }

    /// A datagram that the switch gave the pod was for nobody.
    fn handle_refusal(&self, core: &Arc<PodCore>, packet: &Received<'_>, sender: SocketAddrV4, receiver: SocketAddrV4) {
        let Ok(Route::Pod(pod)) = self.switch.route(core, packet.target.into()) else { return };
        if *sender.ip() != packet.target || *receiver.ip() != self.ip {
            return;
        }
        match pod.find_datagram_queue(sender.into()) {
            Some(queue) => queue.refuse(receiver.into()),
            None => {
                if let Some(other) = pod.kernel().and_then(|kernel| kernel.device()) {
                    other.write(packet.bytes);
                }
            }
        }
    }

    /// Tells the pod why a packet of its goes nowhere.
    fn refuse(&self, packet: &Received<'_>, error: NetError) {
        let reason = match (error, &packet.content) {
            // The pod's own limit; it looks like a lost packet, which is tried again.
            (NetError::TooManySockets, Content::Udp { .. }) => return,
            (NetError::Unreachable | NetError::TimedOut | NetError::AddressNotAvailable, _) => {
                Unreachable::HostUnreachable
            }
            (NetError::AccessDenied, _) => Unreachable::CommProhibited,
            (_, Content::Tcp(segment)) => return packet::send_reset(&self.device, packet, segment),
            _ => Unreachable::PortUnreachable,
        };
        packet::send_unreachable(&self.device, packet, reason);
    }

    /// Breaks everything off.
    pub(super) fn close(&self) {
        self.connections.close();
        self.datagrams.close();
    }
}
