//! Binding, listening and connections between pods.

use std::future::poll_fn;
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::base::pipe::{ReadError, WriteError};
use crate::net::MAX_TCP_SOCKETS;

#[test]
fn an_address_in_use_is_told_as_on_linux() {
    for (first, second, expected) in [
        ("127.0.0.1:80", "127.0.0.1:80", Err(NetError::AddressInUse)),
        ("127.0.0.1:80", "127.0.0.1:81", Ok(())),
        ("127.0.0.1:80", "127.0.0.2:80", Ok(())),
        ("127.0.0.1:80", "POD:80", Ok(())),
        ("127.0.0.1:80", "[::1]:80", Ok(())),
        ("127.0.0.1:80", "0.0.0.0:80", Err(NetError::AddressInUse)),
        ("127.0.0.1:80", "[::]:80", Err(NetError::AddressInUse)),
        ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", Err(NetError::AddressInUse)),
        ("0.0.0.0:80", "POD:80", Err(NetError::AddressInUse)),
        ("0.0.0.0:80", "[::1]:80", Ok(())),
        ("0.0.0.0:80", "[::]:80", Err(NetError::AddressInUse)),
        ("[::]:80", "0.0.0.0:80", Err(NetError::AddressInUse)),
        ("[::]:80", "[::1]:80", Err(NetError::AddressInUse)),
        ("127.0.0.1:80", "10.88.200.200:80", Err(NetError::AddressNotAvailable)),
        ("127.0.0.1:80", "192.0.2.1:80", Err(NetError::AddressNotAvailable)),
    ] {
        let pod = pod();
        let _first = pod.bind_tcp(at(&pod, first)).unwrap();
        let result = pod.bind_tcp(at(&pod, second)).map(|_binding| ());
        assert_eq!(result, expected, "{first}, then {second}");
    }
}

#[tokio::test]
async fn a_port_is_free_again_once_its_socket_is_dropped() {
    let pod = pod();
    let binding = pod.bind_tcp(at(&pod, "0.0.0.0:80")).unwrap();
    drop(binding);
    let listener = listen(&pod, "0.0.0.0:80").unwrap();
    assert_eq!(listen(&pod, "0.0.0.0:80").unwrap_err(), NetError::AddressInUse);
    let client = connect(&pod, "127.0.0.1:80").await.unwrap();
    let accepted = listener.accept().await.unwrap();
    drop(listener);
    // What was accepted lives on, and does not hold the port: servers restart.
    let _listener = listen(&pod, "0.0.0.0:80").unwrap();
    write(&client, "still here").await;
    assert_eq!(read(&accepted).await.unwrap(), "still here");
}

#[tokio::test]
async fn a_listener_is_reached_at_the_addresses_it_covers() {
    let refused = Err(NetError::ConnectionRefused);
    for (listening, target, expected) in [
        ("127.0.0.1:80", "127.0.0.1:80", Ok(("127.0.0.1", "127.0.0.1"))),
        ("127.0.0.1:80", "0.0.0.0:80", Ok(("127.0.0.1", "127.0.0.1"))),
        ("127.0.0.1:80", "127.0.0.1:81", refused),
        ("127.0.0.1:80", "127.0.0.2:80", refused),
        ("127.0.0.1:80", "POD:80", refused),
        ("127.0.0.1:80", "[::1]:80", refused),
        ("POD:80", "POD:80", Ok(("POD", "POD"))),
        ("POD:80", "127.0.0.1:80", refused),
        ("0.0.0.0:80", "POD:80", Ok(("POD", "POD"))),
        ("0.0.0.0:80", "127.3.2.1:80", Ok(("127.3.2.1", "127.0.0.1"))),
        ("0.0.0.0:80", "[::1]:80", refused),
        ("0.0.0.0:80", "[::ffff:127.0.0.1]:80", Ok(("127.0.0.1", "127.0.0.1"))),
        ("[::1]:80", "[::]:80", Ok(("::1", "::1"))),
        ("[::]:80", "[::1]:80", Ok(("::1", "::1"))),
        ("[::]:80", "127.0.0.1:80", Ok(("::ffff:127.0.0.1", "::ffff:127.0.0.1"))),
        ("[::]:80", "POD:80", Ok(("::ffff:POD", "::ffff:POD"))),
    ] {
        let pod = pod();
        let listener = listen(&pod, listening).unwrap();
        let result = connect(&pod, target).await;
        let seen = match result {
            Ok(_client) => {
                let accepted = listener.accept().await.unwrap();
                Ok((accepted.local.ip(), accepted.peer.ip()))
            }
            Err(error) => Err(error),
        };
        let ip = |text: &str| text.replace("POD", &pod.ips()[0].to_string()).parse().unwrap();
        assert_eq!(seen, expected.map(|(local, peer)| (ip(local), ip(peer))), "{target} to {listening}");
    }
}

#[tokio::test]
async fn both_ends_agree_on_the_addresses() {
    let pod = pod();
    let (client, server) = connection(&pod).await;
    assert_eq!((client.local, client.peer), (server.peer, server.local));
    assert!((32768..=60999).contains(&client.local.port()));

    let listener = listen(&pod, "127.0.0.1:80").unwrap();
    let binding = pod.bind_tcp(at(&pod, "127.0.0.1:4000")).unwrap();
    let _client = pod.connect(Some(binding), listener.local_addr()).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().peer, at(&pod, "127.0.0.1:4000"));
    assert_eq!(pod.bind_tcp(at(&pod, "127.0.0.1:4000")).unwrap_err(), NetError::AddressInUse);
}

#[tokio::test]
async fn sockets_only_go_where_their_address_leads() {
    for (bound, target, expected) in [
        ("127.0.0.1:0", "POD:80", Ok(())),
        ("POD:0", "127.0.0.1:80", Ok(())),
        ("127.0.0.1:0", "OTHER:80", Err(NetError::Invalid)),
        ("POD:0", "OTHER:80", Ok(())),
        ("[::]:0", "127.0.0.1:80", Err(NetError::FamilyNotSupported)),
        ("0.0.0.0:0", "[::1]:80", Err(NetError::FamilyNotSupported)),
        ("[::]:0", "[::ffff:127.0.0.1]:80", Ok(())),
        ("[::1]:0", "[::ffff:127.0.0.1]:80", Err(NetError::Unreachable)),
    ] {
        let (pod, other) = pods();
        let _listeners = (listen(&pod, "0.0.0.0:80").unwrap(), listen(&other, "0.0.0.0:80").unwrap());
        let target = at(&pod, &target.replace("OTHER", &other.ips()[0].to_string()));
        let binding = pod.bind_tcp(at(&pod, bound)).unwrap();
        let result = pod.connect(Some(binding), target).await.map(|_stream| ());
        assert_eq!(result, expected, "{bound} to {target}");
    }
}

#[tokio::test]
async fn pods_reach_each_other_by_address_but_not_each_others_loopback() {
    let (a, b) = pods();
    assert_ne!(a.ips(), b.ips());
    let open = listen(&b, "0.0.0.0:80").unwrap();
    let _local = listen(&b, "127.0.0.1:81").unwrap();

    let client = connect(&a, &format!("{}:80", b.ips()[0])).await.unwrap();
    let server = open.accept().await.unwrap();
    assert_eq!(server.peer.ip(), a.ips()[0]);
    write(&client, "hello").await;
    assert_eq!(read(&server).await.unwrap(), "hello");

    for address in [format!("{}:81", b.ips()[0]), "127.0.0.1:80".to_owned(), "127.0.0.1:81".to_owned()] {
        assert_eq!(connect(&a, &address).await.unwrap_err(), NetError::ConnectionRefused, "{address}");
    }
    // Each has its own port space.
    let _same_port = listen(&a, "0.0.0.0:80").unwrap();
    // Nobody has this address.
    assert_eq!(connect(&a, "10.88.77.77:80").await.unwrap_err(), NetError::Unreachable);
}

#[tokio::test]
async fn a_half_closed_connection_still_carries_the_other_direction() {
    let pod = pod();
    let (client, server) = connection(&pod).await;
    write(&client, "request").await;
    client.writer.close();
    assert_eq!(read(&server).await.unwrap(), "request");
    assert_eq!(read(&server).await, None);
    write(&server, "response").await;
    assert_eq!(read(&client).await.unwrap(), "response");
    drop(server);
    assert_eq!(read(&client).await, None);
}

#[tokio::test]
async fn leaving_with_something_unread_resets_and_leaving_in_order_does_not() {
    let pod = pod();
    let (client, server) = connection(&pod).await;
    write(&client, "unwanted").await;
    drop(server);
    assert_eq!(client.reader.read(9).await, Err(ReadError::Reset));
    assert_eq!(client.writer.try_write(&Bytes::from_static(b"x")), Err(WriteError::Reset));

    let (client, server) = connection(&pod).await;
    drop(server);
    assert_eq!(client.reader.read(9).await, Ok(None));
    assert_eq!(client.writer.try_write(&Bytes::from_static(b"x")), Err(WriteError::Broken));
}

#[tokio::test]
async fn closing_a_listener_resets_who_was_not_accepted() {
    let pod = pod();
    let listener = listen(&pod, "127.0.0.1:80").unwrap();
    let client = connect(&pod, "127.0.0.1:80").await.unwrap();
    drop(listener);
    assert_eq!(client.reader.read(9).await, Err(ReadError::Reset));
    assert_eq!(connect(&pod, "127.0.0.1:80").await.unwrap_err(), NetError::ConnectionRefused);
}

#[tokio::test]
async fn a_writer_waits_for_a_slow_reader() {
    let pod = pod();
    let (client, server) = connection(&pod).await;
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    let mut accepted = 0;
    loop {
        match client.writer.try_write(&chunk) {
            Ok(written) => accepted += written,
            Err(error) => break assert_eq!(error, WriteError::Full),
        }
    }
    assert!((64 * 1024..1024 * 1024).contains(&accepted), "{accepted}");
    let writing = tokio::spawn(async move { client.writer.write_all(chunk).await });
    let mut received = 0;
    while let Some(bytes) = read(&server).await {
        received += bytes.len();
    }
    writing.await.unwrap().unwrap();
    assert_eq!(received, accepted + 64 * 1024);
}

#[tokio::test]
async fn a_full_accept_queue_makes_clients_wait_their_turn() {
    let pod = pod();
    let binding = pod.bind_tcp(at(&pod, "127.0.0.1:80")).unwrap();
    let listener = pod.listen(binding, 2).unwrap();
    let _queued = (connect(&pod, "127.0.0.1:80").await.unwrap(), connect(&pod, "127.0.0.1:80").await.unwrap());

    let mut third = Box::pin(connect(&pod, "127.0.0.1:80"));
    let pending = poll_fn(|context| Poll::Ready(third.as_mut().poll(context).is_pending())).await;
    assert!(pending, "a third client does not fit");
    listener.accept().await.unwrap();
    let third = third.await.unwrap();

    let mut fourth = Box::pin(connect(&pod, "127.0.0.1:80"));
    assert!(poll_fn(|context| Poll::Ready(fourth.as_mut().poll(context).is_pending())).await);
    drop(listener);
    assert_eq!(fourth.await.unwrap_err(), NetError::ConnectionRefused);
    assert_eq!(third.reader.read(1).await, Err(ReadError::Reset));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_never_let_in_times_out() {
    let pod = pod();
    let binding = pod.bind_tcp(at(&pod, "127.0.0.1:80")).unwrap();
    let _listener = pod.listen(binding, 0).unwrap();
    let _queued = connect(&pod, "127.0.0.1:80").await.unwrap();
    assert_eq!(connect(&pod, "127.0.0.1:80").await.unwrap_err(), NetError::TimedOut);
}

#[tokio::test]
async fn accept_waits_for_a_client() {
    let pod = pod();
    let listener = listen(&pod, "127.0.0.1:80").unwrap();
    assert!(listener.try_accept().unwrap().is_none());
    let accepting = tokio::spawn(async move { listener.accept().await });
    tokio::task::yield_now().await;
    let client = connect(&pod, "127.0.0.1:80").await.unwrap();
    assert_eq!(accepting.await.unwrap().unwrap().peer, client.local);
}

#[tokio::test]
async fn a_pod_can_open_only_so_many_sockets_and_gets_them_back() {
    let pod = pod();
    let bind = || pod.bind_tcp(at(&pod, "0.0.0.0:0"));
    let bindings: Vec<_> = (0..MAX_TCP_SOCKETS).map(|_| bind().unwrap()).collect();
    assert_eq!(bind().unwrap_err(), NetError::TooManySockets);
    drop(bindings);

    let listener = listen(&pod, "127.0.0.1:80").unwrap();
    for _ in 0..3 {
        let mut streams = Vec::new();
        while let Ok(client) = connect(&pod, "127.0.0.1:80").await {
            match listener.try_accept() {
                Ok(server) => streams.push((client, server)),
                Err(error) => {
                    assert_eq!(error, NetError::TooManySockets);
                    break;
                }
            }
        }
        // Each connection inside a pod is two sockets; the listener is one.
        assert_eq!(streams.len(), (MAX_TCP_SOCKETS - 1) / 2);
        drop(streams);
        while listener.try_accept().unwrap().is_some() {}
    }
}

#[tokio::test]
async fn closing_a_pod_ends_all_it_had() {
    let (a, b) = pods();
    let listener = listen(&b, "0.0.0.0:80").unwrap();
    let peer = format!("{}:80", b.ips()[0]);
    let client = connect(&a, &peer).await.unwrap();
    let server = listener.accept().await.unwrap();
    let waiting = connect(&a, &peer).await.unwrap();
    let accepting = tokio::spawn(async move {
        let _first = listener.accept().await;
        listener.accept().await.map(|_stream| ())
    });
    tokio::task::yield_now().await;
    b.close();
    assert_eq!(accepting.await.unwrap(), Err(NetError::ConnectionAborted));
    for stream in [&client, &server, &waiting] {
        assert_eq!(stream.reader.read(1).await, Err(ReadError::Reset));
    }
    assert_eq!(connect(&a, &peer).await.unwrap_err(), NetError::Unreachable);
    assert_eq!(b.bind_tcp(at(&b, "0.0.0.0:0")).unwrap_err(), NetError::Unreachable);
}

#[test]
fn addresses_are_not_given_again_at_once() {
    let switch = Switch::new(Egress::Deny);
    let first = switch.attach("a", None).unwrap().ips()[0];
    let second = switch.attach("b", None).unwrap().ips()[0];
    assert_ne!(first, second, "the first pod is gone already");
}

#[test]
fn addresses_run_out_and_come_back() {
    let switch = Switch::new(Egress::Deny);
    let mut pods = Vec::new();
    let error = loop {
        match switch.attach("p", None) {
            Ok(pod) => pods.push(pod),
            Err(error) => break error,
        }
    };
    assert_eq!(error, NetError::AddressNotAvailable);
    assert_eq!(pods.len(), 65_533);
    let freed = pods.swap_remove(1234).ips()[0];
    assert_eq!(switch.attach("p", None).unwrap().ips()[0], freed);
}

#[tokio::test]
async fn tokio_reads_and_writes_a_connection() {
    let pod = pod();
    let (mut client, mut server) = connection(&pod).await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let writing = tokio::spawn({
        let sent = sent.clone();
        async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        }
    });
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert!(received == sent);
    server.write_all(b"thanks").await.unwrap();
    drop(server);
    assert_eq!(writing.await.unwrap(), "thanks");
}
