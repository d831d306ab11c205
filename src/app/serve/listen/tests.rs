//! The doors as clients find them: real sockets, real TLS, and those who mean harm or have gone away.

use super::*;

use http::StatusCode;
use http::header::AUTHORIZATION;
use http_body_util::{BodyExt, Empty};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::apiserver::tokens::SigningKey;
use crate::app::serve::authority::{Issued, ServerKeys, ServerNames};
use crate::app::serve::kubeconfig::{self, Access};
use crate::base::clock::Clock;
use crate::store::Store;

/// No test waits longer for what must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A server whose API answers with who has asked.
struct Scene {
    directory: tempfile::TempDir,
    keys: ServerKeys,
    address: SocketAddr,
    front: Front<axum::Router>,
    /// Lets `/slow` answer.
    go: Arc<Notify>,
}

/// `/slow` answers when it is told to, `/endless` begins and never ends, `/echo` becomes another protocol, and all else
/// tells who has asked.
fn api(go: Arc<Notify>) -> axum::Router {
    let answer = move |request: Request<Body>| {
        let go = Arc::clone(&go);
        async move {
            match request.uri().path() {
                "/slow" => {
                    go.notified().await;
                    Response::new(Body::from("done"))
                }
                "/endless" => {
                    let begin = futures::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"begin"))]);
                    Response::new(Body::from_stream(futures::StreamExt::chain(begin, futures::stream::pending())))
                }
                "/echo" => {
                    tokio::spawn(async move {
                        let upgraded = hyper::upgrade::on(request).await.unwrap();
                        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                        let _ = tokio::io::copy(&mut read, &mut write).await;
                    });
                    let switching = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
                    switching.header("connection", "upgrade").header("upgrade", "echo").body(Body::empty()).unwrap()
                }
                _ => {
                    assert!(!request.headers().contains_key(AUTHORIZATION));
                    let identity = request.extensions().get::<Identity>().unwrap();
                    Response::new(Body::from(format!("{} {}", identity.username, identity.groups.join(","))))
                }
            }
        }
    };
    axum::Router::new().fallback(answer)
}

impl Scene {
    async fn new(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = ServerNames::new("laptop", std::net::Ipv4Addr::LOCALHOST.into());
        let keys = ServerKeys::open(&directory.path().join("pki"), names, Timestamp::now()).unwrap();
        let authority = Authority::new(Store::default(), SigningKey::random().unwrap(), Clock::system());
        let authenticator = Authenticator::new(Arc::new(authority.with_admin_token(&keys.admin_token)));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let tls = TlsAcceptor::from(Arc::new(keys.tls().unwrap()));
        let go = Arc::new(Notify::new());
        let front = Front::new(api(Arc::clone(&go)), authenticator, Some(tls), local_url(address), limits);
        #[cfg(unix)]
        let unix = Some(tokio::net::UnixListener::bind(directory.path().join("api.sock")).unwrap());
        front.open(Listeners {
            tcp: Some(tcp),
            #[cfg(unix)]
            unix,
        });
        Self { directory, keys, address, front, go }
    }

    fn client(&self, certificate: Option<&Issued>, protocol: &[u8]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.keys.ca_certificate().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(Issued { certificate, key }) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    async fn connect(&self, certificate: Option<&Issued>, protocol: &[u8]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("kubernetes.default.svc").unwrap();
        TlsConnector::from(Arc::new(self.client(certificate, protocol))).connect(name, stream).await.unwrap()
    }

    /// Everything that comes back for a request, head and body.
    async fn ask(&self, certificate: Option<&Issued>, path: &str, headers: &str) -> std::io::Result<String> {
        exchange(self.connect(certificate, b"http/1.1").await, path, headers).await
    }

    fn token_header(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.keys.admin_token)
    }
}

async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
    path: &str,
    headers: &str,
) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: husk\r\nconnection: close\r\n{headers}\r\n");
    io.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(LIMIT, io.read_to_end(&mut answer)).await.expect("an answer")?;
    Ok(String::from_utf8(answer).unwrap())
}

/// Waits until the other end closes, whatever it says before.
async fn closed<IO: AsyncRead + Unpin>(mut io: IO) {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(LIMIT, io.read_to_end(&mut rest)).await.expect("the server closes the connection");
    // Being cut is as good as being closed.
    let _ = end;
}

const ADMIN: &str = "kubernetes-admin system:masters,system:authenticated";

#[tokio::test]
async fn clients_are_known_by_certificate_and_by_token() {
    let scene = Scene::new(Limits::default()).await;
    let by_certificate = scene.ask(Some(&scene.keys.admin), "/api", "").await.unwrap();
    assert!(by_certificate.starts_with("HTTP/1.1 200") && by_certificate.ends_with(ADMIN), "{by_certificate}");
    let by_token = scene.ask(None, "/api", &scene.token_header()).await.unwrap();
    assert!(by_token.ends_with(ADMIN), "{by_token}");
    let jane = scene.keys.issue("jane", Some("dev"), Timestamp::now());
    let jane = scene.ask(Some(&jane), "/api", &scene.token_header()).await.unwrap();
    assert!(jane.ends_with("jane dev,system:authenticated"), "a certificate counts before a token: {jane}");
}

#[tokio::test]
async fn who_proves_nothing_gets_a_status_and_no_more() {
    let scene = Scene::new(Limits::default()).await;
    for headers in ["", "authorization: Bearer wrong\r\n", "authorization: Basic a3ViZTpybmV0ZXM=\r\n"] {
        let refused = scene.ask(None, "/api/v1/pods", headers).await.unwrap();
        let (head, body) = refused.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 401") && head.contains("content-type: application/json"), "{head}");
        let status: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(status["kind"], "Status");
        assert_eq!((&status["reason"], &status["code"]), (&"Unauthorized".into(), &401.into()));
    }
    let health = scene.ask(None, "/readyz", "").await.unwrap();
    assert!(health.ends_with("system:anonymous system:unauthenticated"), "{health}");
    let keys = scene.ask(None, "/openid/v1/jwks", "").await.unwrap();
    assert!(keys.starts_with("HTTP/1.1 401"), "{keys}");
}

#[tokio::test]
async fn certificates_that_are_foreign_or_over_do_not_get_in() {
    let scene = Scene::new(Limits::default()).await;
    let other = Scene::new(Limits::default()).await;
    let long_ago = Timestamp::now() - SignedDuration::from_hours(366 * 24);
    let over = scene.keys.issue("kubernetes-admin", Some("system:masters"), long_ago);
    for bad in [&other.keys.admin, &over] {
        let answer = scene.ask(Some(bad), "/api", &scene.token_header()).await;
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_real_client_gets_in_with_the_kubeconfig() {
    let scene = Scene::new(Limits::default()).await;
    let path = scene.directory.path().join("kubeconfig");
    let (server, ca_certificate) = (local_url(scene.address), scene.keys.ca_certificate());
    kubeconfig::write(&path, Access { server: &server, ca_certificate, client: &scene.keys.admin }).unwrap();
    let config = kube::config::Kubeconfig::read_from(&path).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let answer = client.request_text(Request::get("/api").body(Vec::new()).unwrap()).await.unwrap();
    assert_eq!(answer, ADMIN);
}

#[tokio::test]
async fn many_requests_share_a_connection_of_http_2() {
    let scene = Scene::new(Limits::default()).await;
    let stream = scene.connect(Some(&scene.keys.admin), b"h2").await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = |path: &str| Request::get(format!("https://husk{path}")).body(Empty::<Bytes>::new()).unwrap();
    let slow = tokio::spawn(sender.send_request(request("/slow")));
    for _ in 0..3 {
        let answer = sender.send_request(request("/api")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), ADMIN);
    }
    scene.go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[cfg(unix)]
#[tokio::test]
async fn the_unix_socket_takes_the_user_for_the_administrator() {
    let scene = Scene::new(Limits::default()).await;
    let connect = || tokio::net::UnixStream::connect(scene.directory.path().join("api.sock"));
    let answer = exchange(connect().await.unwrap(), "/api", "").await.unwrap();
    assert!(answer.ends_with(ADMIN), "{answer}");
    let answer = exchange(connect().await.unwrap(), "/api", "impersonate-user: jane\r\n").await.unwrap();
    assert!(answer.ends_with("jane system:authenticated"), "{answer}");
}

#[tokio::test]
async fn a_pods_connection_proves_who_it_is_like_any() {
    let scene = Scene::new(Limits::default()).await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    scene.front.serve_pod(far);
    let name = ServerName::try_from("kubernetes.default.svc.cluster.local").unwrap();
    let connector = TlsConnector::from(Arc::new(scene.client(None, b"http/1.1")));
    let answer = exchange(connector.connect(name, near).await.unwrap(), "/api", "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn a_connection_can_become_another_protocol() {
    let scene = Scene::new(Limits::default()).await;
    let mut stream = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
    let request = b"GET /echo HTTP/1.1\r\nhost: husk\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn tokens_can_be_checked_by_others() {
    let scene = Scene::new(Limits::default()).await;
    let body = |answer: String| -> serde_json::Value {
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let document = scene.ask(Some(&scene.keys.admin), "/.well-known/openid-configuration", "").await.unwrap();
    assert_eq!(body(document)["jwks_uri"], format!("https://{}/openid/v1/jwks", scene.address));
    let keys = scene.ask(Some(&scene.keys.admin), "/openid/v1/jwks", "").await.unwrap();
    assert_eq!(body(keys)["keys"][0]["alg"], "ES256");
}

/// Limits that tests need not wait for.
fn impatient() -> Limits {
    let soon = Duration::from_millis(300);
    Limits { handshake: soon, head: soon, ..Limits::default() }
}

#[tokio::test]
async fn clients_that_say_nothing_or_half_of_it_are_let_go() {
    let scene = Scene::new(impatient()).await;
    // No handshake, half of one, and one for a server that speaks no TLS.
    for begin in [&b""[..], &[22, 3, 1, 2, 0, 1], b"GET /api HTTP/1.1\r\nhost: husk\r\n\r\n"] {
        let mut stream = TcpStream::connect(scene.address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        closed(stream).await;
    }
    // No request, half of one, and a second one that does not come.
    for begin in ["", "GET /api HTTP/1.1\r\nhost: hu", "GET /api HTTP/1.1\r\nhost: husk\r\n\r\n"] {
        let mut stream = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        closed(stream).await;
    }
    for begin in
        [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"]
    {
        let mut stream = scene.connect(Some(&scene.keys.admin), b"h2").await;
        stream.write_all(begin).await.unwrap();
        closed(stream).await;
    }
    #[cfg(unix)]
    closed(tokio::net::UnixStream::connect(scene.directory.path().join("api.sock")).await.unwrap()).await;
}

#[tokio::test]
async fn long_answers_are_not_taken_for_silence() {
    let scene = Scene::new(impatient()).await;
    let slow = scene.ask(Some(&scene.keys.admin), "/slow", "");
    let go = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        scene.go.notify_one();
    };
    let (answer, ()) = tokio::join!(slow, go);
    assert!(answer.unwrap().ends_with("done"));
}

#[tokio::test]
async fn heads_are_bounded() {
    let scene = Scene::new(Limits::default()).await;
    let long = format!("x: {}\r\n", "a".repeat(70 * 1024));
    let many = "x: y\r\n".repeat(101);
    for headers in [&long, &many] {
        // The server may be gone before everything was sent.
        if let Ok(answer) = scene.ask(Some(&scene.keys.admin), "/api", headers).await {
            assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
        }
    }
    assert!(scene.ask(Some(&scene.keys.admin), "/api", "").await.unwrap().ends_with(ADMIN));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_others_to_end() {
    let scene = Scene::new(Limits { connections: 1, ..Limits::default() }).await;
    let first = scene.connect(None, b"http/1.1").await;
    let mut second = std::pin::pin!(scene.ask(Some(&scene.keys.admin), "/api", ""));
    assert!(futures::poll!(second.as_mut()).is_pending());
    let turned_away = tokio::time::timeout(Duration::from_millis(200), second.as_mut()).await;
    assert!(turned_away.is_err(), "there is only room for one");
    drop(first);
    assert!(second.await.unwrap().ends_with(ADMIN));
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_again() {
    let scene = Scene::new(Limits { requests: 1, ..Limits::default() }).await;
    let mut endless = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
    endless.write_all(b"GET /endless HTTP/1.1\r\nhost: husk\r\n\r\n").await.unwrap();
    let mut begin = Vec::new();
    while !begin.ends_with(b"begin") {
        begin.push(endless.read_u8().await.unwrap());
    }
    let answer = scene.ask(Some(&scene.keys.admin), "/api", "").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 1"), "{answer}");
    drop(endless);
    // The server notices in its own time.
    let served = async {
        while !scene.ask(Some(&scene.keys.admin), "/api", "").await.unwrap().ends_with(ADMIN) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, served).await.unwrap();
}

#[tokio::test]
async fn service_accounts_keep_no_user_out() {
    let scene = Scene::new(Limits { account_requests: 1, ..Limits::default() }).await;
    let account = "impersonate-user: system:serviceaccount:shop:till\r\n";
    let mut endless = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
    endless.write_all(format!("GET /endless HTTP/1.1\r\nhost: husk\r\n{account}\r\n").as_bytes()).await.unwrap();
    while endless.read_u8().await.unwrap() != b'b' {}
    let answer = scene.ask(Some(&scene.keys.admin), "/api", account).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(scene.ask(Some(&scene.keys.admin), "/api", "").await.unwrap().ends_with(ADMIN));
}

#[tokio::test]
async fn what_is_under_way_may_end_when_the_doors_close() {
    let scene = Arc::new(Scene::new(Limits::default()).await);
    let mut slow = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: husk\r\n\r\n").await.unwrap();
    let idle = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
    let closing = tokio::spawn({
        let scene = Arc::clone(&scene);
        async move { scene.front.close(LIMIT).await }
    });
    closed(idle).await;
    assert!(!closing.is_finished());
    scene.go.notify_one();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"done"), "{}", String::from_utf8_lossy(&answer));
    tokio::time::timeout(LIMIT, closing).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_cut() {
    let scene = Scene::new(Limits::default()).await;
    let mut endless = scene.connect(Some(&scene.keys.admin), b"http/1.1").await;
    endless.write_all(b"GET /endless HTTP/1.1\r\nhost: husk\r\n\r\n").await.unwrap();
    while endless.read_u8().await.unwrap() != b'b' {}
    tokio::time::timeout(LIMIT, scene.front.close(Duration::from_millis(100))).await.unwrap();
    closed(endless).await;
    let refused = TcpStream::connect(scene.address).await;
    assert!(refused.is_err(), "nobody listens any more");
}

#[test]
fn clients_on_this_machine_use_loopback() {
    for (listening, url) in [
        ("127.0.0.1:6443", "https://127.0.0.1:6443"),
        ("0.0.0.0:6443", "https://127.0.0.1:6443"),
        ("[::]:1", "https://[::1]:1"),
        ("192.0.2.7:1", "https://192.0.2.7:1"),
    ] {
        assert_eq!(local_url(listening.parse().unwrap()), url);
    }
}
