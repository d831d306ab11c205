//! Where the switch meets the host: published ports, egress, and the node as a client.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as HostListener, TcpStream as HostStream, UdpSocket as HostSocket};

use super::*;
use crate::base::pipe::ReadError;
use crate::net::{MAX_OUTSIDE_SOCKETS, PublishedPort};

const HOST_LOOPBACK: &str = "127.0.0.1:0";

async fn published(pod: &Arc<PodNetwork>, port: u16) -> PublishedPort {
    pod.switch.publish_tcp(pod, HOST_LOOPBACK.parse().unwrap(), port).await.unwrap()
}

#[tokio::test]
async fn a_published_port_leads_into_the_pod() {
    let pod = pod();
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    let port = published(&pod, 80).await;
    assert_ne!(port.host_addr().port(), 0);

    let mut client = HostStream::connect(port.host_addr()).await.unwrap();
    client.write_all(b"request").await.unwrap();
    client.shutdown().await.unwrap();
    let mut server = listener.accept().await.unwrap();
    assert_eq!(server.peer.ip(), pod.switch.node_ip());
    let mut request = String::new();
    server.read_to_string(&mut request).await.unwrap();
    assert_eq!(request, "request");
    server.write_all(b"response").await.unwrap();
    drop(server);
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    assert_eq!(response, "response");
}

#[tokio::test]
async fn much_data_passes_a_published_port_in_both_directions() {
    let pod = pod();
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    let port = published(&pod, 80).await;
    let echo = tokio::spawn(async move {
        let server = listener.accept().await.unwrap();
        while let Some(bytes) = read(&server).await {
            server.writer.write_all(bytes).await.unwrap();
        }
    });
    let (mut reading, mut writing) = HostStream::connect(port.host_addr()).await.unwrap().into_split();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n / 7) as u8).collect();
    let writer = tokio::spawn({
        let sent = sent.clone();
        async move { writing.write_all(&sent).await.unwrap() }
    });
    let mut received = Vec::new();
    reading.read_to_end(&mut received).await.unwrap();
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    writer.await.unwrap();
    echo.await.unwrap();
}

#[tokio::test]
async fn a_client_of_a_port_nobody_listens_on_is_reset() {
    let pod = pod();
    let _local_only = listen(&pod, "127.0.0.1:80").unwrap();
    let port = published(&pod, 80).await;
    let mut client = HostStream::connect(port.host_addr()).await.unwrap();
    let error = client.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_passes_a_published_port() {
    let pod = pod();
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    let port = published(&pod, 80).await;
    let mut client = HostStream::connect(port.host_addr()).await.unwrap();
    client.write_all(b"unwanted").await.unwrap();
    let server = listener.accept().await.unwrap();
    server.reader.ready().await;
    drop(server);
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);

    let client = HostStream::connect(port.host_addr()).await.unwrap();
    let server = listener.accept().await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(server.reader.read(1).await, Err(ReadError::Reset));
}

#[tokio::test]
async fn dropping_a_published_port_frees_it_and_ends_its_connections() {
    let pod = pod();
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    let port = published(&pod, 80).await;
    let host = port.host_addr();
    let _client = HostStream::connect(host).await.unwrap();
    let server = listener.accept().await.unwrap();
    drop(port);
    assert_eq!(read(&server).await, None);
    assert!(HostStream::connect(host).await.is_err());
}

#[tokio::test]
async fn closing_the_pod_resets_clients_of_its_published_ports() {
    let pod = pod();
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    let port = published(&pod, 80).await;
    let mut client = HostStream::connect(port.host_addr()).await.unwrap();
    let _server = listener.accept().await.unwrap();
    pod.close();
    assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_port_that_cannot_be_published_is_named_with_the_cause() {
    let pod = pod();
    let taken = HostListener::bind(HOST_LOOPBACK).await.unwrap();
    let host = taken.local_addr().unwrap();
    let error = pod.switch.publish_tcp(&pod, host, 80).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot publish TCP port {host} of the host: ")), "{text}");
    assert!(text.contains("in use"), "{text}");
}

#[tokio::test]
async fn a_published_udp_port_carries_questions_and_answers() {
    let pod = pod();
    let server = pod.bind_udp(at(&pod, "0.0.0.0:53")).unwrap();
    let port = pod.switch.publish_udp(&pod, HOST_LOOPBACK.parse().unwrap(), 53).await.unwrap();
    let clients = [HostSocket::bind(HOST_LOOPBACK).await.unwrap(), HostSocket::bind(HOST_LOOPBACK).await.unwrap()];
    for (client, question) in clients.iter().zip([b"a", b"b"]) {
        client.send_to(question, port.host_addr()).await.unwrap();
    }
    let mut peers = Vec::new();
    for _ in &clients {
        let datagram = server.recv().await.unwrap();
        assert_eq!(datagram.peer.ip(), pod.switch.node_ip());
        server.try_send(datagram.bytes, Some(datagram.peer)).unwrap();
        peers.push(datagram.peer);
    }
    assert_ne!(peers[0], peers[1], "each client is somebody else");
    for (client, answer) in clients.iter().zip([b"a", b"b"]) {
        let mut buffer = [0; 9];
        let (length, from) = client.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..length], from), (&answer[..], port.host_addr()));
    }
}

#[tokio::test]
async fn the_node_reaches_what_is_open_and_nothing_else() {
    let pod = pod();
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    let _local = listen(&pod, "127.0.0.1:81").unwrap();
    let client = pod.connect_from_node(80).await.unwrap();
    let server = listener.accept().await.unwrap();
    assert_eq!(server.peer, client.local);
    assert_eq!(server.peer.ip(), pod.switch.node_ip());
    assert_eq!(pod.connect_from_node(81).await.unwrap_err(), NetError::ConnectionRefused);
    assert_eq!(pod.connect_from_node(82).await.unwrap_err(), NetError::ConnectionRefused);
}

#[tokio::test]
async fn the_hosts_loopback_is_never_reached_whatever_the_policy() {
    let secret = HostListener::bind(HOST_LOOPBACK).await.unwrap();
    let port = secret.local_addr().unwrap().port();
    let udp = HostSocket::bind(HOST_LOOPBACK).await.unwrap();
    for egress in [Egress::Allow, Egress::Deny] {
        let pod = Switch::new(egress).attach("web-0", None).unwrap();
        for ip in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:0.0.0.0]"] {
            let result = connect(&pod, &format!("{ip}:{port}")).await;
            assert_eq!(result.unwrap_err(), NetError::ConnectionRefused, "{ip}, {egress:?}");
        }
        let node = SocketAddr::new(pod.switch.node_ip(), port);
        assert_eq!(pod.connect(None, node).await.unwrap_err(), NetError::ConnectionRefused);
        let client = pod.bind_udp(at(&pod, "0.0.0.0:0")).unwrap();
        client.try_send(Bytes::from_static(b"x"), Some(udp.local_addr().unwrap())).unwrap();
    }
    assert_eq!(udp.try_recv(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn without_egress_nothing_leaves() {
    let pod = pod();
    for address in ["192.0.2.1:80", "[2001:db8::1]:80", "169.254.169.254:80"] {
        assert_eq!(connect(&pod, address).await.unwrap_err(), NetError::AccessDenied, "{address}");
    }
}

#[tokio::test]
async fn egress_reaches_the_outside() {
    let Some(ip) = outside_ip("egress_reaches_the_outside") else { return };
    let outside = HostListener::bind((ip, 0)).await.unwrap();
    let pod = Switch::new(Egress::Allow).attach("web-0", None).unwrap();
    let client = pod.connect(None, outside.local_addr().unwrap()).await.unwrap();
    assert_eq!(client.local.ip(), pod.ips()[0]);
    let (mut server, _) = outside.accept().await.unwrap();
    write(&client, "question").await;
    client.writer.close();
    let mut question = String::new();
    server.read_to_string(&mut question).await.unwrap();
    assert_eq!(question, "question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!(read(&client).await.unwrap(), "answer");
    assert_eq!(read(&client).await, None);

    let closed = outside.local_addr().unwrap();
    drop(outside);
    assert_eq!(pod.connect(None, closed).await.unwrap_err(), NetError::ConnectionRefused);
}

#[tokio::test]
async fn egress_ends_with_the_guest_that_leaves() {
    let Some(ip) = outside_ip("egress_ends_with_the_guest_that_leaves") else { return };
    let outside = HostListener::bind((ip, 0)).await.unwrap();
    let pod = Switch::new(Egress::Allow).attach("web-0", None).unwrap();
    let client = pod.connect(None, outside.local_addr().unwrap()).await.unwrap();
    let (mut server, _) = outside.accept().await.unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    // Nobody holds the other direction open either: writing into it fails before long.
    while server.write_all(&[0; 1024]).await.is_ok() {}
}

#[tokio::test]
async fn egress_of_datagrams_lets_only_answers_back() {
    let Some(ip) = outside_ip("egress_of_datagrams_lets_only_answers_back") else { return };
    let outside = HostSocket::bind((ip, 0)).await.unwrap();
    let stranger = HostSocket::bind((ip, 0)).await.unwrap();
    let pod = Switch::new(Egress::Allow).attach("web-0", None).unwrap();
    let client = pod.bind_udp(at(&pod, "0.0.0.0:0")).unwrap();
    client.try_send(Bytes::from_static(b"question"), Some(outside.local_addr().unwrap())).unwrap();
    let mut buffer = [0; 99];
    let (length, from) = outside.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"question");
    stranger.send_to(b"forged", from).await.unwrap();
    outside.send_to(b"answer", from).await.unwrap();
    let answer = client.recv().await.unwrap();
    assert_eq!((&answer.bytes[..], answer.peer), (&b"answer"[..], outside.local_addr().unwrap()));
}

#[tokio::test]
async fn egress_takes_only_so_many_sockets_of_the_host() {
    let Some(ip) = outside_ip("egress_takes_only_so_many_sockets_of_the_host") else { return };
    let outside = HostListener::bind((ip, 0)).await.unwrap();
    let target = outside.local_addr().unwrap();
    let pod = Switch::new(Egress::Allow).attach("web-0", None).unwrap();
    let mut places: Vec<_> = (0..MAX_OUTSIDE_SOCKETS).map(|_| pod.core.outside_place().unwrap()).collect();
    assert_eq!(pod.connect(None, target).await.unwrap_err(), NetError::TooManySockets);
    let socket = pod.bind_udp(at(&pod, "0.0.0.0:0")).unwrap();
    assert_eq!(socket.try_send(Bytes::from_static(b"x"), Some(target)), Err(NetError::TooManySockets));
    places.pop();
    let client = pod.connect(None, target).await.unwrap();
    assert_eq!(pod.connect(None, target).await.unwrap_err(), NetError::TooManySockets);
    drop((client, outside));
    while pod.core.outside_place().is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_pod_gets_back_the_address_it_had() {
    let switch = Switch::new(Egress::Deny);
    let ip: IpAddr = "10.88.3.4".parse().unwrap();
    let pod = switch.attach_again("web-0", None, ip).unwrap();
    assert_eq!(pod.ips(), [ip]);
    let again = |ip: &str| switch.attach_again("web-1", None, ip.parse().unwrap()).map(|_| ());
    assert_eq!(again("10.88.3.4"), Err(NetError::AddressInUse));
    for not_of_a_pod in ["10.88.0.1", "10.88.255.255", "10.89.0.4", "::1"] {
        assert_eq!(again(not_of_a_pod), Err(NetError::AddressNotAvailable), "{not_of_a_pod}");
    }
    drop(pod);
    assert_eq!(again("10.88.3.4"), Ok(()));
    // New pods get others, for as long as there are some.
    switch.begin_after(["10.88.3.4", "10.88.3.2", "192.0.2.1", "::1"].map(|ip| ip.parse().unwrap()));
    assert_eq!(switch.attach("new", None).unwrap().ips(), ["10.88.3.5".parse::<IpAddr>().unwrap()]);
}
