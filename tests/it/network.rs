//! The pod's network, as guests and the host see it.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Husk, container, http_get, pod, termination};

/// A port of the host that is free now, that no other test gets, and that no client of this machine is given as its own:
/// those come from 32768 up.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

fn two(server: &str, server_args: &str, client: &str, client_args: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  hostname: myhost
  containers:
    - {{name: server, image: {server}, args: {server_args}}}
    - {{name: client, image: {client}, args: {client_args}}}
"
    )
}

#[test]
fn containers_of_a_pod_share_localhost_and_names() {
    let husk = Husk::new();
    for (bind, connect) in [
        ("0.0.0.0:7000", "127.0.0.1:7000"),
        ("0.0.0.0:7000", "localhost:7000"),
        ("0.0.0.0:7000", "myhost:7000"),
        ("127.0.0.1:7000", "localhost:7000"),
        ("[::]:7000", "[::1]:7000"),
        ("[::]:7000", "127.0.0.1:7000"),
    ] {
        let yaml = two(
            "test/p2/tcp-server",
            &format!(r#"["{bind}", "1"]"#),
            "test/p2/tcp-client",
            &format!(r#"["{connect}", "ping"]"#),
        );
        let outcome = husk.run(&yaml, &["--no-prefix"]);
        assert_eq!(outcome.code, 0, "{bind} {connect}: {outcome:?}");
        outcome.has("answer ping");
    }
}

#[test]
fn datagrams_travel_in_the_pod() {
    let husk = Husk::new();
    let yaml =
        two("test/p2/udp-server", r#"["0.0.0.0:5353", "1"]"#, "test/p2/udp-client", r#"["localhost:5353", "ping"]"#);
    husk.run(&yaml, &["--no-prefix"]).exits(0).has("answer ping");
}

#[test]
fn a_core_module_listens_on_its_declared_port() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  containers:
    - {name: server, image: test/p1/listen, ports: [{containerPort: 7000}]}
    - {name: client, image: test/p2/tcp-client, args: ['localhost:7000', 'quit now']}
";
    husk.run(yaml, &["--no-prefix"]).exits(0).has("answer QUIT NOW");
}

#[test]
fn a_port_is_taken_once_and_an_empty_one_refuses() {
    let husk = Husk::new();
    let yaml = two(
        "test/p2/tcp-server",
        r#"["0.0.0.0:7000", "1"]"#,
        "test/p2/tcp-client",
        r#"["localhost:7001", "--once", "x"]"#,
    );
    let mut running = husk.start(&format!("{yaml}  terminationGracePeriodSeconds: 0\n"), &["--no-prefix"]);
    running.wait_for("connect: ConnectionRefused");
    drop(running);
    let twice = two("test/p2/tcp-server", r#"["0.0.0.0:7000", "0"]"#, "test/p1/listen", "[]")
        .replace("image: test/p1/listen", "ports: [{containerPort: 7000}], image: test/p1/listen")
        .replace(r#""0"]"#, r#""1"]"#);
    let pod = husk.final_pod(&format!("{twice}  terminationGracePeriodSeconds: 0\n  activeDeadlineSeconds: 8\n"));
    let (code, reason, message) = termination(&pod, "client");
    assert_eq!((code, reason.as_str()), (128, "StartError"), "{message}");
    assert!(message.contains("7000") && message.contains("in use"), "{message}");
}

#[test]
fn pods_reach_each_other_by_pod_ip_and_do_not_share_localhost() {
    let husk = Husk::new();
    // The first pod's address is known beforehand: addresses are given in order.
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: server}
spec:
  restartPolicy: Never
  containers: [{name: s, image: test/p2/tcp-server, args: ['0.0.0.0:7000', '1']}]
";
    let mut running = husk.start(yaml, &["-p", "0:7000"]);
    running.wait_for("listening on 0.0.0.0:7000");
    running.signal(Signal::INT);
    assert_eq!(running.end().0, 130);
    let pod = husk.final_pod(
        "apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: Never
  containers:
    - name: c
      image: test/p2/tcp-client
      args: ['127.0.0.1:7000', --once, x]
",
    );
    assert_eq!(container(&pod, "c").state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
    let ip = "$(POD_IP)";
    let both = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: server}}
spec:
  restartPolicy: Never
  containers:
    - name: s
      image: test/p2/tcp-server
      args: ['{ip}:7000', '1']
      env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
"
    );
    let mut running = husk.start(&both, &[]);
    let line = running.wait_for("listening on ");
    assert!(line.contains("10."), "{line}");
}

#[test]
fn wasi_http_services_answer_on_their_port() {
    let husk = Husk::new();
    for (level, says) in [("p2", "wasi 0.2 GET /x?y"), ("p3", "wasi 0.3 GET /x?y")] {
        let yaml = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 2
  initContainers: [{{name: web, restartPolicy: Always, image: test/{level}/http, ports: [{{containerPort: 8080}}]}}]
  containers: [{{name: c, image: busybox, command: [wget, -q, -O, '-', 'http://localhost:8080/x?y']}}]
"
        );
        husk.run(&yaml, &["--no-prefix"]).exits(0).has(says);
    }
}

#[test]
fn ports_are_published_on_the_host() {
    let husk = Husk::new();
    let (port, host_port, udp_port) = (free_port(), free_port(), free_port());
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  containers:
    - {{name: web, image: test/p2/http, ports: [{{containerPort: 80, hostPort: {host_port}}}]}}
    - {{name: echo, image: test/p2/udp-server, args: ['0.0.0.0:5353']}}
"
    );
    let running = husk.start(&yaml, &["-p", &format!("{port}:80"), "-p", &format!("{udp_port}:5353/udp")]);
    assert!(http_get(port, "/a").contains("wasi 0.2 GET /a\n"));
    assert!(http_get(host_port, "/b").contains("wasi 0.2 GET /b\n"));
    assert!(http_get(port, "/status/404").starts_with("HTTP/1.1 404"));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = [0; 16];
    let answered = (0..100).any(|_| {
        socket.send_to(b"ping", ("127.0.0.1", udp_port)).unwrap();
        socket.recv(&mut buffer).is_ok_and(|count| &buffer[..count] == b"ping")
    });
    assert!(answered, "no datagram came back");
    running.signal(Signal::INT);
    let (code, lines) = running.end();
    assert_eq!(code, 130, "{lines:?}");
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
}

#[test]
fn a_service_that_runs_out_of_memory_is_oom_killed() {
    let husk = Husk::new();
    let port = free_port();
    let yaml = pod("test/p2/http", &[], "resources: {limits: {memory: 16Mi}}");
    let mut running = husk.start(&yaml, &["-p", &format!("{port}:80")]);
    assert!(http_get(port, "/a").contains("wasi 0.2 GET /a\n"));
    // A trap is its request's end alone.
    assert!(http_get(port, "/trap").starts_with("HTTP/1.1 500"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET /hoard HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    running.wait_for("Container exited with code 137 (OOMKilled)");
    assert_eq!(running.end().0, 137);
}

#[test]
fn a_taken_host_port_is_refused_before_anything_starts() {
    let husk = Husk::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let yaml = two("test/p2/hello", "[]", "test/p2/hello", "[]");
    let outcome = husk.run(&yaml, &["-p", &format!("{port}:80")]).exits(2).says(&format!("127.0.0.1:{port}"));
    assert!(!outcome.stdout.contains("hello"), "{outcome:?}");
    let host_port = pod("test/p2/hello", &[], &format!("ports: [{{containerPort: 80, hostPort: {port}}}]"));
    husk.run(&host_port, &[]).exits(2).says(&format!("pod p: cannot publish port 80 on 127.0.0.1:{port}"));
    husk.run(&yaml, &["-p", "8080:nobody:80"]).exits(2).says("no pod is called \"nobody\"");
}

#[test]
fn egress_goes_out_through_the_host_unless_denied() {
    let husk = Husk::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let fetch = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  containers: [{{name: c, image: test/p2/tcp-client, args: ['127.0.0.1:{port}', --once, x]}}]
"
    );
    // 127.0.0.1 is the pod's own in any case: the host's loopback is out of reach.
    for egress in ["allow", "deny"] {
        husk.run(&fetch, &["--no-prefix", "--egress", egress]).exits(1).has("connect: ConnectionRefused");
    }
    let outside = fetch.replace(&format!("127.0.0.1:{port}"), "192.0.2.1:80");
    husk.run(&outside, &["--no-prefix", "--egress", "deny"]).exits(1).has("connect: PermissionDenied");
    let name = fetch.replace(&format!("127.0.0.1:{port}"), "example.invalid:80");
    let outcome = husk.run(&name, &["--no-prefix", "--egress", "deny"]);
    assert_ne!(outcome.code, 0, "{outcome:?}");
}
