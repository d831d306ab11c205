//! The web server of the `nginx` image, as its clients and those who configure it see it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::network::free_port;
use crate::support::{Husk, LINE_LIMIT, Running, http_get};

/// A pod with the web server, with `config` as its only file of `conf.d`, a file to serve in `/srv/files`, the directory
/// `site` of the host in `/srv/site`, and more of the container as YAML.
fn pod(husk: &Husk, config: &str, port: u16, more: &str) -> String {
    let config: String = config.lines().map(|line| format!("    {line}\n")).collect();
    let site = husk.dir().join("site");
    fs::create_dir_all(&site).unwrap();
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: conf}}
data:
  site.conf: |
{config}
  hello.txt: hello, world
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 10
  volumes:
    - {{name: conf, configMap: {{name: conf, items: [{{key: site.conf, path: site.conf}}]}}}}
    - {{name: files, configMap: {{name: conf, items: [{{key: hello.txt, path: hello.txt}}]}}}}
    - {{name: site, hostPath: {{path: {site:?}}}}}
  containers:
    - name: c
      image: nginx
      ports: [{{containerPort: 80, hostPort: {port}}}]
      volumeMounts:
        - {{name: conf, mountPath: /etc/nginx/conf.d}}
        - {{name: files, mountPath: /srv/files}}
        - {{name: site, mountPath: /srv/site}}
{more}"
    )
}

/// Starts a pod with this configuration and waits until it answers.
fn serve(husk: &Husk, config: &str, port: u16, more: &str) -> Running {
    let running = husk.start(&pod(husk, config, port, more), &[]);
    http_get(port, "/");
    running
}

/// A connection to the server.
fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LINE_LIMIT)).unwrap();
    stream
}

/// Sends raw bytes and gives everything that comes until the server closes the connection.
fn raw(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request with more headers, each with its line end, over a connection that ends with it.
fn get(port: u16, path: &str, headers: &str) -> String {
    raw(port, &format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n"))
}

/// The value of a header.
#[track_caller]
fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[track_caller]
fn status(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Stops a run and gives what it printed; the server itself must have ended well.
#[track_caller]
fn stopped(running: Running) -> Vec<String> {
    running.signal(Signal::INT);
    let (_, lines) = running.end();
    assert!(lines.iter().any(|line| line.contains("web/c: Container exited with code 0")), "{lines:#?}");
    lines
}

#[test]
fn the_default_configuration_serves_the_welcome_page_and_logs_it() {
    let husk = Husk::new();
    let port = free_port();
    let yaml = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers: [{{name: c, image: 'nginx:1.27', ports: [{{containerPort: 80, hostPort: {port}}}]}}]
"
    );
    let running = husk.start(&yaml, &[]);
    let answer = http_get(port, "/");
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "Content-Type"), "text/html");
    assert!(header(&answer, "Server").starts_with("nginx-husk"), "{answer}");
    assert!(body(&answer).contains("Welcome to nginx!"), "{answer}");
    let missing = get(port, "/nothing", "");
    assert_eq!(status(&missing), 404);
    assert!(body(&missing).contains("<center><h1>404 Not Found</h1></center>"), "{missing}");
    let lines = stopped(running).join("\n");
    assert!(lines.contains("\"GET / HTTP/1.1\" 200 "), "{lines}");
    assert!(lines.contains("\"GET /nothing HTTP/1.1\" 404 "), "{lines}");
    let error = "[error] 1#1: *2 open() \"/usr/share/nginx/html/nothing\" failed (2: No such file or directory)";
    assert!(lines.contains(error), "{lines}");
}

#[test]
fn wrong_configurations_are_refused_with_their_place() {
    let husk = Husk::new();
    let port = free_port();
    for (config, message) in [
        ("server {\n  foo on;\n}", "nginx: [emerg] unknown directive \"foo\" in /etc/nginx/conf.d/site.conf:2"),
        ("server {\n  listen 80\n}", "nginx: [emerg] unexpected \"}\" in /etc/nginx/conf.d/site.conf:3"),
        (
            "server { location / { proxy_pass http://nobody.invalid; } }",
            "nginx: [emerg] host not found in upstream \"nobody.invalid\" in /etc/nginx/conf.d/site.conf:1",
        ),
    ] {
        let outcome = husk.run(&pod(&husk, config, port, ""), &["--no-prefix"]);
        outcome.exits(1).says(message);
    }
    let tested = |config: &str| husk.run(&pod(&husk, config, port, "      command: [nginx, -t]\n"), &["--no-prefix"]);
    tested("server { root /srv; }")
        .exits(0)
        .says("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok")
        .says("nginx: configuration file /etc/nginx/nginx.conf test is successful");
    tested("root;").exits(1).says("nginx: configuration file /etc/nginx/nginx.conf test failed");
}

#[test]
fn requests_find_their_server_and_location() {
    let husk = Husk::new();
    let port = free_port();
    let config = "log_format short '$host $uri $status';
access_log /dev/stdout short;
server { listen 80 default_server; listen [::]:80 default_server; return 200 default; }
server {
  server_name files.test *.wild.test;
  root /srv/files;
  add_header X-Server files;
  location / { try_files $uri /hello.txt; }
  location = /exact { return 200 \"exact $request_method $arg_a\\n\"; }
  location ~ ^/user/(?<id>[0-9]+)$ { return 200 \"user $id $1\"; }
  location /old/ { rewrite ^/old/(.*)$ /new/$1 last; }
  location /new/ { default_type text/html; return 200 \"new $uri $args\"; }
  location = /status { stub_status; }
  location /gone { return 301 /exact?a=1; }
  location /alias/ { alias /srv/files/; autoindex on; }
  location /private/ { deny all; error_page 403 = @login; }
  location @login { return 401 login; }
  location /if { set $kind plain; if ($http_x_kind ~ ^special) { set $kind special; } return 200 $kind; }
}";
    let running = serve(&husk, config, port, "");
    let ask = |path: &str, headers: &str| {
        raw(port, &format!("GET {path} HTTP/1.1\r\nHost: files.test\r\nConnection: close\r\n{headers}\r\n"))
    };
    assert_eq!(body(&get(port, "/", "")), "default");
    for (path, expected) in [
        ("/hello.txt", "hello, world"),
        ("/absent", "hello, world"),
        ("/exact?a=b", "exact GET b\n"),
        ("/user/42", "user 42 42"),
        ("/old/x?y", "new /new/x y"),
        ("/alias/hello.txt", "hello, world"),
        ("/if", "plain"),
    ] {
        assert_eq!(body(&ask(path, "")), expected, "{path}");
    }
    assert_eq!(body(&ask("/if", "X-Kind: special\r\n")), "special");
    assert_eq!(header(&ask("/hello.txt", ""), "X-Server"), "files");
    assert_eq!(header(&ask("/hello.txt", ""), "Content-Type"), "text/plain");
    assert_eq!((status(&ask("/private/x", "")), body(&ask("/private/x", ""))), (401, "login"));
    assert_eq!(header(&ask("/gone", ""), "Location"), "http://files.test/exact?a=1");
    assert!(body(&ask("/alias/", "")).contains("<a href=\"hello.txt\">hello.txt</a>"));
    assert_eq!(status(&ask("/alias", "")), 200, "try_files finds the fallback");
    assert!(body(&ask("/status", "")).starts_with("Active connections: 1 \nserver accepts handled requests\n"));
    let wild = raw(port, "GET /exact HTTP/1.1\r\nHost: A.Wild.Test:80\r\nConnection: close\r\n\r\n");
    assert_eq!(body(&wild), "exact GET \n");
    let lines = stopped(running).join("\n");
    assert!(lines.contains("files.test /new/x 200"), "{lines}");
}

#[test]
fn clients_that_have_a_copy_and_clients_that_want_a_part() {
    let husk = Husk::new();
    let port = free_port();
    let running = serve(&husk, "server { root /srv/files; }", port, "");
    let whole = get(port, "/hello.txt", "");
    let (etag, modified) = (header(&whole, "ETag"), header(&whole, "Last-Modified"));
    assert_eq!((status(&whole), body(&whole), header(&whole, "Accept-Ranges")), (200, "hello, world", "bytes"));
    for (headers, expected) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{etag}\r\n"), 304),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        (format!("If-Modified-Since: {modified}\r\n"), 304),
        ("If-Modified-Since: Thu, 01 Jan 1998 00:00:00 GMT\r\n".to_owned(), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        ("If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT\r\n".to_owned(), 412),
        (format!("Range: bytes=0-4\r\nIf-Range: {etag}\r\n"), 206),
        ("Range: bytes=0-4\r\nIf-Range: \"x\"\r\n".to_owned(), 200),
        ("Range: bytes=12-\r\n".to_owned(), 416),
    ] {
        let answer = get(port, "/hello.txt", &headers);
        assert_eq!(status(&answer), expected, "{headers}");
        assert_eq!(body(&answer).is_empty(), expected == 304, "{headers} {answer}");
    }
    for (range, content_range, part) in
        [("0-4", "bytes 0-4/12", "hello"), ("7-", "bytes 7-11/12", "world"), ("-3", "bytes 9-11/12", "rld")]
    {
        let answer = get(port, "/hello.txt", &format!("Range: bytes={range}\r\n"));
        assert_eq!((header(&answer, "Content-Range"), body(&answer)), (content_range, part));
    }
    let head = raw(port, "HEAD /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((status(&head), header(&head, "Content-Length"), body(&head)), (200, "12", ""));
    assert_eq!(status(&raw(port, "DELETE /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")), 405);
    stopped(running);
}

#[test]
fn connections_carry_many_requests_and_malformed_ones_end_them() {
    let husk = Husk::new();
    let port = free_port();
    let running =
        serve(&husk, "client_header_timeout 1s;\nserver { root /srv/files; client_max_body_size 1k; }", port, "");
    let one = "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(port, &format!("{}{last}", one.repeat(100)));
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 101);
    assert_eq!(answer.matches("hello, world").count(), 101);
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("GET /hello.txt%00 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n".to_owned(), 413),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(9000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000)), 400),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(), 505),
        // Half a request, and nothing more.
        ("GET / HTTP/1.1\r\nHost:".to_owned(), 408),
    ] {
        let answer = raw(port, &request);
        assert_eq!(status(&answer), expected, "{}", &request[..request.len().min(80)]);
        assert_eq!(header(&answer, "Connection"), "close");
    }
    let in_body = "POST /hello.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n";
    let smuggled = raw(port, &format!("{in_body}GET /smuggled HTTP/1.1\r\nX: \r\n\r\n0\r\n\r\n{last}"));
    assert_eq!(smuggled.matches("HTTP/1.1 ").count(), 2, "a body is no request: {smuggled}");
    let lines = stopped(running).join("\n");
    assert!(!lines.contains("/smuggled"), "{lines}");
}

#[test]
fn a_slow_client_holds_up_nobody() {
    let husk = Husk::new();
    let port = free_port();
    let running = serve(&husk, "server { root /srv/files; }", port, "");
    let mut idle: Vec<TcpStream> = (0..300).map(|_| connect(port)).collect();
    for stream in &mut idle {
        stream.write_all(b"GET /hello.txt HTTP/1.1\r\nHo").unwrap();
    }
    assert_eq!(status(&get(port, "/hello.txt", "")), 200);
    for stream in &mut idle {
        stream.write_all(b"st: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!((status(&answer), body(&answer)), (200, "hello, world"));
    }
    stopped(running);
}

#[test]
fn files_are_served_as_they_are_now() {
    let husk = Husk::new();
    let port = free_port();
    let page = husk.write("site/page.html", "first");
    let site = page.parent().unwrap();
    let running = serve(&husk, "server { root /srv/site; }", port, "");
    for text in ["first", "other", "a longer text"] {
        fs::write(&page, text).unwrap();
        assert_eq!(body(&get(port, "/page.html", "")), text);
        assert_eq!(body(&get(port, "/page.html", "")), text);
    }
    fs::remove_file(&page).unwrap();
    assert_eq!(status(&get(port, "/page.html", "")), 404);
    let large = "0123456789abcdef".repeat(200_000);
    fs::write(site.join("large"), &large).unwrap();
    assert_eq!(body(&get(port, "/large", "")), large);
    assert_eq!(body(&get(port, "/large", "Range: bytes=3199990-\r\n")), "6789abcdef");
    std::os::unix::fs::symlink("/etc/hostname", site.join("out")).unwrap();
    let outside = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let answer = get(port, "/out", "");
    assert!(status(&answer) != 200 || body(&answer) != outside, "{answer}");
    assert_eq!(status(&get(port, "/", "")), 403, "there is no index");
    fs::create_dir(site.join("a b")).unwrap();
    let directory = get(port, "/a%20b?c", "");
    assert_eq!((status(&directory), header(&directory, "Location")), (301, "http://test/a%20b/?c"));
    fs::write(site.join("a b/index.html"), "index").unwrap();
    assert_eq!(body(&get(port, "/a%20b/", "")), "index");
    stopped(running);
}

#[test]
fn requests_are_passed_on_to_another_container() {
    let husk = Husk::new();
    let port = free_port();
    let config = "upstream pool { server 127.0.0.1:8081; server 127.0.0.1:8082; }
server {
  location / { return 200 front; }
  location /api/ { proxy_pass http://127.0.0.1:8081/base/; proxy_set_header X-Real-IP $remote_addr; }
  location /raw/ { proxy_pass http://127.0.0.1:8081; proxy_http_version 1.1; client_max_body_size 0; }
  location /pool { proxy_pass http://pool; }
  location /down { proxy_pass http://127.0.0.1:9; error_page 502 /down.html; }
  location = /down.html { return 200 'sorry'; }
  location /nowhere { proxy_pass http://127.0.0.1:9; }
}
server { listen 8081; location / { return 200 \"one $request_method $request_uri $http_host $http_x_real_ip $content_length\"; } }
server { listen 8082; location / { return 200 \"two\"; } }
server { listen 8083; location / { root /srv/files; } }";
    let running = serve(&husk, config, port, "");
    let client = body(&get(port, "/api/a%20b?c=d", "")).to_owned();
    let (begin, ip) = client.trim_end().rsplit_once(' ').unwrap();
    assert_eq!(begin, "one GET /base/a%20b?c=d 127.0.0.1:8081");
    assert!(ip.starts_with("10."), "the client's address: {client}");
    assert_eq!(body(&get(port, "/raw/a%20b//c", "")).trim_end(), "one GET /raw/a%20b//c 127.0.0.1:8081");
    let mut seen: Vec<String> = (0..4).map(|_| body(&get(port, "/pool", ""))[..3].to_owned()).collect();
    seen.sort();
    assert_eq!(seen, ["one", "one", "two", "two"]);
    assert_eq!((status(&get(port, "/down", "")), body(&get(port, "/down", ""))), (502, "sorry"));
    assert_eq!(status(&get(port, "/nowhere", "")), 502);
    let posted = "POST /raw/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(body(&raw(port, posted)), "one POST /raw/x 127.0.0.1:8081  5");
    let chunked = "POST /raw/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(status(&raw(port, chunked)), 200);
    let mut patient = connect(port);
    let expecting =
        "POST /raw/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    patient.write_all(expecting.as_bytes()).unwrap();
    let mut told = [0; 25];
    patient.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    patient.write_all(b"hello").unwrap();
    let mut answer = String::new();
    patient.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), 200);
    let lines = stopped(running).join("\n");
    assert!(lines.contains("connect() failed (111: Connection refused) while connecting to upstream"), "{lines}");
}

/// A readiness probe that runs a command every second.
fn every_second(command: &str) -> String {
    format!("      readinessProbe: {{exec: {{command: {command}}}, periodSeconds: 1, failureThreshold: 1000}}\n")
}

/// Asks until the answer's body is this.
#[track_caller]
fn wait_for_body(port: u16, expected: &str) {
    let mut last = String::new();
    for _ in 0..300 {
        last = http_get(port, "/");
        if body(&last) == expected {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("not {expected:?} but {last}");
}

#[test]
fn hup_reads_the_configuration_anew_and_keeps_the_former_if_it_is_wrong() {
    let husk = Husk::new();
    let port = free_port();
    let extra = husk.write("site/extra.conf", "server { return 200 first; }");
    // With a configuration of its own: it refuses to signal a server whose configuration is wrong.
    husk.write("site/signal", "events {} pid /run/nginx.pid;");
    let reload = every_second("[nginx, -s, reload, -c, /srv/site/signal]");
    let mut running = serve(&husk, "include /srv/site/*.conf;", port, &reload);
    wait_for_body(port, "first");
    let mut kept = connect(port);
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    fs::write(&extra, "server { return 200 second; }").unwrap();
    wait_for_body(port, "second");
    fs::write(&extra, "server { return 200 third; wrong; }").unwrap();
    running.wait_for("[emerg] 1#1: unknown directive \"wrong\" in /srv/site/extra.conf:1");
    wait_for_body(port, "second");
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    kept.read_to_string(&mut answers).unwrap();
    assert!(answers.contains("first") && answers.ends_with("second"), "{answers}");
    stopped(running);
}

#[test]
fn quit_finishes_what_is_under_way() {
    let husk = Husk::new();
    let port = free_port();
    let large = "0123456789abcdef".repeat(1_000_000);
    husk.write("site/large", &large);
    // Has no effect until the file with the process's number is there.
    let quit = every_second("[nginx, -s, quit, -c, /srv/site/quit.conf]");
    husk.write("site/quit.conf", "events {} pid /srv/site/pid;");
    let mut running = serve(&husk, "server { root /srv/site; }", port, &quit);
    let mut slow = connect(port);
    slow.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = vec![0; 1000];
    slow.read_exact(&mut answer).unwrap();
    let mut idle = connect(port);
    idle.write_all(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    fs::write(husk.dir().join("site/pid"), "1\n").unwrap();
    running.wait_for("gracefully shutting down");
    idle.read_to_end(&mut Vec::new()).unwrap();
    slow.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!(body(&answer).len(), large.len());
    let (code, lines) = running.end();
    assert_eq!(code, 0, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("web/c: Container exited with code 0")), "{lines:#?}");
}
