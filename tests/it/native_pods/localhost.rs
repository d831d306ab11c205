//! The localhost that containers of a pod share, whatever they are made of: connections and datagrams both ways, one port
//! space, and how conversations end. The programs are the same, once compiled for Linux and once for WebAssembly.

use super::images::Image;
use super::machine::{User, husk};
use super::{both_users, guests};
use crate::support::{Husk, Outcome, Running};

const IMAGES: &[Image] = &[Image::NativeGuests, Image::WasmGuests];
/// The image of a server and that of a client, so that one of them is native.
const MIXED: [(&str, &str); 3] =
    [("native/guests", "wasm/guests"), ("wasm/guests", "native/guests"), ("native/guests", "native/guests")];

both_users! {
    tcp_is_spoken_both_ways
    udp_is_spoken_both_ways
    a_port_is_taken_whoever_has_it
    nobody_refuses_at_once
    conversations_end_as_their_sides_say
    the_largest_datagrams_arrive_whole
}

/// A pod, called `NAME`, in which `server` runs beside `client`.
fn pair(name: &str, images: (&str, &str), server: &str, client: &str) -> String {
    let pod_ip = "env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]";
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  hostname: myhost
  terminationGracePeriodSeconds: 1
  containers:
    - {{name: server, image: {}, command: [{server}], {pod_ip}}}
    - {{name: client, image: {}, command: [{client}], {pod_ip}}}
",
        images.0, images.1
    )
}

/// The same, with a server that stays for as long as there are questions.
fn served(name: &str, images: (&str, &str), server: &str, client: &str) -> String {
    let pair = pair(name, images, server, client);
    let sidecar = pair.replace(
        "  containers:\n    - {name: server, ",
        "  initContainers:\n    - {name: server, restartPolicy: Always, ",
    );
    assert_ne!(sidecar, pair);
    sidecar.replace("    - {name: client", "  containers:\n    - {name: client")
}

/// A client of UDP that gives a busy machine more time than it does by itself.
fn patient(connect: &str) -> String {
    format!("sh, -c, 'for n in 1 2 3 4 5 6; do udp-client {connect} ping && exit 0; done; exit 1'")
}

/// Runs pods to their ends, none of which may fail.
fn run(husk: &Husk, pods: &str) -> Outcome {
    husk.run(pods, &["--egress", "deny"]).exits(0)
}

/// `native-wasm` for a native server and a wasm client.
fn named(images: (&str, &str)) -> String {
    format!("{}-{}", guests::kind(images.0), guests::kind(images.1))
}

fn tcp_is_spoken_both_ways(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let places = [
        ("0.0.0.0:7000", "127.0.0.1:7000"),
        ("0.0.0.0:7000", "localhost:7000"),
        ("127.0.0.1:7000", "localhost:7000"),
        ("[::]:7000", "'[::1]:7000'"),
        ("[::]:7000", "127.0.0.1:7000"),
        ("0.0.0.0:7000", "myhost:7000"),
        ("$(POD_IP):7000", "$(POD_IP):7000"),
    ];
    let mut pods = String::new();
    for images in MIXED {
        for (place, (bind, connect)) in places.iter().enumerate() {
            let name = format!("{}-{place}", named(images));
            pods +=
                &pair(&name, images, &format!("tcp-server, '{bind}', '1'"), &format!("tcp-client, {connect}, ping"));
        }
    }
    let outcome = run(&husk, &pods);
    assert_eq!(outcome.stdout.matches("answer ping").count(), MIXED.len() * places.len(), "{outcome:?}");
    // The source is the one that the client has.
    let from_loopback = outcome.stdout.matches("echoed 4 bytes to 127.0.0.1").count();
    let mapped = outcome.stdout.matches("echoed 4 bytes to ::ffff:127.0.0.1").count();
    assert_eq!((from_loopback, mapped), (MIXED.len() * 3, MIXED.len()), "{outcome:?}");
}

fn udp_is_spoken_both_ways(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let places = [
        ("0.0.0.0:7000", "127.0.0.1:7000"),
        ("127.0.0.1:7000", "localhost:7000"),
        ("0.0.0.0:7000", "myhost:7000"),
        ("$(POD_IP):7000", "$(POD_IP):7000"),
    ];
    let mut pods = String::new();
    for images in MIXED {
        for (place, (bind, connect)) in places.iter().enumerate() {
            let name = format!("{}-{place}", named(images));
            pods += &served(&name, images, &format!("udp-server, '{bind}'"), &patient(connect));
        }
    }
    let outcome = run(&husk, &pods);
    assert_eq!(outcome.stdout.matches("answer ping").count(), MIXED.len() * places.len(), "{outcome:?}");
}

/// A pod with a container of each kind, in which programs are started by `exec`.
fn idle_pair(husk: &Husk) -> Running {
    let sleep = |kind: &str| format!("sh, -c, 'echo {kind} is up; sleep 3600'");
    let yaml = pair("p", MIXED[0], &sleep("native"), &sleep("wasm"));
    let mut running = husk.start(&yaml, &[]);
    running.wait_for("is up");
    running.wait_for("is up");
    running
}

fn a_port_is_taken_whoever_has_it(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let _pod = idle_pair(&husk);
    // By `pair`, the native container is called server.
    for (port, (holder, other)) in [(7000, ("server", "client")), (7001, ("client", "server"))] {
        for program in ["tcp-server", "udp-server"] {
            for (held, wanted) in [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")] {
                let exec = |container, address| {
                    let address = format!("{address}:{port}");
                    husk.command(["exec", "p", "-c", container, "--", program, &address, "1"])
                };
                let mut holding = Running::spawn(&mut exec(holder, held));
                holding.wait_for("listening on");
                let refused: Outcome = exec(other, wanted).output().unwrap().into();
                assert!(refused.stderr.contains("AddrInUse"), "{holder} {program} {held} {wanted}: {refused:?}");
                // Whoever has it lets go of it at its end.
                let client = program.replace("server", "client");
                let client = ["exec", "p", "-c", other, "--", &client, &format!("127.0.0.1:{port}"), "bye"];
                husk.husk(client).exits(0).has("answer bye");
                assert_eq!(holding.end().0, 0);
            }
        }
    }
}

fn nobody_refuses_at_once(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let mut pods = String::new();
    for image in ["native/guests", "wasm/guests"] {
        for (place, address) in
            ["127.0.0.1:7009", "localhost:7009", "$(POD_IP):7009", "'[::1]:7009'"].iter().enumerate()
        {
            // In a pod of both kinds, so that the kernel and the switch are both asked.
            let client = format!("timeout, '5', tcp-client, {address}, --once, x");
            pods += &pair(&format!("{}-{place}", guests::kind(image)), ("native/guests", image), "'true'", &client);
        }
    }
    let outcome = husk.run(&pods, &["--egress", "deny"]).exits(1);
    assert_eq!(outcome.stdout.matches("connect: ConnectionRefused").count(), 8, "{outcome:?}");
}

fn conversations_end_as_their_sides_say(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let mut pods = String::new();
    for images in MIXED {
        let name = named(images);
        for (number, (server, client)) in
            [("greet", "listen-on"), ("leave-unread", "left"), ("read-later", "flood")].iter().enumerate()
        {
            let side = |scenario: &str| format!("sockets, {scenario}, '127.0.0.1:7000'");
            pods += &pair(&format!("{name}-{number}"), images, &side(server), &side(client));
        }
    }
    let outcome = run(&husk, &pods);
    for images in MIXED {
        let name = named(images);
        let said = |container: &str| -> Vec<&str> {
            let lines = outcome.stdout.lines().filter(|line| line.starts_with(container));
            lines.filter_map(|line| Some(line.split_once(" | ")?.1)).collect()
        };
        // Each direction ends by itself.
        assert_eq!(said(&format!("{name}-0/server")), ["after the end Err(BrokenPipe)", "heard 1048576"], "{name}");
        assert_eq!(said(&format!("{name}-0/client")), ["heard greeting"], "{name}");
        // Who leaves with something unread resets the other side, who learns it in the words of its own system.
        let (read, write) = match guests::kind(images.1) {
            "native" => ("read Err(Some(104))", "write Err(Some(32))"),
            _ => ("read Err(Some(29))", "write Err(Some(29))"),
        };
        assert_eq!(said(&format!("{name}-1/client")), [read, write], "{name}");
        // A writer waits for a reader, and nothing is lost.
        let (server, client) = (said(&format!("{name}-2/server")), said(&format!("{name}-2/client")));
        assert_eq!(client[0], "stuck true", "{name}");
        assert_eq!(server[0].strip_prefix("read "), client[1].strip_prefix("sent "), "{name}");
    }
}

fn the_largest_datagrams_arrive_whole(test: &str, user: User) {
    let Some(husk) = husk(test, user, IMAGES) else { return };
    let _pod = idle_pair(&husk);
    let text = "0123456789".repeat(6_500);
    for (port, (server, client)) in [(7000, ("server", "client")), (7001, ("client", "server"))] {
        let address = format!("127.0.0.1:{port}");
        let mut running =
            Running::spawn(&mut husk.command(["exec", "p", "-c", server, "--", "udp-server", &address, "1"]));
        running.wait_for("listening on");
        let sent = husk.husk(["exec", "p", "-c", client, "--", "udp-client", &address, &text]).ok();
        assert!(sent.trim_end() == format!("answer {text}"), "{} bytes from {server}", sent.len());
        running.wait_for("echoed 65000 bytes");
    }
}
