//! A real server and clients that mean harm: what they send and what they leave half done costs it little, and others are
//! served meanwhile.

#![cfg(unix)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Husk, LINE_LIMIT, Running};

const JSON: &str = "application/json";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Clients that do the same at the same time.
const CLIENTS: usize = 16;
/// What each of them would like to send.
const HUNDRED_MEGABYTES: usize = 100 << 20;
/// What all of it may cost the server: a few bodies of the longest that are read, and what an allocator keeps.
const MOST_KIB: u64 = 256 * 1024;

struct Server {
    socket: PathBuf,
    process: PathBuf,
    /// Killed with it.
    _running: Running,
}

impl Server {
    fn start(husk: &Husk) -> Self {
        let mut running = Running::spawn(&mut husk.command(["serve", "--port", "0"]));
        running.wait_for("export KUBECONFIG=");
        let state = fs::read(husk.dir().join("data/server/state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
        let process = PathBuf::from("/proc").join(state["pid"].to_string());
        Self { socket: husk.dir().join("data/server/api.sock"), process, _running: running }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(LINE_LIMIT)).unwrap();
        stream
    }

    /// Sends something, and gives all that is answered until the server closes the connection.
    fn exchange(&self, request: &str, media: &str, body: &[u8]) -> String {
        let mut stream = self.connect();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: husk\r\nconnection: close\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Makes sure that others are served.
    fn serves(&self, name: &str) {
        let object = format!("{{\"metadata\":{{\"name\":\"{name}\"}}}}");
        let answer = self.exchange(&format!("POST {MAPS}"), JSON, object.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// The most memory that it ever had; none where the system does not say.
    fn peak_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(self.process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// The files and connections that it has open; none where the system does not say.
    fn open_files(&self) -> Option<usize> {
        Some(fs::read_dir(self.process.join("fd")).ok()?.count())
    }
}

/// What the server's memory grew by, at most.
fn grown(server: &Server, before: Option<u64>) -> u64 {
    server.peak_kib().zip(before).map_or(0, |(after, before)| after - before)
}

#[test]
fn a_hundred_megabytes_are_refused_and_cost_little() {
    let husk = Husk::new();
    let server = Server::start(&husk);
    server.serves("before");
    let before = server.peak_kib();
    // Announced: it is refused before any of it is sent.
    let mut stream = server.connect();
    let head = format!("POST {MAPS} HTTP/1.1\r\nhost: husk\r\ncontent-length: {HUNDRED_MEGABYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Not announced, by many at once: none may go on to the end.
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut stream = server.connect();
            scope.spawn(move || {
                let head = format!("POST {MAPS} HTTP/1.1\r\nhost: husk\r\ntransfer-encoding: chunked\r\n\r\n");
                stream.write_all(head.as_bytes()).unwrap();
                let chunk = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
                let sent = (0..HUNDRED_MEGABYTES >> 20).take_while(|_| stream.write_all(&chunk).is_ok()).count();
                assert!(sent < HUNDRED_MEGABYTES >> 20, "it took all");
            });
        }
        server.serves("meanwhile");
    });
    server.serves("after");
    assert!(grown(&server, before) < MOST_KIB, "{} KiB more", grown(&server, before));
}

/// A few bytes that stand for very many.
#[test]
fn bombs_do_not_go_off() {
    let husk = Husk::new();
    let server = Server::start(&husk);
    server.serves("before");
    let before = server.peak_kib();
    let mut bomb = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\na: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].map(|pair| pair.split_at(1)) {
        bomb.push_str(&format!("{to}: &{to} [{}*{from}]\n", format!("*{from},").repeat(9)));
    }
    let copies: Vec<String> = (0..10_000)
        .map(|index| format!("{{\"op\":\"copy\",\"from\":\"/metadata\",\"path\":\"/metadata/annotations/{index}\"}}"))
        .collect();
    let copies = format!("[{}]", copies.join(","));
    let deep = "[".repeat(1_000_000);
    for (method, path, media, body) in [
        ("POST", "", "application/yaml", &bomb),
        ("PATCH", "/bomb?fieldManager=m", "application/apply-patch+yaml", &bomb),
        ("PATCH", "/before", "application/json-patch+json", &copies),
        ("POST", "", JSON, &deep),
        ("POST", "", "application/yaml", &deep),
        ("PATCH", "/before", "application/merge-patch+json", &deep),
        ("PATCH", "/before", "application/strategic-merge-patch+json", &deep),
    ] {
        let answer = server.exchange(&format!("{method} {MAPS}{path}"), media, body.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4"), "{method} {path} {media}: {answer:.300}");
    }
    server.serves("after");
    assert!(grown(&server, before) < MOST_KIB, "{} KiB more", grown(&server, before));
}

#[test]
fn who_is_slow_keeps_nobody_out() {
    let husk = Husk::new();
    let server = Server::start(&husk);
    server.serves("before");
    let begun = [
        String::new(),
        format!("POST {MAPS} HTT"),
        format!("POST {MAPS} HTTP/1.1\r\nhost: husk\r\n"),
        format!("POST {MAPS} HTTP/1.1\r\nhost: husk\r\ncontent-length: 1000\r\n\r\n{{"),
        format!("POST {MAPS} HTTP/1.1\r\nhost: husk\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{{\r\n"),
    ];
    let slow: Vec<UnixStream> = begun
        .iter()
        .cycle()
        .take(50 * begun.len())
        .map(|begun| {
            let mut stream = server.connect();
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    for index in 0..20 {
        server.serves(&format!("meanwhile-{index}"));
    }
    drop(slow);
}

/// Connections that were to become something else, and never did.
#[test]
fn upgrades_that_lead_nowhere_leave_nothing() {
    let husk = Husk::new();
    let server = Server::start(&husk);
    // Bound to a node that is not there: it can be asked for ports, and has none.
    let pod = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"elsewhere\",\"containers\":[{\"name\":\"c\",\"image\":\
               \"i\"}]}}";
    let created = server.exchange("POST /api/v1/namespaces/default/pods", JSON, pod.as_bytes());
    assert!(created.starts_with("HTTP/1.1 201"), "{created}");
    let before = server.open_files();
    let upgrades = [
        "upgrade: SPDY/3.1\r\nx-stream-protocol-version: portforward.k8s.io\r\n",
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         sec-websocket-protocol: SPDY/3.1+portforward.k8s.io\r\n",
    ];
    let mut half_open = Vec::new();
    // More than there may be at the same time.
    for index in 0..1100 {
        let mut stream = server.connect();
        let upgrade = upgrades[index % upgrades.len()];
        let path = "/api/v1/namespaces/default/pods/p/portforward?ports=80";
        let method = if index % 2 == 0 { "POST" } else { "GET" };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: husk\r\nconnection: Upgrade\r\n{upgrade}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        // Some do not even wait for the answer.
        if index % 10 == 9 {
            continue;
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 101", "the {index}th");
        match index % 50 {
            0 => half_open.push(stream),
            // Half of something.
            1 => stream.write_all(&[0x80, 3, 0]).unwrap(),
            _ => {}
        }
    }
    drop(half_open);
    server.serves("after");
    let Some(before) = before else { return };
    let closed = (0..600).any(|_| {
        std::thread::park_timeout(Duration::from_millis(50));
        server.open_files().unwrap() <= before + 2
    });
    assert!(closed, "{:?} files are open, and {before} were before", server.open_files());
}
