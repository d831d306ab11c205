//! `port-forward` in its four forms.

use super::node::lock;
use super::*;
use crate::apiserver::node_access::Via;
use crate::apiserver::streams::websocket::MessageBytes;

const PATH: &str = "/api/v1/namespaces/default/pods/web/portforward";

/// Opens the two streams of a connection, the error stream first as kubectl does.
async fn open_pair<Io>(spdy: &mut Spdy<Io>, first: u32, port: &str)
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let request = first.to_string();
    for (stream, kind) in [(first, "error"), (first + 2, "data")] {
        spdy.open(stream, &[("streamtype", kind), ("port", port), ("requestid", &request)]).await;
    }
    // kubectl sends nothing on the error stream.
    spdy.send(first, b"", true).await;
}

async fn forwards<Io>(server: &Server, mut spdy: Spdy<Io>)
where
    Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    open_pair(&mut spdy, 1, "80").await;
    // Another connection meanwhile.
    open_pair(&mut spdy, 5, "81").await;
    // A client of old ends its side only when the error stream has ended.
    assert_eq!((spdy.all(7).await, spdy.all(5).await), ("hello".to_owned(), String::new()));
    // Half closed: the answer comes after the end of the question.
    spdy.send(3, b"a question", true).await;
    assert_eq!((spdy.all(3).await, spdy.all(1).await), ("got a question".to_owned(), String::new()));
    open_pair(&mut spdy, 9, "9999").await;
    let expected = "error forwarding port 9999 to pod web, uid u: failed to connect to localhost:9999 inside namespace \
                    \"default\": dial tcp4 127.0.0.1:9999: connect: connection refused";
    assert_eq!((spdy.all(9).await.as_str(), spdy.all(11).await.as_str()), (expected, ""));
    assert_eq!(*lock(&server.node.connections), [80, 81, 9999].map(|port| (port, Via::Loopback)));
}

#[tokio::test]
async fn ports_are_forwarded_over_spdy() {
    let server = Server::new().await;
    let (spdy, taken) = server.spdy(PATH, &["portforward.k8s.io"]).await.unwrap();
    assert_eq!(taken, "portforward.k8s.io");
    forwards(&server, spdy).await;
}

#[tokio::test]
async fn ports_are_forwarded_over_spdy_within_a_websocket() {
    let server = Server::new().await;
    let (socket, taken) = server.websocket(PATH, "SPDY/3.1+portforward.k8s.io").await.unwrap();
    assert_eq!(taken, "SPDY/3.1+portforward.k8s.io");
    forwards(&server, Spdy::new(MessageBytes::new(socket.0))).await;
}

#[tokio::test]
async fn a_websocket_has_two_channels_for_each_port() {
    // kube offers v5 first, Python v4, kr8s nothing at all.
    for (offered, expected) in [("v5.channel.k8s.io, v4.channel.k8s.io", "v4.channel.k8s.io"), ("", "")] {
        let server = Server::new().await;
        let path = format!("{PATH}?ports=82&ports=81,9999");
        let (mut socket, taken) = server.websocket(&path, offered).await.unwrap();
        assert_eq!(taken, expected);
        let mut begun = Vec::new();
        let mut said = std::collections::BTreeMap::<u8, Vec<u8>>::new();
        while begun.len() < 6 || said.len() < 2 {
            let (channel, bytes) = socket.next().await.unwrap();
            if begun.contains(&channel) {
                said.entry(channel).or_default().extend(bytes);
            } else {
                let port: u16 = [82, 81, 9999][usize::from(channel / 2)];
                assert_eq!(bytes, port.to_le_bytes().to_vec());
                begun.push(channel);
            }
        }
        assert_eq!(said[&2], b"hello");
        assert!(said[&5].ends_with(b"connect: connection refused"), "{said:?}");
        socket.send(0, b"echo").await;
        assert_eq!(socket.next().await, Some((0, Bytes::from_static(b"echo"))));
        // A port that is done does not hold up another one.
        for _ in 0..100 {
            socket.send(2, &[0; 16 * 1024]).await;
        }
        socket.send(0, b"again").await;
        assert_eq!(socket.next().await, Some((0, Bytes::from_static(b"again"))));
    }
}

/// What a client has sent before it closes still arrives.
#[tokio::test]
async fn nothing_that_was_sent_is_lost_when_a_client_closes() {
    let server = Server::new().await;
    let (mut socket, _) = server.websocket(&format!("{PATH}?ports=80"), "v4.channel.k8s.io").await.unwrap();
    socket.send(0, b"last words").await;
    socket.0.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.0.next().await {}
    while lock(&server.node.taken).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*lock(&server.node.taken), ["last words"]);
}

#[tokio::test]
async fn a_client_may_give_up_a_connection_and_go_on_with_others() {
    let server = Server::new().await;
    let (mut spdy, _) = server.spdy(PATH, &["portforward.k8s.io"]).await.unwrap();
    open_pair(&mut spdy, 1, "82").await;
    spdy.send(3, b"x", false).await;
    spdy.until(3, "x").await;
    spdy.write(&client::control(3, &[0, 0, 0, 3, 0, 0, 0, 5])).await;
    assert_eq!(spdy.all(1).await, "");
    open_pair(&mut spdy, 5, "82").await;
    spdy.send(7, b"y", true).await;
    assert_eq!(spdy.all(7).await, "y");
}

/// kubectl before 1.5 named no requests.
#[tokio::test]
async fn pairs_without_a_name_are_consecutive() {
    let server = Server::new().await;
    let (mut spdy, _) = server.spdy(PATH, &[]).await.unwrap();
    for (stream, kind) in [(1, "error"), (3, "data"), (5, "error"), (7, "data")] {
        spdy.open(stream, &[("streamtype", kind), ("port", "81")]).await;
    }
    assert_eq!((spdy.all(3).await, spdy.all(7).await), ("hello".to_owned(), "hello".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn streams_that_make_no_pair_come_to_nothing() {
    let server = Server::new().await;
    let (mut spdy, _) = server.spdy(PATH, &["portforward.k8s.io"]).await.unwrap();
    let mut refused = Vec::new();
    for (stream, headers) in [
        (1, vec![("streamtype", "data")]),
        (3, vec![("streamtype", "data"), ("port", "0")]),
        (5, vec![("streamtype", "data"), ("port", "65536")]),
        (7, vec![("streamtype", "stdout"), ("port", "80")]),
    ] {
        let frame = client::open(stream, false, &headers.into(), &mut spdy.headers);
        spdy.write(&frame).await;
        refused.push(stream);
    }
    spdy.open(9, &[("streamtype", "error"), ("port", "80"), ("requestid", "a")]).await;
    assert_eq!(spdy.resets, refused);
    let begun = tokio::time::Instant::now();
    assert_eq!(spdy.all(9).await, "(request=a) timed out waiting for streams");
    assert!((30..36).contains(&begun.elapsed().as_secs()));
    for stream in [11, 13] {
        spdy.open(stream, &[("streamtype", "error"), ("port", "80"), ("requestid", "b")]).await;
    }
    assert_eq!(spdy.all(11).await, "error processing stream for request b: error stream already assigned");
    assert!(lock(&server.node.connections).is_empty());
}

#[tokio::test]
async fn what_cannot_be_forwarded_says_why() {
    let server = Server::new().await;
    let many = (1..=128).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
    for (query, expected) in [
        (String::new(), "query parameter \"ports\" is required"),
        ("ports=".to_owned(), "query parameter \"ports\" cannot be empty"),
        ("ports=0".to_owned(), "port \"0\" must be > 0"),
        ("ports=80,x".to_owned(), "unable to parse \"80,x\" as a port: invalid digit found in string"),
        (format!("ports={many}"), "at most 127 ports can be forwarded at once"),
    ] {
        let answer = server.websocket(&format!("{PATH}?{query}"), "v4.channel.k8s.io").await.map(|_| ()).unwrap_err();
        assert_eq!(answer.status(), (400, "BadRequest".to_owned(), expected.to_owned()));
    }
    let other = server.spdy(PATH, &["v4.channel.k8s.io"]).await.map(|_| ()).unwrap_err();
    assert_eq!(other.code, 403);
}
