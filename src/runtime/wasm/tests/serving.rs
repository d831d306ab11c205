//! Components that serve HTTP, reached over the pod's network as any client would.

use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use wasmtime_wasi_http::{RequestOptions, WasiHttpHooks};

use super::*;
use crate::runtime::wasm::http_client::PodHttpClient;
use crate::runtime::{ExitReason, ResourceLimits, Signal};

type Client = http1::SendRequest<Full<Bytes>>;

async fn connect(pod: &Pod, port: u16) -> Client {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = pod.sandbox.network.connect(None, address).await.unwrap();
    let (client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn request(client: &mut Client, path: &str, body: &str) -> (StatusCode, String) {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = Request::builder().method(method).uri(path).header("host", "pod");
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let response = timeout(PATIENCE, client.send_request(request)).await.expect("a response should come").unwrap();
    let status = response.status();
    let body = timeout(PATIENCE, response.into_body().collect()).await.expect("the body should end").unwrap();
    (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_0_2_handler_is_served_on_the_declared_port() {
    let pod = Pod::new();
    let app = pod.start(Setup::guest("p2/http", "").port(8080)).await;
    let mut client = connect(&pod, 8080).await;
    assert_eq!(request(&mut client, "/a?b=c", "").await, (StatusCode::OK, "wasi 0.2 GET /a?b=c\n".to_owned()));
    assert_eq!(request(&mut client, "/echo", "ping").await, (StatusCode::OK, "ping".to_owned()));
    assert_eq!(request(&mut client, "/status/404", "").await.0, StatusCode::NOT_FOUND);
    app.container.signal(Signal::Kill);
    assert_eq!(app.ends().await.code, 137);
}

#[cfg(feature = "wasi-p3")]
#[tokio::test]
async fn a_0_3_handler_is_served_on_port_80_by_default() {
    let pod = Pod::new();
    let _app = pod.start(Setup::guest("p3/http", "")).await;
    let mut client = connect(&pod, 80).await;
    for round in 0..300 {
        let path = format!("/{round}");
        assert_eq!(request(&mut client, &path, "").await, (StatusCode::OK, format!("wasi 0.3 GET {path}\n")));
    }
}

#[tokio::test]
async fn a_trap_fails_its_request_alone() {
    let pod = Pod::new();
    let app = pod.start(Setup::guest("p2/http", "")).await;
    let mut client = connect(&pod, 80).await;
    assert_eq!(request(&mut client, "/trap", "").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(request(&mut client, "/", "").await.0, StatusCode::OK);
    let logged = next_line(&app.stderr).await.unwrap();
    assert_eq!(logged, "husk: request failed: wasm trap: wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn each_request_to_a_0_2_handler_gets_an_instance_of_its_own() {
    let pod = Pod::new();
    let _app = pod.start(Setup::guest("p2/http", "")).await;
    let mut client = connect(&pod, 80).await;
    for _ in 0..3 {
        assert_eq!(request(&mut client, "/count", "").await.1, "1\n");
    }
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let pod = Pod::new();
    let _app = pod.start(Setup::guest("p2/http", "")).await;
    let mut requests = Vec::new();
    for _ in 0..200 {
        let mut client = connect(&pod, 80).await;
        requests.push(tokio::spawn(async move { request(&mut client, "/", "").await }));
    }
    for request in requests {
        assert_eq!(request.await.unwrap().0, StatusCode::OK);
    }
}

#[tokio::test]
async fn term_ends_a_server_with_0_and_closes_its_port() {
    let pod = Pod::new();
    let app = pod.start(Setup::guest("p2/http", "")).await;
    let mut client = connect(&pod, 80).await;
    assert_eq!(request(&mut client, "/", "").await.0, StatusCode::OK);
    app.container.signal(Signal::Term);
    assert_eq!(app.ends().await.code, 0);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    assert_eq!(pod.sandbox.network.connect(None, address).await.unwrap_err(), crate::net::NetError::ConnectionRefused);
}

#[tokio::test]
async fn a_memory_limit_set_while_it_serves_holds_for_each_instance() {
    let pod = Pod::new();
    let app = pod.start(Setup::guest("p2/http", "")).await;
    app.container.update_limits(ResourceLimits { memory_bytes: Some(16 * MEBIBYTE), cpu_millis: None }).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let stream = pod.sandbox.network.connect(None, address).await.unwrap();
    stream.writer.write_all(Bytes::from("GET /hoard HTTP/1.1\r\nhost: pod\r\n\r\n")).await.unwrap();
    let status = app.ends().await;
    assert_eq!((status.code, status.reason), (137, ExitReason::OomKilled));
    assert!(status.message.unwrap().contains("16777216 bytes"));
}

#[tokio::test]
async fn a_handler_cannot_be_executed_beside_a_program() {
    let programs = [("signals", guest("p1/signals")), ("http", guest("p2/http"))];
    let app = Pod::new().start(Setup::new("signals", &programs)).await;
    let error = exec(&app.container, "http").await.unwrap_err();
    assert!(error.to_string().contains("an HTTP handler"), "{error}");
}

/// Sends a request as a guest in the pod would; the status and body, or the error's text.
async fn fetch(pod: &Pod, uri: &str, options: Option<RequestOptions>) -> Result<(StatusCode, String), String> {
    let body = Full::default().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder().uri(uri).header("host", "pod").body(body).unwrap();
    let mut client = PodHttpClient::new(&pod.sandbox.network);
    let sent = client.send_request(request, options, Box::new(async { Ok(()) }));
    let (response, connection) = Box::into_pin(sent).await.map_err(|error| error.to_string())?;
    tokio::spawn(Box::into_pin(connection));
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test]
async fn outgoing_requests_stay_on_the_pods_network() {
    let pod = Pod::new();
    let _app = pod.start(Setup::guest("p2/http", "").port(8080)).await;
    for host in ["127.0.0.1", "[::1]", "localhost", "pod"] {
        let answer = fetch(&pod, &format!("http://{host}:8080/x"), None).await;
        assert_eq!(answer, Ok((StatusCode::OK, "wasi 0.2 GET /x\n".to_owned())), "{host}");
    }
    assert_eq!(fetch(&pod, "http://localhost:9/", None).await, Err("connection refused".to_owned()));
    assert_eq!(fetch(&pod, "http://192.0.2.1/", None).await, Err("destination IP address is prohibited".to_owned()));
    assert!(fetch(&pod, "http://no.such.name/", None).await.unwrap_err().starts_with("DNS error"));
    // A server that speaks no TLS.
    assert!(fetch(&pod, "https://localhost:8080/", None).await.unwrap_err().starts_with("TLS"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_on() {
    let pod = Pod::new();
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7));
    let network = &pod.sandbox.network;
    let _silent = network.listen(network.bind_tcp(address).unwrap(), 8).unwrap();
    let options = RequestOptions { first_byte_timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
    let answer = fetch(&pod, "http://127.0.0.1:7/", Some(options)).await;
    assert_eq!(answer, Err("connection read timeout".to_owned()));
}
