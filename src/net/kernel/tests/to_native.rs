//! From elsewhere to a pod's native containers: other pods, the node, published ports.

use std::net::SocketAddr;

use super::*;
use crate::net::{NetError, Protocol, VirtualPort};

/// Serves connections one after the other: says the address each came from, then what it was sent.
const SERVER: &str = "s = socket.create_server(('0.0.0.0', 80)); print('ready')\n\
    while True:\n  c, a = s.accept(); c.sendall((a[0] + ' ').encode() + c.makefile('rb').read()); c.close()";

async fn ask(stream: &TcpStream) -> String {
    write(stream, "hello").await;
    stream.writer.close();
    String::from_utf8(read_all(stream).await).unwrap()
}

#[tokio::test]
async fn a_native_server_sees_who_connects() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "wasm to native").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let mut program = python(&namespace, SERVER).await;
    assert_eq!(program.line().await, "ready");

    let server: SocketAddr = format!("{}:80", ip(&native)).parse().unwrap();
    let stream = wasm.connect(None, server).await.unwrap();
    assert_eq!((stream.peer, stream.local.ip()), (server, wasm.ips()[0]));
    assert_eq!(ask(&stream).await, format!("{} hello", ip(&wasm)));

    let node = switch.node_ip();
    assert_eq!(ask(&native.connect_from_node(80).await.unwrap()).await, format!("{node} hello"));

    let published = switch.publish_tcp(&native, "127.0.0.1:0".parse().unwrap(), 80).await.unwrap();
    let address = published.host_addr();
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut client = std::net::TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    assert_eq!(answer.await.unwrap(), format!("{node} hello"));

    let service = SocketAddr::from(([10, 96, 1, 1], 8080));
    switch.set_services(vec![VirtualPort {
        ip: [10, 96, 1, 1].into(),
        protocol: Protocol::Tcp,
        port: 8080,
        backends: vec![server],
        affinity: None,
    }]);
    assert_eq!(ask(&wasm.connect(None, service).await.unwrap()).await, format!("{} hello", ip(&wasm)));
}

#[tokio::test]
async fn nobody_is_reached_where_nobody_listens_or_only_on_loopback() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "wasm to nobody").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let mut program =
        python(&namespace, "s = socket.create_server(('127.0.0.1', 80)); print('ready'); sys.stdin.read()").await;
    assert_eq!(program.line().await, "ready");
    for port in [80, 81] {
        let target = SocketAddr::new(native.ips()[0], port);
        assert_eq!(wasm.connect(None, target).await.map(|_| ()), Err(NetError::ConnectionRefused), "{port}");
        assert_eq!(native.connect_from_node(port).await.map(|_| ()), Err(NetError::ConnectionRefused), "{port}");
    }
}

#[tokio::test]
async fn datagrams_reach_a_native_server_and_its_answers_return() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "UDP to native").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let mut program = python(
        &namespace,
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53)); print('ready')\n\
         while True:\n  d, a = s.recvfrom(70000)\n  if not d: break\n  s.sendto((a[0] + ' ').encode() + d[:60000], a)",
    )
    .await;
    assert_eq!(program.line().await, "ready");
    let server = SocketAddr::new(native.ips()[0], 53);
    let service = SocketAddr::from(([10, 96, 1, 2], 53));
    switch.set_services(vec![VirtualPort {
        ip: [10, 96, 1, 2].into(),
        protocol: Protocol::Udp,
        port: 53,
        backends: vec![server],
        affinity: None,
    }]);
    let socket = wasm.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
    for target in [server, service] {
        socket.try_send(Bytes::from_static(b"hello"), Some(target)).unwrap();
        let answer = socket.recv().await.unwrap();
        assert_eq!((answer.peer, answer.bytes), (target, Bytes::from(format!("{} hello", ip(&wasm)))));
    }
    socket.try_send(vec![1; 65_507].into(), Some(server)).unwrap();
    assert_eq!(socket.recv().await.unwrap().bytes.len(), 60_000 + ip(&wasm).len() + 1);

    let published = switch.publish_udp(&native, "127.0.0.1:0".parse().unwrap(), 53).await.unwrap();
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"hi", published.host_addr()).await.unwrap();
    let mut buffer = [0; 100];
    let (length, _) = client.recv_from(&mut buffer).await.unwrap();
    assert_eq!(buffer[..length], *format!("{} hi", switch.node_ip()).as_bytes());

    socket.try_send(Bytes::new(), Some(server)).unwrap();
    assert_eq!(program.output().await, "");
    socket.connect(server).unwrap();
    socket.try_send(Bytes::from_static(b"x"), None).unwrap();
    assert_eq!(socket.recv().await.map(|_| ()), Err(NetError::ConnectionRefused));
}

#[tokio::test]
async fn resets_pass_both_ways_and_a_closing_pod_resets() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "resets").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let mut program = python(
        &namespace,
        "s = socket.create_server(('0.0.0.0', 80)); print('ready'); c, a = s.accept(); c.recv(1)\n\
         c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); c.close()\n\
         c, a = s.accept(); print('accepted')\n\
         try: print(c.recv(1))\nexcept OSError as e: print(errno.errorcode[e.errno])\n\
         c, a = s.accept(); print('accepted'); sys.stdin.read()",
    )
    .await;
    assert_eq!(program.line().await, "ready");
    let server = SocketAddr::new(native.ips()[0], 80);
    let reset = Err(crate::base::pipe::ReadError::Reset);

    let stream = wasm.connect(None, server).await.unwrap();
    write(&stream, "x").await;
    assert_eq!(stream.reader.read(9).await, reset);

    let stream = wasm.connect(None, server).await.unwrap();
    assert_eq!(program.line().await, "accepted");
    stream.reset();
    assert_eq!(program.line().await, "ECONNRESET");

    let stream = wasm.connect(None, server).await.unwrap();
    assert_eq!(program.line().await, "accepted");
    native.close();
    assert_eq!(stream.reader.read(9).await, reset);
}

#[tokio::test]
async fn large_transfers_arrive_whole_both_ways() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "large transfers to native").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let mut program = python(
        &namespace,
        "s = socket.create_server(('0.0.0.0', 80)); print('ready'); c, a = s.accept()\n\
         while d := c.recv(1 << 16): c.sendall(d)\n\
         c.close()",
    )
    .await;
    assert_eq!(program.line().await, "ready");
    let stream = wasm.connect(None, SocketAddr::new(native.ips()[0], 80)).await.unwrap();
    let sent: Vec<u8> =
        (0..32 * 1024 * 1024_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let sending = {
        let (writer, bytes) = (stream.writer.clone(), Bytes::from(sent.clone()));
        async move {
            writer.write_all(bytes).await.unwrap();
            writer.close();
        }
    };
    let ((), received) = tokio::join!(sending, read_all(&stream));
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}
