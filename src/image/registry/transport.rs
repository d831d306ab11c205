//! HTTP to one registry: TLS by the system's authorities and the user's, or plain where that is allowed; redirects,
//! time limits, and what went wrong in words without URLs.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Response, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::client::{Ask, Body, collect};
use super::config::Endpoint;
use super::error::RegistryError;
use crate::base::tls;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long nothing may come.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// Where Docker and podman look for the authorities of a registry: `HOST[:PORT]/*.crt`.
const CERTIFICATE_DIRECTORIES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// How a registry is reached.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
}

/// Why there was no answer, or none that could be read.
#[derive(Debug)]
pub(super) enum Cause {
    /// No connection, or one that broke.
    Network(String),
    /// The certificate.
    Certificate(String),
    /// More than is ever read.
    TooLarge(u64),
    /// The request could not even be made.
    Request(String),
}

impl Cause {
    /// From the HTTP client's error, whose own text has the URL in it.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let mut innermost: &(dyn Error + 'static) = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        if let Some(tls @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) =
            tls_error(error)
        {
            return Self::Certificate(format!(
                "its certificate is not trusted: {}; if it is right, name it, or the authority that has signed it, as ca in \
                 registries.toml",
                certificate_problem(tls)
            ));
        }
        if error.is_redirect() {
            return Self::Request(format!("a redirect was refused: {innermost}"));
        }
        let what = match () {
            () if error.is_timeout() && error.is_connect() => "connecting took too long",
            () if error.is_timeout() => "it stopped answering",
            () if error.is_connect() => "cannot connect",
            () => "the connection broke",
        };
        let detail = innermost.to_string();
        Self::Network(if error.is_timeout() { what.to_owned() } else { format!("{what}: {detail}") })
    }

    /// What that means of a registry.
    pub(super) fn at(self, registry: &str) -> RegistryError {
        let registry = registry.to_owned();
        match self {
            Self::Network(cause) => RegistryError::Unavailable { registry, cause },
            Self::Certificate(cause) => RegistryError::Tls { registry, cause },
            Self::TooLarge(limit) => RegistryError::Unexpected { registry, detail: format!("more than {limit} bytes") },
            Self::Request(detail) => RegistryError::Unexpected { registry, detail },
        }
    }
}

/// What is wrong with a certificate, in people's words where there are some.
fn certificate_problem(error: &rustls::Error) -> String {
    use rustls::CertificateError;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => "nobody known has signed it".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => {
            "it has signed itself, or is no certificate of a server".to_owned()
        }
        error => error.to_string(),
    }
}

/// What TLS has against a connection, wherever in an error that is: an I/O error has inside what is no source of it.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(found) = cause {
        if let Some(tls) = found.downcast_ref() {
            return Some(tls);
        }
        let inside = found.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        cause = inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| found.source());
    }
    None
}

impl Transport {
    /// For one registry; reads certificates. What is wrong with them, else.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let tls = if endpoint.insecure {
            tls::trust_anyone()
        } else {
            let (authorities, known) = authorities(endpoint)?;
            tls::trust_or_know(authorities, known)
        };
        let tls = tls.map_err(|error| error.to_string())?;
        let plain_is_fine = endpoint.insecure || endpoint.is_loopback();
        let policy = Policy::custom(move |attempt| {
            let leaves_tls =
                attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
            if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("too many redirects")
            } else if leaves_tls && !plain_is_fine {
                attempt.error("it would leave TLS")
            } else {
                attempt.follow()
            }
        });
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .user_agent(concat!("husk/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(IDLE_TIMEOUT)
            .redirect(policy);
        let http = if endpoint.is_loopback() { http.no_proxy() } else { http };
        Ok(Self { http: http.build().map_err(|error| error.to_string())? })
    }

    /// Makes a request, once.
    pub(super) async fn once(&self, ask: &Ask, authorization: Option<HeaderValue>) -> Result<Response, Cause> {
        let mut request = self.http.request(ask.method.clone(), ask.url.clone()).headers(ask.headers.clone());
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request = match &ask.body {
            Body::Empty => request,
            Body::Bytes(bytes) => request.body(bytes.clone()),
            Body::File { path } => {
                let file = tokio::fs::File::open(path).await;
                request.body(file.map_err(|error| Cause::Request(format!("cannot read {}: {error}", path.display())))?)
            }
        };
        request.send().await.map_err(|error| Cause::of(&error))
    }

    /// Whether the registry speaks TLS or, where that is allowed, plain HTTP.
    pub(super) async fn find_base(&self, endpoint: &Endpoint) -> Result<Url, RegistryError> {
        let url = |scheme: &str| {
            let invalid = |_| Cause::Request("no valid address".to_owned()).at(&endpoint.registry);
            Url::parse(&format!("{scheme}://{}/v2/", endpoint.host())).map_err(invalid)
        };
        let secure = url("https")?;
        if !endpoint.insecure && !endpoint.is_loopback() {
            return Ok(secure);
        }
        // Whoever speaks TLS is not asked in the clear, even if the certificate turns out to be bad.
        match self.http.get(secure.clone()).send().await {
            Ok(_) => Ok(secure),
            Err(error) => match Cause::of(&error) {
                certificate @ Cause::Certificate(_) => Err(certificate.at(&endpoint.registry)),
                // Plain HTTP is no TLS: then it shows in the answer's first bytes, or the connection ends.
                _ => url("http"),
            },
        }
    }
}

/// A body of no more than `limit` bytes.
pub(super) async fn read_bounded(response: Response, limit: u64) -> Result<Bytes, Cause> {
    collect(response, limit).await
}

/// The authorities to trust at a registry: the system's, or Mozilla's where there are none; and the user's, which may
/// also be the registry's own certificates.
fn authorities(endpoint: &Endpoint) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let mut store = SYSTEM.get_or_init(system_authorities).clone();
    let mut known = Vec::new();
    let mut files: Vec<PathBuf> = endpoint.ca.iter().cloned().collect();
    for directory in CERTIFICATE_DIRECTORIES {
        files.extend(certificates_in(&Path::new(directory).join(endpoint.host())));
    }
    for file in files {
        let named = |error: String| format!("cannot use certificates of {}: {error}", file.display());
        let read = CertificateDer::pem_file_iter(&file).map_err(|error| named(error.to_string()))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| named(error.to_string()))?;
            store.add(certificate.clone()).map_err(|error| named(error.to_string()))?;
            known.push(certificate);
        }
    }
    Ok((store, known))
}

fn system_authorities() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

fn certificates_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|found| found == "crt")).collect()
}
