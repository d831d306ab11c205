//! Requests passed on into pods.

use futures::future::{BoxFuture, FutureExt as _};
use hyper::service::service_fn;

use super::node::lock;
use super::*;
use crate::apiserver::node_access::Via;

/// The server on port 8080 of pods: tells what it was asked, redirects, and switches to another protocol.
pub(super) fn serve_http(io: DuplexStream) -> BoxFuture<'static, ()> {
    let service = service_fn(async |mut request: Request<Incoming>| {
        let mut response = Response::new(Body::empty());
        match request.uri().path() {
            "/moved" => {
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert("location", "/login?next=x".parse().unwrap());
            }
            "/switch" => {
                assert_eq!(request.headers()["connection"], "Upgrade");
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response.headers_mut().insert("connection", "Upgrade".parse().unwrap());
                response.headers_mut().insert("upgrade", request.headers()["upgrade"].clone());
                tokio::spawn(async move {
                    let mut io = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                    let (mut reader, mut writer) = tokio::io::split(&mut io);
                    tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                });
            }
            _ => *response.body_mut() = told(request).await.into(),
        }
        Ok::<_, std::convert::Infallible>(response)
    });
    async move {
        let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
        let _ = serving.with_upgrades().await;
    }
    .boxed()
}

/// `METHOD URI headers body` of a request.
async fn told(request: Request<Incoming>) -> String {
    let (parts, body) = request.into_parts();
    let mut headers: Vec<String> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .filter(|header| !header.starts_with("x-forwarded-"))
        .collect();
    headers.sort();
    let body = body.collect().await.unwrap().to_bytes();
    format!("{} {} [{}] {}", parts.method, parts.uri, headers.join(" "), String::from_utf8_lossy(&body))
}

fn pods(name: &str, path: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}/proxy{path}")
}

#[tokio::test]
async fn requests_reach_the_pod_as_they_were() {
    let server = Server::new().await;
    let request = Request::builder()
        .method("PUT")
        .uri(pods("web:8080", "/a%20b//c?x=1&y=%2F"))
        .header("host", "husk.test")
        .header("authorization", "Bearer secret")
        .header("impersonate-user", "somebody")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("x-own", "2")
        .body(Body::from("the body"))
        .unwrap();
    let answer = Answer::of(server.send(request).await).await;
    let expected = "PUT /a%20b//c?x=1&y=%2F [content-length=8 host=husk.test x-own=2] the body";
    assert_eq!((answer.code, answer.text.as_str()), (200, expected));
    assert_eq!(*lock(&server.node.connections), [(8080, Via::Address)]);
}

#[tokio::test]
async fn answers_lead_back_through_the_proxy() {
    let server = Server::new().await;
    let bare = server.get(&pods("web:8080", "?q=1")).await;
    assert_eq!((bare.code, &bare.headers["location"]), (301, &pods("web:8080", "/?q=1").parse().unwrap()));
    let moved = server.get(&pods("web:8080", "/moved")).await;
    assert_eq!((moved.code, &moved.headers["location"]), (302, &pods("web:8080", "/login?next=x").parse().unwrap()));
}

#[tokio::test]
async fn upgrades_are_passed_through() {
    let server = Server::new().await;
    let headers = [("connection", "Upgrade"), ("upgrade", "echo")];
    let response = server.request("GET", &pods("web:8080", "/switch"), &headers).await;
    assert_eq!((response.status().as_u16(), &response.headers()["upgrade"]), (101, &"echo".parse().unwrap()));
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    io.write_all(b"hello").await.unwrap();
    let mut echoed = [0; 5];
    io.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"hello");
}

#[tokio::test]
async fn services_lead_to_a_pod_that_is_ready() {
    let server = Server::new().await;
    let create = |object: Value| {
        let text = object.to_string();
        match object["kind"].as_str().unwrap() {
            "Service" => {
                drop(server.store.create::<k8s_openapi::api::core::v1::Service>(serde_json::from_str(&text).unwrap()))
            }
            _ => drop(
                server
                    .store
                    .create::<k8s_openapi::api::discovery::v1::EndpointSlice>(serde_json::from_str(&text).unwrap()),
            ),
        }
    };
    let service = |name: &str| {
        json!({"kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"ports": [{"name": "http", "port": 80}, {"name": "other", "port": 81}]}})
    };
    create(service("web"));
    create(service("empty"));
    let endpoint = |address: &str, pod: &str, ready: bool| {
        json!({"addresses": [address], "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "default", "uid": "u"}})
    };
    create(json!({
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [endpoint("10.88.0.2", "web", true), endpoint("10.88.0.3", "two", false), {"addresses": ["192.0.2.1"]}],
    }));
    let path = |name: &str| format!("/api/v1/namespaces/default/services/{name}/proxy/x");
    for name in ["web:http", "web:80", "http:web:80"] {
        let answer = server.get(&path(name)).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "GET /x [host=husk.test] "), "{name}");
    }
    for (name, code, message) in [
        ("web:81", 503, "no endpoints available for service \"web:81\""),
        ("web:82", 503, "no service port 82 found for service \"web\""),
        ("empty:http", 503, "no endpoints available for service \"empty:http\""),
        ("none", 404, "services \"none\" not found"),
        ("ftp:web:80", 400, "invalid service request \"ftp:web:80\""),
    ] {
        let (found, _, text) = server.get(&path(name)).await.status();
        assert_eq!((found, text.as_str()), (code, message), "{name}");
    }
}

#[tokio::test]
async fn pods_that_cannot_be_reached_are_errors() {
    let server = Server::new().await;
    server.store.create(pod("idle", json!({}), json!({"podIP": ""}))).unwrap();
    let refused = "error trying to reach service: dial tcp 10.88.0.2:9999: connect: connection refused";
    for (name, code, message) in [
        ("web:9999", 503, refused),
        // It sends the request back.
        ("web:82", 503, "error trying to reach service: invalid HTTP version parsed"),
        ("idle:80", 400, "address not allowed"),
        ("web:x", 400, "invalid pod request \"web:x\""),
        ("nobody", 404, "pods \"nobody\" not found"),
    ] {
        let (found, _, text) = server.get(&pods(name, "/")).await.status();
        assert_eq!((found, text.as_str()), (code, message), "{name}");
    }
    // What does not speak HTTP may be found out by what it says or by its leaving.
    let (found, _, text) = server.get(&pods("web:81", "/")).await.status();
    assert_eq!((found, text.starts_with("error trying to reach service: ")), (503, true), "{text}");
}
