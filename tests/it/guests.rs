//! The programs husk brings along, and the one that stands in for shell scripts in tests.

use std::io::Write;
use std::net::TcpStream;

use bytes::Bytes;
use rustix::process::Signal;

use crate::network::free_port;
use crate::support::{Husk, Running, http_get, pod, termination};

/// What a gRPC call gave: the status, and the bytes of the message behind its length.
type Answer = (String, Vec<u8>);

/// `ServingStatus.SERVING` and `NOT_SERVING` as a `HealthCheckResponse`, and as a gRPC message.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 2];

/// Calls a method of `grpc.health.v1.Health` for a service, as a gRPC client would.
fn call(port: u16, method: &str, service: &str) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::post(format!("http://pod/grpc.health.v1.Health/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
        let mut message = vec![0, 0, 0, 0, 0];
        if !service.is_empty() {
            message.extend([0x0a, u8::try_from(service.len()).unwrap()]);
            message.extend(service.bytes());
        }
        message[4] = u8::try_from(message.len() - 5).unwrap();
        body.send_data(Bytes::from(message), true).unwrap();
        let response = response.await.unwrap();
        let status = response.headers().get("grpc-status").cloned();
        let mut body = response.into_body();
        let mut received = Vec::new();
        while let Some(bytes) = body.data().await {
            received.extend_from_slice(&bytes.unwrap());
        }
        let trailers = body.trailers().await.unwrap();
        let status = status.or_else(|| trailers?.get("grpc-status").cloned()).unwrap();
        connection.abort();
        (status.to_str().unwrap().to_owned(), received)
    })
}

/// Waits for lines that contain these texts, in whatever order.
fn wait_for_all(running: &mut Running, texts: &[&str]) {
    let mut missing = texts.to_vec();
    while !missing.is_empty() {
        let line = running.wait_for("");
        missing.retain(|text| !line.contains(text));
    }
}

#[test]
fn grpc_health_answers_check_by_service_and_time() {
    let husk = Husk::new();
    let ports = [free_port(), free_port(), free_port()];
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  containers:
    - name: serving
      image: grpc-health:1.0
      args: [--service, db]
      ports: [{{containerPort: 2379, hostPort: {}}}]
    - name: later
      image: grpc-health:1.0
      args: [--port, '2380', --serving-after, '3600']
      ports: [{{containerPort: 2380, hostPort: {}}}]
    - name: earlier
      image: grpc-health:1.0
      args: [--port, '2381', --not-serving-after, '0']
      ports: [{{containerPort: 2381, hostPort: {}}}]
",
        ports[0], ports[1], ports[2]
    );
    let mut running = husk.start(&yaml, &[]);
    wait_for_all(&mut running, &["Health on port 2379", "Health on port 2380", "Health on port 2381"]);
    let ok = |message: [u8; 7]| ("0".to_owned(), message.to_vec());
    let failed = |status: &str| (status.to_owned(), Vec::new());
    assert_eq!(call(ports[0], "Check", ""), ok(SERVING));
    assert_eq!(call(ports[0], "Check", "db"), ok(SERVING));
    assert_eq!(call(ports[0], "Check", "cache"), failed("5"), "NOT_FOUND");
    assert_eq!(call(ports[0], "Watch", ""), failed("12"), "UNIMPLEMENTED");
    assert_eq!(call(ports[1], "Check", ""), ok(NOT_SERVING));
    assert_eq!(call(ports[2], "Check", ""), ok(NOT_SERVING));
    // Clients that are no gRPC clients harm no one.
    drop(TcpStream::connect(("127.0.0.1", ports[0])).unwrap());
    TcpStream::connect(("127.0.0.1", ports[0])).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    running.wait_for("serving | connection: ");
    assert_eq!(call(ports[0], "Check", ""), ok(SERVING));
    running.signal(Signal::INT);
    running.wait_for("exited with code 0 (Completed)");
}

#[test]
fn the_web_server_reads_each_page_when_it_is_asked_for_and_ends_with_0() {
    let husk = Husk::new();
    let site = "volumeMounts: [{name: site, mountPath: /site}]";
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: site, emptyDir: {{}}}}]
  initContainers:
    - name: server
      image: nginx
      restartPolicy: Always
      volumeMounts: [{{name: site, mountPath: /usr/share/nginx/html}}]
    - {{name: write, image: test/p2/probed, args: [write, /site/index.html, the page], {site}}}
    - {{name: fetch, image: busybox, command: [wget, -q, -O, '-', 'http://localhost/index.html']}}
    - {{name: remove, image: busybox, command: [rm, /site/index.html], {site}}}
  containers:
    - {{name: again, image: busybox, command: [wget, -O, '-', 'http://localhost/index.html']}}
"
    );
    let outcome = husk.run(&yaml, &["-o", "json"]);
    assert!(outcome.stderr.contains("the page"), "{outcome:?}");
    assert!(outcome.stderr.contains("404"), "{outcome:?}");
    let pod = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(termination(&pod, "again").0, 1);
    assert_eq!(termination(&pod, "server"), (0, "Completed".to_owned(), String::new()));
}

#[test]
fn the_termination_log_can_be_written_by_programs_of_both_levels() {
    let husk = Husk::new();
    let log = "/dev/termination-log";
    let written =
        husk.final_pod(&pod("test/p2/probed", &["write", log, "bye", "--then", "say", "x", "--exit", "4"], ""));
    assert_eq!(termination(&written, "c"), (4, "Error".to_owned(), "bye".to_owned()));
    let linked = husk.final_pod(&pod("busybox", &[], "command: [cp, /etc/hostname, /dev/termination-log]"));
    assert_eq!(termination(&linked, "c"), (0, "Completed".to_owned(), "p\n".to_owned()));
}

#[test]
fn probed_plays_one_action_after_the_other_until_one_ends_it() {
    let husk = Husk::new();
    let args = |text: &'static str| text.split(' ').collect::<Vec<_>>();
    let script =
        "mkdir /a/b --then write /a/b/f text --then exists /a/b/f --then rm /a --then exists /a --then say never";
    husk.run(&pod("test/p2/probed", &args(script), ""), &["--no-prefix"])
        .exits(1)
        .has("/a/b/f exists")
        .has("/a does not exist");
    husk.run(&pod("test/p2/probed", &args("say one --then sleep 0.01 --then say two --exit 9"), ""), &["--no-prefix"])
        .exits(9)
        .has("one")
        .has("two");
    husk.run(&pod("test/p2/probed", &args("dance"), ""), &[]).exits(1).says("no action is called \"dance\"");
}

#[test]
fn probed_takes_or_ignores_term() {
    let husk = Husk::new();
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: polite, image: test/p2/probed, args: [trap, --exit, '3', --say, farewell, --write, /dev/termination-log]}
    - {name: stubborn, image: test/p2/probed, args: [trap, --ignore, --say, never]}
    - {name: live, image: test/p2/probed, args: [live, /tmp/alive, --for, '0']}
";
    let mut running = husk.start(yaml, &[]);
    let signs = ["polite   | waiting for TERM", "stubborn | waiting for TERM", "p/live: Container started"];
    wait_for_all(&mut running, &signs);
    running.signal(Signal::INT);
    let (_, lines) = running.end();
    for line in [
        "polite   | farewell",
        "stubborn | never",
        "p/live: Container exited with code 143 (Error)",
        "p/polite: Container exited with code 3 (Error)",
        "p/stubborn: Container exited with code 137 (Error)",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:#?}");
    }
}

#[test]
fn probed_serves_what_probes_ask_for() {
    let husk = Husk::new();
    let port = free_port();
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  containers:
    - name: web
      image: test/p2/probed
      args: [write, /www/index.html, hello, --then, serve, --port, '80', --docroot, /www, --until-missing, /www/go]
      ports: [{{containerPort: 80, hostPort: {port}}}]
      volumeMounts: [{{name: www, mountPath: /www}}, {{name: root, mountPath: /root}}]
    - name: tcp
      image: test/p2/probed
      args: [tcp, --port, '8080', --close-after, '0.01', --then, say, closed]
  volumes:
    - {{name: www, hostPath: {{path: {}}}}}
    - {{name: root, emptyDir: {{}}}}
",
        husk.dir().join("www").display()
    );
    let go = husk.write("www/go", "");
    let mut running = husk.start(&yaml, &[]);
    running.wait_for("closed");
    let status = |path: &str| http_get(port, path).split(' ').nth(1).unwrap().to_owned();
    assert_eq!((status("/index.html"), status("/"), status("/none")), ("200".into(), "200".into(), "404".into()));
    assert!(http_get(port, "/").ends_with("\r\n\r\nhello"));
    assert!(http_get(port, "/redirect?to=http%3A%2F%2Felsewhere%2F").contains("\r\nLocation: http://elsewhere/\r\n"));
    assert!(http_get(port, "/headers").ends_with("GET /headers HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"));
    assert!(http_get(port, "/bytes?count=3").ends_with("\r\n\r\nxxx"));
    assert_eq!(status("/status?code=418"), "418");
    assert_eq!(status("/slow?ms=1"), "200");
    std::fs::remove_file(go).unwrap();
    running.wait_for("p/web: Container exited with code 0 (Completed)");
    assert_eq!(running.end().0, 0);
}

#[test]
fn probed_fails_every_request_while_told_to() {
    let husk = Husk::new();
    let port = free_port();
    let args = ["touch", "/fail", "--then", "serve", "--port", "80", "--delay", "0.1", "--print-headers"];
    let mut running =
        husk.start(&pod("test/p2/probed", &args, &format!("ports: [{{containerPort: 80, hostPort: {port}}}]")), &[]);
    running.wait_for("listening on port 80");
    assert!(http_get(port, "/").starts_with("HTTP/1.1 500 "));
    running.wait_for("Host: test");
}
