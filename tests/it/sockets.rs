//! Connections between containers and pods that end, stall or are refused, as the programs at both ends notice it.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::{Husk, outside_ip, pod};

const IMAGE: &str = "test/p2/sockets";

/// What 0.2's C library calls any failure of a connection's streams, a reset too (0.3 programs see which one it was).
const EIO: i32 = 29;

/// A pod whose containers, `a` and `b`, are the two sides of a conversation; `/v` is shared.
fn two(a: &str, b: &str) -> String {
    two_with("Never", a, b)
}

fn two_with(restart_policy: &str, a: &str, b: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: {restart_policy}
  volumes: [{{name: v, emptyDir: {{}}}}]
  containers:
    - {{name: a, image: {IMAGE}, args: [{a}], volumeMounts: [{{name: v, mountPath: /v}}]}}
    - {{name: b, image: {IMAGE}, args: [{b}], volumeMounts: [{{name: v, mountPath: /v}}]}}
"
    )
}

/// Two pods, `server` and `client`, that share a directory of the host as `/v`.
fn two_pods(husk: &Husk, server: &str, client: &str) -> String {
    let pod = |name: &str, args: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  volumes: [{{name: v, hostPath: {{path: {}}}}}]
  containers:
    - name: c
      image: {IMAGE}
      args: [{args}]
      env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
      volumeMounts: [{{name: v, mountPath: /v}}]
",
            husk.dir().display()
        )
    };
    format!("{}---\n{}", pod("server", server), pod("client", client))
}

#[test]
fn sockets_of_one_program_behave_as_on_linux() {
    let husk = Husk::new();
    let expected = "taken Err(AddrInUse)
not ours Err(AddrNotAvailable)
nobody Err(ConnectionRefused)
no client Err(WouldBlock)
free again Ok(())
::1 [::1]:7000
other loopback Err(ConnectionRefused)
largest Ok(65507)
arrived 65507
too long Err(Some(35))
taken Err(AddrInUse)
";
    assert_eq!(husk.run(&pod(IMAGE, &["edges"], ""), &["--no-prefix"]).ok(), expected);
}

#[test]
fn each_direction_of_a_connection_ends_by_itself() {
    let husk = Husk::new();
    husk.run(&two("greet, '0.0.0.0:7000'", "listen-on, 'localhost:7000'"), &[])
        .exits(0)
        .has("a | after the end Err(BrokenPipe)")
        .has("b | heard greeting")
        .has("a | heard 1048576");
}

#[test]
fn leaving_with_something_unread_resets_the_other_side() {
    let husk = Husk::new();
    husk.run(&two("leave-unread, '0.0.0.0:7000'", "left, 'localhost:7000'"), &[])
        .exits(0)
        .has(&format!("b | read Err(Some({EIO}))"))
        .has(&format!("b | write Err(Some({EIO}))"));
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    let husk = Husk::new();
    let outcome =
        husk.run(&two("read-later, '0.0.0.0:7000'", "flood, '127.0.0.1:7000'"), &[]).exits(0).has("b | stuck true");
    let count = |prefix: &str| {
        let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(prefix)).expect(prefix);
        line.parse::<u64>().unwrap()
    };
    assert_eq!(count("a | read "), count("b | sent "));
}

#[test]
fn the_death_of_a_container_resets_its_connections_and_frees_its_ports() {
    let husk = Husk::new();
    let yaml = two_with("OnFailure", "die-once, '0.0.0.0:7000', /v/died", "survive, 'localhost:7000'");
    let outcome = husk.run(&yaml, &[]).exits(0).says("p/a: Container exited with code 134");
    outcome.has(&format!("b | read Err(Some({EIO}))")).has("b | answer again");
}

#[test]
fn what_one_container_listens_on_is_in_use_for_the_others() {
    let husk = Husk::new();
    let yaml = two("claim, '127.0.0.1:7000'", "x")
        .replace(&format!("image: {IMAGE}, args: [x]"), "image: test/p2/tcp-server, args: ['0.0.0.0:7000', '1']");
    husk.run(&yaml, &[]).exits(0).has("a | claim Err(AddrInUse)").has("b | echoed 0 bytes to 127.0.0.1");
}

#[test]
fn a_pod_is_reached_by_its_names() {
    let husk = Husk::new();
    for name in ["myhost", "myhost.sub.default.svc.cluster.local", "alias.example", "MYHOST", "$(POD_IP)"] {
        let yaml = format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  hostname: myhost
  subdomain: sub
  hostAliases: [{{ip: 127.0.0.5, hostnames: [alias.example]}}]
  containers:
    - {{name: server, image: test/p2/tcp-server, args: ['0.0.0.0:7000', '1']}}
    - name: client
      image: test/p2/tcp-client
      args: ['{name}:7000', ping]
      env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
"
        );
        let outcome = husk.run(&yaml, &["--no-prefix", "--egress", "deny"]);
        assert_eq!(outcome.code, 0, "{name}: {outcome:?}");
        outcome.has("answer ping");
    }
}

#[test]
fn one_pod_reaches_another_by_its_address_whatever_the_egress() {
    let husk = Husk::new();
    for egress in ["allow", "deny"] {
        let yaml = two_pods(&husk, "announce, '0.0.0.0:7000', /v/address", "visit, /v/address");
        let outcome = husk.run(&yaml, &["--egress", egress]).exits(0).has("client/c | answer hello");
        let outcome = outcome.has("client/c | own loopback Err(ConnectionRefused)");
        let said = |prefix: &str| {
            outcome.stdout.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned).expect(prefix)
        };
        let (seen, own) = (said("server/c | visited by "), said("client/c | visiting from "));
        assert_eq!(seen, own);
        assert!(own.starts_with("10.88."), "{own}");
        std::fs::remove_file(husk.dir().join("address")).unwrap();
    }
}

#[test]
fn names_of_one_pod_mean_nothing_in_another() {
    let husk = Husk::new();
    let outcome = husk.run(&two_pods(&husk, "lookup, server", "lookup, server"), &["--egress", "deny"]).exits(0);
    assert!(outcome.stdout.contains("server/c | server is [10.88."), "{outcome:?}");
    assert!(outcome.stdout.contains("client/c | server: "), "{outcome:?}");
}

#[test]
fn sockets_are_refused_beyond_the_pods_limit_and_other_pods_have_their_own() {
    let husk = Husk::new();
    let outcome = husk.run(&two_pods(&husk, "exhaust, /v", "beside, /v"), &[]).exits(0);
    outcome.has("client/c | beside fine").has("server/c | refused Some(33), some true");
}

#[test]
fn without_egress_nothing_leaves_and_no_name_outside_is_found() {
    let husk = Husk::new();
    husk.run(&pod("test/p2/tcp-client", &["203.0.113.1:80", "--once", "x"], ""), &["--no-prefix", "--egress", "deny"])
        .exits(1)
        .has("connect: PermissionDenied");
    let outcome = husk.run(&pod(IMAGE, &["lookup", "example.com"], ""), &["--no-prefix", "--egress", "deny"]).exits(0);
    assert!(outcome.stdout.starts_with("example.com: "), "{outcome:?}");
}

#[test]
fn egress_reaches_a_server_of_the_host() {
    let Some(ip) = outside_ip("egress_reaches_a_server_of_the_host") else { return };
    let husk = Husk::new();
    let server = TcpListener::bind((ip, 0)).unwrap();
    let address = server.local_addr().unwrap().to_string();
    let serving = std::thread::spawn(move || {
        let mut words = String::new();
        let (mut client, _) = server.accept().unwrap();
        client.read_to_string(&mut words).unwrap();
        client.write_all(words.to_uppercase().as_bytes()).unwrap();
    });
    let yaml = pod("test/p2/tcp-client", &[&address, "--once", "to the host"], "");
    husk.run(&yaml, &["--no-prefix", "--egress", "deny"]).exits(1).has("connect: PermissionDenied");
    husk.run(&yaml, &["--no-prefix"]).exits(0).has("answer TO THE HOST");
    serving.join().unwrap();
}
