//! Outgoing `wasi:http` requests: each leaves through the pod's network on a connection of its own; the host does TLS.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
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
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::base::tls;
use crate::net::{NetError, PodNetwork, TcpStream};

/// How long connecting, TLS included, may take unless the guest says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the first byte of a response, and then each next one, may take unless the guest says otherwise.
const READ_TIMEOUT: Duration = Duration::from_secs(600);

/// Bytes of a response's headers that are buffered.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// Bytes of a guest's own certificate authorities, in PEM; Mozilla's take less.
const MAX_AUTHORITIES_BYTES: usize = 1024 * 1024;

/// Sends the requests of one guest.
#[derive(Debug)]
pub(super) struct PodHttpClient {
    network: Arc<PodNetwork>,
    /// Whose certificates count; Mozilla's authorities', unless the guest says otherwise.
    trust: Option<Arc<ClientConfig>>,
}

type Connection = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl PodHttpClient {
    /// A client of the pod's network.
    pub(super) fn new(network: &Arc<PodNetwork>) -> Self {
        Self { network: Arc::clone(network), trust: None }
    }

    /// Takes any server's certificate from now on.
    pub(super) fn accept_any_certificate(&mut self) -> Result<(), rustls::Error> {
        self.trust = Some(tls::trust_anyone()?);
        Ok(())
    }

    /// Takes what these authorities have issued, and nothing else, from now on.
    pub(super) fn set_authorities(&mut self, pem: &[u8]) -> Result<(), AuthoritiesError> {
        if pem.len() > MAX_AUTHORITIES_BYTES {
            return Err(AuthoritiesError::TooLong);
        }
        let mut authorities = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            authorities.add(certificate.map_err(AuthoritiesError::Pem)?)?;
        }
        if authorities.is_empty() {
            return Err(AuthoritiesError::None);
        }
        self.trust = Some(tls::trust(authorities)?);
        Ok(())
    }
}

/// Why certificate authorities could not be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthoritiesError {
    #[error("there is no certificate in it")]
    None,
    #[error("longer than {MAX_AUTHORITIES_BYTES} bytes")]
    TooLong,
    #[error("not PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    #[error(transparent)]
    Certificate(#[from] rustls::Error),
}

impl WasiHttpHooks for PodHttpClient {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_error: Connection,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Connection), Error>> + Send> {
        let (network, trust) = (Arc::clone(&self.network), self.trust.clone());
        Box::new(async move { send(&network, trust, request, options.unwrap_or_default()).await })
    }
}

/// Sends a request; returns the response and what drives the connection while the response's body is read.
async fn send(
    network: &Arc<PodNetwork>,
    trust: Option<Arc<ClientConfig>>,
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<(Response<WasiBody>, Connection), Error> {
    let authority = request.uri().authority().cloned().ok_or(Error::HttpRequestUriInvalid)?;
    let tls = match trust {
        _ if request.uri().scheme() != Some(&Scheme::HTTPS) => None,
        None => Some(tls::trust_mozilla().map_err(internal)?),
        trust => trust,
    };
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
        // It may have brought the answer before it ended, and have ended badly all the same.
        Either::Right((end, answering)) => match (answering.await, end) {
            (Ok(Err(_)), Err(error)) => return Err(error.into()),
            (answer, _) => (answer, Box::new(async { Ok(()) })),
        },
    };
    let response = answer.map_err(|_| Error::ConnectionReadTimeout)??;
    let patience = options.between_bytes_timeout.unwrap_or(READ_TIMEOUT);
    Ok((response.map(|body| ResponseBody::new(body, patience).boxed_unsync()), connection))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn internal(error: rustls::Error) -> Error {
    Error::InternalError(Some(error.to_string()))
}

async fn connect(
    network: &Arc<PodNetwork>,
    authority: &Authority,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>, Error> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => network.resolve(host).await.map_err(net_error)?,
    };
    let mut failure = Error::DestinationNotFound;
    for address in addresses {
        match network.connect(None, SocketAddr::new(address, port)).await {
            Ok(stream) => {
                return match tls {
                    Some(settings) => secure(host, stream, settings).await,
                    None => Ok(Box::new(stream)),
                };
            }
            Err(error) => failure = net_error(error),
        }
    }
    Err(failure)
}

async fn secure(host: &str, stream: TcpStream, settings: Arc<ClientConfig>) -> Result<Box<dyn Stream>, Error> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = TlsConnector::from(settings).connect(name, stream).await.map_err(|error| {
        let certificate = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
        if certificate { Error::TlsCertificateError } else { Error::Tls(error) }
    })?;
    Ok(Box::new(stream))
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
