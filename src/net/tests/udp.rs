//! Datagrams between pods.

use super::*;
use crate::net::{MAX_DATAGRAM, MAX_UDP_SOCKETS, UdpSocket};

fn bind(pod: &Arc<PodNetwork>, address: &str) -> UdpSocket {
    pod.bind_udp(at(pod, address)).unwrap()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn datagrams_reach_the_socket_that_covers_their_address() {
    for (bound, sender, target, source) in [
        ("127.0.0.1:53", "0.0.0.0:9", "127.0.0.1:53", Some("127.0.0.1:9")),
        ("0.0.0.0:53", "0.0.0.0:9", "127.0.0.1:53", Some("127.0.0.1:9")),
        ("0.0.0.0:53", "0.0.0.0:9", "POD:53", Some("POD:9")),
        ("0.0.0.0:53", "POD:9", "127.0.0.1:53", Some("POD:9")),
        ("[::]:53", "0.0.0.0:9", "127.0.0.1:53", Some("[::ffff:127.0.0.1]:9")),
        ("[::]:53", "[::1]:9", "[::1]:53", Some("[::1]:9")),
        ("127.0.0.1:53", "[::]:9", "[::ffff:127.0.0.1]:53", Some("127.0.0.1:9")),
        ("127.0.0.1:53", "0.0.0.0:9", "POD:53", None),
        ("127.0.0.1:53", "0.0.0.0:9", "127.0.0.1:54", None),
    ] {
        let pod = pod();
        let (server, client) = (bind(&pod, bound), bind(&pod, sender));
        client.try_send(bytes("hello"), Some(at(&pod, target))).unwrap();
        let received = server.try_recv().unwrap();
        let seen = received.as_ref().map(|datagram| datagram.peer);
        assert_eq!(seen, source.map(|source| at(&pod, source)), "{sender} to {target} at {bound}");
        if let Some(datagram) = received {
            assert_eq!(datagram.bytes, "hello");
            // The source can be answered.
            server.try_send(bytes("answer"), Some(datagram.peer)).unwrap();
            assert_eq!(client.recv().await.unwrap().bytes, "answer");
        }
    }
}

#[tokio::test]
async fn datagrams_cross_from_pod_to_pod() {
    let (a, b) = pods();
    let (client, server) = (bind(&a, "0.0.0.0:0"), bind(&b, "0.0.0.0:53"));
    let receiving = tokio::spawn(async move { server.recv().await });
    tokio::task::yield_now().await;
    client.try_send(bytes("hello"), Some(at(&b, "POD:53"))).unwrap();
    let datagram = receiving.await.unwrap().unwrap();
    assert_eq!(datagram.peer, SocketAddr::new(a.ips()[0], client.local_addr().port()));
}

#[test]
fn udp_and_tcp_have_separate_ports() {
    let pod = pod();
    let _tcp = pod.bind_tcp(at(&pod, "0.0.0.0:53")).unwrap();
    let udp = bind(&pod, "0.0.0.0:53");
    assert_eq!(pod.bind_udp(at(&pod, "127.0.0.1:53")).unwrap_err(), NetError::AddressInUse);
    drop(udp);
    bind(&pod, "127.0.0.1:53");
}

#[test]
fn sending_fails_as_on_linux() {
    let (pod, other) = pods();
    let v4 = bind(&pod, "0.0.0.0:0");
    let v6 = bind(&pod, "[::]:0");
    let local = bind(&pod, "127.0.0.1:0");
    let other = at(&other, "POD:53");
    let loopback = at(&pod, "127.0.0.1:53");
    let long = Bytes::from(vec![0; MAX_DATAGRAM + 1]);
    for (name, result, expected) in [
        ("without a destination", v4.try_send(bytes("x"), None), NetError::NotConnected),
        ("too long", v4.try_send(long, Some(loopback)), NetError::MessageTooLong),
        ("IPv6 from IPv4", v4.try_send(bytes("x"), Some(at(&pod, "[::1]:53"))), NetError::FamilyNotSupported),
        ("IPv4 from IPv6", v6.try_send(bytes("x"), Some(loopback)), NetError::FamilyNotSupported),
        ("port 0", v4.try_send(bytes("x"), Some(at(&pod, "127.0.0.1:0"))), NetError::Invalid),
        ("out of loopback", local.try_send(bytes("x"), Some(other)), NetError::Invalid),
        ("nobody's address", v4.try_send(bytes("x"), Some(at(&pod, "10.88.9.9:53"))), NetError::Unreachable),
        ("multicast", v4.try_send(bytes("x"), Some(at(&pod, "224.0.0.251:53"))), NetError::Unreachable),
        ("outside", v4.try_send(bytes("x"), Some(at(&pod, "192.0.2.1:53"))), NetError::AccessDenied),
    ] {
        assert_eq!(result, Err(expected), "{name}");
    }
    let longest = Bytes::from(vec![0; MAX_DATAGRAM]);
    assert_eq!(v4.try_send(longest, Some(loopback)), Ok(()), "the longest datagram, though nobody receives it");
}

#[tokio::test]
async fn a_connected_socket_hears_only_its_peer() {
    let pod = pod();
    let (client, server, stranger) = (bind(&pod, "127.0.0.1:0"), bind(&pod, "127.0.0.1:53"), bind(&pod, "127.0.0.1:0"));
    client.connect(server.local_addr()).unwrap();
    assert_eq!(client.peer_addr(), Some(server.local_addr()));
    stranger.try_send(bytes("forged"), Some(client.local_addr())).unwrap();
    client.try_send(bytes("question"), None).unwrap();
    server.try_send(bytes("answer"), Some(server.recv().await.unwrap().peer)).unwrap();
    assert_eq!(client.recv().await.unwrap().bytes, "answer");
    client.disconnect();
    stranger.try_send(bytes("now heard"), Some(client.local_addr())).unwrap();
    assert_eq!(client.recv().await.unwrap().bytes, "now heard");
}

#[tokio::test]
async fn a_connected_socket_is_told_once_that_nobody_listens() {
    let pod = pod();
    let client = bind(&pod, "127.0.0.1:0");
    client.connect(at(&pod, "127.0.0.1:53")).unwrap();
    client.try_send(bytes("question"), None).unwrap();
    assert_eq!(client.recv().await.unwrap_err(), NetError::ConnectionRefused);
    let server = bind(&pod, "127.0.0.1:53");
    client.try_send(bytes("again"), None).unwrap();
    assert_eq!(server.recv().await.unwrap().bytes, "again");
}

#[test]
fn a_full_queue_drops_what_comes_and_keeps_what_it_has() {
    let pod = pod();
    let (client, server) = (bind(&pod, "127.0.0.1:0"), bind(&pod, "127.0.0.1:53"));
    for index in 0..10_000_u32 {
        client.try_send(Bytes::copy_from_slice(&index.to_be_bytes()), Some(server.local_addr())).unwrap();
    }
    let mut kept = 0;
    while let Some(datagram) = server.try_recv().unwrap() {
        assert_eq!(datagram.bytes, &u32::to_be_bytes(kept)[..]);
        kept += 1;
    }
    assert!((100..5_000).contains(&kept), "{kept}");
    client.try_send(bytes("room again"), Some(server.local_addr())).unwrap();
    assert_eq!(server.try_recv().unwrap().unwrap().bytes, "room again");
}

#[test]
fn a_pod_can_open_only_so_many_sockets() {
    let pod = pod();
    let sockets: Vec<_> = (0..MAX_UDP_SOCKETS).map(|_| bind(&pod, "0.0.0.0:0")).collect();
    assert_eq!(pod.bind_udp(at(&pod, "0.0.0.0:0")).unwrap_err(), NetError::TooManySockets);
    drop(sockets);
    bind(&pod, "0.0.0.0:0");
}

#[tokio::test]
async fn closing_the_pod_ends_a_wait() {
    let pod = pod();
    let socket = bind(&pod, "0.0.0.0:53");
    let receiving = tokio::spawn(async move { socket.recv().await.map(|_datagram| ()) });
    tokio::task::yield_now().await;
    pod.close();
    assert_eq!(receiving.await.unwrap(), Err(NetError::ConnectionAborted));
}
