//! Requests, as they are received.

use std::borrow::Cow;

use form_urlencoded::parse;
use percent_encoding::percent_decode_str;

/// Most headers.
const MAX_HEADERS: usize = 128;

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// What stands after the method: path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The client's address.
    pub(crate) origin: String,
    /// Whether the connection may be used again.
    pub(crate) keep_alive: bool,
}

/// What is wrong with a request: the status that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) u16);

/// How the end of a body is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
}

impl Request {
    /// Reads a head from the beginning of `bytes`; with it, how long it is. `None` as long as there is more to come.
    pub(crate) fn parse(bytes: &[u8], origin: &str) -> Result<Option<(Self, usize)>, Invalid> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Invalid(431)),
            Err(_) => return Err(Invalid(400)),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut parsed = Self {
            method: request.method.unwrap_or_default().to_owned(),
            target: origin_form(request.path.unwrap_or_default()).to_owned(),
            headers: request.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            body: Vec::new(),
            origin: origin.to_owned(),
            keep_alive: false,
        };
        let connection = parsed.header("connection").unwrap_or_default().to_ascii_lowercase();
        parsed.keep_alive = match request.version {
            Some(0) => connection.contains("keep-alive"),
            _ => !connection.contains("close"),
        };
        Ok(Some((parsed, length)))
    }

    /// How the body's end is told (RFC 9112, 6.3). What could be understood in two ways is refused.
    pub(crate) fn framing(&self) -> Result<Framing, Invalid> {
        let lengths: Vec<_> = self.all("content-length").collect();
        match (self.header("transfer-encoding"), lengths.as_slice()) {
            (None, []) => Ok(Framing::Length(0)),
            (None, [length]) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().map(Framing::Length).map_err(|_| Invalid(413))
            }
            (Some(coding), []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (Some(_), []) => Err(Invalid(501)),
            _ => Err(Invalid(400)),
        }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The parts of the path, decoded.
    pub(crate) fn path(&self) -> Vec<Cow<'_, str>> {
        let path = self.target.split('?').next().unwrap_or_default();
        let parts = path.trim_start_matches('/').split('/');
        parts.map(|part| percent_decode_str(part).decode_utf8_lossy()).collect()
    }

    /// The query, decoded.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        parse(query.as_bytes()).into_owned().collect()
    }

    /// The first value of a query's key.
    pub(crate) fn argument(&self, key: &str) -> Option<String> {
        self.query().into_iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }
}

/// Path and query of a target, which a proxy's client sends with scheme and host.
fn origin_form(target: &str) -> &str {
    match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Request {
        Request::parse(format!("{head}\r\n\r\n").as_bytes(), "10.0.0.1").unwrap().unwrap().0
    }

    #[test]
    fn path_and_query_are_decoded() {
        let request = request("GET http://x/a%20b/c?d=e+f&g HTTP/1.1");
        assert_eq!(request.path(), ["a b", "c"]);
        assert_eq!(request.argument("d").as_deref(), Some("e f"));
        assert_eq!(request.argument("g").as_deref(), Some(""));
        assert_eq!(request.argument("h"), None);
        assert!(Request::parse(b"GET / HTTP/1.1\r\nA: ", "").unwrap().is_none());
        assert_eq!(Request::parse(b"\x16\x03\x01\r\n", "").unwrap_err(), Invalid(400));
    }

    #[test]
    fn a_connection_is_kept_as_its_version_has_it() {
        for (head, expected) in [
            ("GET / HTTP/1.1", true),
            ("GET / HTTP/1.1\r\nConnection: close", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive", true),
        ] {
            assert_eq!(request(head).keep_alive, expected, "{head}");
        }
    }

    #[test]
    fn a_body_has_one_framing() {
        for (headers, expected) in [
            ("A: b", Ok(Framing::Length(0))),
            ("Content-Length: 12", Ok(Framing::Length(12))),
            ("Transfer-Encoding: Chunked", Ok(Framing::Chunked)),
            ("Transfer-Encoding: gzip", Err(Invalid(501))),
            ("Content-Length: 1\r\nContent-Length: 2", Err(Invalid(400))),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked", Err(Invalid(400))),
            ("Content-Length: -1", Err(Invalid(400))),
            ("Content-Length: 99999999999999999999999", Err(Invalid(413))),
        ] {
            assert_eq!(request(&format!("POST / HTTP/1.1\r\n{headers}")).framing(), expected, "{headers}");
        }
    }
}
