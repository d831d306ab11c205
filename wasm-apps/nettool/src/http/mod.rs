//! One HTTP exchange, as `wget` and `curl` need it: plain HTTP/1.1 over a socket, and https through the host.

mod body;
mod plain;
mod secure;
mod target;

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use url::Url;

pub(crate) use secure::{accept_any_certificate, set_authorities};
pub(crate) use target::{authorization, hide_credentials, host_header, leads_elsewhere, parse};

/// What to send.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) url: Url,
    /// Besides `Host`, `Connection` and `Content-Length`.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    /// Whether the user has set a header.
    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

/// How patient to be.
#[derive(Default, Clone, Copy)]
pub(crate) struct Limits {
    /// For a connection.
    pub(crate) connect: Option<Duration>,
    /// For each next piece of the answer.
    pub(crate) read: Option<Duration>,
}

/// An answer whose body is still to be read.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// As the server wrote it, or would have.
    pub(crate) status_line: String,
    pub(crate) headers: Vec<(String, String)>,
    /// How long the body is, where the server has said so.
    pub(crate) length: Option<u64>,
    pub(crate) body: Box<dyn Read>,
}

impl Response {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The name has no address.
    BadAddress(String),
    /// Nobody answers there, and why.
    Connect { address: SocketAddr, reason: String, refused: bool },
    /// It took too long.
    TimedOut,
    /// The server's certificate is not one to trust.
    Certificate(String),
    /// No TLS connection came about.
    Tls,
    /// The request cannot be sent like this.
    Request(String),
    /// The connection broke, or what came is not HTTP.
    Answer(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::TimedOut { Self::TimedOut } else { Self::Answer(error) }
    }
}

/// The addresses of a URL's host.
pub(crate) fn resolve(url: &Url) -> Result<Vec<SocketAddr>, Failure> {
    let host = url.host_str().unwrap_or_default();
    let bad_address = || Failure::BadAddress(host.to_owned());
    let port = url.port_or_known_default().ok_or_else(bad_address)?;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = (name, port).to_socket_addrs().map_err(|_| bad_address())?.collect();
    if addresses.is_empty() { Err(bad_address()) } else { Ok(addresses) }
}

/// Sends a request and reads the head of the answer. A proxy's URL is where the request goes instead.
pub(crate) fn exchange(
    request: &Request,
    addresses: &[SocketAddr],
    through_proxy: bool,
    limits: Limits,
) -> Result<Response, Failure> {
    if request.url.scheme() == "https" {
        secure::exchange(request, addresses, limits)
    } else {
        plain::exchange(request, addresses, through_proxy, limits)
    }
}

/// What the system says about an error, without Rust's `(os error N)`.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "the connection was closed too early".to_owned(),
        ErrorKind::ConnectionReset => "Connection reset by peer".to_owned(),
        ErrorKind::BrokenPipe => "Broken pipe".to_owned(),
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_owned(),
    }
}
