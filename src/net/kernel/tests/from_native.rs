//! From native containers outwards: other pods, Services, names, the node.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::*;
use crate::net::{Protocol, Record, VirtualPort, Zone};

/// Says how an attempt to connect ends.
const TRY: &str = "def attempt(ip, port):\n  try:\n    socket.create_connection((ip, port), 5); return 'connected'\n  \
    except OSError as e: return errno.errorcode.get(e.errno, str(e))\n";

#[tokio::test]
async fn a_native_program_talks_to_a_wasm_pod() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "native to wasm").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let listener = listen(&wasm, "0.0.0.0:80");
    let program = format!(
        "s = socket.create_connection(('{}', 80)); s.sendall(b'question'); s.shutdown(socket.SHUT_WR)\n\
         print(s.getsockname()[1], s.makefile().read())",
        ip(&wasm)
    );
    let program = python(&namespace, &program).await;
    let served = listener.accept().await.unwrap();
    assert_eq!(read_all(&served).await, b"question");
    write(&served, "answer").await;
    let (peer, local) = (served.peer, served.local);
    drop(served);
    assert_eq!(program.output().await, format!("{} answer", peer.port()));
    assert_eq!((peer.ip(), local.to_string()), (native.ips()[0], format!("{}:80", ip(&wasm))));
}

#[tokio::test]
async fn attempts_fail_as_they_should() {
    let switch = switch();
    let Some((_native, namespace)) = native_pod(&switch, "native to nobody").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let _loopback = listen(&wasm, "127.0.0.1:80");
    switch.set_services(vec![VirtualPort {
        ip: [10, 96, 1, 1].into(),
        protocol: Protocol::Tcp,
        port: 80,
        backends: Vec::new(),
        affinity: None,
    }]);
    for (target, expected) in [
        (format!("{}', 81", ip(&wasm)), "ECONNREFUSED"),
        (format!("{}', 80", ip(&wasm)), "ECONNREFUSED"),
        ("10.96.1.1', 80".to_owned(), "ECONNREFUSED"),
        ("10.96.1.1', 81".to_owned(), "ECONNREFUSED"),
        ("10.96.1.2', 80".to_owned(), "EHOSTUNREACH"),
        ("10.88.9.9', 80".to_owned(), "EHOSTUNREACH"),
        (format!("{}', 80", switch.node_ip()), "ECONNREFUSED"),
        ("192.0.2.1', 80".to_owned(), "EHOSTUNREACH"),
    ] {
        let program = format!("{TRY}print(attempt('{target}))");
        assert_eq!(output(&namespace, &program).await, expected, "{target}");
    }
}

#[tokio::test]
async fn services_and_the_node_are_reached() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "native to Services").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let (backend, node) = (listen(&wasm, "0.0.0.0:8080"), switch.listen_on_node(6443, 16).unwrap());
    let datagrams = wasm.bind_udp("0.0.0.0:5353".parse().unwrap()).unwrap();
    let virtual_port = |protocol, backend: SocketAddr| VirtualPort {
        ip: [10, 96, 1, 1].into(),
        protocol,
        port: 80,
        backends: vec![backend],
        affinity: None,
    };
    switch.set_services(vec![
        virtual_port(Protocol::Tcp, SocketAddr::new(wasm.ips()[0], 8080)),
        virtual_port(Protocol::Udp, SocketAddr::new(wasm.ips()[0], 5353)),
    ]);
    let program = format!(
        "for target in (('10.96.1.1', 80), ('{}', 6443)):\n  print(socket.create_connection(target).makefile().read())\n\
         u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(('10.96.1.1', 80)); u.send(b'x'); print(u.recv(9))",
        switch.node_ip()
    );
    let mut program = python(&namespace, &program).await;
    for (listener, text) in [(&backend, "backend"), (&node, "node")] {
        let served = listener.accept().await.unwrap();
        assert_eq!(served.peer.ip(), native.ips()[0]);
        write(&served, text).await;
        drop(served);
        assert_eq!(program.line().await, text);
    }
    let datagram = datagrams.recv().await.unwrap();
    assert_eq!(datagram.peer.ip(), native.ips()[0]);
    datagrams.try_send(Bytes::from_static(b"y"), Some(datagram.peer)).unwrap();
    assert_eq!(program.output().await, "b'y'");
}

#[tokio::test]
async fn names_are_resolved_by_an_ordinary_resolver() {
    let switch = switch();
    let Some((_native, namespace)) = native_pod(&switch, "DNS").await else { return };
    let mut zone = Zone::new("cluster.local");
    zone.add("web.default.svc.cluster.local", Record::Address([10, 96, 1, 7].into()));
    switch.set_zone(zone);
    let directory = tempfile::tempdir().unwrap();
    let resolv = directory.path().join("resolv.conf");
    for options in ["ndots:5", "ndots:5 use-vc"] {
        let text = format!("nameserver 10.96.0.10\nsearch default.svc.cluster.local\noptions timeout:5 {options}\n");
        std::fs::write(&resolv, text).unwrap();
        let script = format!(
            "mount --bind {} /etc/resolv.conf && exec python3 -c \"import socket\n\
             print(socket.gethostbyname('web'), socket.gethostbyname('web.default.svc.cluster.local'))\n\
             try: socket.gethostbyname('nobody.default.svc.cluster.local.')\nexcept OSError as e: print(e.strerror)\"",
            resolv.display()
        );
        let program = namespace.run(&["unshare", "--mount", "sh", "-c", &script]).await;
        let expected = "10.96.1.7 10.96.1.7\nName or service not known";
        assert_eq!(program.output().await, expected, "{options}");
    }
}

#[tokio::test]
async fn datagrams_to_wasm_pods_carry_their_source_and_refusals_come_back() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "UDP from native").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let socket = wasm.bind_udp("0.0.0.0:5000".parse().unwrap()).unwrap();
    let program = format!(
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('0.0.0.0', 6000)); u.connect(('{}', 5000))\n\
         u.send(b'a' * 65507); print(u.recv(99))\n\
         u.connect(('{}', 5001)); u.send(b'x')\n\
         try: u.recv(9)\nexcept OSError as e: print(errno.errorcode[e.errno])",
        ip(&wasm),
        ip(&wasm)
    );
    let program = python(&namespace, &program).await;
    let datagram = socket.recv().await.unwrap();
    assert_eq!((datagram.bytes.len(), datagram.peer), (65_507, SocketAddr::new(native.ips()[0], 6000)));
    socket.try_send(Bytes::from_static(b"answer"), Some(datagram.peer)).unwrap();
    assert_eq!(program.output().await, "b'answer'\nECONNREFUSED");
}

#[tokio::test]
async fn the_node_and_pods_answer_echo_requests() {
    let switch = switch();
    let Some((native, namespace)) = native_pod(&switch, "echo").await else { return };
    let Some((other, _other_namespace)) = native_pod(&switch, "echo").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let ping = "def ping(ip):\n  s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.settimeout(5)\n  \
        m = struct.pack('>BBHHH', 8, 0, 0, 77, 1) + b'payload!'\n  c = sum(struct.unpack('>8H', m)); c = 65535 - (c % 65535)\n  \
        s.sendto(m[:2] + struct.pack('>H', c) + m[4:], (ip, 0))\n  \
        while True:\n    d, a = s.recvfrom(999)\n    if d[20] != 8: return a[0], d[20], d[21], d[28:] == b'payload!'\n";
    for (target, expected) in [
        (ip(&wasm), "0, 0, True"),
        (ip(&native), "0, 0, True"),
        (ip(&other), "0, 0, True"),
        (switch.node_ip().to_string(), "0, 0, True"),
        ("10.88.77.77".to_owned(), "3, 1, False"),
    ] {
        let answer = output(&namespace, &format!("{ping}print(ping('{target}'))")).await;
        assert_eq!(answer, format!("('{target}', {expected})"));
    }
}

#[tokio::test]
async fn a_hundred_connections_at_once() {
    let switch = switch();
    let Some((_native, namespace)) = native_pod(&switch, "many connections").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let listener = listen(&wasm, "0.0.0.0:80");
    let program = format!(
        "socks = [socket.create_connection(('{}', 80)) for _ in range(100)]\n\
         for i, s in enumerate(socks): s.sendall(b'%d' % i * 10000); s.shutdown(socket.SHUT_WR)\n\
         print(all(s.makefile('rb').read() == b'%d' % i * 10000 for i, s in enumerate(socks)))",
        ip(&wasm)
    );
    let program = python(&namespace, &program).await;
    let mut peers = HashSet::new();
    let mut serving = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let served = listener.accept().await.unwrap();
        peers.insert(served.peer);
        serving.spawn(async move {
            let bytes = read_all(&served).await;
            served.writer.write_all(bytes.into()).await.unwrap();
        });
    }
    assert_eq!(program.output().await, "True");
    serving.join_all().await;
    assert_eq!(peers.len(), 100);
}

#[tokio::test]
async fn large_transfers_arrive_whole_both_ways() {
    let switch = switch();
    let Some((_native, namespace)) = native_pod(&switch, "large transfers from native").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let listener = listen(&wasm, "0.0.0.0:80");
    let program = format!(
        "data = os.urandom(32 << 20); s = socket.create_connection(('{}', 80))\n\
         t = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))); t.start()\n\
         print(s.makefile('rb').read() == data)",
        ip(&wasm)
    );
    let program = python(&namespace, &program).await;
    let served = listener.accept().await.unwrap();
    while let Some(chunk) = served.reader.read(usize::MAX).await.unwrap() {
        served.writer.write_all(chunk).await.unwrap();
    }
    served.writer.close();
    assert_eq!(program.output().await, "True");
}

#[tokio::test]
async fn native_programs_of_two_pods_talk_to_each_other() {
    let switch = switch();
    let Some((a, a_namespace)) = native_pod(&switch, "native to native").await else { return };
    let Some((b, b_namespace)) = native_pod(&switch, "native to native").await else { return };
    let mut server = python(
        &b_namespace,
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('0.0.0.0', 53))\n\
         s = socket.create_server(('0.0.0.0', 80)); print('ready')\n\
         for _ in range(2):\n  c, p = s.accept(); c.sendall((p[0] + ' ').encode()); \n  \
           while d := c.recv(1 << 16): c.sendall(d)\n  c.close()\n\
         for _ in range(2):\n  d, p = u.recvfrom(70000); u.sendto((p[0] + ' ').encode() + d, p)",
    )
    .await;
    assert_eq!(server.line().await, "ready");
    let backend = |port| SocketAddr::new(b.ips()[0], port);
    let virtual_port = |protocol, port, backend| VirtualPort {
        ip: [10, 96, 1, 1].into(),
        protocol,
        port,
        backends: vec![backend],
        affinity: None,
    };
    switch.set_services(vec![
        virtual_port(Protocol::Tcp, 8080, backend(80)),
        virtual_port(Protocol::Udp, 5353, backend(53)),
    ]);
    let program = format!(
        "{TRY}def tcp(ip, port):\n  data = os.urandom(8 << 20); s = socket.create_connection((ip, port))\n  \
           threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()\n  \
           head, rest = s.makefile('rb').read().split(b' ', 1); print(head.decode(), rest == data)\n\
         def udp(ip, port):\n  u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect((ip, port)); u.send(b'x'); print(u.recv(99).decode())\n\
         print(attempt('{b}', 81)); tcp('{b}', 80); tcp('10.96.1.1', 8080); udp('{b}', 53); udp('10.96.1.1', 5353)",
        b = ip(&b)
    );
    let a_ip = ip(&a);
    let expected = format!("ECONNREFUSED\n{a_ip} True\n{a_ip} True\n{a_ip} x\n{a_ip} x");
    assert_eq!(output(&a_namespace, &program).await, expected);
}

#[tokio::test]
async fn a_service_leads_a_native_program_back_into_its_own_pod() {
    let switch = switch();
    let Some((pod, namespace)) = native_pod(&switch, "back into the pod").await else { return };
    let guest = pod.bind_udp("0.0.0.0:54".parse().unwrap()).unwrap();
    let mut server = python(
        &namespace,
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('0.0.0.0', 53))\n\
         s = socket.create_server(('0.0.0.0', 80)); print('ready')\n\
         c, p = s.accept(); c.sendall(p[0].encode()); c.close()\n\
         for _ in range(4):\n  d, p = u.recvfrom(99); u.sendto((p[0] + ' ').encode() + d, p)",
    )
    .await;
    assert_eq!(server.line().await, "ready");
    let virtual_port = |protocol, port, target| VirtualPort {
        ip: [10, 96, 1, 1].into(),
        protocol,
        port,
        backends: vec![SocketAddr::new(pod.ips()[0], target)],
        affinity: None,
    };
    switch.set_services(vec![
        virtual_port(Protocol::Tcp, 8080, 80),
        virtual_port(Protocol::Udp, 5353, 53),
        virtual_port(Protocol::Udp, 5354, 54),
    ]);
    // Two clients at once, so that each must get its own answers.
    let program = "s = socket.create_connection(('10.96.1.1', 8080)); print(s.makefile().read())\n\
        us = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]\n\
        for u in us: u.connect(('10.96.1.1', 5353))\n\
        for i in range(2):\n  for u, n in zip(us, b'ab'): u.send(bytes([n]))\n  for u in us: print(u.recv(99))\n\
        u = us[0]; u.connect(('10.96.1.1', 5354)); u.send(b'to the guest'); print(u.recv(99))";
    let program = python(&namespace, program).await;
    let datagram = guest.recv().await.unwrap();
    assert_eq!(datagram.bytes, "to the guest");
    guest.try_send(Bytes::from_static(b"from the guest"), Some(datagram.peer)).unwrap();
    let ip = ip(&pod);
    let twice = format!("b'{ip} a'\nb'{ip} b'\n").repeat(2);
    assert_eq!(program.output().await, format!("{ip}\n{twice}b'from the guest'"));
}

#[tokio::test]
async fn resets_pass_both_ways() {
    let switch = switch();
    let Some((_native, namespace)) = native_pod(&switch, "resets from native").await else { return };
    let wasm = switch.attach("wasm-0", None).unwrap();
    let listener = listen(&wasm, "0.0.0.0:80");
    let program = format!(
        "s = socket.create_connection(('{ip}', 80)); s.recv(1)\n\
         s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()\n\
         s = socket.create_connection(('{ip}', 80)); print(s.recv(1))\n\
         try: s.recv(1)\nexcept OSError as e: print(errno.errorcode[e.errno])",
        ip = ip(&wasm)
    );
    let mut program = python(&namespace, &program).await;
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
async fn native_programs_reach_the_outside_if_they_may() {
    let Some(outside) = crate::net::tests::outside_ip("native to the outside") else { return };
    let switch = Switch::new(Egress::Allow);
    let Some((_native, namespace)) = native_pod(&switch, "native to the outside").await else { return };
    let listener = tokio::net::TcpListener::bind((outside, 0)).await.unwrap();
    let datagrams = tokio::net::UdpSocket::bind((outside, 0)).await.unwrap();
    let program = format!(
        "{TRY}print(socket.create_connection(('{outside}', {})).makefile().read())\n\
         u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(('{outside}', {})); u.send(b'x'); print(u.recv(9))\n\
         print(attempt('{outside}', 1))",
        listener.local_addr().unwrap().port(),
        datagrams.local_addr().unwrap().port()
    );
    let program = python(&namespace, &program).await;
    let (mut served, _) = listener.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut served, b"outside").await.unwrap();
    drop(served);
    let mut buffer = [0; 9];
    let (_, client) = datagrams.recv_from(&mut buffer).await.unwrap();
    datagrams.send_to(b"y", client).await.unwrap();
    assert_eq!(program.output().await, "outside\nb'y'\nECONNREFUSED");
}
