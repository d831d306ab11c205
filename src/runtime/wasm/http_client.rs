//! Outgoing `wasi:http` requests: each leaves through the pod's network on a connection of its own; the host does TLS.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::net::{NetError, PodNetwork, TcpStream};

/// How long connecting, TLS included, may take unless the guest says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the first byte of a response, and then each next one, may take unless the guest says otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes of a response's headers that are buffered.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// Sends the requests of one guest.
#[derive(Debug)]
pub(super) struct PodHttpClient {
    network: Arc<PodNetwork>,
}

type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl PodHttpClient {
    /// A client of the pod's network.
    pub(super) fn new(network: &Arc<PodNetwork>) -> Self {
        Self { network: Arc::clone(network) }
    }
}

impl WasiHttpHooks for PodHttpClient {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_error: Connection,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Connection), Error>> + Send> {
        let network = Arc::clone(&self.network);
        Box::new(async move { send(&network, request, options.unwrap_or_default()).await })
    }
}

/// Sends a request; returns the response and what drives the connection while the response's body is read.
async fn send(
    network: &Arc<PodNetwork>,
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Connection), Error> {
    let authority = request.uri().authority().cloned().ok_or(Error::HttpRequestUriInvalid)?;
    let tls = request.uri().scheme() == Some(&Scheme::HTTPS);
    let connecting = connect(network, &authority, tls);
    let stream = timeout(options.connect_timeout.unwrap_or(CONNECT_TIMEOUT), connecting).await;
    let stream = stream.map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(MAX_HEADER_BYTES).handshake(TokioIo::new(stream)).await?;

    // The request line holds the path alone; the authority is in the Host header.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);

    let answering = timeout(options.first_byte_timeout.unwrap_or(READ_TIMEOUT), sender.send_request(request));
    let (answer, connection): (_, Connection) = match select(pin!(answering), Box::pin(connection)).await {
        Either::Left((answer, connection)) => (answer, Box::new(async move { Ok(connection.await?) })),
        Either::Right((end, answering)) => {
            end?;
            (answering.await, Box::new(async { Ok(()) }))
        }
    };
    let response = answer.map_err(|_| Error::ConnectionReadTimeout)??;
    let patience = options.between_bytes_timeout.unwrap_or(READ_TIMEOUT);
    Ok((response.map(|body| ResponseBody::new(body, patience).boxed_unsync()), connection))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(network: &Arc<PodNetwork>, authority: &Authority, tls: bool) -> Result<Box<dyn Stream>, Error> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => network.resolve(host).await.map_err(net_error)?,
    };
    let mut failure = Error::DestinationNotFound;
    for address in addresses {
        match network.connect(None, SocketAddr::new(address, port)).await {
            Ok(stream) if tls => return secure(host, stream).await,
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => failure = net_error(error),
        }
    }
    Err(failure)
}

async fn secure(host: &str, stream: TcpStream) -> Result<Box<dyn Stream>, Error> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let connector = TlsConnector::from(tls_settings()?);
    let stream = connector.connect(name, stream).await.map_err(|error| {
        let certificate = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
        if certificate { Error::TlsCertificateError } else { Error::Tls(error) }
    })?;
    Ok(Box::new(stream))
}

/// The TLS settings, made at the first request that needs them: Mozilla's root certificates, TLS 1.2 and 1.3.
fn tls_settings() -> Result<Arc<rustls::ClientConfig>, Error> {
    static SETTINGS: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(settings) = SETTINGS.get() {
        return Ok(Arc::clone(settings));
    }
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
    let settings = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::InternalError(Some(error.to_string())))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(SETTINGS.get_or_init(|| Arc::new(settings))))
}

/// What a network error is called in `wasi:http`.
fn net_error(error: NetError) -> Error {
    match error {
        NetError::ConnectionRefused => Error::ConnectionRefused,
        NetError::ConnectionReset | NetError::ConnectionAborted | NetError::BrokenPipe | NetError::NotConnected => {
            Error::ConnectionTerminated
        }
        NetError::Unreachable | NetError::FamilyNotSupported => Error::DestinationIpUnroutable,
        NetError::AccessDenied => Error::DestinationIpProhibited,
        NetError::TimedOut => Error::ConnectionTimeout,
        NetError::TooManySockets | NetError::AddressInUse => Error::ConnectionLimitReached,
        NetError::NameNotFound => Error::DnsError { rcode: Some("NXDOMAIN".to_owned()), info_code: None },
        NetError::NameTemporary => Error::DnsError { rcode: Some("SERVFAIL".to_owned()), info_code: None },
        NetError::AddressNotAvailable | NetError::Invalid | NetError::MessageTooLong => {
            Error::InternalError(Some(error.to_string()))
        }
    }
}

/// A response's body that fails when the server keeps the reader waiting for too long.
struct ResponseBody {
    body: Incoming,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl ResponseBody {
    fn new(body: Incoming, patience: Duration) -> Self {
        Self { body, patience, deadline: Box::pin(tokio::time::sleep(patience)) }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => {
                if let Some(next) = Instant::now().checked_add(this.patience) {
                    this.deadline.as_mut().reset(next);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                std::task::ready!(this.deadline.as_mut().poll(context));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
