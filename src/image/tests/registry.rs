//! Real registries for tests: Debian's `docker-registry` on loopback, with TLS and passwords as a test wants, and a
//! proxy in front of it that does what networks and bad registries do.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// `husk` with the password `correct-horse`.
const HTPASSWD: &str = "husk:$2y$05$.Hm.S12zokETJt0hN4ipPeO.xXYSuaET09ERNwi.9Mj6YBMUVBUW2\n";

/// What a registry is to be like.
#[derive(Default, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) tls: bool,
    pub(super) password: bool,
}

/// A registry that runs until this is dropped.
pub(super) struct TestRegistry {
    pub(super) address: String,
    directory: TempDir,
    process: Child,
}

impl TestRegistry {
    /// Starts one; `None`, and a line that says so, where there is none to start.
    pub(super) fn start(wanted: Wanted) -> Option<Self> {
        if !has_tool("docker-registry") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
            at("data").display()
        );
        if wanted.tls {
            // As `openssl req -x509` makes them: an authority that has signed itself.
            let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
            let mut parameters = rcgen::CertificateParams::new(names).unwrap();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = rcgen::KeyPair::generate().unwrap();
            fs::write(at("ca.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(at("key.pem"), key.serialize_pem()).unwrap();
            config +=
                &format!("  tls: {{certificate: {}, key: {}}}\n", at("ca.pem").display(), at("key.pem").display());
        }
        if wanted.password {
            fs::write(at("htpasswd"), HTPASSWD).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("htpasswd").display());
        }
        fs::write(at("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(at("config.yml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.env("OTEL_TRACES_EXPORTER", "none").spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let rest = line.split("listening on ").nth(1)?;
            Some(rest.split([',', '"', ' ']).next()?.to_owned())
        });
        // Its log is read on, so that it is never stuck for it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { address: address.expect("docker-registry did not start"), directory, process })
    }

    /// The certificate of one with TLS.
    pub(super) fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Ends it; what it was told to keep stays.
    pub(super) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Where it keeps a blob.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.directory.path().join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // It may have been stopped.
        let _ended = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// What was asked for: method, path and range.
type Seen = Arc<Mutex<Vec<(String, String, Option<String>)>>>;

/// Whether a program is installed; else says that what needs it is not run.
pub(super) fn has_tool(name: &str) -> bool {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(name).is_file());
    if !found {
        // Past the capture of tests' output.
        let _ = writeln!(std::io::stderr(), "not run here: {name} is not installed");
    }
    found
}

/// Runs a tool of others; its standard output.
pub(super) fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}

/// `oci:PATH:NAME` and the like.
pub(super) fn place(kind: &str, path: &Path, name: &str) -> String {
    format!("{kind}:{}:{name}", path.display())
}

/// What a proxy does to an answer.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Ends the connection after so many bytes of the body.
    CutAfter(usize),
    /// Changes a byte of the body.
    Corrupt,
    /// Answers this, with these headers, instead.
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    /// Sends the body without `Range` being honoured.
    IgnoreRange,
    /// Sends so many bytes of the body, and nothing more.
    StallAfter(usize),
    /// Sends so many bytes of the body each second.
    Slow(usize),
    /// Says that the content has another digest than it has.
    WrongDigest,
    /// Does not know `HEAD`.
    NoHead,
}

/// A fault, and which requests get it.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// A part of the path.
    pub(super) path: &'static str,
    /// How many requests.
    pub(super) times: usize,
    pub(super) fault: Fault,
}

impl Rule {
    fn is_about(&self, method: &http::Method) -> bool {
        method == if matches!(self.fault, Fault::NoHead) { http::Method::HEAD } else { http::Method::GET }
    }
}

/// A proxy in front of a registry.
pub(super) struct FaultyProxy {
    pub(super) address: String,
    /// Method, path and `Range` of every request.
    pub(super) seen: Seen,
    accepting: AbortHandle,
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl FaultyProxy {
    pub(super) async fn start(upstream: &str, rules: Vec<Rule>) -> Self {
        Self::before(Upstream::Registry(upstream.to_owned()), rules).await
    }

    /// In front of nothing: it answers itself, with the image of an OCI layout, whatever the name. So it never waits,
    /// and tests may let time pass at will.
    pub(super) async fn of_layout(layout: &Path, rules: Vec<Rule>) -> Self {
        Self::before(Upstream::Layout(layout.to_owned()), rules).await
    }

    /// As that of a layout, but it wants tokens, which it gives to whoever is `husk` with the password `correct-horse` or has
    /// the refresh token `refresh-horse`; to others only such as are good for nothing.
    pub(super) async fn with_tokens(layout: &Path) -> Self {
        Self::with_tokens_and(layout, Vec::new()).await
    }

    /// The same, with faults. An answer whose challenge is `again` has that of the token server in its place.
    pub(super) async fn with_tokens_and(layout: &Path, rules: Vec<Rule>) -> Self {
        Self::before(Upstream::Tokens(layout.to_owned()), rules).await
    }

    async fn before(upstream: Upstream, rules: Vec<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (rules, own) = (Mutex::new(rules.into()), address.clone());
        let state = Arc::new(Proxy { upstream, address: own, rules, seen: Arc::clone(&seen) });
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(state.answer(request).await) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // A connection that is cut is the point.
                    let _cut = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, accepting: task.abort_handle() }
    }

    pub(super) fn requests(&self, method: &str, part: &str) -> Vec<Option<String>> {
        let seen = self.seen.lock().unwrap();
        let matching = seen.iter().filter(|(found, path, _)| found == method && path.contains(part));
        matching.map(|(_, _, range)| range.clone()).collect()
    }
}

enum Upstream {
    Registry(String),
    Layout(PathBuf),
    Tokens(PathBuf),
}

struct Proxy {
    upstream: Upstream,
    address: String,
    rules: Mutex<VecDeque<Rule>>,
    seen: Seen,
}

type Body = BoxBody<Bytes, std::io::Error>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

impl Proxy {
    fn fault(&self, request: &Request<Incoming>) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let path = request.uri().path();
        let rule = rules
            .iter_mut()
            .find(|rule| rule.times > 0 && path.contains(rule.path) && rule.is_about(request.method()))?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    fn challenge(&self) -> String {
        format!("Bearer realm=\"http://{}/token\",service=\"tests\",scope=\"repository:app:pull\"", self.address)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let range = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
        self.seen.lock().unwrap().push((request.method().to_string(), request.uri().path().to_owned(), range));
        let fault = self.fault(&request);
        if let Some(Fault::Answer(status, headers, body)) = fault {
            let header = |response: http::response::Builder, (name, value)| match (name, value) {
                ("www-authenticate", value) if value == "again" => response.header(name, self.challenge()),
                (name, value) => response.header(name, value),
            };
            let response = headers.into_iter().fold(Response::builder().status(status), header);
            return response.body(full(body)).unwrap();
        }
        if matches!(fault, Some(Fault::NoHead)) {
            return Response::builder().status(405).body(full("")).unwrap();
        }
        let (mut parts, body) = request.into_parts();
        if matches!(fault, Some(Fault::IgnoreRange)) {
            parts.headers.remove("range");
        }
        let (mut answered, mut contents) = match &self.upstream {
            Upstream::Registry(address) => forwarded(address, parts, body).await,
            Upstream::Layout(root) => of_layout(root, &parts),
            Upstream::Tokens(_) if parts.uri.path() == "/token" => {
                token(&parts, &body.collect().await.unwrap().to_bytes())
            }
            Upstream::Tokens(root) if is_authorized(&parts) => of_layout(root, &parts),
            Upstream::Tokens(_) => {
                let refused = Response::builder().status(401).header("www-authenticate", self.challenge()).body(());
                (refused.unwrap().into_parts().0, br#"{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}"#.to_vec())
            }
        };
        if matches!(fault, Some(Fault::WrongDigest)) {
            let wrong = format!("sha256:{}", "0".repeat(64));
            answered.headers.insert("docker-content-digest", wrong.parse().unwrap());
        }
        let body = match fault {
            Some(Fault::CutAfter(length)) => {
                contents.truncate(length);
                let begun = futures::stream::iter([Ok(Frame::data(Bytes::from(contents)))]);
                // What has been begun is on its way before the connection ends.
                let end = async {
                    tokio::task::yield_now().await;
                    Err(std::io::Error::other("cut"))
                };
                StreamBody::new(futures::StreamExt::chain(begun, futures::stream::once(end))).boxed()
            }
            Some(Fault::Corrupt) => {
                let middle = contents.len() / 2;
                contents[middle] ^= 1;
                full(contents)
            }
            Some(Fault::StallAfter(length)) => {
                contents.truncate(length);
                let begun = futures::stream::iter([Ok(Frame::data(Bytes::from(contents)))]);
                StreamBody::new(futures::StreamExt::chain(begun, futures::stream::pending())).boxed()
            }
            Some(Fault::Slow(rate)) => {
                let pieces: Vec<_> = contents.chunks(rate).map(Bytes::copy_from_slice).collect();
                let slowly = futures::StreamExt::then(futures::stream::iter(pieces), async |piece| {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Ok(Frame::data(piece))
                });
                BodyExt::boxed(StreamBody::new(Box::pin(slowly)))
            }
            _ => full(contents),
        };
        Response::from_parts(answered, body)
    }
}

/// What the registry answers.
async fn forwarded(address: &str, mut parts: http::request::Parts, body: Incoming) -> (http::response::Parts, Vec<u8>) {
    let path = parts.uri.path_and_query().unwrap();
    parts.uri = format!("http://{address}{path}").parse().unwrap();
    parts.headers.remove("host");
    parts.version = http::Version::HTTP_11;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let answered = client.request(Request::from_parts(parts, body)).await.unwrap();
    let (mut parts, body) = answered.into_parts();
    parts.headers.remove("transfer-encoding");
    (parts, body.collect().await.unwrap().to_bytes().to_vec())
}

fn is_authorized(parts: &http::request::Parts) -> bool {
    parts.headers.get("authorization").is_some_and(|value| value == "Bearer good-token")
}

/// What a token server answers, by either of its protocols.
fn token(parts: &http::request::Parts, body: &[u8]) -> (http::response::Parts, Vec<u8>) {
    let (query, body) = (parts.uri.query().unwrap_or_default(), String::from_utf8_lossy(body));
    let asked = if parts.method == http::Method::POST { &*body } else { query };
    assert!(asked.contains("service=tests") && asked.contains("scope=repository%3Aapp%3Apull"), "{asked}");
    let authorization = parts.headers.get("authorization");
    // `husk:correct-horse`
    let knows_password = authorization.is_some_and(|value| value == "Basic aHVzazpjb3JyZWN0LWhvcnNl");
    let status = if authorization.is_some() && !knows_password { 401 } else { 200 };
    let answer = if body.contains("refresh_token=refresh-horse") {
        r#"{"access_token":"good-token","expires_in":300}"#
    } else if knows_password {
        r#"{"token":"good-token"}"#
    } else {
        r#"{"token":"anonymous-token"}"#
    };
    (Response::builder().status(status).body(()).unwrap().into_parts().0, answer.as_bytes().to_vec())
}

/// What a registry would answer that has the image of a layout.
fn of_layout(root: &Path, parts: &http::request::Parts) -> (http::response::Parts, Vec<u8>) {
    let index: serde_json::Value = serde_json::from_slice(&fs::read(root.join("index.json")).unwrap()).unwrap();
    let name = parts.uri.path().rsplit('/').next().unwrap();
    let is_tag = !name.starts_with("sha256:");
    let digest = if is_tag { index["manifests"][0]["digest"].as_str().unwrap() } else { name };
    let blob = fs::read(root.join("blobs/sha256").join(digest.trim_start_matches("sha256:")));
    let Ok(mut contents) = blob else {
        return (Response::builder().status(404).body(()).unwrap().into_parts().0, Vec::new());
    };
    let mut response = Response::builder().header("docker-content-digest", digest);
    if let Some(range) = parts.headers.get("range") {
        let from: usize = range.to_str().unwrap()["bytes=".len()..].trim_end_matches('-').parse().unwrap();
        let (last, size) = (contents.len() - 1, contents.len());
        response = response.status(206).header("content-range", format!("bytes {from}-{last}/{size}"));
        contents.drain(..from);
    }
    response = response.header("content-length", contents.len());
    if parts.method == http::Method::HEAD {
        contents.clear();
    }
    (response.body(()).unwrap().into_parts().0, contents)
}

/// Long enough for anything a test waits for.
pub(super) const ENOUGH: Duration = Duration::from_secs(60);
