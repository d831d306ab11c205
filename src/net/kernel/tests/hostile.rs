//! Packets that nobody's kernel would send. No namespace is needed: a pair of sockets stands in for the device.

use std::os::unix::net::UnixDatagram;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    UdpPacket, UdpRepr,
};

use super::*;
use crate::net::kernel::device::Device;
use crate::net::kernel::router::Router;

/// A packet of the pod's, the payload of which `build` fills in.
fn packet(
    pod: &PodNetwork,
    target: [u8; 4],
    protocol: IpProtocol,
    length: usize,
    build: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr: ip(pod).parse().unwrap(),
        dst_addr: target.into(),
        next_header: protocol,
        payload_len: length,
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + length];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
    build(&mut bytes[ip.buffer_len()..]);
    bytes
}

fn echo_request(pod: &PodNetwork) -> Vec<u8> {
    let echo = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 1, data: b"are you there?" };
    packet(pod, [10, 88, 0, 1], IpProtocol::Icmp, echo.buffer_len(), |buffer| {
        echo.emit(&mut Icmpv4Packet::new_unchecked(buffer), &ChecksumCapabilities::default());
    })
}

fn segment(pod: &PodNetwork, target: [u8; 4], control: TcpControl) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: 40_000,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(1000),
        ack_number: (control != TcpControl::Syn).then_some(TcpSeqNumber(77)),
        window_len: 1000,
        window_scale: Some(7),
        max_seg_size: Some(1000),
        sack_permitted: true,
        sack_ranges: [Some((5, 9)), None, None],
        timestamp: None,
        payload: if control == TcpControl::Syn { b"" } else { b"some data" },
    };
    packet(pod, target, IpProtocol::Tcp, tcp.buffer_len(), |buffer| {
        let (source, target) = (ip(pod).parse::<std::net::Ipv4Addr>().unwrap(), std::net::Ipv4Addr::from(target));
        tcp.emit(
            &mut TcpPacket::new_unchecked(buffer),
            &source.into(),
            &target.into(),
            &ChecksumCapabilities::ignored(),
        );
    })
}

fn datagram(pod: &PodNetwork, target: [u8; 4], port: u16) -> Vec<u8> {
    let udp = UdpRepr { src_port: 5000, dst_port: port };
    packet(pod, target, IpProtocol::Udp, udp.header_len() + 20, |buffer| {
        buffer[..2].copy_from_slice(&udp.src_port.to_be_bytes());
        let mut packet = UdpPacket::new_unchecked(buffer);
        packet.set_src_port(udp.src_port);
        packet.set_dst_port(udp.dst_port);
        packet.set_len(28);
    })
}

#[tokio::test]
async fn packets_that_make_no_sense_do_no_harm() {
    let switch = Switch::new(Egress::Deny);
    let (pod, wasm) = (switch.attach("native-0", None).unwrap(), switch.attach("wasm-0", None).unwrap());
    let _listener = listen(&wasm, "0.0.0.0:80");
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let router = Router::new(&switch, &pod.core, Device::new(theirs.into()).unwrap());
    let routing = tokio::spawn(router.run());
    ours.set_nonblocking(true).unwrap();
    let ours = tokio::net::UnixDatagram::from_std(ours).unwrap();

    let std::net::IpAddr::V4(wasm_ip) = wasm.ips()[0] else { panic!("an IPv4 address") };
    let templates = [
        echo_request(&pod),
        segment(&pod, wasm_ip.octets(), TcpControl::Syn),
        segment(&pod, wasm_ip.octets(), TcpControl::Psh),
        segment(&pod, wasm_ip.octets(), TcpControl::Fin),
        segment(&pod, wasm_ip.octets(), TcpControl::Rst),
        datagram(&pod, wasm_ip.octets(), 9),
        datagram(&pod, [10, 96, 0, 10], 53),
    ];
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut answer = vec![0; 65_535];
    for _ in 0..20_000 {
        let mut bytes = random.choice(&templates).unwrap().clone();
        for _ in 0..random.usize(0..4) {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(bytes.len() / 2..=bytes.len()).max(1));
        ours.send(&bytes).await.unwrap();
        while ours.try_recv(&mut answer).is_ok() {}
    }
    // It still answers.
    ours.send(&echo_request(&pod)).await.unwrap();
    loop {
        assert!(!routing.is_finished(), "seed {seed}");
        let length = ours.recv(&mut answer).await.unwrap();
        if answer[..length].ends_with(b"are you there?") && answer[20] == 0 {
            break;
        }
    }
    routing.abort();
}

#[tokio::test]
async fn packets_with_a_foreign_source_go_nowhere() {
    let switch = Switch::new(Egress::Deny);
    let (pod, wasm) = (switch.attach("native-0", None).unwrap(), switch.attach("wasm-0", None).unwrap());
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let router = Router::new(&switch, &pod.core, Device::new(theirs.into()).unwrap());
    let routing = tokio::spawn(router.run());
    let ours = tokio::net::UnixDatagram::from_std(ours).unwrap();
    // One in another's name, and then one in its own: only that one is answered.
    ours.send(&echo_request(&wasm)).await.unwrap();
    ours.send(&echo_request(&pod)).await.unwrap();
    let mut answer = vec![0; 65_535];
    let length = ours.recv(&mut answer).await.unwrap();
    assert_eq!(Ipv4Packet::new_checked(&answer[..length]).unwrap().dst_addr().to_string(), ip(&pod));
    routing.abort();
}
