//! Packets: which connection, datagram or message one is, and building those that the switch sends by itself. TCP's own
//! segments are `endpoint`'s.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::{Checksum, ChecksumCapabilities};
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

use super::device::Device;

/// What is left of a packet that could not be delivered, in the message that says so (RFC 1812: as much as fits 576
/// bytes).
const QUOTED: usize = 576 - 20 - 8;

const HOP_LIMIT: u8 = 64;

/// What the namespace's kernel sends is not checked again: nothing between it and the switch could spoil it.
pub(super) fn checksums() -> ChecksumCapabilities {
    let mut checksums = ChecksumCapabilities::default();
    checksums.ipv4 = Checksum::Tx;
    checksums.tcp = Checksum::Tx;
    checksums.icmpv4 = Checksum::Tx;
    // IPv4 lets a datagram do without.
    checksums.udp = Checksum::None;
    checksums
}

/// A packet that makes sense, and isn't a fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) source: Ipv4Addr,
    pub(super) target: Ipv4Addr,
    /// All of it.
    pub(super) bytes: &'a [u8],
    pub(super) content: Content<'a>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    Tcp(Segment),
    Udp {
        source_port: u16,
        target_port: u16,
        payload: &'a [u8],
    },
    Echo {
        ident: u16,
        seq_no: u16,
        data: &'a [u8],
    },
    /// A datagram that this sender was given found nobody at this port.
    Refused {
        sender: SocketAddrV4,
        receiver: SocketAddrV4,
    },
    OtherIcmp,
    Other,
}

/// What has to be known of a TCP segment to see where it belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) source_port: u16,
    pub(super) target_port: u16,
    pub(super) is_syn: bool,
    pub(super) is_rst: bool,
    has_ack: bool,
    seq_number: TcpSeqNumber,
    ack_number: TcpSeqNumber,
    /// Of the sequence space.
    length: usize,
}

impl Segment {
    fn read(payload: &[u8]) -> Option<Self> {
        let tcp = TcpPacket::new_checked(payload).ok()?;
        Some(Self {
            source_port: tcp.src_port(),
            target_port: tcp.dst_port(),
            is_syn: tcp.syn() && !tcp.ack(),
            is_rst: tcp.rst(),
            has_ack: tcp.ack(),
            seq_number: tcp.seq_number(),
            ack_number: tcp.ack_number(),
            length: tcp.segment_len(),
        })
    }
}

impl<'a> Received<'a> {
    /// Reads a packet.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv4Packet::new_checked(bytes).ok()?;
        if packet.version() != 4 || packet.header_len() < 20 || packet.more_frags() || packet.frag_offset() != 0 {
            return None;
        }
        let payload = packet.payload();
        let content = match packet.next_header() {
            IpProtocol::Tcp => Content::Tcp(Segment::read(payload)?),
            IpProtocol::Udp => {
                let udp = UdpPacket::new_checked(payload).ok()?;
                Content::Udp { source_port: udp.src_port(), target_port: udp.dst_port(), payload: udp.payload() }
            }
            IpProtocol::Icmp => read_icmp(payload)?,
            _ => Content::Other,
        };
        Some(Self { source: packet.src_addr(), target: packet.dst_addr(), bytes, content })
    }
}

fn read_icmp(payload: &[u8]) -> Option<Content<'_>> {
    let packet = Icmpv4Packet::new_checked(payload).ok()?;
    Some(match (packet.msg_type(), packet.msg_code()) {
        (Icmpv4Message::EchoRequest, 0) => {
            Content::Echo { ident: packet.echo_ident(), seq_no: packet.echo_seq_no(), data: packet.data() }
        }
        (Icmpv4Message::DstUnreachable, code) if code == u8::from(Icmpv4DstUnreachable::PortUnreachable) => {
            read_refusal(packet.data()).unwrap_or(Content::OtherIcmp)
        }
        _ => Content::OtherIcmp,
    })
}

/// Reads what is left of a datagram in the message that nobody took it. The kernel quotes the beginning of long ones.
fn read_refusal(quoted: &[u8]) -> Option<Content<'_>> {
    let header = quoted.get(..20)?;
    let ports = quoted.get(usize::from(header[0] & 0x0f) * 4..)?.get(..4)?;
    let packet = Ipv4Packet::new_unchecked(header);
    if packet.next_header() != IpProtocol::Udp {
        return None;
    }
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Some(Content::Refused {
        sender: SocketAddrV4::new(packet.src_addr(), port(0)),
        receiver: SocketAddrV4::new(packet.dst_addr(), port(2)),
    })
}

/// Hands a datagram to the namespace.
pub(super) fn send_datagram(device: &Device, source: SocketAddrV4, target: SocketAddrV4, payload: &[u8]) {
    let udp = UdpRepr { src_port: source.port(), dst_port: target.port() };
    let length = udp.header_len() + payload.len();
    send(device, *source.ip(), *target.ip(), IpProtocol::Udp, length, |buffer| {
        udp.emit(
            &mut UdpPacket::new_unchecked(buffer),
            &(*source.ip()).into(),
            &(*target.ip()).into(),
            payload.len(),
            |content| content.copy_from_slice(payload),
            &checksums(),
        );
    });
}

/// Answers an echo request.
pub(super) fn send_echo_reply(device: &Device, request: &Received<'_>, ident: u16, seq_no: u16, data: &[u8]) {
    let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
    send(device, request.target, request.source, IpProtocol::Icmp, reply.buffer_len(), |buffer| {
        reply.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums());
    });
}

/// Says that a packet could not be delivered.
pub(super) fn send_unreachable(device: &Device, packet: &Received<'_>, reason: Icmpv4DstUnreachable) {
    let original = Ipv4Packet::new_unchecked(packet.bytes);
    let Ok(header) = Ipv4Repr::parse(&original, &checksums()) else { return };
    let payload = original.payload();
    let message = Icmpv4Repr::DstUnreachable {
        reason,
        header,
        data: &payload[..payload.len().min(QUOTED - header.buffer_len())],
    };
    send(device, packet.target, packet.source, IpProtocol::Icmp, message.buffer_len(), |buffer| {
        message.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums());
    });
}

/// Resets the connection that a segment belongs to or asks for (RFC 9293, 3.10.7.1).
pub(super) fn send_reset(device: &Device, packet: &Received<'_>, segment: &Segment) {
    if segment.is_rst {
        return;
    }
    let (seq_number, ack_number) = if segment.has_ack {
        (segment.ack_number, None)
    } else {
        (TcpSeqNumber(0), Some(segment.seq_number + segment.length))
    };
    let reset = TcpRepr {
        src_port: segment.target_port,
        dst_port: segment.source_port,
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (source, target) = (packet.target, packet.source);
    send(device, source, target, IpProtocol::Tcp, reset.buffer_len(), |buffer| {
        reset.emit(&mut TcpPacket::new_unchecked(buffer), &source.into(), &target.into(), &checksums());
    });
}

/// Hands a packet to the namespace, the payload of which `build` fills in.
fn send(
    device: &Device,
    source: Ipv4Addr,
    target: Ipv4Addr,
    protocol: IpProtocol,
    length: usize,
    build: impl FnOnce(&mut [u8]),
) {
    let ip = Ipv4Repr {
        src_addr: source,
        dst_addr: target,
        next_header: protocol,
        payload_len: length,
        hop_limit: HOP_LIMIT,
    };
    device.write_with(ip.buffer_len() + length, |packet| {
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &checksums());
        build(&mut packet[ip.buffer_len()..]);
    });
}
