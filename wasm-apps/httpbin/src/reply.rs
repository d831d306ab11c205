//! Answers, before they are sent.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    /// How long to wait before it is sent.
    pub(crate) delay: Duration,
    /// The program ends with this code once it is sent.
    pub(crate) exit: Option<u8>,
}

/// What follows the headers.
#[derive(Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// Sent in chunks, without telling the length first.
    Chunks(Vec<Vec<u8>>),
    /// So many stars, one by one.
    Drip {
        count: u64,
        pause: Duration,
    },
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: Body::Bytes(body.into()),
            delay: Duration::ZERO,
            exit: None,
        }
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text)
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, "application/json", format!("{value:#}\n"))
    }

    /// Only a status.
    pub(crate) fn status(status: u16) -> Self {
        Self { headers: Vec::new(), ..Self::text(status, "") }
    }

    /// The request is wrong, and how.
    pub(crate) fn bad(problem: &str) -> Self {
        Self::text(400, &format!("{problem}\n"))
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).with("Location", location)
    }

    /// With one header more. What would end a header's line is left out of it.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let plain = |text: &str| text.replace(['\r', '\n', '\0'], "");
        self.headers.push((plain(name), plain(value)));
        self
    }

    /// What the status is called.
    pub(crate) fn phrase(&self) -> &'static str {
        StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Unknown")
    }

    /// Status line and headers, which `keep_alive` is part of.
    pub(crate) fn head(&self, keep_alive: bool) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.phrase());
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "Access-Control-Allow-Origin: *\r\nServer: httpbin\r\n";
        if !keep_alive {
            head += "Connection: close\r\n";
        }
        match &self.body {
            // These have no body, and say so by themselves.
            _ if matches!(self.status, 100..=199 | 204 | 304) => {}
            Body::Bytes(bytes) => head += &format!("Content-Length: {}\r\n", bytes.len()),
            Body::Drip { count, .. } => head += &format!("Content-Length: {count}\r\n"),
            Body::Chunks(_) => head += "Transfer-Encoding: chunked\r\n",
        }
        head + "\r\n"
    }

    /// Whether anything follows the head, in answer to this method.
    pub(crate) fn has_body(&self, method: &str) -> bool {
        method != "HEAD" && !matches!(self.status, 100..=199 | 204 | 304)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_how_long_the_body_is() {
        let head = Reply::text(200, "12").head(true);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{head}");
        assert!(head.ends_with("\r\nContent-Length: 2\r\n\r\n"), "{head}");
        let head = Reply::status(204).head(false);
        assert!(head.contains("Connection: close\r\n") && !head.contains("Content-"), "{head}");
        assert!(!Reply::status(304).has_body("GET") && !Reply::status(200).has_body("HEAD"));
    }

    #[test]
    fn headers_cannot_be_smuggled_in() {
        let head = Reply::status(200).with("A\r\nB", "c\r\nD: e").head(true);
        assert!(head.contains("\r\nAB: cD: e\r\n"), "{head}");
    }
}
