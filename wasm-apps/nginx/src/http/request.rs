//! Heads of requests.

use std::ops::Range;

/// Longest request line.
const MAX_LINE: usize = 8 * 1024;
/// Longest head.
pub const MAX_HEAD: usize = 32 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 100;

/// A request without its body.
#[derive(Debug, Clone, Default)]
pub struct Request {
    head: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    line: Range<usize>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    /// Whether it is HTTP/1.1 rather than 1.0.
    pub http_1_1: bool,
    /// What follows.
    pub body: BodyLength,
    /// Whether the client wants to send another one.
    pub keep_alive: bool,
    /// Whether the client waits to be told to send the body.
    pub expects_continue: bool,
}

/// How long the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes.
    Known(u64),
    /// It comes in chunks.
    Chunked,
}

impl Default for BodyLength {
    fn default() -> Self {
        Self::Known(0)
    }
}

/// What the bytes received so far are.
#[derive(Debug)]
pub enum Parsed {
    /// Not yet a whole head.
    Partial,
    /// A request; its head took so many bytes.
    Whole(Request, usize),
    /// Nothing that can be answered but with this status, and what it was, for the log.
    Refused(u16, Request, &'static str),
}

/// Understands the head of a request. `scanned` bytes are known to hold no end of one.
pub fn parse(received: &[u8], scanned: usize, keep_underscores: bool) -> Parsed {
    // Empty lines before a request are ignored.
    let skipped = received.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    if skipped > MAX_LINE {
        return Parsed::Refused(400, Request::default(), "client sent too many empty lines");
    }
    let Some(end) = end_of_head(received, scanned.saturating_sub(3).max(skipped)) else { return unfinished(received) };
    if end > MAX_HEAD {
        return unfinished(&received[..end]);
    }
    let head = received[skipped..end].to_vec();
    let line_end = memchr::memchr(b'\n', &head).unwrap_or(head.len());
    if line_end > MAX_LINE {
        return Parsed::Refused(414, Request::of_line(&head), "client sent too long URI");
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let result = parsed.parse(&head);
    let range = |part: &[u8]| {
        let start = part.as_ptr() as usize - head.as_ptr() as usize;
        start..start + part.len()
    };
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(target), Some(version)) =
        (result, parsed.method, parsed.path, parsed.version)
    else {
        let (status, reason) = match result {
            Err(httparse::Error::Version) => (505, "client sent unsupported version"),
            Err(httparse::Error::TooManyHeaders) => (400, "client sent too many headers"),
            _ => (400, "client sent invalid request or header"),
        };
        return Parsed::Refused(status, Request::of_line(&head), reason);
    };
    let keep = |name: &str| !name.is_empty() && (keep_underscores || !name.contains('_'));
    let headers = parsed.headers.iter().filter(|header| keep(header.name));
    let headers = headers.map(|header| (range(header.name.as_bytes()), range(header.value))).collect();
    let line = 0..line_end - usize::from(head[..line_end].ends_with(b"\r"));
    let request = Request {
        method: range(method.as_bytes()),
        target: range(target.as_bytes()),
        line,
        headers,
        http_1_1: version == 1,
        head,
        ..Request::default()
    };
    match request.framed() {
        Ok(request) => Parsed::Whole(request, end),
        Err((status, request, reason)) => Parsed::Refused(status, request, reason),
    }
}

/// Behind the empty line that ends a head.
fn end_of_head(received: &[u8], from: usize) -> Option<usize> {
    let mut at = from.min(received.len());
    while let Some(newline) = memchr::memchr(b'\n', &received[at..]) {
        let next = at + newline + 1;
        match &received[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => at = next,
        }
    }
    None
}

fn unfinished(received: &[u8]) -> Parsed {
    let line_end = memchr::memchr(b'\n', received).unwrap_or(received.len());
    if line_end > MAX_LINE {
        return Parsed::Refused(414, Request::of_line(received), "client sent too long URI");
    }
    if received.len() > MAX_HEAD {
        return Parsed::Refused(400, Request::of_line(received), "client sent too large request");
    }
    Parsed::Partial
}

type Refusal = (u16, Request, &'static str);

impl Request {
    /// What can be said of a request that is none: its first line.
    fn of_line(received: &[u8]) -> Self {
        let end = memchr::memchr2(b'\r', b'\n', received).unwrap_or(received.len()).min(MAX_LINE);
        Self { head: received[..end].to_vec(), line: 0..end, ..Self::default() }
    }

    /// Finds out what follows the head.
    fn framed(mut self) -> Result<Self, Refusal> {
        self.body = match self.framing() {
            Ok(body) => body,
            Err((status, reason)) => return Err((status, self, reason)),
        };
        let connection = self.header("connection").unwrap_or_default();
        let says = |word: &str| connection.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
        self.keep_alive = if self.http_1_1 { !says("close") } else { says("keep-alive") };
        let expect = self.header("expect").is_some_and(|expect| expect.eq_ignore_ascii_case("100-continue"));
        self.expects_continue = self.http_1_1 && expect;
        Ok(self)
    }

    /// How long the body is. Whatever two servers could understand differently is refused.
    fn framing(&self) -> Result<BodyLength, (u16, &'static str)> {
        let once = |name: &str| {
            let mut values = self.all(name);
            (values.next(), values.next().is_some())
        };
        let ((length, second), (coding, another), (host, other)) =
            (once("content-length"), once("transfer-encoding"), once("host"));
        if second || another {
            return Err((400, "client sent duplicate header line that says how long the body is"));
        }
        if other || host.is_some_and(|host| !is_host(host)) {
            return Err((400, "client sent invalid host"));
        }
        if host.is_none() && self.http_1_1 {
            return Err((400, "client sent HTTP/1.1 request without \"Host\" header"));
        }
        match (length, coding) {
            (None, None) => Ok(BodyLength::Known(0)),
            (Some(_), Some(_)) => {
                Err((400, "client sent \"Content-Length\" and \"Transfer-Encoding\" headers at the same time"))
            }
            (Some(length), None) => match length.parse() {
                Ok(number) if length.bytes().all(|byte| byte.is_ascii_digit()) => Ok(BodyLength::Known(number)),
                _ => Err((400, "client sent invalid \"Content-Length\" header")),
            },
            (None, Some(_)) if !self.http_1_1 => {
                Err((400, "client sent HTTP/1.0 request with \"Transfer-Encoding\" header"))
            }
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(BodyLength::Chunked),
            (None, Some(_)) => Err((501, "client sent unknown \"Transfer-Encoding\"")),
        }
    }

    fn text(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(&self.head[range.clone()]).unwrap_or_default()
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.text(&self.method)
    }

    /// The target, as it was sent.
    pub fn target(&self) -> &str {
        self.text(&self.target)
    }

    /// The first line, as it was sent.
    pub fn line(&self) -> &[u8] {
        &self.head[self.line.clone()]
    }

    /// Bytes of the head.
    pub fn head_length(&self) -> usize {
        self.head.len()
    }

    /// A header's value; nothing if it is not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let same = move |found: &Range<usize>| self.head[found.clone()].eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(move |(found, _)| same(found)).map(|(_, value)| self.text(value))
    }

    /// All headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (self.text(name), &self.head[value.clone()]))
    }
}

/// Whether this can be a host with or without a port.
fn is_host(host: &str) -> bool {
    !host.contains("..")
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]!$&'()*+;=%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{BodyLength, MAX_HEAD, Parsed, parse};

    fn status(text: &str) -> u16 {
        match parse(text.as_bytes(), 0, false) {
            Parsed::Partial => 0,
            Parsed::Whole(..) => 200,
            Parsed::Refused(status, ..) => status,
        }
    }

    #[test]
    fn a_head_is_understood() {
        let text =
            "\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\nX_Y: no\r\nConnection: close\r\n\r\nhello";
        let Parsed::Whole(request, used) = parse(text.as_bytes(), 0, false) else { panic!("not whole") };
        assert_eq!(&text[used..], "hello");
        assert_eq!((request.method(), request.target()), ("POST", "/a?b"));
        assert_eq!(request.line(), b"POST /a?b HTTP/1.1");
        assert_eq!((request.header("HOST"), request.header("x_y")), (Some("x"), None));
        assert_eq!((request.body, request.keep_alive), (BodyLength::Known(5), false));
    }

    #[test]
    fn a_head_may_come_in_pieces() {
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..text.len() {
            assert!(matches!(parse(&text[..cut], 0, false), Parsed::Partial), "{cut}");
            assert!(matches!(parse(text, cut, false), Parsed::Whole(_, used) if used == text.len()), "{cut}");
        }
    }

    #[test]
    fn what_could_be_understood_differently_is_refused() {
        let with = |headers: &str| status(&format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n"));
        assert_eq!(with("Content-Length: 1\r\nContent-Length: 1"), 400);
        assert_eq!(with("Content-Length: 1\r\nTransfer-Encoding: chunked"), 400);
        assert_eq!(with("Content-Length: +1"), 400);
        assert_eq!(with("Content-Length: -1"), 400);
        assert_eq!(with("Content-Length: 1, 1"), 400);
        assert_eq!(with("Content-Length: 99999999999999999999"), 400);
        assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400);
        assert_eq!(with("Transfer-Encoding: gzip, chunked"), 501);
        assert_eq!(with("Transfer-Encoding : chunked"), 400);
        assert_eq!(with("Host: y"), 400);
        assert_eq!(with("X: a\r\n folded"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), 200);
        assert_eq!(status("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), 505);
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
        assert_eq!(status("\x16\x03\x01\r\n\r\n"), 400);
    }

    #[test]
    fn heads_have_limits() {
        assert_eq!(status(&format!("GET /{}", "x".repeat(8200))), 414);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(8200))), 414);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "x".repeat(MAX_HEAD))), 400);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(101))), 400);
        assert_eq!(status(&"\r\n".repeat(5000)), 400);
    }
}
