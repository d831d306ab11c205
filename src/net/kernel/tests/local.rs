//! Both kinds of containers in one pod: one localhost, one port space.

use super::*;
use crate::net::NetError;

/// Serves one connection: says the address it came from, then what it was sent.
const SERVER: &str = "s = socket.socket(socket.AF_INET6 if ':' in HOST else socket.AF_INET)\n\
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((HOST, PORT)); s.listen(); print('ready')\n\
    c, a = s.accept(); c.sendall((a[0] + ' ').encode() + c.makefile('rb').read()); c.close()";

fn server(host: &str, port: u16) -> String {
    SERVER.replace("HOST", &format!("'{host}'")).replace("PORT", &port.to_string())
}

#[tokio::test]
async fn a_guest_reaches_a_native_server_on_localhost() {
    let Some((pod, namespace)) = native_pod(&switch(), "guest to native, localhost").await else { return };
    for (host, target, seen) in [
        ("127.0.0.1", "127.0.0.1:8080", "127.0.0.1"),
        ("0.0.0.0", "POD:8080", "POD"),
        ("::", "[::1]:8080", "::1"),
        ("0.0.0.0", "[::ffff:127.0.0.1]:8080", "127.0.0.1"),
    ] {
        let mut program = python(&namespace, &server(host, 8080)).await;
        assert_eq!(program.line().await, "ready");
        let stream = pod.connect(None, target.replace("POD", &ip(&pod)).parse().unwrap()).await.unwrap();
        write(&stream, "hello").await;
        stream.writer.close();
        let answer = String::from_utf8(read_all(&stream).await).unwrap();
        assert_eq!(answer, format!("{} hello", seen.replace("POD", &ip(&pod))), "{target}");
        assert_eq!(stream.peer.to_string(), target.replace("POD", &ip(&pod)));
    }
}

#[tokio::test]
async fn a_native_program_reaches_a_guest_on_localhost() {
    let Some((pod, namespace)) = native_pod(&switch(), "native to guest, localhost").await else { return };
    for (bound, target) in
        [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "POD"), ("[::]:0", "::1"), ("[::]:0", "127.0.0.1")]
    {
        let listener = listen(&pod, bound);
        let target = target.replace("POD", &ip(&pod));
        let program = format!(
            "s = socket.create_connection(('{target}', {})); s.sendall(b'ping'); s.shutdown(socket.SHUT_WR)\n\
             print(s.getsockname()[1], s.makefile().read())",
            listener.local_addr().port()
        );
        let program = python(&namespace, &program).await;
        let served = listener.accept().await.unwrap();
        assert_eq!(read_all(&served).await, b"ping");
        write(&served, "pong").await;
        let peer = served.peer;
        assert_eq!(peer.ip().to_canonical().to_string(), target, "{bound}");
        drop(served);
        assert_eq!(program.output().await, format!("{} pong", peer.port()));
    }
}

#[tokio::test]
async fn a_port_that_one_kind_has_taken_is_taken_for_the_other() {
    let Some((pod, namespace)) = native_pod(&switch(), "ports taken").await else { return };
    let attempt = |kind: &str, port: u16| {
        format!(
            "s = socket.socket(socket.AF_INET, socket.{kind})\n\
             try:\n  s.bind(('0.0.0.0', {port}))\n  if socket.{kind} == socket.SOCK_STREAM: s.listen()\n  print('bound')\n\
             except OSError as e: print(errno.errorcode[e.errno])\n\
             sys.stdin.read()"
        )
    };
    // Taken by the guest.
    let (listener, datagrams) = (listen(&pod, "0.0.0.0:80"), pod.bind_udp("127.0.0.1:53".parse().unwrap()).unwrap());
    assert_eq!(python(&namespace, &attempt("SOCK_STREAM", 80)).await.line().await, "EADDRINUSE");
    assert_eq!(python(&namespace, &attempt("SOCK_DGRAM", 53)).await.line().await, "EADDRINUSE");
    drop((listener, datagrams));
    // Taken by the native container.
    let mut holders = Vec::new();
    for (kind, port) in [("SOCK_STREAM", 80), ("SOCK_DGRAM", 53)] {
        let mut holder = python(&namespace, &attempt(kind, port)).await;
        assert_eq!(holder.line().await, "bound");
        holders.push(holder);
    }
    assert_eq!(pod.bind_tcp("0.0.0.0:80".parse().unwrap()).map(|_| ()), Err(NetError::AddressInUse));
    assert_eq!(pod.bind_tcp("[::]:80".parse().unwrap()).map(|_| ()), Err(NetError::AddressInUse));
    assert_eq!(pod.bind_udp("127.0.0.1:53".parse().unwrap()).map(|_| ()), Err(NetError::AddressInUse));
    for mut holder in holders {
        holder.end_input();
        assert_eq!(holder.output().await, "");
    }
    listen(&pod, "0.0.0.0:80");
    pod.bind_udp("127.0.0.1:53".parse().unwrap()).unwrap();
}

#[tokio::test]
async fn what_guests_had_bound_before_is_reached_by_native_programs_too() {
    let switch = switch();
    let pod = switch.attach("late-0", None).unwrap();
    let listener = listen(&pod, "0.0.0.0:80");
    let datagrams = pod.bind_udp("127.0.0.1:5000".parse().unwrap()).unwrap();
    let Some(namespace) = attach(&pod, "bound before").await else { return };
    let program = "s = socket.create_connection(('127.0.0.1', 80)); print(s.makefile().read())\n\
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b'late', ('127.0.0.1', 5000))";
    let program = python(&namespace, program).await;
    write(&listener.accept().await.unwrap(), "early").await;
    assert_eq!(datagrams.recv().await.unwrap().bytes, "late");
    assert_eq!(program.output().await, "early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_namespace_has_gone_gets_another() {
    let switch = switch();
    let Some((pod, first)) = native_pod(&switch, "another namespace").await else { return };
    let other = switch.attach("wasm-0", None).unwrap();
    let (listener, bound) = (listen(&pod, "0.0.0.0:80"), pod.bind_tcp("0.0.0.0:81".parse().unwrap()).unwrap());
    let datagrams = pod.bind_udp("127.0.0.1:5000".parse().unwrap()).unwrap();
    let server = "s = socket.create_server(('0.0.0.0', 8080)); print('ready'); c, a = s.accept(); c.sendall(b'from here')\n\
        print(c.recv(9))";
    let mut serving = python(&first, server).await;
    assert_eq!(serving.line().await, "ready");
    let native: std::net::SocketAddr = format!("{}:8080", ip(&pod)).parse().unwrap();
    let stream = other.connect(None, native).await.unwrap();
    assert_eq!(stream.reader.read(9).await.unwrap().unwrap(), "from here");
    // The pod is as one without native containers: what they had is broken off, and nobody is there.
    pod.detach_kernel(&*first);
    assert!(stream.reader.read(9).await.is_err());
    assert_eq!(other.connect(None, native).await.map(|_| ()), Err(NetError::ConnectionRefused));
    let local = other.connect(None, format!("{}:80", ip(&pod)).parse().unwrap()).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().peer, local.local);
    // Another namespace has all that the guests have, and its own servers.
    let Some(second) = attach(&pod, "another namespace").await else { return };
    pod.detach_kernel(&*first);
    let late = pod.listen(bound, 128).unwrap();
    let program = "for port in (80, 81): print(socket.create_connection(('127.0.0.1', port)).makefile().read())\n\
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b'ask', ('127.0.0.1', 5000)); print(u.recv(9))";
    let program = python(&second, program).await;
    write(&listener.accept().await.unwrap(), "first").await;
    write(&late.accept().await.unwrap(), "second").await;
    let asked = datagrams.recv().await.unwrap();
    assert_eq!(asked.bytes, "ask");
    datagrams.try_send(Bytes::from_static(b"told"), Some(asked.peer)).unwrap();
    assert_eq!(program.output().await, "first\nsecond\nb'told'");
    let mut serving = python(&second, server).await;
    assert_eq!(serving.line().await, "ready");
    let stream = other.connect(None, native).await.unwrap();
    assert_eq!(stream.reader.read(9).await.unwrap().unwrap(), "from here");
}

#[tokio::test]
async fn guests_of_a_pod_with_a_kernel_meet_in_memory_as_before() {
    let Some((pod, _namespace)) = native_pod(&switch(), "guest to guest").await else { return };
    let listener = listen(&pod, "0.0.0.0:0");
    let port = listener.local_addr().port();
    let client = pod.connect(None, format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
    let served = listener.accept().await.unwrap();
    assert_eq!(served.peer, client.local);
    write(&client, "hello").await;
    drop(client);
    assert_eq!(read_all(&served).await, b"hello");
    let nobody = pod.connect(None, "127.0.0.1:9".parse().unwrap()).await.map(|_| ());
    assert_eq!(nobody, Err(NetError::ConnectionRefused));
}

#[tokio::test]
async fn a_bound_client_shows_its_port_to_a_native_server() {
    let Some((pod, namespace)) = native_pod(&switch(), "bound client").await else { return };
    let mut program =
        python(&namespace, "s = socket.create_server(('127.0.0.1', 80)); print('ready'); c, a = s.accept(); print(a)")
            .await;
    assert_eq!(program.line().await, "ready");
    let binding = pod.bind_tcp("127.0.0.1:7000".parse().unwrap()).unwrap();
    let stream = pod.connect(Some(binding), "127.0.0.1:80".parse().unwrap()).await.unwrap();
    assert_eq!(program.line().await, "('127.0.0.1', 7000)");
    assert_eq!(stream.local, "127.0.0.1:7000".parse().unwrap());
}

#[tokio::test]
async fn datagrams_go_both_ways_on_localhost() {
    let Some((pod, namespace)) = native_pod(&switch(), "UDP on localhost").await else { return };
    let mut program = python(
        &namespace,
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 5000)); print('ready')\n\
         for _ in range(2):\n  d, a = s.recvfrom(70000); s.sendto(hashlib.md5(d).hexdigest().encode(), a)",
    )
    .await;
    assert_eq!(program.line().await, "ready");
    let socket = pod.bind_udp("0.0.0.0:0".parse().unwrap()).unwrap();
    let server = "127.0.0.1:5000".parse().unwrap();
    for (bytes, digest) in
        [(Bytes::from_static(b"x"), "9dd4e461268c8034f5c8564e155c67a6"), (vec![b'a'; 65_507].into(), "")]
    {
        socket.try_send(bytes, Some(server)).unwrap();
        let answer = socket.recv().await.unwrap();
        assert_eq!((answer.peer, answer.bytes.len()), (server, 32));
        assert!(digest.is_empty() || answer.bytes == digest);
    }
    assert_eq!(program.output().await, "");
    // Nobody is there any more: whoever has connected hears of it.
    socket.connect(server).unwrap();
    socket.try_send(Bytes::from_static(b"x"), None).unwrap();
    assert_eq!(socket.recv().await.map(|_| ()), Err(NetError::ConnectionRefused));
}

#[tokio::test]
async fn resets_pass_both_ways_on_localhost() {
    let Some((pod, namespace)) = native_pod(&switch(), "resets on localhost").await else { return };
    let listener = listen(&pod, "127.0.0.1:80");
    let program = "s = socket.create_connection(('127.0.0.1', 80)); s.recv(1)\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()\n\
        s = socket.create_connection(('127.0.0.1', 80)); print(s.recv(1))\n\
        try: s.recv(1)\nexcept OSError as e: print(errno.errorcode[e.errno])";
    let mut program = python(&namespace, program).await;
    let served = listener.accept().await.unwrap();
    write(&served, "x").await;
    assert_eq!(served.reader.read(9).await, Err(crate::base::pipe::ReadError::Reset));
    let served = listener.accept().await.unwrap();
    write(&served, "y").await;
    assert_eq!(program.line().await, "b'y'");
    served.reset();
    assert_eq!(program.output().await, "ECONNRESET");
}

#[tokio::test]
async fn a_pod_with_the_hosts_network_is_reached_at_the_ports_it_serves() {
    let kept_in = Switch::new(Egress::Deny).attach_host_network("node", None).await.unwrap_err();
    assert!(kept_in.to_string().contains("reaches all that the host reaches"), "{kept_in}");
    let switch = Switch::new(Egress::Allow);
    let host = switch.attach_host_network("node", None).await.unwrap();
    assert_eq!(host.ips()[0], switch.node_ip());
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"host").await;
        }
    });
    assert_eq!(read_all(&host.connect_from_node(port).await.unwrap()).await, b"host");
    assert_eq!(read_all(&host.connect(None, ([127, 0, 0, 1], port).into()).await.unwrap()).await, b"host");

    let wasm = switch.attach("wasm-0", None).unwrap();
    let target = (switch.node_ip(), port).into();
    assert_eq!(wasm.connect(None, target).await.map(|_| ()), Err(NetError::ConnectionRefused));
    host.serve_host_ports(&[port]);
    assert_eq!(read_all(&wasm.connect(None, target).await.unwrap()).await, b"host");
    host.close();
    assert_eq!(wasm.connect(None, target).await.map(|_| ()), Err(NetError::ConnectionRefused));
    serving.abort();
}

#[tokio::test]
async fn without_a_device_a_pod_is_reached_and_says_what_it_lacks() {
    let switch = switch();
    let pod = switch.attach("alone-0", None).unwrap();
    let namespace = match Namespace::start().await {
        Ok(namespace) => Arc::new(namespace),
        Err(reason) => return not_run("without a device", &reason),
    };
    let reach = pod.attach_kernel(Arc::new(WithoutDevice(Arc::clone(&namespace)))).await.unwrap();
    assert!(matches!(&reach, KernelReach::OwnPod(error) if error.kind() == std::io::ErrorKind::PermissionDenied));

    let mut program = python(&namespace, &server("0.0.0.0", 80)).await;
    assert_eq!(program.line().await, "ready");
    let stream = pod.connect_from_node(80).await.unwrap();
    write(&stream, "hello").await;
    stream.writer.close();
    assert_eq!(read_all(&stream).await, b"127.0.0.1 hello");
    let bound = listen(&pod, &format!("{}:81", ip(&pod)));
    let program = "try: socket.create_server(('0.0.0.0', 81))\nexcept OSError as e: print(errno.errorcode[e.errno])";
    assert_eq!(output(&namespace, program).await, "EADDRINUSE");
    drop(bound);
}
