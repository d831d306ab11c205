//! Writing responses.

use net_tasks::yield_now;
use nginx::config::{Expires, Level};
use nginx::exchange::Exchange;
use nginx::http::{date, status};
use nginx::phases::{self, Response, Stat};
use nginx::values::evaluate;
use nginx::variables::{Part, Variable};
use nginx::{NAME, NAME_AND_VERSION};

use super::body::Body;
use super::connection::{Connection, Gone};

/// Bytes of a file read at a time.
const BLOCK: u64 = 128 * 1024;

/// Statuses that `add_header` and `expires` are for.
const DECORATED: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];

impl Connection {
    /// Sends a response that the server makes itself.
    pub(super) async fn respond(
        &mut self,
        exchange: &mut Exchange,
        body: &Body,
        mut response: Response,
        keep_alive: &mut bool,
    ) -> Result<(), Gone> {
        if let Some(status) = exchange.replacement {
            response.status = status;
        }
        if matches!(response.status, 400 | 408 | 413 | 414 | 500 | 501 | 505) || !body.is_skippable() {
            *keep_alive = false;
        }
        let server = if exchange.settings.server_tokens { NAME_AND_VERSION } else { NAME };
        let response_body = std::mem::replace(&mut response.body, phases::Body::Empty);
        let text = match response_body {
            phases::Body::File(path, stat, start, length) => {
                return self.send_file(exchange, &response, (&path, stat), (start, length), *keep_alive).await;
            }
            phases::Body::Empty => Vec::new(),
            phases::Body::Page => status::page(response.status, server).into_bytes(),
            phases::Body::Text(text) => text,
        };
        self.head(exchange, &response, text.len() as u64, *keep_alive);
        if exchange.method != "HEAD" && has_body(response.status) {
            self.unsent.extend_from_slice(&text);
            exchange.sent.body_bytes = text.len() as u64;
            exchange.sent.bytes += text.len() as u64;
        }
        Ok(())
    }

    /// Sends a part of a file.
    async fn send_file(
        &mut self,
        exchange: &mut Exchange,
        response: &Response,
        (path, stat): (&str, Stat),
        (mut start, mut length): (u64, u64),
        keep_alive: bool,
    ) -> Result<(), Gone> {
        let service = std::rc::Rc::clone(&self.service);
        let with_body = exchange.method != "HEAD";
        if with_body
            && let Some(contents) = service.files.contents(path, &stat)
            && let Some(part) = part_of(&contents, start, length)
        {
            self.head(exchange, response, length, keep_alive);
            self.unsent.extend_from_slice(part);
            exchange.sent.body_bytes = length;
            exchange.sent.bytes += length;
            return Ok(());
        }
        if !with_body || length == 0 {
            self.head(exchange, response, length, keep_alive);
            return Ok(());
        }
        let file = match service.files.open(path) {
            Ok(file) => file,
            Err(error) => {
                exchange.log(Level::Crit, format!("open() \"{path}\" failed {}", error.explain()));
                let page = Response::page(error.status());
                let text = status::page(page.status, NAME);
                self.head(exchange, &page, text.len() as u64, keep_alive);
                self.unsent.extend_from_slice(text.as_bytes());
                return Ok(());
            }
        };
        self.head(exchange, response, length, keep_alive);
        while length > 0 {
            let block = file.read(start, length.min(BLOCK)).unwrap_or_default();
            if block.is_empty() {
                // What was promised cannot be kept any more.
                exchange.log(Level::Alert, format!("\"{path}\" became shorter while it was sent"));
                return Err(Gone);
            }
            self.send().await?;
            self.send_bytes(&block).await?;
            let count = block.len() as u64;
            (start, length) = (start + count, length - count);
            exchange.sent.body_bytes += count;
            exchange.sent.bytes += count;
            // A client that takes everything at once must not keep others waiting.
            yield_now().await;
        }
        Ok(())
    }

    /// Writes the head of a response.
    fn head(&mut self, exchange: &mut Exchange, response: &Response, length: u64, keep_alive: bool) {
        let begin = self.unsent.len();
        let settings = &exchange.settings;
        let mut head = Head::new(&mut self.unsent, response.status, status::phrase(response.status));
        head.line("Server", if settings.server_tokens { NAME_AND_VERSION } else { NAME });
        head.line("Date", &self.service.clock.date());
        if has_body(response.status) {
            if let Some(content_type) = &response.content_type {
                head.line("Content-Type", content_type);
            }
            head.number("Content-Length", length);
        }
        if let Some(modified) = response.modified {
            head.line("Last-Modified", &date::format(modified));
        }
        if let Some(location) = &response.location {
            head.line("Location", &absolute(location, exchange));
        }
        head.line("Connection", if keep_alive { "keep-alive" } else { "close" });
        if let Some(etag) = &response.etag {
            head.line("ETag", etag);
        }
        for (name, value) in &response.headers {
            head.line(name, value);
        }
        if response.status == 405 {
            head.line("Allow", "GET, HEAD");
        }
        decorate(&mut head, exchange, response.status, self.service.clock.unix_ms() / 1000);
        head.end();
        exchange.sent.status = response.status;
        exchange.sent.bytes = (self.unsent.len() - begin) as u64;
        note_headers(exchange, &self.unsent[begin..]);
    }
}

fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

fn part_of(contents: &[u8], start: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    contents.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

/// A head being written.
pub(super) struct Head<'a>(&'a mut Vec<u8>);

impl<'a> Head<'a> {
    pub(super) fn new(buffer: &'a mut Vec<u8>, status: u16, phrase: &str) -> Self {
        buffer.extend_from_slice(b"HTTP/1.1 ");
        buffer.extend_from_slice(status.to_string().as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(phrase.as_bytes());
        buffer.extend_from_slice(b"\r\n");
        Self(buffer)
    }

    /// One header; line ends in its value, which could begin another one, are left out.
    pub(super) fn line(&mut self, name: &str, value: &str) {
        self.bytes(name, value.as_bytes());
    }

    pub(super) fn bytes(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            self.0.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        } else {
            self.0.extend_from_slice(value);
        }
        self.0.extend_from_slice(b"\r\n");
    }

    fn number(&mut self, name: &str, value: u64) {
        self.line(name, &value.to_string());
    }

    pub(super) fn end(self) {
        self.0.extend_from_slice(b"\r\n");
    }
}

/// Adds what `expires` and `add_header` say.
pub(super) fn decorate(head: &mut Head<'_>, exchange: &Exchange, status: u16, seconds: u64) {
    let settings = &exchange.settings;
    let decorated = DECORATED.contains(&status);
    if decorated {
        match settings.expires {
            Expires::Off => {}
            Expires::Epoch => {
                head.line("Expires", "Thu, 01 Jan 1970 00:00:01 GMT");
                head.line("Cache-Control", "no-cache");
            }
            Expires::Max => {
                head.line("Expires", "Thu, 31 Dec 2037 23:55:55 GMT");
                head.line("Cache-Control", "max-age=315360000");
            }
            Expires::After(after) => {
                head.line("Expires", &date::format(seconds.saturating_add_signed(after)));
                let control = if after < 0 { "no-cache".to_owned() } else { format!("max-age={after}") };
                head.line("Cache-Control", &control);
            }
        }
    }
    for added in settings.add_headers.iter().filter(|added| decorated || added.always) {
        let value = evaluate(&added.value, exchange);
        if !value.is_empty() {
            head.line(&added.name, &value);
        }
    }
}

/// Keeps the headers of a head if a log wants to know them.
pub(super) fn note_headers(exchange: &mut Exchange, head: &[u8]) {
    let wants = |part: &Part| matches!(part, Part::Variable(Variable::SentHeader(_)));
    if exchange.settings.access_logs.iter().any(|log| log.format.template.parts().iter().any(wants)) {
        let head = String::from_utf8_lossy(head);
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        exchange.sent.headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }
}

/// A location as clients are told it.
fn absolute(location: &str, exchange: &Exchange) -> String {
    if !location.starts_with('/') || !exchange.settings.absolute_redirect {
        return location.to_owned();
    }
    let port = match exchange.client.local.port() {
        port if port != 80 && exchange.settings.port_in_redirect => format!(":{port}"),
        _ => String::new(),
    };
    format!("http://{}{port}{location}", exchange.public_host())
}
