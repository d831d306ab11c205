//! Services and their names, as guests and the host meet them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::network::free_port;
use crate::support::{Husk, pod};

/// How often, and after what pause, something is asked for that must come.
const ATTEMPTS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// A pod that serves the files in `/etc` on port 8080, `hostname` among them, for so many requests.
fn server(name: &str, labels: &str, requests: u32, more: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  hostname: {name}
  subdomain: db
  containers:
    - name: server
      image: builtin/busybox
      command: [httpd, -f, -p, '8080', -h, /etc, -n, '{requests}']
      ports: [{{name: http, containerPort: 8080}}]
{more}"
    )
}

fn service(name: &str, spec: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// A pod whose containers run one after the other: names, and programs with arguments.
fn client(steps: &[(&str, &[&str])]) -> String {
    let container = |(name, command): &(&str, &[&str])| {
        format!(
            "    - {{name: {name}, image: builtin/busybox, command: {}}}\n",
            serde_json::to_string(command).unwrap()
        )
    };
    let (last, first) = steps.split_last().unwrap();
    let first: String = first.iter().map(container).collect();
    let init = if first.is_empty() { String::new() } else { format!("  initContainers:\n{first}") };
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: client}}\nspec:\n  restartPolicy: Never\n{init}  \
         containers:\n{}",
        container(last)
    )
}

/// What a container printed.
fn printed(stdout: &str, container: &str) -> Vec<String> {
    let lines = stdout.lines().filter_map(|line| line.split_once(" | "));
    lines.filter(|(source, _)| source.trim_end().ends_with(container)).map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn services_that_are_there_are_found_by_all_their_names() {
    let husk = Husk::new();
    let steps: &[(&str, &[&str])] = &[
        ("short", &["nslookup", "myservice"]),
        ("namespaced", &["nslookup", "myservice.default"]),
        ("full", &["nslookup", "mydb.default.svc.cluster.local"]),
        ("api", &["nslookup", "kubernetes"]),
        ("conf", &["cat", "/etc/resolv.conf"]),
    ];
    let services =
        [service("myservice", "ports: [{port: 80, targetPort: 9376}]"), service("mydb", "ports: [{port: 80}]")];
    // The services come after the pod that waits for them, as `kubectl apply` of several files would have it.
    let outcome = husk.run(&format!("{}{}", client(steps), services.concat()), &["--egress", "deny"]).exits(0);
    for (step, address) in
        [("short", "10.96.1.1"), ("namespaced", "10.96.1.1"), ("full", "10.96.1.2"), ("api", "10.96.0.1")]
    {
        let lines = printed(&outcome.stdout, step);
        assert!(lines.contains(&format!("Address: {address}")), "{step}: {outcome:?}");
    }
    let conf = printed(&outcome.stdout, "conf");
    assert!(conf[0].starts_with("search default.svc.cluster.local svc.cluster.local cluster.local"), "{conf:?}");
    assert_eq!(conf[1..], ["nameserver 10.96.0.10", "options ndots:5"]);
    let outcome = husk.run(&client(&[("c", &["nslookup", "myservice"])]), &["--egress", "deny"]).exits(1);
    assert!(outcome.stderr.contains("exited with code 1"), "{outcome:?}");
}

#[test]
fn variables_tell_of_services_that_are_there() {
    let husk = Husk::new();
    let services = [
        service("my-db", "ports: [{name: sql, port: 5432}]"),
        service("nobody", "clusterIP: None, ports: [{port: 1}]"),
    ];
    let yaml = |more: &str| format!("{}{}", pod("builtin/busybox", &["env"], more), services.concat());
    let outcome = husk
        .run(&yaml("").replace("args:", "command:"), &["--no-prefix"])
        .exits(0)
        .has("KUBERNETES_SERVICE_HOST=10.96.0.1")
        .has("KUBERNETES_SERVICE_PORT_HTTPS=443")
        .has("MY_DB_SERVICE_HOST=10.96.1.1")
        .has("MY_DB_SERVICE_PORT_SQL=5432")
        .has("MY_DB_PORT=tcp://10.96.1.1:5432")
        .has("MY_DB_PORT_5432_TCP_ADDR=10.96.1.1");
    assert!(!outcome.stdout.contains("NOBODY"), "{outcome:?}");
    let without = yaml("")
        .replace("args:", "command:")
        .replace("spec:\n  restart", "spec:\n  enableServiceLinks: false\n  restart");
    let outcome = husk.run(&without, &["--no-prefix"]).exits(0).has("KUBERNETES_SERVICE_PORT=443");
    assert!(!outcome.stdout.contains("MY_DB"), "{outcome:?}");
}

#[test]
fn a_headless_service_is_its_pods() {
    let husk = Husk::new();
    let yaml = [
        client(&[
            ("wait-a", &["wget", "-q", "-t", "1000", "-O", "-", "http://a/hostname"]),
            ("wait-b", &["wget", "-q", "-t", "1000", "-O", "-", "http://b/hostname"]),
            ("all", &["nslookup", "db"]),
            ("one", &["nslookup", "db-0.db"]),
            ("end-a", &["wget", "-q", "-O", "-", "http://db-0.db:8080/hostname"]),
            ("end-b", &["wget", "-q", "-O", "-", "http://db-1.db.default.svc.cluster.local:8080/hostname"]),
        ]),
        server("db-0", "app: db, one: a", 2, ""),
        server("db-1", "app: db, one: b", 2, ""),
        service("a", "selector: {one: a}, ports: [{port: 80, targetPort: http}]"),
        service("b", "selector: {one: b}, ports: [{port: 80, targetPort: http}]"),
        service("db", "clusterIP: None, selector: {app: db}, ports: [{port: 8080}]"),
    ];
    let outcome = husk.run(&yaml.concat(), &["--egress", "deny"]).exits(0);
    let addresses = |step: &str| {
        let mut lines: Vec<_> =
            printed(&outcome.stdout, step).into_iter().filter(|line| line.starts_with("Address: 10.88.")).collect();
        lines.sort();
        lines.dedup();
        lines
    };
    assert_eq!((addresses("all").len(), addresses("one").len()), (2, 1), "{outcome:?}");
    assert!(addresses("all").contains(&addresses("one")[0]), "{outcome:?}");
    for (step, host) in [("wait-a", "db-0"), ("wait-b", "db-1"), ("end-a", "db-0"), ("end-b", "db-1")] {
        assert_eq!(printed(&outcome.stdout, step), [host], "{outcome:?}");
    }
}

#[test]
fn datagrams_find_their_way_through_a_service_and_back() {
    let husk = Husk::new();
    let yaml = [
        "apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: echo}}
spec:
  restartPolicy: Never
  containers: [{name: s, image: test/p2/udp-server, args: ['0.0.0.0:5353', '1']}]
"
        .to_owned(),
        "---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: Never
  containers: [{name: c, image: test/p2/udp-client, args: ['echo:53', ping]}]
"
        .to_owned(),
        service("echo", "selector: {app: echo}, ports: [{port: 53, protocol: UDP, targetPort: 5353}]"),
    ];
    husk.run(&yaml.concat(), &["--no-prefix"]).exits(0).has("answer ping");
}

#[test]
fn a_service_without_endpoints_refuses_at_once() {
    let husk = Husk::new();
    let yaml = format!(
        "{}{}",
        pod("test/p2/tcp-client", &["nobody:80", "--once", "x"], ""),
        service("nobody", "selector: {app: nobody}, ports: [{port: 80}]")
    );
    let outcome = husk.run(&yaml, &["--no-prefix"]).has("connect: ConnectionRefused");
    outcome.says("pod.yaml:14: spec.selector: no pod of this run has these labels");
}

/// Asks the node port who answers; `None` while nobody does.
fn ask(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET /hostname HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.trim().to_owned())
}

/// Asks so many times in a row until the answers are as wanted.
fn until(port: u16, what: &str, wanted: impl Fn(&[Option<String>]) -> bool) {
    let mut answers = Vec::new();
    for _ in 0..ATTEMPTS {
        answers = (0..6).map(|_| ask(port)).collect();
        if wanted(&answers) {
            return;
        }
        std::thread::park_timeout(PAUSE);
    }
    panic!("never {what}: {answers:?}");
}

#[test]
fn a_pod_that_is_not_ready_leaves_the_service_and_comes_back() {
    let husk = Husk::new();
    let state = husk.dir().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("b"), "").unwrap();
    let probed = |name: &str| {
        format!(
            "      readinessProbe: {{exec: {{command: [cat, /state/{name}]}}, periodSeconds: 1, failureThreshold: 1}}
      volumeMounts: [{{name: state, mountPath: /state}}]
  volumes: [{{name: state, hostPath: {{path: {}}}}}]
",
            state.display()
        )
    };
    // Node ports are from 30000 up; other tests are given ports below.
    let node_port = 30_000 + free_port() % 2_000;
    let yaml = [
        server("a", "app: web", 10_000, ""),
        server("b", "app: web", 10_000, &probed("b")),
        service(
            "web",
            &format!(
                "type: NodePort, selector: {{app: web}}, ports: [{{port: 80, targetPort: http, nodePort: {node_port}}}]"
            ),
        ),
    ];
    let mut running = husk.start(&yaml.concat(), &[]);
    running.wait_for(&format!("service/web: Port 80 is published on 127.0.0.1:{node_port}"));
    let count = |answers: &[Option<String>], name: &str| {
        answers.iter().filter(|answer| answer.as_deref() == Some(name)).count()
    };
    until(node_port, "balanced", |answers| count(answers, "a") == 3 && count(answers, "b") == 3);
    std::fs::remove_file(state.join("b")).unwrap();
    until(node_port, "only a", |answers| count(answers, "a") == 6);
    std::fs::write(state.join("b"), "").unwrap();
    until(node_port, "balanced again", |answers| count(answers, "a") == 3 && count(answers, "b") == 3);
    running.signal(Signal::INT);
    running.end();
}

#[test]
fn what_a_service_cannot_have_is_told_before_anything_starts() {
    let husk = Husk::new();
    let yaml = [
        pod("builtin/busybox", &["true"], ""),
        service("a", "clusterIP: 10.96.0.10, ports: [{port: 80}]"),
        service("b", "clusterIP: 192.0.2.1, ports: [{port: 80}]"),
        service("c", "type: NodePort, ports: [{port: 80, nodePort: 80}]"),
        service("d", "type: Node, ports: [{port: 80}], selecter: {}"),
    ];
    let text = yaml.concat();
    let outcome = husk.run(&text.replace("type: Node,", "").replace(", selecter: {}", ""), &[]).exits(2);
    outcome
        .says("pod.yaml:14: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated")
        .says("pod.yaml:19: spec.clusterIPs: Invalid value: [\"192.0.2.1\"]: failed to allocate IP 192.0.2.1: the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16")
        .says("spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767");
    husk.run(&text, &[]).exits(2).says("strict decoding error: unknown field \"spec.selecter\"");
}
