//! The network tools of `busybox`, and the images `httpbin` and `pause`, in real pods.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::network::free_port;
use crate::support::{Husk, LINE_LIMIT, Outcome, Running, http_get};

/// A pod with httpbin as a sidecar, and containers beside it: a name and a command line each.
fn beside_httpbin(commands: &[(&str, &str)]) -> Outcome {
    let mut yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  initContainers:
    - name: httpbin
      image: kennethreitz/httpbin
      args: [--quiet]
      restartPolicy: Always
      startupProbe: {httpGet: {path: /readyz, port: 80}, periodSeconds: 1}
  containers:
"
    .to_owned();
    for (name, command) in commands {
        let words = serde_json::to_string(&command.split(' ').collect::<Vec<_>>()).unwrap();
        let pod_ip = "{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}";
        yaml += &format!("    - {{name: {name}, image: busybox, command: {words}, env: [{pod_ip}]}}\n");
    }
    Husk::new().run(&yaml, &["--egress", "deny"])
}

impl Outcome {
    /// Asserts how a container ended, and lines it has printed, without the commas at their ends.
    #[track_caller]
    fn ended(self, name: &str, code: i32, lines: &[&str]) -> Self {
        let end = format!("p/{name}: Container exited with code {code} ");
        assert!(self.stderr.contains(&end), "no {end:?} in {self:?}");
        let prefix = format!("{name} ");
        let printed = self.stdout.lines().chain(self.stderr.lines()).filter(|line| line.starts_with(&prefix));
        let printed = printed.filter_map(|line| Some(line.split_once(" | ")?.1.trim().trim_end_matches(',')));
        let printed: Vec<_> = printed.collect();
        for line in lines {
            assert!(printed.contains(line), "{name} has not printed {line:?} in {printed:#?}");
        }
        self
    }
}

#[test]
fn wget_does_what_its_options_say() {
    beside_httpbin(&[
        ("header", "wget -q -O - --header X-A:b -U me http://u:p@localhost/get?x=1"),
        ("post", "wget -qO- --post-data a=b&c=d localhost/post"),
        ("redirect", "wget -O- localhost/redirect/3"),
        ("spider", "wget -S --spider http://$(POD_IP)/status/204"),
        ("chunks", "wget -qO- localhost/stream/2"),
        ("save", "wget -P /tmp http://localhost/bytes/70000"),
        ("several", "wget -q -O - localhost/ip localhost/user-agent"),
        ("file", "wget -qO- --post-file /etc/hostname --header Content-Type:text/plain localhost/anything"),
    ])
    .ended(
        "header",
        0,
        &["\"X-A\": \"b\"", "\"User-Agent\": \"me\"", "\"Authorization\": \"Basic dTpw\"", "\"x\": \"1\""],
    )
    .ended("post", 0, &["\"a\": \"b\"", "\"c\": \"d\"", "\"Content-Type\": \"application/x-www-form-urlencoded\""])
    .ended("redirect", 0, &["\"url\": \"http://localhost/get\"", "writing to stdout", "written to stdout"])
    .ended("spider", 0, &["HTTP/1.1 204 No Content", "remote file exists"])
    .ended("chunks", 0, &[])
    .ended("save", 0, &["saving to '/tmp/70000'", "'/tmp/70000' saved"])
    .ended("several", 0, &["\"origin\": \"127.0.0.1\"", "\"user-agent\": \"Wget\""])
    .ended("file", 0, &["\"data\": \"p\\n\"", "\"method\": \"POST\""])
    .exits(0);
}

#[test]
fn wget_goes_on_where_a_download_has_ended() {
    let container = |name: &str, command: &str| {
        let words = serde_json::to_string(&command.split(' ').collect::<Vec<_>>()).unwrap();
        let mount = "{name: v, mountPath: /v}";
        format!("    - {{name: {name}, image: busybox, command: {words}, volumeMounts: [{mount}]}}\n")
    };
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  volumes: [{{name: v, emptyDir: {{}}}}]
  initContainers:
    - name: httpbin
      image: builtin/httpbin
      restartPolicy: Always
      startupProbe: {{httpGet: {{path: /readyz, port: 80}}, periodSeconds: 1}}
{}{}{}  containers:
{}",
        container("beginning", "wget -q -O /v/letters localhost/range/10"),
        container("rest", "wget -c -P /v -O /v/letters localhost/range/26"),
        container("again", "wget -c -O /v/letters localhost/range/26"),
        container("whole", "cat /v/letters"),
    );
    Husk::new()
        .run(&yaml, &[])
        .ended("rest", 0, &["'/v/letters' saved"])
        .ended("again", 0, &["the file is complete already"])
        .has("httpbin   | 127.0.0.1 \"GET /range/26 HTTP/1.1\" 206")
        .ended("whole", 0, &["abcdefghijklmnopqrstuvwxyz"])
        .exits(0);
}

#[test]
fn wget_fails_in_busyboxs_words() {
    beside_httpbin(&[
        ("missing", "wget -q localhost/status/404"),
        ("unknown", "wget http://nobody.invalid/"),
        ("refused", "wget -q http://127.0.0.1:81/"),
        ("slow", "wget -q -T 1 localhost/delay/60"),
        ("loop", "wget -q localhost/redirect/9"),
        ("nothttp", "wget -q ftp://localhost/"),
        ("nottls", "wget -q https://localhost:80/"),
        ("exists", "wget -q -O /etc localhost/ip"),
        ("denied", "wget -q http://192.0.2.1/"),
    ])
    .ended("missing", 1, &["wget: server returned error: HTTP/1.1 404 Not Found"])
    .ended("unknown", 1, &["wget: bad address 'nobody.invalid'"])
    .ended("refused", 1, &["wget: can't connect to remote host (127.0.0.1): Connection refused"])
    .ended("slow", 1, &["wget: download timed out"])
    .ended("loop", 1, &["wget: too many redirections"])
    .ended("nothttp", 1, &["wget: not an http or https url: ftp://localhost/"])
    .ended("nottls", 1, &["wget: TLS handshake failed: does the server speak https on this port?"])
    .ended("exists", 1, &["wget: can't open '/etc': Is a directory"])
    .ended("denied", 1, &["wget: can't connect to remote host (192.0.2.1): Permission denied"]);
}

#[test]
fn curl_does_what_probes_and_scripts_ask_of_it() {
    beside_httpbin(&[
        ("code", "curl -s -o /dev/null -w %{http_code} localhost/status/204"),
        ("failed", "curl -fsS localhost/status/503"),
        ("body", "curl -s localhost/status/404"),
        ("follow", "curl -sL -w %{num_redirects}\\n localhost/redirect/3"),
        ("post", "curl -s -d a=b -d c=d -u u:p localhost/post"),
        ("put", "curl -s -X PUT --json {\"a\":1} localhost/put"),
        ("head", "curl -sI localhost/uuid"),
        ("quiet", "curl -s localhost:81"),
        ("refused", "curl localhost:81"),
        ("unknown", "curl -sS http://nobody.invalid"),
        ("slow", "curl -sS -m 0.5 localhost/delay/60"),
        ("retried", "curl --retry 1 --retry-delay 0 -f localhost/status/500"),
        ("option", "curl --nonsense localhost"),
    ])
    .ended("code", 0, &["204"])
    .ended("failed", 22, &["curl: (22) The requested URL returned error: 503"])
    .ended("body", 0, &[])
    .ended("follow", 0, &["\"url\": \"http://localhost/get\"", "3"])
    .ended("post", 0, &["\"a\": \"b\"", "\"c\": \"d\"", "\"Authorization\": \"Basic dTpw\""])
    .ended("put", 0, &["\"Content-Type\": \"application/json\"", "\"data\": \"{\\\"a\\\":1}\""])
    .ended("head", 0, &["HTTP/1.1 200 OK", "Content-Type: application/json"])
    .ended("quiet", 7, &[])
    .ended("refused", 7, &["curl: (7) Failed to connect to localhost port 81: Connection refused"])
    .ended("unknown", 6, &["curl: (6) Could not resolve host: nobody.invalid"])
    .ended("slow", 28, &["curl: (28) Operation timed out after 500 milliseconds"])
    .ended("retried", 22, &["curl: (22) The requested URL returned error: 500; trying again in 0 s"])
    .ended("option", 2, &["curl: option --nonsense: is unknown"]);
}

#[test]
fn the_pods_network_is_shown_and_its_ports_are_tried() {
    beside_httpbin(&[
        ("wanted", "echo inet $(POD_IP)/16 brd 10.88.255.255 scope global eth0"),
        ("ip", "ip -4 addr show dev eth0"),
        ("loopback", "ip a s lo"),
        ("route", "ip route"),
        ("open", "nc -zv localhost 80"),
        ("closed", "nc -z localhost 81"),
        ("range", "nc -z -v 127.0.0.1 78-82"),
        ("none", "nc -z localhost 81-83"),
        ("ping", "ping -c 1 localhost"),
        ("netstat", "netstat -tln"),
        ("lookup", "nslookup localhost 127.0.0.1"),
    ])
    .ended("loopback", 0, &["inet 127.0.0.1/8 scope host lo", "inet6 ::1/128 scope host"])
    .ended("route", 0, &["default via 10.88.0.1 dev eth0"])
    .ended("open", 0, &["localhost (127.0.0.1:80) open"])
    .ended("closed", 1, &["nc: localhost (127.0.0.1:81): Connection refused"])
    .ended("range", 0, &["127.0.0.1 (127.0.0.1:80) open"])
    .ended("none", 1, &["nc: localhost (127.0.0.1:83): Connection refused"])
    .ended("ping", 2, &[])
    .ended("netstat", 1, &[])
    .ended("lookup", 1, &["nslookup: can't ask 127.0.0.1:53: Connection refused"])
    .shows_the_pods_ip();
}

impl Outcome {
    /// `ip` has printed what `wanted` has.
    #[track_caller]
    fn shows_the_pods_ip(&self) {
        let wanted = self.stdout.lines().find(|line| line.starts_with("wanted ")).unwrap();
        let wanted = wanted.split_once(" | ").unwrap().1;
        assert!(wanted.starts_with("inet 10.88."), "{wanted}");
        let shown = self.stdout.lines().filter(|line| line.starts_with("ip ")).any(|line| line.ends_with(wanted));
        assert!(shown, "no {wanted:?} in {self:?}");
    }
}

/// A pod with `nc` twice: one listens, the other one sends what it reads from standard input.
fn talking(husk: &Husk, server: &str, client: &str) -> Running {
    let words = |line: &str| serde_json::to_string(&line.split(' ').collect::<Vec<_>>()).unwrap();
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers:
    - {{name: server, image: busybox, restartPolicy: Always, command: {}}}
  containers:
    - {{name: client, image: busybox, stdin: true, command: {}}}
",
        words(server),
        words(client)
    );
    husk.start(&yaml, &[])
}

#[test]
fn nc_passes_on_what_it_reads_until_the_other_side_is_done() {
    let husk = Husk::new();
    let mut running = husk.start(
        "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers:
    - name: server
      image: busybox
      restartPolicy: Always
      command: [nc, -lkv, -p, '7000']
      startupProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
  containers:
    - {name: client, image: busybox, stdin: true, command: [nc, localhost, '7000']}
",
        &[],
    );
    running.write_stdin("over the wire\n");
    running.wait_for("server | over the wire");
    // The end of standard input is passed on, and the server, which has nothing to say, ends the connection.
    running.close_stdin();
    running.wait_for("p/client: Container exited with code 0");
    let (code, lines) = running.end();
    assert_eq!(code, 0, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("connect to ") && line.contains(" from 127.0.0.1 ")), "{lines:?}");
}

#[test]
fn nc_prints_what_comes_back_after_the_end_of_its_input() {
    let husk = Husk::new();
    let mut running = husk.start(
        "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers:
    - name: web
      image: builtin/httpbin
      restartPolicy: Always
      startupProbe: {httpGet: {port: 80, path: /healthz}, periodSeconds: 1}
  containers:
    - {name: client, image: busybox, stdin: true, command: [nc, localhost, '80']}
",
        &[],
    );
    running.write_stdin("GET /delay/1 HTTP/1.0\r\n\r\n");
    running.close_stdin();
    running.wait_for("client | HTTP/1.1 200 OK");
    let (code, lines) = running.end();
    assert_eq!(code, 0, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("\"method\": \"GET\"")), "{lines:?}");
}

#[test]
fn nc_exchanges_datagrams() {
    let husk = Husk::new();
    let mut running = talking(&husk, "nc -ulv -p 7000", "nc -u -w 1 localhost 7000");
    running.wait_for("listening on 0.0.0.0:7000 ...");
    running.write_stdin("a datagram\n");
    running.wait_for("server | a datagram");
    running.close_stdin();
    // Datagrams have no end: the client waits a second for more.
    running.wait_for("p/client: Container exited with code 0");
}

fn httpbin_pod(more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: p}}
spec:
  restartPolicy: Never
  containers: [{{name: web, image: builtin/httpbin{more}}}]
"
    )
}

#[test]
fn httpbin_answers_to_order_through_a_published_port() {
    let (husk, port) = (Husk::new(), free_port());
    let yaml = httpbin_pod(", env: [{name: PORT, value: '8080'}, {name: COLOUR, value: blue}]");
    let mut running = husk.start(&yaml, &["-p", &format!("{port}:8080")]);
    running.wait_for("listening on port 8080");
    for (path, status, part) in [
        ("/", "200 OK", "/exit/CODE"),
        ("/get?a=1&a=2", "200 OK", "\"2\""),
        ("/env", "200 OK", "\"COLOUR\": \"blue\""),
        ("/hostname", "200 OK", "\"hostname\": \"p\""),
        ("/ip", "200 OK", "\"origin\": \"10.88.0.1\""),
        ("/status/418", "418 I'm a teapot", ""),
        ("/redirect/2", "302 Found", "Location: /redirect/1\r\n"),
        ("/basic-auth/u/p", "401 Unauthorized", "WWW-Authenticate: Basic"),
        ("/base64/aGVsbG8=", "200 OK", "\r\n\r\nhello"),
        ("/stream/2", "200 OK", "\r\n0\r\n\r\n"),
        ("/drip?duration=0.1&numbytes=3", "200 OK", "\r\n\r\n***"),
        ("/response-headers?X-A=b", "200 OK", "X-A: b\r\n"),
        ("/post", "405 Method Not Allowed", "Allow: POST\r\n"),
        ("/nothing", "404 Not Found", "/ lists the paths"),
        ("/readyz", "200 OK", "ok"),
        ("/readyz/fail", "200 OK", "will fail"),
        ("/readyz", "503 Service Unavailable", "failing"),
        ("/healthz", "200 OK", "ok"),
        ("/readyz/ok", "200 OK", "ok"),
        ("/readyz", "200 OK", "ok"),
    ] {
        let answer = http_get(port, path);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {answer}");
        assert!(answer.contains(part), "{path}: no {part:?} in {answer}");
    }
    assert_eq!(http_get(port, "/bytes/0").split("\r\n\r\n").nth(1), Some(""));
    running.signal(Signal::TERM);
    let (code, lines) = running.end();
    assert_eq!(code, 143, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("p/web: Container exited with code 0")), "{lines:?}");
}

#[test]
fn httpbin_keeps_connections_and_reads_bodies() {
    let (husk, port) = (Husk::new(), free_port());
    let mut running = husk.start(&httpbin_pod(""), &["-p", &format!("{port}:80")]);
    running.wait_for("listening on port 80");
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LINE_LIMIT)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |request: &str| {
        (&stream).write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let start = head.len();
            assert!(reader.read_line(&mut head).unwrap() > 0, "the connection was closed after {head:?}");
            if let Some(value) = head[start..].strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        head + &String::from_utf8(body).unwrap()
    };
    // Two requests at once are answered one after the other; a connection can be used again.
    let first = ask("GET /status/200 HTTP/1.1\r\nHost: a\r\n\r\nGET /status/201 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(first.starts_with("HTTP/1.1 200"), "{first}");
    assert!(ask("").starts_with("HTTP/1.1 201"));
    let chunked =
        ask("PUT /put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert!(chunked.contains("\"data\": \"abcde\""), "{chunked}");
    let json = "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    assert!(ask(json).starts_with("HTTP/1.1 100"));
    let answer = ask("{\"a\":[1]}");
    assert!(answer.contains("\"json\": {\n    \"a\": ["), "{answer}");
    // A body that is too long, and a request that is none, end the connection.
    let refused = ask("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 413") && refused.contains("Connection: close"), "{refused}");
    // Whoever says nothing keeps nobody else from being served.
    let _silent: Vec<_> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    assert!(http_get(port, "/uuid").contains("\"uuid\""));
}

#[test]
fn httpbin_ends_with_the_code_it_is_told() {
    let (husk, port) = (Husk::new(), free_port());
    let mut running = husk.start(&httpbin_pod(""), &["-p", &format!("{port}:80")]);
    running.wait_for("listening on port 80");
    assert!(http_get(port, "/exit/42").ends_with("bye\n"));
    assert_eq!(running.end().0, 42);
}

#[test]
fn pause_waits_for_term_and_ends_with_0() {
    let yaml = "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers: [{name: pause, image: 'registry.k8s.io/pause:3.10'}]
";
    let husk = Husk::new();
    let mut running = husk.start(yaml, &["--events"]);
    running.wait_for("Pod is ready");
    running.signal(Signal::TERM);
    let (code, lines) = running.end();
    assert_eq!(code, 143, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("p/pause: Container exited with code 0")), "{lines:?}");
}
