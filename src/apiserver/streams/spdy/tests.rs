//! A server's side of a connection against frames written by hand, good ones and others.

use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::client::{ClientHeaders, control, data, open};
use super::connection::{ConnectionError, Driver, MAX_STREAMS};
use super::frame::{MAX_CONTROL, PREFIX, Prefix, What};
use super::headers::Headers;
use super::*;

/// A client of a connection.
struct Client {
    io: DuplexStream,
    headers: ClientHeaders,
}

/// What a client receives: data of a stream, or a control frame.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    Data(u32, Bytes, bool),
    /// Its type and its payload's first four bytes: mostly a stream.
    Control(u16, u32),
}

fn start() -> (Client, Connection, tokio::task::JoinHandle<Result<(), ConnectionError>>) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (connection, driver): (_, Driver<_>) = connection(server);
    (Client { io: client, headers: ClientHeaders::new() }, connection, tokio::spawn(driver.run()))
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.unwrap();
    }

    async fn open(&mut self, stream: u32, headers: &Headers) {
        let frame = open(stream, false, headers, &mut self.headers);
        self.send(&frame).await;
    }

    async fn receive(&mut self) -> Received {
        let mut prefix = [0; PREFIX];
        self.io.read_exact(&mut prefix).await.unwrap();
        let prefix = Prefix::parse(prefix);
        let mut payload = vec![0; prefix.length];
        self.io.read_exact(&mut payload).await.unwrap();
        match prefix.what {
            What::Data(stream) => Received::Data(stream, payload.into(), prefix.fin),
            What::Control { kind, .. } => Received::Control(kind, (&payload[..]).get_u32()),
        }
    }
}

async fn read_all(stream: &Stream) -> Result<Vec<u8>, crate::base::pipe::ReadError> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.reader().read(usize::MAX).await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[tokio::test]
async fn streams_are_opened_answered_and_half_closed() {
    let (mut client, mut server, driver) = start();
    client.open(1, &Headers::from([("streamtype", "data"), ("port", "80")])).await;
    let stream = server.accept().await.unwrap();
    assert_eq!((stream.id(), stream.headers().get("port")), (1, Some("80")));
    stream.reply().await.unwrap();
    assert_eq!(client.receive().await, Received::Control(2, 1));
    client.send(&data(1, b"ping", false)).await;
    client.send(&data(1, b"!", true)).await;
    assert_eq!(read_all(&stream).await.unwrap(), b"ping!");
    stream.write(Bytes::from_static(b"pong")).await.unwrap();
    stream.finish().await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(client.receive().await, Received::Data(1, Bytes::from_static(b"pong"), false));
    assert_eq!(client.receive().await, Received::Data(1, Bytes::new(), true));
    client.send(&control(6, &[0, 0, 0, 1])).await;
    assert_eq!(client.receive().await, Received::Control(6, 1));
    server.close().await;
    driver.await.unwrap().unwrap();
    assert_eq!(client.io.read(&mut [0; 8]).await.unwrap(), 0, "the end");
}

/// As it happens to bytes in WebSocket messages.
#[tokio::test]
async fn frames_may_come_in_pieces() {
    let (mut client, mut server, _driver) = start();
    let mut bytes = open(1, false, &Headers::from([("streamtype", "data")]), &mut client.headers);
    bytes.extend(data(1, b"abc", true));
    for byte in bytes {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(read_all(&server.accept().await.unwrap()).await.unwrap(), b"abc");
}

/// A stream that nobody reads holds up the peer, and takes no more memory than its buffer.
#[tokio::test]
async fn much_data_waits_for_its_reader() {
    let (mut client, mut server, _driver) = start();
    client.open(1, &Headers::default()).await;
    let stream = server.accept().await.unwrap();
    let sent = vec![7; 5 << 20];
    let frame = data(1, &sent, true);
    let sending = tokio::spawn(async move {
        client.send(&frame).await;
        client
    });
    while stream.reader().available() < 64 * 1024 {
        tokio::task::yield_now().await;
    }
    assert!(!sending.is_finished());
    assert_eq!(read_all(&stream).await.unwrap(), sent);
    let mut client = sending.await.unwrap();
    let writing = tokio::spawn(async move { stream.write(vec![8; 3 << 20].into()).await });
    let mut received = 0;
    while received < 3 << 20 {
        let Received::Data(1, bytes, false) = client.receive().await else { panic!() };
        received += bytes.len();
    }
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_may_be_given_up_by_either_side() {
    let (mut client, mut server, _driver) = start();
    client.open(1, &Headers::default()).await;
    client.open(3, &Headers::default()).await;
    let (one, three) = (server.accept().await.unwrap(), server.accept().await.unwrap());
    client.send(&control(3, &[0, 0, 0, 1, 0, 0, 0, 5])).await;
    one.was_reset().await;
    assert!(read_all(&one).await.is_err());
    assert_eq!(one.write(Bytes::from_static(b"x")).await, Err(Gone));
    one.finish().await.unwrap();
    three.reset(ResetStatus::Refused).await.unwrap();
    assert_eq!(client.receive().await, Received::Control(3, 3), "nothing of the first");
    // What is under way when a stream ends is dropped.
    client.send(&data(3, b"late", false)).await;
    client.send(&data(1, b"late", false)).await;
    client.send(&control(6, &[0, 0, 0, 9])).await;
    assert_eq!(client.receive().await, Received::Control(6, 9));
    client.send(&data(99, b"never opened", false)).await;
    assert_eq!(client.receive().await, Received::Control(3, 99));
}

#[tokio::test]
async fn no_peer_has_more_streams_than_it_may() {
    let (mut client, mut server, _driver) = start();
    let mut streams = Vec::new();
    let number = |index: usize| u32::try_from(2 * index + 1).unwrap();
    for index in 0..MAX_STREAMS {
        client.open(number(index), &Headers::default()).await;
        streams.push(server.accept().await.unwrap());
    }
    client.open(number(MAX_STREAMS), &Headers::default()).await;
    assert_eq!(client.receive().await, Received::Control(3, number(MAX_STREAMS)));
    // One that both sides have ended makes room.
    client.send(&data(1, b"", true)).await;
    assert_eq!(read_all(&streams[0]).await.unwrap(), b"");
    streams[0].finish().await.unwrap();
    assert_eq!(client.receive().await, Received::Data(1, Bytes::new(), true));
    client.open(number(MAX_STREAMS) + 2, &Headers::default()).await;
    assert_eq!(server.accept().await.unwrap().id(), number(MAX_STREAMS) + 2);
}

#[tokio::test]
async fn peers_that_break_the_rules_are_told_and_left() {
    let headers = || ClientHeaders::new();
    let opened_twice = {
        let mut writer = headers();
        [1, 1].map(|id| open(id, false, &Headers::default(), &mut writer)).concat()
    };
    let huge = {
        let mut frame = control(1, &[]);
        frame[5..8].copy_from_slice(&[0xFF; 3]);
        frame
    };
    for (bytes, expected) in [
        (open(2, false, &Headers::default(), &mut headers()), "stream 2 cannot be opened by this peer now"),
        (opened_twice, "stream 1 cannot be opened by this peer now"),
        (huge, "a control frame of 16777215 bytes"),
        (b"\x80\x02\x00\x01GET / HTTP/1.1\r\n\r\n".to_vec(), "SPDY version 2 instead of 3"),
        (control(1, &[0; 10]), "a header block is malformed"),
        (control(1, &[b'x'; MAX_CONTROL]), "a header block is not compressed as it should be"),
    ] {
        let (mut client, mut server, driver) = start();
        client.send(&bytes).await;
        let error = driver.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(matches!(client.receive().await, Received::Control(7, _)), "{expected}");
        assert_eq!(client.io.read(&mut [0; 8]).await.unwrap(), 0, "{expected}");
        while server.accept().await.is_some() {}
    }
}

#[tokio::test]
async fn an_end_within_a_frame_is_an_error_and_one_between_frames_is_not() {
    let (client, _server, driver) = start();
    drop(client);
    driver.await.unwrap().unwrap();
    for part in [&data(1, b"abc", false)[..9], &data(1, b"abc", false)[..3], &control(6, &[0; 4])[..10]] {
        let (mut client, _server, driver) = start();
        client.send(part).await;
        drop(client);
        assert!(matches!(driver.await.unwrap(), Err(ConnectionError::Io(_))), "{part:?}");
    }
}

/// A peer that is there answers, and one that is not is noticed by the attempt.
#[tokio::test(start_paused = true)]
async fn silent_peers_are_asked_whether_they_are_there() {
    let (mut client, _server, _driver) = start();
    assert_eq!(client.receive().await, Received::Control(6, 2));
    client.send(&control(6, &[0, 0, 0, 2])).await;
    assert_eq!(client.receive().await, Received::Control(6, 4));
}

/// Pings that the peer does not take are not piled up.
#[tokio::test]
async fn a_flood_of_pings_holds_up_the_peer_that_sends_it() {
    let (client, server) = tokio::io::duplex(4096);
    let (_connection, driver) = connection(server);
    let _driver = tokio::spawn(driver.run());
    let mut client = client;
    let flood = control(6, &[0, 0, 0, 1]).repeat(100_000);
    let mut sent = 0;
    while let Ok(written) =
        tokio::time::timeout(std::time::Duration::from_millis(200), client.write(&flood[sent..])).await
    {
        sent += written.unwrap();
    }
    assert!(sent < 64 * 1024, "{sent}");
}
