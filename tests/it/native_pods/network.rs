//! Pods of either kind reach each other and are reached: by pod IP, by Services and their names, by ports of this machine.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::Api;

use super::both_users;
use super::images::Image;
use super::machine::{User, husk, husk_without_device};
use super::scene::eventually;
use crate::cluster::Cluster;
use crate::network::free_port;
use crate::support::{Husk, Running, outside_ip};

const IMAGES: &[Image] = &[Image::NativeGuests, Image::WasmGuests];
const KINDS: [&str; 2] = ["native", "wasm"];

both_users! {
    pods_of_either_kind_reach_each_other
    what_is_sent_arrives_unchanged
    ports_lead_from_this_machine_into_a_pod
    egress_is_allowed_or_not
    names_are_found_as_in_any_pod
    a_pod_may_have_the_network_of_this_machine
    a_pod_is_kept_in_if_nothing_outside_is_to_be_reached
    servers_as_debian_has_them_are_used_from_either_kind
}

/// A pod that echoes at TCP port 7000 and UDP port 7001, with Services in front, one of them headless, and one without a pod.
fn servers(kind: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {kind}, labels: {{kind: {kind}}}}}
spec:
  terminationGracePeriodSeconds: 0
  hostname: {kind}
  subdomain: all-{kind}
  containers:
    - name: idle
      image: {kind}/guests
      command: [sleep, '3600']
      env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
    - {{name: tcp, image: {kind}/guests, command: [tcp-server, '0.0.0.0:7000'], readinessProbe: {{tcpSocket: {{port: 7000}}, \
             periodSeconds: 1}}}}
    - {{name: udp, image: {kind}/guests, command: [udp-server, '0.0.0.0:7001']}}
---
apiVersion: v1
kind: Service
metadata: {{name: to-{kind}}}
spec:
  selector: {{kind: {kind}}}
  ports: [{{name: tcp, port: 80, targetPort: 7000}}, {{name: udp, protocol: UDP, port: 5353, targetPort: 7001}}]
---
apiVersion: v1
kind: Service
metadata: {{name: all-{kind}}}
spec: {{clusterIP: None, selector: {{kind: {kind}}}, ports: [{{name: tcp, port: 7000}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: nobody-{kind}}}
spec: {{selector: {{kind: no-{kind}}}, ports: [{{port: 80}}]}}
"
    )
}

fn pod_ip(cluster: &Cluster<'_>, pod: &str) -> String {
    cluster.pod(pod).status.unwrap().pod_ip.unwrap()
}

fn cluster_ip(cluster: &Cluster<'_>, service: &str) -> String {
    let services: Api<Service> = Api::default_namespaced(cluster.client.clone());
    cluster.runtime.block_on(services.get(service)).unwrap().spec.unwrap().cluster_ip.unwrap()
}

fn pods_of_either_kind_reach_each_other(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let cluster = Cluster::start(&husk);
    for kind in KINDS {
        cluster.create(&servers(kind));
    }
    for kind in KINDS {
        cluster.until_ready(kind);
    }
    let mut script = String::new();
    for kind in KINDS {
        let (ip, virtual_ip) = (pod_ip(&cluster, kind), cluster_ip(&cluster, &format!("to-{kind}")));
        let service = format!("to-{kind}");
        for place in [
            format!("{ip}:7000"),
            format!("{virtual_ip}:80"),
            format!("{service}:80"),
            format!("{service}.default.svc.cluster.local:80"),
            format!("all-{kind}:7000"),
            format!("{kind}.all-{kind}.default.svc.cluster.local:7000"),
        ] {
            script += &format!("echo tcp {place} $(timeout 20 tcp-client {place} ping 2>&1)\n");
        }
        for place in [format!("{ip}:7001"), format!("{virtual_ip}:5353"), format!("{service}:5353")] {
            let patient = format!("for n in 1 2 3 4; do udp-client {place} ping && break; done");
            script += &format!("echo udp {place} $({patient})\n");
        }
        // Nobody is there: neither at another port, nor behind a Service without pods.
        for place in [format!("{ip}:7009"), format!("nobody-{kind}:80")] {
            script += &format!("echo none {place} $(timeout 20 tcp-client {place} --once x 2>&1)\n");
        }
    }
    script += "echo done\n";
    for kind in KINDS {
        let said = cluster.exec(kind, &["sh", "-c", &script]).ok();
        let mut lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.pop(), Some("done"), "{kind}: {said}");
        for line in &lines {
            let expected = if line.starts_with("none") { "connect: ConnectionRefused" } else { "answer ping" };
            assert!(line.ends_with(expected), "from {kind}: {line}\n{said}");
        }
        assert_eq!(lines.len(), 22, "{said}");
    }
    // Servers see who connects.
    for server in KINDS {
        for client in KINDS.iter().filter(|client| **client != server) {
            for container in ["tcp", "udp"] {
                let line = format!("echoed 4 bytes to {}", pod_ip(&cluster, client));
                husk.husk(["logs", server, "-c", container]).exits(0).has(&line);
            }
        }
    }
}

/// A server of files, one of which is large, with a client of each kind beside it.
fn file_server(kind: &str, image: &str) -> String {
    let guest = |kind: &str| format!("{{name: {kind}, image: {kind}/guests, command: [sleep, '3600']}}");
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {kind}}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{{name: site, emptyDir: {{}}}}]
  initContainers:
    - name: large
      image: {kind}/guests
      command: [sh, -c, 'head -c 30000001 /dev/urandom > /site/large; sha256sum < /site/large > /site/sum; echo hi > /site/index.html']
      volumeMounts: [{{name: site, mountPath: /site}}]
  containers:
    - name: server
      image: {image}
      volumeMounts: [{{name: site, mountPath: /usr/share/nginx/html, readOnly: true}}]
      readinessProbe: {{httpGet: {{port: 80, path: /sum}}, periodSeconds: 1}}
    - {}
    - {}
",
        guest("native"),
        guest("wasm")
    )
}

fn what_is_sent_arrives_unchanged(test: &str, user: User) {
    let images = [IMAGES, &[Image::Nginx]].concat();
    let Some(husk) = husk(test, user, &images) else { return };
    let cluster = Cluster::start(&husk);
    for (kind, image) in [("native", "nginx"), ("wasm", "builtin/nginx")] {
        cluster.create(&file_server(kind, image));
    }
    for server in KINDS {
        cluster.until_ready(server);
        let sum = husk.husk(["exec", server, "-c", "server", "--", "cat", "/usr/share/nginx/html/sum"]).ok();
        for pod in KINDS {
            let address = if pod == server { "localhost".to_owned() } else { pod_ip(&cluster, server) };
            for client in KINDS {
                let script = format!("wget -q -O - http://{address}/large | sha256sum");
                let got = husk.husk(["exec", pod, "-c", client, "--", "sh", "-c", &script]).exits(0);
                assert_eq!(got.stdout, sum, "from {server} to {client} in {pod}");
            }
        }
    }
}

/// What an echo server answers at a port of this machine, once it does.
fn tcp_echo(port: u16) -> String {
    eventually("an answer", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"hello").ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    })
}

/// A port that a Service may have on this machine, and no Service of another test has.
fn free_node_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 2_000).unwrap();
    30_100 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 2_500
}

fn udp_echo(port: u16) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    eventually("a datagram", || {
        socket.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 16];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
}

fn ports_lead_from_this_machine_into_a_pod(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::NativeGuests]) else { return };
    let (tcp, udp) = (free_port(), free_port());
    let (tcp_node, udp_node) = (free_node_port(), free_node_port());
    let cluster = Cluster::start(&husk);
    cluster.create(
        &servers("native")
            .replace("spec:\n  selector: {kind: native}", "spec:\n  type: NodePort\n  selector: {kind: native}")
            .replace("port: 80, targetPort", &format!("port: 80, nodePort: {tcp_node}, targetPort"))
            .replace("port: 5353, targetPort", &format!("port: 5353, nodePort: {udp_node}, targetPort"))
            .replace(
                "command: [tcp-server",
                &format!("ports: [{{containerPort: 7000, hostPort: {tcp}}}], command: [tcp-server"),
            )
            .replace(
                "command: [udp-server",
                &format!("ports: [{{containerPort: 7001, hostPort: {udp}, protocol: UDP}}], command: [udp-server"),
            ),
    );
    cluster.until_ready("native");
    assert_eq!((tcp_echo(tcp).as_str(), udp_echo(udp).as_str()), ("hello", "hello"));
    assert_eq!((tcp_echo(tcp_node).as_str(), udp_echo(udp_node).as_str()), ("hello", "hello"));
    for (target, port) in [("native", "0:7000"), ("svc/to-native", "0:80")] {
        let mut forward = Running::spawn(&mut husk.command(["port-forward", target, port]));
        let line = forward.wait_for("Forwarding from 127.0.0.1:");
        let port = line.split([':', ' ']).find_map(|word| word.parse().ok()).unwrap();
        assert_eq!(tcp_echo(port), "hello", "{target}");
    }
}

fn client_pod(name: &str, kind: &str, command: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: {kind}/guests, command: [{command}]}}]
"
    )
}

fn egress_is_allowed_or_not(test: &str, user: User) {
    let Some(husk) = husk(test, user, &[Image::NativeGuests]) else { return };
    // Addresses that nobody has (RFC 5737): what is not allowed is refused at once, by an ICMP message.
    let pods = client_pod("tcp", "native", "timeout, '20', tcp-client, '203.0.113.1:80', --once, x")
        + &client_pod("udp", "native", "sh, -c, 'nslookup example.com 203.0.113.1; getent hosts example.com; echo $?'");
    let denied = husk.run(&pods, &["--egress", "deny"]).exits(1);
    denied.has("tcp/c | connect: HostUnreachable").has("udp/c | 2");
    let Some(ip) = outside_ip(test) else { return };
    reach_outside(&husk, ip);
}

/// Natively, servers of this machine are reached at an address that is not loopback, TCP and UDP.
fn reach_outside(husk: &Husk, ip: std::net::IpAddr) {
    let server = std::net::TcpListener::bind((ip, 0)).unwrap();
    let datagrams = UdpSocket::bind((ip, 0)).unwrap();
    let (tcp, udp) = (server.local_addr().unwrap(), datagrams.local_addr().unwrap());
    let pods = client_pod("tcp", "native", &format!("tcp-client, '{tcp}', to the host"))
        + &client_pod("udp", "native", &format!("udp-client, '{udp}', to the host"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut words = String::new();
            let (mut client, _) = server.accept().unwrap();
            client.read_to_string(&mut words).unwrap();
            client.write_all(words.to_uppercase().as_bytes()).unwrap();
        });
        scope.spawn(|| {
            let mut buffer = [0; 64];
            let (length, from) = datagrams.recv_from(&mut buffer).unwrap();
            let answer = String::from_utf8_lossy(&buffer[..length]).to_uppercase();
            datagrams.send_to(answer.as_bytes(), from).unwrap();
        });
        husk.run(&pods, &[]).exits(0).has("tcp/c | answer TO THE HOST").has("udp/c | answer TO THE HOST");
    });
}

fn names_are_found_as_in_any_pod(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let pod = |kind: &str| {
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {kind}, labels: {{app: x}}}}
spec:
  restartPolicy: Never
  hostname: box
  subdomain: front
  setHostnameAsFQDN: true
  hostAliases: [{{ip: 192.0.2.7, hostnames: [alias.example, other]}}]
  dnsConfig: {{options: [{{name: ndots, value: '2'}}], searches: [more.example]}}
  containers: [{{name: c, image: {kind}/guests, command: [sh, -c, 'hostname; cat /etc/hostname; grep -v 10.88 /etc/hosts; cat /etc/resolv.conf']}}]
"
        )
    };
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {clusterIP: None, selector: {app: x}, ports: [{port: 80}]}
";
    let outcome = husk.run(&format!("{}{}{service}", pod("native"), pod("wasm")), &["--egress", "deny"]).exits(0);
    let said = |pod: &str| -> Vec<&str> {
        let lines = outcome.stdout.lines().filter_map(|line| line.split_once(" | "));
        lines.filter(|(name, _)| name.trim().strip_suffix("/c") == Some(pod)).map(|(_, line)| line).collect()
    };
    assert_eq!(said("native"), said("wasm"));
    assert_eq!(said("native")[0], "box.front.default.svc.cluster.local");
    assert!(said("native").contains(&"192.0.2.7\talias.example\tother"), "{outcome:?}");
    // Busybox's own, with the whole name, and the C library's with the search list.
    let lookups = "until busybox nslookup front.default.svc.cluster.local; do sleep 0.1; done; getent hosts front && getent hosts alias.example && \
                   getent hosts box.front.default.svc.cluster.local && getent hosts localhost";
    let native = pod("native").replace("'hostname; cat", &format!("'{lookups}; true; cat"));
    let outcome = husk.run(&format!("{native}{service}"), &["--egress", "deny", "--no-prefix"]).exits(0);
    for expected in ["front.default.svc.cluster.local", "192.0.2.7       alias.example other"] {
        assert!(outcome.stdout.contains(expected), "{expected}: {outcome:?}");
    }
}

fn a_pod_may_have_the_network_of_this_machine(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let port = free_port();
    let cluster = Cluster::start(&husk);
    let probe = format!("readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}");
    cluster.create(&format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: host, labels: {{app: host}}}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 0
  containers:
    - {{name: idle, image: native/guests, command: [sleep, '3600']}}
    - {{name: tcp, image: native/guests, command: [tcp-server, '127.0.0.1:{port}'], ports: [{{containerPort: {port}}}], {probe}}}
---
apiVersion: v1
kind: Service
metadata: {{name: host}}
spec: {{selector: {{app: host}}, ports: [{{port: 80, targetPort: {port}}}]}}
"
    ));
    for kind in KINDS {
        cluster.create(&client_pod(kind, kind, "sleep, '3600'"));
    }
    cluster.until_ready("host");
    assert_eq!(tcp_echo(port), "hello");
    let ip = pod_ip(&cluster, "host");
    for kind in KINDS {
        cluster.until_ready(kind);
        for address in [format!("{ip}:{port}"), "host:80".to_owned()] {
            cluster.exec(kind, &["tcp-client", &address, "ping"]).exits(0).has("answer ping");
        }
        // What it has not declared stays the machine's own.
        let other = format!("{ip}:{}", free_port());
        cluster.exec(kind, &["tcp-client", &other, "--once", "x"]).exits(1).has("connect: ConnectionRefused");
    }
    cluster.exec("host", &["tcp-client", &format!("localhost:{port}"), "ping"]).exits(0).has("answer ping");
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(cluster.exec("host", &["hostname"]).ok(), name);
    let devices = |text: &str| text.lines().count();
    let seen = cluster.exec("host", &["cat", "/proc/net/dev"]).ok();
    assert_eq!(devices(&seen), devices(&std::fs::read_to_string("/proc/net/dev").unwrap()));
}

fn a_pod_is_kept_in_if_nothing_outside_is_to_be_reached(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostNetwork: true\n  containers:\n  - {name: c, image: \
                native/guests, command: [sleep, '3600']}\n";
    let mut running = husk.start(yaml, &["--egress", "deny"]);
    let told = running.wait_for("FailedCreatePodSandBox");
    assert!(told.contains("it reaches all that the host reaches"), "{told}");
}

#[test]
fn a_pod_without_a_device_has_its_own_address() {
    let test = concat!(module_path!(), "::a_pod_without_a_device_has_its_own_address");
    let Some(husk) = husk_without_device(test, IMAGES) else { return };
    let cluster = Cluster::start(&husk);
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: server
      image: native/guests
      command: [sh, -c, 'exec tcp-server $POD_IP:7000']
      env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
      readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
    - {name: native, image: native/guests, command: [sleep, '3600']}
    - {name: wasm, image: wasm/guests, command: [sleep, '3600']}
";
    cluster.create(yaml);
    cluster.create(&client_pod("other", "wasm", "sleep, '3600'"));
    for pod in ["p", "other"] {
        cluster.until_ready(pod);
    }
    let address = format!("{}:7000", pod_ip(&cluster, "p"));
    for client in [["p", "-c", "native"].as_slice(), &["p", "-c", "wasm"], &["other"]] {
        let words = [&["exec"], client, &["--", "tcp-client", &address, "ping"]].concat();
        husk.husk(&words).exits(0).has("answer ping");
    }
    husk.husk(["exec", "p", "-c", "native", "--", "tcp-client", "p:7000", "ping"]).exits(0).has("answer ping");
}

fn servers_as_debian_has_them_are_used_from_either_kind(test: &str, user: User) {
    let images = [IMAGES, &[Image::Redis]].concat();
    let Some(husk) = husk(test, user, &images) else { return };
    let cluster = Cluster::start(&husk);
    let redis = "apiVersion: v1
kind: Pod
metadata: {name: redis, labels: {app: redis}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: redis
      image: redis
      ports: [{name: redis, containerPort: 6379}]
      readinessProbe: {exec: {command: [redis-cli, ping]}, periodSeconds: 1}
      livenessProbe: {tcpSocket: {port: redis}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: redis}, ports: [{port: 6379, targetPort: redis}]}
";
    cluster.create(redis);
    for kind in KINDS {
        cluster.create(&client_pod(kind, kind, "sleep, '3600'"));
    }
    cluster.until_ready("redis");
    let large = "x".repeat(2_000_000);
    let write = ["exec", "-i", "redis", "--", "redis-cli", "-x", "set", "large"];
    let file = husk.write("large", &large);
    let mut command = husk.command(write);
    let set = command.stdin(std::fs::File::open(file).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&set.stdout), "OK\n");
    for kind in KINDS {
        cluster.until_ready(kind);
        // A client of the protocol's simplest form; it is answered until it ends its side.
        let script = "printf 'PING\\r\\nINCR visits\\r\\nGET large\\r\\nQUIT\\r\\n' | nc redis 6379 > /tmp/answers; \
                      wc -c < /tmp/answers; head -c 9 /tmp/answers; tail -c 5 /tmp/answers";
        let said = cluster.exec(kind, &["sh", "-c", script]).exits(0);
        let visits = if kind == KINDS[0] { ":1" } else { ":2" };
        let lines: Vec<&str> = said.stdout.lines().map(str::trim).collect();
        assert_eq!(lines, ["2000028", "+PONG", &format!("{visits}+OK")], "{kind}");
    }
}
