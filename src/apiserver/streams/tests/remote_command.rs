//! `exec` and `attach` over both transports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::lock;
use super::*;
use crate::apiserver::node_access::TerminalSize;

fn exec(query: &str) -> String {
    format!("/api/v1/namespaces/default/pods/web/exec?{query}")
}

const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;

fn channels(entries: &[(u8, &str)]) -> BTreeMap<u8, String> {
    entries.iter().map(|(channel, text)| (*channel, (*text).to_owned())).collect()
}

#[tokio::test]
async fn a_program_is_run_over_a_websocket() {
    let server = Server::new().await;
    for version in ["v5.channel.k8s.io", "v4.channel.k8s.io"] {
        let path = exec("command=echo&command=hi&stdout=1&stderr=true");
        let (mut socket, taken) = server.websocket(&path, version).await.unwrap();
        assert_eq!(taken, version);
        assert_eq!(socket.rest().await, channels(&[(1, "hi"), (3, SUCCESS)]));
    }
    // Of what kube, Python and JavaScript offer, the newest that they name first.
    let offered = "v5.channel.k8s.io, v4.channel.k8s.io, v3.channel.k8s.io";
    let (_, taken) = server.websocket(&exec("command=echo&command=hi&stdout=1"), offered).await.unwrap();
    assert_eq!(taken, "v5.channel.k8s.io");
}

#[tokio::test]
async fn exit_codes_and_errors_are_told_in_the_form_of_the_version() {
    let server = Server::new().await;
    let failed = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
    let missing = r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: error executing command in container: failed to exec in container: exec: \"missing\": executable file not found in $PATH","reason":"InternalError","details":{"causes":[{"message":"error executing command in container: failed to exec in container: exec: \"missing\": executable file not found in $PATH"}]},"code":500}"#;
    let code = "command terminated with non-zero exit code: command terminated with exit code 7";
    for (version, command, expected) in [
        ("v4.channel.k8s.io", "command=exit&command=7", vec![(1, "bye"), (2, "failed"), (3, failed)]),
        ("v4.channel.k8s.io", "command=missing", vec![(3, missing)]),
        ("channel.k8s.io", "command=exit&command=7", vec![(1, "bye"), (2, "failed"), (3, code)]),
        ("", "command=echo&command=hi", vec![(1, "hi")]),
    ] {
        let path = exec(&format!("{command}&stdout=1&stderr=1"));
        let (mut socket, taken) = server.websocket(&path, version).await.unwrap();
        assert_eq!(taken, version);
        assert_eq!(socket.rest().await, channels(&expected), "{version} {command}");
    }
}

#[tokio::test]
async fn base64_is_spoken_to_browsers_of_old() {
    let server = Server::new().await;
    let path = exec("command=cat&stdin=1&stdout=1");
    let (mut socket, taken) = server.websocket(&path, "base64.channel.k8s.io").await.unwrap();
    assert_eq!(taken, "base64.channel.k8s.io");
    socket.0.send(Message::text("0aGVsbG8=")).await.unwrap();
    loop {
        match socket.0.next().await.unwrap().unwrap() {
            Message::Text(text) if text.as_str() == "1aGVsbG8=" => break,
            Message::Text(text) => assert_eq!(text.as_str(), "1", "the first message is empty"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn standard_input_ends_where_the_version_can_say_so() {
    let server = Server::new().await;
    let (mut socket, _) = server.websocket(&exec("command=cat&stdin=1&stdout=1"), "v5.channel.k8s.io").await.unwrap();
    socket.send(0, b"hello ").await;
    socket.send(0, b"world").await;
    socket.send(255, &[0]).await;
    assert_eq!(socket.rest().await, channels(&[(1, "hello world"), (3, SUCCESS)]));
    // Before, there was no such message; what looks like one is none.
    let (mut socket, _) = server.websocket(&exec("command=cat&stdin=1&stdout=1"), "v4.channel.k8s.io").await.unwrap();
    socket.send(255, &[0]).await;
    socket.send(0, b"x").await;
    assert_eq!(socket.next().await, Some((1, Bytes::from_static(b"x"))));
}

#[tokio::test]
async fn terminals_are_told_their_size_and_have_one_output() {
    let server = Server::new().await;
    let path = exec("command=cat&stdin=1&stdout=1&stderr=1&tty=1");
    let (mut socket, _) = server.websocket(&path, "v5.channel.k8s.io").await.unwrap();
    socket.send(4, br#"{"Width":80,"Height":24}"#).await;
    socket.send(4, br#"{"Width":81,"Height":25}"#).await;
    socket.send(0, b"x").await;
    assert_eq!(socket.next().await, Some((1, Bytes::from_static(b"x"))));
    let sizes = [TerminalSize { rows: 24, columns: 80 }, TerminalSize { rows: 25, columns: 81 }];
    assert_eq!(*lock(&server.node.sizes), sizes);
}

/// Nobody who cannot see its output shall leave a program behind.
#[tokio::test]
async fn a_client_that_goes_takes_its_program_with_it() {
    let server = Server::new().await;
    let (mut socket, _) = server.websocket(&exec("command=forever&stdout=1"), "v5.channel.k8s.io").await.unwrap();
    assert_eq!(socket.next().await, Some((1, Bytes::from_static(b"begun"))));
    drop(socket);
    server.node.killed.cancelled().await;

    let server = Server::new().await;
    let (mut spdy, _) = server.spdy(&exec("command=forever&stdout=1"), &["v4.channel.k8s.io"]).await.unwrap();
    spdy.open(1, &[("streamtype", "error")]).await;
    spdy.open(3, &[("streamtype", "stdout")]).await;
    spdy.until(3, "begun").await;
    drop(spdy);
    server.node.killed.cancelled().await;
}

#[tokio::test]
async fn attaching_ends_well_whatever_the_exit_code() {
    let server = Server::new().await;
    let path = "/api/v1/namespaces/default/pods/web/attach?stdout=1&stderr=1";
    let (mut socket, _) = server.websocket(path, "v4.channel.k8s.io").await.unwrap();
    assert_eq!(socket.rest().await, channels(&[(1, "bye"), (2, "failed"), (3, SUCCESS)]));
}

#[tokio::test]
async fn a_program_is_run_over_spdy() {
    let server = Server::new().await;
    for version in
        ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", ""]
    {
        let offered: Vec<&str> = ["v9.channel.k8s.io", version].into_iter().filter(|_| !version.is_empty()).collect();
        let path = exec("command=exit&command=7&stdout=1&stderr=1");
        let (mut spdy, taken) = server.spdy(&path, &offered).await.unwrap();
        assert_eq!(taken, version);
        for (stream, kind) in [(1, "error"), (3, "stdout"), (5, "stderr")] {
            spdy.open(stream, &[("streamtype", kind)]).await;
        }
        assert_eq!((spdy.all(3).await, spdy.all(5).await), ("bye".to_owned(), "failed".to_owned()));
        let outcome = spdy.all(1).await;
        assert_eq!(outcome.starts_with(r#"{"metadata""#), version.starts_with("v5") || version.starts_with("v4"));
        assert!(outcome.contains("exit code 7"), "{outcome}");
    }
}

#[tokio::test]
async fn standard_input_and_the_size_come_over_spdy() {
    let server = Server::new().await;
    let path = exec("command=cat&stdin=1&stdout=1&tty=1");
    let (mut spdy, _) = server.spdy(&path, &["v4.channel.k8s.io"]).await.unwrap();
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "resize")] {
        spdy.open(stream, &[("streamtype", kind)]).await;
    }
    spdy.send(7, b"{\"Width\":80,\"Height\":24}\n", false).await;
    spdy.send(3, b"hello", true).await;
    assert_eq!((spdy.all(5).await, spdy.all(1).await), ("hello".to_owned(), SUCCESS.to_owned()));
    assert_eq!(*lock(&server.node.sizes), [TerminalSize { rows: 24, columns: 80 }]);
}

#[tokio::test]
async fn streams_that_nobody_asked_for_are_refused() {
    let server = Server::new().await;
    let (mut spdy, _) = server.spdy(&exec("command=echo&command=x&stdout=1"), &["v4.channel.k8s.io"]).await.unwrap();
    spdy.open(1, &[("streamtype", "error")]).await;
    for (stream, kind) in [(3, "error"), (5, "stdin"), (7, "nonsense")] {
        let frame = client::open(stream, false, &vec![("streamtype", kind)].into(), &mut spdy.headers);
        spdy.write(&frame).await;
    }
    spdy.open(9, &[("streamtype", "stdout")]).await;
    assert_eq!(spdy.all(9).await, "x");
    assert_eq!(spdy.resets, [3, 5, 7]);
}

/// Thirty seconds, as the kubelet gives.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_opens_its_streams_is_left() {
    let server = Server::new().await;
    let (mut spdy, _) = server.spdy(&exec("command=echo&command=x&stdout=1"), &["v4.channel.k8s.io"]).await.unwrap();
    let begun = tokio::time::Instant::now();
    while spdy.receive().await {}
    assert_eq!(begun.elapsed().as_secs(), 30);
}

/// A client that reads slowly makes the program wait, and gets everything.
#[tokio::test]
async fn much_output_arrives_whole_at_a_slow_client() {
    let server = Server::new().await;
    let path = exec("command=much&command=5&stdout=1");
    let (mut socket, _) = server.websocket(&path, "v5.channel.k8s.io").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let all = socket.rest().await;
    assert_eq!((all[&1].len(), all[&3].as_str()), (5 << 20, SUCCESS));
}

/// An output that stays open when its program has ended is given up a second later.
#[tokio::test(start_paused = true)]
async fn an_output_left_open_ends_with_its_program() {
    let server = Server::new().await;
    let (mut socket, _) = server.websocket(&exec("command=leaks&stdout=1"), "v5.channel.k8s.io").await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(socket.rest().await, channels(&[(1, "all of it"), (3, SUCCESS)]));
    assert_eq!(begun.elapsed().as_secs(), 1);
}

#[tokio::test]
async fn what_cannot_begin_says_why() {
    let server = Server::new().await;
    let on = |pod: &str, query: &str| format!("/api/v1/namespaces/default/pods/{pod}/exec?{query}");
    for (path, code, message) in [
        (on("nobody", "command=x&stdout=1"), 404, "pods \"nobody\" not found"),
        (on("web", "command=x"), 400, "you must specify at least 1 of stdin, stdout, stderr"),
        (on("web", "stdout=1"), 400, "you must specify at least one command for the container"),
        (on("web", "command=x&stdout=1&container=y"), 400, "container y is not valid for pod web"),
        (on("new", "command=x&stdout=1"), 400, "pod new does not have a host assigned"),
    ] {
        let answer = server.websocket(&path, "v5.channel.k8s.io").await.map(|_| ()).unwrap_err();
        let (found, _, text) = answer.status();
        assert_eq!((found, text.as_str()), (code, message));
    }
    let plain = server.get(&on("web", "command=x&stdout=1")).await.status();
    assert_eq!((plain.0, plain.2.as_str()), (400, "Upgrade request required"));
    let unknown = server.websocket(&on("web", "command=x&stdout=1"), "chat").await.map(|_| ()).unwrap_err();
    assert_eq!(unknown.code, 403);
    assert!(unknown.text.starts_with("unable to upgrade: unable to negotiate protocol: client supports [chat]"));
    let unknown = server.spdy(&on("web", "command=x&stdout=1"), &["v9.channel.k8s.io"]).await.map(|_| ()).unwrap_err();
    assert_eq!((unknown.code, unknown.headers.get_all("x-accepted-stream-protocol-versions").iter().count()), (403, 5));
    assert!(lock(&server.node.connections).is_empty());
}

/// Clients make `unable to upgrade connection: container not found ("a")` of it.
#[tokio::test]
async fn a_container_that_does_not_run_is_told_of_before_spdy_and_within_a_websocket() {
    let server = Server::new().await;
    let path = "/api/v1/namespaces/default/pods/two/exec?container=a&command=x&stdout=1";
    let refused = server.spdy(path, &["v4.channel.k8s.io"]).await.map(|_| ()).unwrap_err();
    assert_eq!((refused.code, refused.text.as_str()), (500, "container not found (\"a\")"));
    let (mut socket, _) = server.websocket(path, "v5.channel.k8s.io").await.unwrap();
    let outcome: Value = serde_json::from_str(&socket.rest().await[&3]).unwrap();
    assert_eq!(
        outcome["message"],
        "Internal error occurred: unable to upgrade connection: container not found (\"a\")"
    );
}

#[tokio::test]
async fn hostile_messages_cost_the_connection_at_most() {
    let server = Server::new().await;
    let (mut socket, _) = server.websocket(&exec("command=cat&stdin=1&stdout=1"), "v5.channel.k8s.io").await.unwrap();
    for message in [&[][..], &[9], &[9, 9], &[3, 1], &[255], &[255, 7], &[4, b'{'], &[4, 0xFF]] {
        socket.0.send(Message::binary(message.to_vec())).await.unwrap();
    }
    socket.send(0, b"still here").await;
    assert_eq!(socket.next().await, Some((1, Bytes::from_static(b"still here"))));
    // A frame that announces more than may come.
    let raw = socket.0.get_mut();
    raw.write_all(&[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]).await.unwrap();
    while let Some(Ok(_)) = socket.0.next().await {}
    server.node.killed.cancelled().await;
}

/// Four hours without a word, as the kubelet has it; whoever is there answers pings.
#[tokio::test(start_paused = true)]
async fn peers_that_fall_silent_are_left_and_others_are_not() {
    let server = Server::new().await;
    let path = exec("command=forever&stdout=1");
    let (mut socket, _) = server.websocket(&path, "v5.channel.k8s.io").await.unwrap();
    let reading = tokio::spawn(async move { while let Some(Ok(_)) = socket.0.next().await {} });
    tokio::time::sleep(Duration::from_secs(5 * 60 * 60)).await;
    assert!(!reading.is_finished() && !server.node.killed.is_cancelled());
    reading.abort();
    server.node.killed.cancelled().await;

    let server = Server::new().await;
    let (socket, _) = server.websocket(&path, "v5.channel.k8s.io").await.unwrap();
    let begun = tokio::time::Instant::now();
    server.node.killed.cancelled().await;
    assert_eq!(begun.elapsed().as_secs(), 4 * 60 * 60);
    drop(socket);
}
