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
pub(crate) use target::{authorization, basic, file_name, hide_credentials, host_header, parse};

/// What to send.
#[derive(Clone)]
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
    /// Nobody answers there, and why; `refused` where that may change when a server starts.
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

/// Sends a request to one of the addresses, which are the server's or a proxy's, and reads the head of the answer.
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

/// Turns a request into the one that its answer redirects to. The body is sent again only where the status says so, and
/// the method stays as it is then, or where the user has given it.
pub(crate) fn follow(request: &mut Request, response: &Response, keeps_method: bool) -> Result<(), String> {
    let location = response.header("location").ok_or("redirected to nowhere")?;
    let url = request.url.join(location).map_err(|_| format!("redirected to a bad url '{location}'"))?;
    let url = parse(url.as_str())?;
    if target::leads_elsewhere(&request.url, &url) {
        // Nobody else is told what was meant for this server.
        let private = ["authorization", "cookie", "host"];
        request.headers.retain(|(name, _)| !private.contains(&name.to_ascii_lowercase().as_str()));
    }
    if response.status <= 303 && request.body.take().is_some() {
        if !keeps_method {
            "GET".clone_into(&mut request.method);
        }
        request.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
    request.url = url;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(status: u16, location: &str) -> Request {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut request = Request {
            method: "POST".to_owned(),
            url: parse("http://a/x/y?z").unwrap(),
            headers: vec![header("Authorization", "secret"), header("Content-Type", "text/plain"), header("A", "b")],
            body: Some(b"body".to_vec()),
        };
        let response = Response {
            status,
            status_line: String::new(),
            headers: vec![header("location", location)],
            length: None,
            body: Box::new(io::empty()),
        };
        follow(&mut request, &response, false).unwrap();
        request
    }

    #[test]
    fn a_redirection_changes_what_its_status_says() {
        let request = followed(302, "../w");
        assert_eq!(
            (request.method.as_str(), request.url.as_str(), request.body.is_none()),
            ("GET", "http://a/w", true)
        );
        assert!(request.has_header("authorization") && !request.has_header("content-type"));
        let request = followed(307, "/v");
        assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "http://a/v"));
        assert!(request.body.is_some() && request.has_header("content-type"));
    }

    #[test]
    fn nobody_else_is_told_secrets() {
        for location in ["https://a/", "http://b/", "//a:81/"] {
            let request = followed(308, location);
            assert!(!request.has_header("authorization") && request.has_header("a"), "{location}");
        }
    }
}
