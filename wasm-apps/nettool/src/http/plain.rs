//! HTTP/1.1 over a socket of the pod's network, a connection for each request.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::SocketAddr;

use nettool::blocking::Stream;
use nettool::{Connection, connect, explain};
use url::Position;
use wasip2::sockets::network::ErrorCode;

use super::body::{Body, Framing, invalid};
use super::{Failure, Limits, Request, Response, find, hide_credentials, host_header};

/// Longest head of an answer.
const MAX_HEAD: u64 = 256 * 1024;
/// Most header lines.
const MAX_HEADERS: usize = 256;

pub(super) fn exchange(
    request: &Request,
    addresses: &[SocketAddr],
    through_proxy: bool,
    limits: Limits,
) -> Result<Response, Failure> {
    let mut stream = Stream::new(reach(addresses, limits)?, limits.read);
    send(&mut stream, request, through_proxy)?;
    let mut source = BufReader::new(stream);
    loop {
        let head = Head::read(&mut source)?;
        // Others, such as 100 Continue, come before the answer.
        if head.status < 100 || head.status >= 200 {
            let framing = head.framing(&request.method)?;
            let length = if let Framing::Length(length) = framing { Some(length) } else { None };
            let body = Box::new(Body::new(source, framing));
            let Head { status, status_line, headers } = head;
            return Ok(Response { status, status_line, headers, length, body });
        }
    }
}

/// Connects to the first address that answers; if none does, tells of the first one.
fn reach(addresses: &[SocketAddr], limits: Limits) -> Result<Connection, Failure> {
    let mut failure = None;
    for address in addresses {
        let problem = match connect(*address, limits.connect) {
            Ok(connection) => return Ok(connection),
            Err(ErrorCode::Timeout) => Failure::TimedOut,
            Err(error) => {
                let refused = matches!(error, ErrorCode::ConnectionRefused | ErrorCode::RemoteUnreachable);
                Failure::Connect { address: *address, reason: explain(error), refused }
            }
        };
        failure.get_or_insert(problem);
    }
    Err(failure.unwrap_or(Failure::TimedOut))
}

fn send(stream: &mut Stream, request: &Request, through_proxy: bool) -> Result<(), Failure> {
    stream.write_all(head_of(request, through_proxy)?.as_bytes())?;
    if let Some(body) = &request.body {
        stream.write_all(body)?;
    }
    Ok(())
}

fn head_of(request: &Request, through_proxy: bool) -> Result<String, Failure> {
    let url = hide_credentials(&request.url);
    let target =
        if through_proxy { &url[..Position::AfterQuery] } else { &url[Position::BeforePath..Position::AfterQuery] };
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method);
    let mut add = |name: &str, value: &str| {
        // What is written to a string arrives.
        let _never_fails = write!(head, "{name}: {value}\r\n");
    };
    if !request.has_header("host") {
        add("Host", host_header(&url));
    }
    for (name, value) in &request.headers {
        let odd = |text: &str| text.contains(['\r', '\n', '\0']);
        if name.is_empty() || odd(name) || odd(value) {
            return Err(Failure::Request(format!("bad header '{name}'")));
        }
        add(name, value);
    }
    if !request.has_header("connection") {
        add("Connection", "close");
    }
    if let Some(body) = &request.body
        && !request.has_header("content-length")
    {
        add("Content-Length", &body.len().to_string());
    }
    head.push_str("\r\n");
    Ok(head)
}

/// The head of an answer.
struct Head {
    status: u16,
    status_line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn read(source: &mut impl BufRead) -> io::Result<Self> {
        let mut head = Vec::new();
        let mut limited = source.take(MAX_HEAD);
        while !(head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")) {
            if limited.read_until(b'\n', &mut head)? == 0 {
                let cut_off = limited.limit() > 0;
                return Err(if cut_off {
                    ErrorKind::UnexpectedEof.into()
                } else {
                    invalid("the headers are too long")
                });
            }
        }
        Self::parse(&head)
    }

    fn parse(head: &[u8]) -> io::Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let not_http = |error: httparse::Error| invalid(&format!("not an HTTP answer: {error}"));
        if answer.parse(head).map_err(not_http)?.is_partial() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = answer.headers.iter().map(|header| (header.name.to_owned(), text(header.value)));
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(Self {
            status: answer.code.unwrap_or_default(),
            status_line: text(line).trim_end().to_owned(),
            headers: headers.collect(),
        })
    }

    /// RFC 9112, 6.3.
    fn framing(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if let Some(codings) = find(&self.headers, "transfer-encoding") {
            return match codings.rsplit(',').next().unwrap_or_default().trim() {
                last if last.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
                _ => Ok(Framing::UntilClose),
            };
        }
        match find(&self.headers, "content-length") {
            None => Ok(Framing::UntilClose),
            Some(length) => length.trim().parse().map(Framing::Length).map_err(|_| invalid("bad Content-Length")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    fn request(url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Request {
            method: if body.is_some() { "POST" } else { "GET" }.to_owned(),
            url: parse(url).unwrap(),
            headers: headers.iter().map(owned).collect(),
            body: body.map(|body| body.as_bytes().to_vec()),
        }
    }

    #[test]
    fn the_request_has_what_it_needs_unless_the_user_says_otherwise() {
        let head = head_of(&request("http://u:p@a:81/x?y#z", &[("Accept", "*/*")], None), false).unwrap();
        assert_eq!(head, "GET /x?y HTTP/1.1\r\nHost: a:81\r\nAccept: */*\r\nConnection: close\r\n\r\n");
        let head = head_of(&request("http://a/", &[("host", "b"), ("connection", "x")], Some("12")), false).unwrap();
        assert_eq!(head, "POST / HTTP/1.1\r\nhost: b\r\nconnection: x\r\nContent-Length: 2\r\n\r\n");
        let head = head_of(&request("http://u@a/x", &[], None), true).unwrap();
        assert!(head.starts_with("GET http://a/x HTTP/1.1\r\nHost: a\r\n"), "{head}");
        assert!(head_of(&request("http://a/", &[("A", "b\r\nC: d")], None), false).is_err());
    }

    #[test]
    fn heads_say_how_the_body_ends() {
        for (head, method, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "GET", Ok(Framing::Length(7))),
            ("HTTP/1.1 200 OK\nContent-Length: 7\n\n", "HEAD", Ok(Framing::Length(0))),
            ("HTTP/1.1 204 No Content\r\n\r\n", "GET", Ok(Framing::Length(0))),
            ("HTTP/1.0 200\r\n\r\n", "GET", Ok(Framing::UntilClose)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 7\r\n\r\n", "GET", Ok(Framing::Chunked)),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "GET", Err("bad Content-Length")),
            ("SSH-2.0\r\n\r\n", "GET", Err("not an HTTP answer: invalid HTTP version")),
            ("HTTP/1.1 200 OK\r\nA: ", "GET", Err("unexpected end of file")),
        ] {
            let framing = Head::read(&mut head.as_bytes()).and_then(|head| head.framing(method));
            assert_eq!(framing.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{head:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let endless = io::repeat(b'a');
        let error = Head::read(&mut BufReader::new(endless)).err().unwrap();
        assert_eq!(error.to_string(), "the headers are too long");
    }
}
