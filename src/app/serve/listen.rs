//! The doors of the API server: HTTPS on a port, plain HTTP on a Unix socket for the user alone, and HTTPS on streams that
//! come from pods. Each connection and request is counted, nothing is waited for without an end, and a request goes on
//! only with an [`Identity`] in its extensions. What is answered is not decided here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::authority::identity_of;
use super::identity::{Authenticator, Refusal, json_response};
use crate::apiserver::identity::Identity;
use crate::apiserver::tokens::Authority;

/// Connections to the Unix socket at the same time; more wait to be accepted.
#[cfg(unix)]
const UNIX_CONNECTIONS: usize = 1024;
/// Connections from pods at the same time; more are refused.
const POD_CONNECTIONS: usize = 1024;
/// Requests at the same time on one HTTP/2 connection (kube-apiserver's default, since CVE-2023-44487).
const STREAMS: u32 = 100;
/// Bytes of a request's head.
const HEAD_BYTES: u32 = 64 * 1024;
/// Headers of a request.
const HEADERS: usize = 100;
/// How often an HTTP/2 client is asked whether it is still there, and how long it has to answer (kube-apiserver's).
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(15);
/// After how long the system asks a silent host whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long to wait when no connection can be accepted, as when too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether somebody is still connected.
const QUIET_CHECK: Duration = Duration::from_millis(10);

/// What clients may take of the server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections to the port at the same time; more wait to be accepted.
    pub(super) connections: usize,
    /// Requests of users at the same time, watches among them; more are answered with 429.
    pub(super) requests: usize,
    /// Those of service accounts, which are apart: what runs in pods is not trusted, and keeps nobody out.
    pub(super) account_requests: usize,
    /// How long a TLS handshake may take.
    pub(super) handshake: Duration,
    /// How long the head of a request may take, and how long a connection may wait for its first or, with HTTP/1, next
    /// one (kube-apiserver: 32 s, and 90 s between requests).
    pub(super) head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (handshake, head) = (Duration::from_secs(10), Duration::from_secs(60));
        Self { connections: 4096, requests: 8192, account_requests: 2048, handshake, head }
    }
}

/// What answers requests that are let in.
pub(in crate::app) trait Api:
    tower_service::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Api for S where
    S: tower_service::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Where the server listens; opened before it can answer, so that its address is known.
#[derive(Debug)]
pub(super) struct Listeners {
    /// The port, if there is one.
    pub(super) tcp: Option<TcpListener>,
    /// The Unix socket.
    #[cfg(unix)]
    pub(super) unix: Option<tokio::net::UnixListener>,
}

/// The doors. Clones share connections and limits.
#[derive(Clone)]
pub(in crate::app) struct Front<S>(Arc<Shared<S>>);

struct Shared<S> {
    api: S,
    authenticator: Authenticator,
    /// How connections to the port and from pods are made private; without it there are none.
    tls: Option<TlsAcceptor>,
    /// The server's URL, for the documents that tell it.
    url: String,
    limits: Limits,
    from_pods: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    account_requests: Arc<Semaphore>,
    connections: TaskTracker,
    /// No new connections or requests.
    draining: CancellationToken,
    /// No more waiting for those there are.
    closing: CancellationToken,
}

impl<S: Api> Front<S> {
    /// Doors to `api`.
    pub(super) fn new(
        api: S,
        authenticator: Authenticator,
        tls: Option<TlsAcceptor>,
        url: String,
        limits: Limits,
    ) -> Self {
        Self(Arc::new(Shared {
            api,
            authenticator,
            tls,
            url,
            limits,
            from_pods: Arc::new(Semaphore::new(POD_CONNECTIONS)),
            requests: Arc::new(Semaphore::new(limits.requests)),
            account_requests: Arc::new(Semaphore::new(limits.account_requests)),
            connections: TaskTracker::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// Opens the doors.
    pub(super) fn open(&self, listeners: Listeners) {
        if let Some(tcp) = listeners.tcp {
            tokio::spawn(self.clone().accept_tcp(tcp));
        }
        #[cfg(unix)]
        if let Some(unix) = listeners.unix {
            tokio::spawn(self.clone().accept_unix(unix));
        }
    }

    /// Lets nobody in any more, and waits until what is under way has ended or the time is up.
    pub(in crate::app) async fn close(&self, limit: Duration) {
        let Shared { draining, closing, connections, .. } = &*self.0;
        draining.cancel();
        connections.close();
        if tokio::time::timeout(limit, connections.wait()).await.is_err() {
            debug!(connections = connections.len(), "connections are cut");
            closing.cancel();
            connections.wait().await;
        }
    }

    /// Waits until nobody is connected, or the time is up.
    pub(in crate::app) async fn quiet(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, async {
            while !self.0.connections.is_empty() {
                tokio::time::sleep(QUIET_CHECK).await;
            }
        })
        .await;
    }

    /// Serves a connection that comes from a pod.
    pub(super) fn serve_pod<IO>(&self, stream: IO)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(permit) = Arc::clone(&self.0.from_pods).try_acquire_owned() else {
            debug!("a connection from a pod was refused: there are too many");
            return;
        };
        self.0.connections.spawn(self.clone().serve_tls(Counted { stream, _permit: permit }));
    }

    async fn accept_tcp(self, listener: TcpListener) {
        let limit = Arc::new(Semaphore::new(self.0.limits.connections));
        while let Some(((stream, _), permit)) = self.next(&limit, || listener.accept()).await {
            prepare(&stream);
            self.0.connections.spawn(self.clone().serve_tls(Counted { stream, _permit: permit }));
        }
    }

    #[cfg(unix)]
    async fn accept_unix(self, listener: tokio::net::UnixListener) {
        let limit = Arc::new(Semaphore::new(UNIX_CONNECTIONS));
        while let Some(((stream, _), permit)) = self.next(&limit, || listener.accept()).await {
            if !is_the_user(&stream) {
                warn!("somebody else than the user has connected to the socket and was turned away");
                continue;
            }
            let connection = Counted { stream, _permit: permit };
            self.0.connections.spawn(self.clone().serve(connection, Some(Identity::admin()), false));
        }
    }

    /// The next connection and the right to serve it; nothing once the doors are closed.
    async fn next<T, F: Future<Output = io::Result<T>>>(
        &self,
        limit: &Arc<Semaphore>,
        accept: impl Fn() -> F,
    ) -> Option<(T, OwnedSemaphorePermit)> {
        let next = async {
            let permit = Arc::clone(limit).acquire_owned().await.ok()?;
            loop {
                match accept().await {
                    Ok(connection) => return Some((connection, permit)),
                    Err(error) => {
                        warn!(%error, "no connection could be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = self.0.draining.cancelled() => None,
            accepted = next => accepted,
        }
    }

    async fn serve_tls<IO>(self, stream: IO)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(tls) = &self.0.tls else { return };
        let handshake = tokio::time::timeout(self.0.limits.handshake, tls.accept(stream));
        let stream = tokio::select! {
            () = self.0.draining.cancelled() => return,
            shaken = handshake => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return debug!(%error, "a TLS handshake failed"),
                Err(_elapsed) => return debug!("a TLS handshake took too long"),
            },
        };
        let (_, session) = stream.get_ref();
        let two = session.alpn_protocol() == Some(b"h2");
        let certificate = session.peer_certificates().and_then(|certificates| certificates.first());
        // One that names nobody proves nothing, but a token may.
        let identity = certificate.and_then(identity_of);
        self.serve(stream, identity, two).await;
    }

    /// Serves a connection with HTTP/2 or HTTP/1.
    async fn serve<IO>(self, stream: IO, peer: Option<Identity>, two: bool)
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let used = Arc::new(AtomicBool::new(false));
        let peer = peer.map(Arc::new);
        let service = {
            let (front, used) = (self.clone(), Arc::clone(&used));
            hyper::service::service_fn(move |request: Request<Incoming>| {
                used.store(true, Ordering::Relaxed);
                let (front, peer) = (front.clone(), peer.clone());
                async move { Ok::<_, Infallible>(front.answer(peer.as_deref(), request).await) }
            })
        };
        let builder = protocol(two, self.0.limits.head);
        let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut first = pin!(tokio::time::sleep(self.0.limits.head));
        let (mut waits_for_first, mut drains) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(error = format_args!("{error:#}"), "a connection broke");
                    }
                    return;
                }
                // Neither protocol has a limit of its own for clients that connect and then say nothing.
                () = &mut first, if waits_for_first => {
                    if !used.load(Ordering::Relaxed) {
                        return debug!("a connection was not used");
                    }
                    waits_for_first = false;
                }
                () = self.0.draining.cancelled(), if !drains => {
                    connection.as_mut().graceful_shutdown();
                    drains = true;
                }
                () = self.0.closing.cancelled() => return,
            }
        }
    }

    async fn answer(&self, peer: Option<&Identity>, request: Request<Incoming>) -> Response<Body> {
        let mut request = request.map(Body::new);
        let identity = match self.0.authenticator.identify(peer, &mut request) {
            Ok(identity) => identity,
            Err(refusal) => return refusal.into_response(),
        };
        let is_account = identity.as_service_account().is_some();
        let room = if is_account { &self.0.account_requests } else { &self.0.requests };
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
            return Refusal::TooMany.into_response();
        };
        if let Some(document) = self.issuer_document(&request, &identity) {
            return document;
        }
        request.extensions_mut().insert(identity);
        let response = match self.0.api.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.map(|body| Body::new(CountedBody { body, _permit: permit }))
    }

    /// What others need for checking the tokens of service accounts, if that is what is asked for.
    fn issuer_document(&self, request: &Request<Body>, identity: &Identity) -> Option<Response<Body>> {
        if request.method() != Method::GET || identity == &Identity::anonymous() {
            return None;
        }
        match request.uri().path() {
            "/.well-known/openid-configuration" => Some(json_response(&Authority::discovery(&self.0.url))),
            "/openid/v1/jwks" => Some(json_response(&self.0.authenticator.key_set())),
            _ => None,
        }
    }
}

/// How HTTP is spoken. Which HTTP is known beforehand, for telling it by the first bytes would be waiting without an end.
fn protocol(two: bool, head: Duration) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if two { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_LIMIT);
    builder
}

fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let keep_alive = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE);
    // Without either the connection works as well, only worse.
    if let Err(error) = stream.set_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keep_alive)) {
        debug!(%error, "a connection could not be set up as it should be");
    }
}

/// Whether the process at the other end is the user's, or root's.
#[cfg(unix)]
fn is_the_user(stream: &tokio::net::UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw())
}

/// A connection that counts until it is closed, whatever it was upgraded to.
struct Counted<IO> {
    stream: IO,
    _permit: OwnedSemaphorePermit,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The body of an answer, whose request counts until it was read to its end.
struct CountedBody {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The address that clients on this machine use for one that is listened on.
pub(super) fn local_url(address: SocketAddr) -> String {
    let mut local = address;
    if address.ip().is_unspecified() {
        local.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("https://{local}")
}

#[cfg(test)]
mod tests;
