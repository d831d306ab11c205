//! `tcpSocket` probes.

use std::time::Duration;

use super::{Outcome, failure, listen, scene_with_probe};

#[tokio::test(start_paused = true)]
async fn a_connection_is_made_and_closed() {
    let scene = scene_with_probe("tcpSocket: {port: 8080}").await;
    let listener = scene.listen("0.0.0.0:8080");
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    let stream = listener.accept().await.unwrap();
    assert_eq!(stream.peer.ip(), scene.switch.node_ip());
    assert_eq!(stream.reader.read(1).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn failures_are_worded_as_in_go() {
    for (probe, loopback, expected) in [
        ("tcpSocket: {port: 8080}", false, "dial tcp 10.88.0.2:8080: connect: connection refused"),
        // A server that listens on loopback only does not serve.
        ("tcpSocket: {port: 8080}", true, "dial tcp 10.88.0.2:8080: connect: connection refused"),
        ("tcpSocket: {port: 80, host: 10.88.0.9}", false, "dial tcp 10.88.0.9:80: connect: network is unreachable"),
        ("tcpSocket: {port: 80, host: nobody}", false, "dial tcp: lookup nobody: no such host"),
        (
            "tcpSocket: {port: 80, host: 192.0.2.1}",
            false,
            "dial tcp 192.0.2.1:80: connect: permission denied: egress is off",
        ),
    ] {
        let scene = scene_with_probe(probe).await;
        let _listener = loopback.then(|| scene.listen("127.0.0.1:8080"));
        assert_eq!(scene.check().await, (failure(expected), Duration::ZERO), "{probe}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_accept_queue_times_out() {
    let scene = scene_with_probe("timeoutSeconds: 3, tcpSocket: {port: 8080}").await;
    let listener = listen(&scene.network, "0.0.0.0:8080", 1);
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    let (result, took) = scene.check().await;
    assert_eq!(result, failure("dial tcp 10.88.0.2:8080: i/o timeout"));
    assert_eq!(took.as_secs(), 3);
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn another_host_is_reached_as_the_pod_would_reach_it() {
    for (host, address) in [("127.0.0.1", "127.0.0.1:8080"), ("localhost", "127.0.0.1:8080"), ("web", "10.88.0.2:8080")]
    {
        let scene = scene_with_probe(&format!("tcpSocket: {{port: 8080, host: {host}}}")).await;
        let listener = scene.listen(address);
        assert_eq!(scene.check().await.0, Ok(Outcome::Success), "{host}");
        assert_eq!(listener.accept().await.unwrap().peer.ip(), address.parse::<std::net::SocketAddr>().unwrap().ip());
    }
    let scene = scene_with_probe("tcpSocket: {port: 8080, host: 10.88.0.3}").await;
    let other = scene.switch.attach("other", None).unwrap();
    let listener = listen(&other, "0.0.0.0:8080", 1);
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    assert_eq!(listener.accept().await.unwrap().peer.ip(), scene.network.ips()[0]);
}
