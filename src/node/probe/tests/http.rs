//! `httpGet` probes.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Canned, Outcome, Scene, errored, failure, listen, response, scene_with_probe};

const DEADLINE: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

fn warning(body: &str) -> Outcome {
    Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
}

#[tokio::test(start_paused = true)]
async fn the_status_decides() {
    for (status, expected) in [
        ("200 OK", Ok(Outcome::Success)),
        ("204 No Content", Ok(Outcome::Success)),
        ("299 Fine", Ok(Outcome::Success)),
        // Nowhere to go: a redirect all the same.
        ("302 Found", Ok(warning("body"))),
        ("399 Odd", Ok(warning("body"))),
        ("400 Bad Request", failure("HTTP probe failed with statuscode: 400")),
        ("404 Not Found", failure("HTTP probe failed with statuscode: 404")),
        ("500 Internal Server Error", failure("HTTP probe failed with statuscode: 500")),
    ] {
        let scene = scene_with_probe("httpGet: {port: 80}").await;
        let body = if status.starts_with("204") { "" } else { "body" };
        scene.serve(80, &[&response(status, "", body)]);
        assert_eq!(scene.check().await, (expected, Duration::ZERO), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_says_what_the_action_says() {
    let defaults = "User-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n";
    let header = |headers: &str| format!("httpGet: {{port: 80, httpHeaders: [{headers}]}}");
    for (action, line, headers) in [
        ("httpGet: {port: 80}".to_owned(), "/", format!("{defaults}Host: 10.88.0.2:80\r\n")),
        (
            "httpGet: {port: 80, path: /a/../b?c=d&e}".to_owned(),
            "/a/../b?c=d&e",
            format!("{defaults}Host: 10.88.0.2:80\r\n"),
        ),
        ("httpGet: {port: 80, path: 'a b/é'}".to_owned(), "/a%20b/%C3%A9", format!("{defaults}Host: 10.88.0.2:80\r\n")),
        (
            header("{name: X-One, value: '1'}, {name: x-one, value: '2'}"),
            "/",
            format!("X-One: 1\r\nX-One: 2\r\n{defaults}Host: 10.88.0.2:80\r\n"),
        ),
        (
            header("{name: user-agent, value: me}, {name: Accept, value: text/html}, {name: accept, value: a/b}"),
            "/",
            "User-Agent: me\r\nAccept: text/html\r\nAccept: a/b\r\nConnection: close\r\nHost: 10.88.0.2:80\r\n"
                .to_owned(),
        ),
        (
            header("{name: User-Agent, value: ''}, {name: Accept, value: ''}"),
            "/",
            "Connection: close\r\nHost: 10.88.0.2:80\r\n".to_owned(),
        ),
        (header("{name: host, value: example.com}"), "/", format!("{defaults}Host: example.com\r\n")),
        (header("{name: Content-Length, value: '5'}"), "/", format!("{defaults}Host: 10.88.0.2:80\r\n")),
    ] {
        let scene = scene_with_probe(&action).await;
        let server = scene.serve(80, &[&response("200 OK", "", "")]);
        assert_eq!(scene.check().await.0, Ok(Outcome::Success), "{action}");
        let (expected, requests) = (format!("GET {line} HTTP/1.1\r\n{headers}"), server.requests());
        let (mut expected, mut actual) = (lines(&expected), lines(&requests[0]));
        expected[1..].sort_unstable();
        actual[1..].sort_unstable();
        assert_eq!((actual, requests.len()), (expected, 1), "{action}");
    }
}

fn lines(request: &str) -> Vec<&str> {
    request.split_terminator("\r\n").filter(|line| !line.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn headers_that_cannot_be_sent_fail() {
    let scene = scene_with_probe("httpGet: {port: 80, httpHeaders: [{name: X-A, value: \"a\\nb\"}]}").await;
    let expected = "Get \"http://10.88.0.2:80/\": net/http: invalid header field value for \"X-A\"";
    assert_eq!(scene.check().await.0, failure(expected));
}

#[tokio::test(start_paused = true)]
async fn servers_that_do_not_answer_fail_in_gos_words() {
    for (answer, expected) in [
        (None, "dial tcp 10.88.0.2:80: connect: connection refused"),
        (Some("<open>"), DEADLINE),
        (Some("HTTP/1.1 200 OK\r\nX: <open>"), DEADLINE),
        (Some(""), "EOF"),
        (Some("<reset>"), "read tcp 10.88.0.1:32768->10.88.0.2:80: read: connection reset by peer"),
        (
            Some("SSH-2.0-\"x\"\r\n<open>"),
            "net/http: HTTP/1.x transport connection broken: malformed HTTP response \"SSH-2.0-\\\"x\\\"\"",
        ),
    ] {
        let scene = scene_with_probe("httpGet: {port: 80, path: /x}").await;
        if let Some(answer) = answer {
            scene.serve(80, &[answer]);
        }
        let (result, took) = scene.check().await;
        assert_eq!(result, failure(&format!("Get \"http://10.88.0.2:80/x\": {expected}")), "{answer:?}");
        assert_eq!(took.as_secs(), u64::from(expected == DEADLINE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_accepted_times_out() {
    let scene = scene_with_probe("timeoutSeconds: 2, httpGet: {port: 80}").await;
    let _listener = listen(&scene.network, "0.0.0.0:80", 1);
    let _waiting = scene.network.connect_from_node(80).await.unwrap();
    let (result, took) = scene.check().await;
    assert_eq!(result, failure(&format!("Get \"http://10.88.0.2:80/\": {DEADLINE}")));
    assert_eq!(took.as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_makes_the_check_err() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    for (answer, error, seconds) in [
        (format!("{head}12345"), "unexpected EOF", 0),
        (
            format!("{head}12345<open>"),
            "context deadline exceeded (Client.Timeout or context cancellation while reading body)",
            3,
        ),
    ] {
        let scene = scene_with_probe("httpGet: {port: 80}").await;
        let server = scene.serve(80, &[&answer]);
        let (result, took) = scene.check().await;
        assert_eq!((result, took.as_secs()), (errored(error), seconds));
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_as_far_as_ten_kibibytes() {
    let scene = scene_with_probe("httpGet: {port: 80}").await;
    let long = "x".repeat(20_000);
    scene.serve(80, &[&response("200 OK", "", &long), &response("304 Not Modified but long", "", "")]);
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    // One that never ends is as good.
    let scene = scene_with_probe("httpGet: {port: 80}").await;
    scene.serve(80, &[&format!("HTTP/1.1 399 Odd\r\n\r\n{long}<open>")]);
    assert_eq!(scene.check().await, (Ok(warning(&"x".repeat(10 * 1024))), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn redirects_on_the_same_host_are_followed() {
    for status in [301, 302, 303, 307, 308] {
        for (location, line, port) in [
            ("/new", "GET /new HTTP/1.1", 80),
            ("new?x", "GET /old/new?x HTTP/1.1", 80),
            ("http://10.88.0.2:81/new", "GET /new HTTP/1.1", 81),
            ("//10.88.0.2:81/", "GET / HTTP/1.1", 81),
        ] {
            for last in ["200 OK", "500 Internal Server Error"] {
                let scene = scene_with_probe("httpGet: {port: 80, path: /old/page}").await;
                let redirect = response(&format!("{status} Moved"), &format!("Location: {location}\r\n"), "");
                let (first, end) = (redirect.as_str(), response(last, "", ""));
                let old = scene.serve(80, &[first, &end]);
                let new = scene.serve(81, &[&end]);
                let expected = match last {
                    "200 OK" => Ok(Outcome::Success),
                    _ => failure("HTTP probe failed with statuscode: 500"),
                };
                assert_eq!(scene.check().await.0, expected, "{status} {location}");
                let requests = if port == 80 { old.requests() } else { [old.requests(), new.requests()].concat() };
                assert_eq!(requests.len(), 2);
                assert!(requests[1].starts_with(line), "{}", requests[1]);
                assert!(requests[1].contains("Referer: http://10.88.0.2:80/old/page\r\n"), "{}", requests[1]);
                assert!(requests[1].contains(&format!("Host: 10.88.0.2:{port}\r\n")), "{}", requests[1]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_header_survives_redirects_that_name_no_host() {
    for (location, host) in [("/new", "example.com"), ("http://10.88.0.2:80/new", "10.88.0.2:80")] {
        let action = "httpGet: {port: 80, httpHeaders: [{name: Host, value: example.com}, {name: X, value: y}]}";
        let scene = scene_with_probe(action).await;
        let redirect = response("302 Found", &format!("Location: {location}\r\n"), "");
        let server = scene.serve(80, &[&redirect, &response("200 OK", "", "")]);
        assert_eq!(scene.check().await.0, Ok(Outcome::Success));
        let second = &server.requests()[1];
        assert!(second.contains(&format!("Host: {host}\r\n")) && second.contains("X: y\r\n"), "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_elsewhere_is_a_success_with_a_warning() {
    for location in ["http://0.0.0.0/", "http://example.com/", "https://10.88.0.3:80/", "//other/x"] {
        let scene = scene_with_probe("httpGet: {port: 80}").await;
        let server = scene.serve(80, &[&response("302 Found", &format!("Location: {location}\r\n"), "go there")]);
        assert_eq!(scene.check().await.0, Ok(warning("go there")), "{location}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_that_lead_nowhere_fail() {
    for (location, requests, expected) in [
        ("/loop", 10, "Get \"/loop\": stopped after 10 redirects"),
        ("ftp://10.88.0.2/", 1, "Get \"http://10.88.0.2:80/\": unsupported protocol scheme \"ftp\""),
        ("http://10.88.0.2:82/", 1, "Get \"http://10.88.0.2:82/\": dial tcp 10.88.0.2:82: connect: connection refused"),
    ] {
        let scene = scene_with_probe("httpGet: {port: 80}").await;
        let server = scene.serve(80, &[&response("302 Found", &format!("Location: {location}\r\n"), "")]);
        assert_eq!(scene.check().await.0, failure(expected));
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_other_hosts_lead_where_the_pod_would_get() {
    let scene = Scene::new(
        "ports: [{name: web, containerPort: 8080}], readinessProbe: {httpGet: {port: web, host: localhost}}",
    )
    .await;
    let server = Canned::serve(scene.listen("127.0.0.1:8080"), &[&response("200 OK", "", "")]);
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    assert!(server.requests()[0].contains("Host: localhost:8080\r\n"));
    let scene = scene_with_probe("httpGet: {port: 80, host: nobody}").await;
    assert_eq!(scene.check().await.0, failure("Get \"http://nobody:80/\": dial tcp: lookup nobody: no such host"));
}

/// A TLS server with a certificate that nobody has signed.
fn serve_tls(scene: &Scene, port: u16, reply: &str) -> Canned {
    let key = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let settings = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(settings));
    let (listener, server, reply) = (scene.listen(&format!("0.0.0.0:{port}")), Canned::default(), reply.to_owned());
    let serving = server.clone();
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let (acceptor, serving, reply) = (acceptor.clone(), serving.clone(), reply.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serving.answer(stream, reply).await;
                }
            });
        }
    });
    server
}

#[tokio::test(start_paused = true)]
async fn https_takes_any_certificate() {
    let scene = scene_with_probe("httpGet: {port: 443, scheme: HTTPS, path: /ok}").await;
    let server = serve_tls(&scene, 443, &response("200 OK", "", "fine"));
    assert_eq!(scene.check().await.0, Ok(Outcome::Success));
    assert!(server.requests()[0].starts_with("GET /ok HTTP/1.1\r\n"), "{:?}", server.requests());
}

#[tokio::test(start_paused = true)]
async fn a_mix_up_of_http_and_https_is_told() {
    let scene = scene_with_probe("httpGet: {port: 80, scheme: HTTPS}").await;
    scene.serve(80, &[&response("400 Bad Request", "", ""), "SSH-2.0-x\r\n", ""]);
    let url = "Get \"https://10.88.0.2:80/\"";
    let expected = failure(&format!("{url}: http: server gave HTTP response to HTTPS client"));
    assert_eq!(scene.check().await.0, expected);
    let expected = failure(&format!("{url}: tls: first record does not look like a TLS handshake"));
    assert_eq!(scene.check().await.0, expected);
    assert_eq!(scene.check().await.0, failure(&format!("{url}: EOF")));

    let scene = scene_with_probe("httpGet: {port: 443}").await;
    serve_tls(&scene, 443, "");
    let Ok(Outcome::Failure(text)) = scene.check().await.0 else { panic!("it passes") };
    let beginning = "Get \"http://10.88.0.2:443/\": net/http: HTTP/1.x transport connection broken: malformed HTTP response \"\\x15\\x03";
    assert!(text.starts_with(beginning), "{text}");
}
