//! Request heads: the little of HTTP/1.1 that a static file server needs.

/// Longest request head.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// A request without a body.
pub(crate) struct Request {
    pub(crate) method: String,
    /// As sent.
    pub(crate) target: String,
    /// The whole first line, for the log.
    pub(crate) line: String,
    pub(crate) keep_alive: bool,
}

/// What the bytes received so far are.
pub(crate) enum Parsed {
    /// Not yet a whole head.
    Partial,
    /// A request, and how many bytes it took.
    Whole(Request, usize),
    /// No request at all.
    Malformed,
}

pub(crate) fn parse(received: &[u8]) -> Parsed {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if received.len() > MAX_HEAD { Parsed::Malformed } else { Parsed::Partial };
    };
    let Ok(head) = std::str::from_utf8(&received[..end]) else { return Parsed::Malformed };
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let &[method, target, version @ ("HTTP/1.0" | "HTTP/1.1")] = parts.as_slice() else { return Parsed::Malformed };
    let mut keep_alive = version == "HTTP/1.1";
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_ascii_lowercase());
        match (name.as_str(), value.as_str()) {
            ("connection", "close") => keep_alive = false,
            ("connection", "keep-alive") => keep_alive = true,
            // The body is not read, so the connection cannot be used again.
            ("content-length", length) if length != "0" => keep_alive = false,
            ("transfer-encoding", _) => keep_alive = false,
            _ => {}
        }
    }
    let request = Request { method: method.to_owned(), target: target.to_owned(), line: line.to_owned(), keep_alive };
    Parsed::Whole(request, end + 4)
}
