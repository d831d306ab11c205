//! The response of another server, passed back.

use nginx::config::{Level, ProxyPass, ProxySettings, Redirects};
use nginx::exchange::Exchange;
use nginx::http::chunked::{Decoder, END, encode};
use nginx::values::evaluate;
use nginx::{NAME, NAME_AND_VERSION};

use super::{Passed, Upstream};
use crate::serve::body::Body;
use crate::serve::connection::{Connection, Gone};
use crate::serve::respond::{Head, decorate, note_headers};

/// Longest head of a response.
const MAX_HEAD: usize = 64 * 1024;
/// Headers of a response.
const MAX_HEADERS: usize = 128;

/// Headers that are between the other server and this one only, or that this one writes itself.
const NOT_PASSED: [&str; 9] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-accel-redirect",
];

/// The head of a response.
struct Answer {
    status: u16,
    reason: String,
    headers: Vec<(String, Vec<u8>)>,
}

/// What follows it.
enum Rest {
    Known(u64),
    Chunked(Decoder),
    UntilEnd,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&found.1).ok()
    }

    /// How long the body is; `None` if that cannot be known for certain.
    fn rest(&self, method: &str) -> Option<Rest> {
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return Some(Rest::Known(0));
        }
        match (self.header("transfer-encoding"), self.header("content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Some(Rest::Chunked(Decoder::default())),
            (Some(_), _) => None,
            (None, Some(length)) => length.parse().ok().map(Rest::Known),
            (None, None) => Some(Rest::UntilEnd),
        }
    }
}

/// Passes the response of a server that was asked back to the client.
pub(super) async fn relay(
    connection: &mut Connection,
    exchange: &mut Exchange,
    body: &Body,
    pass: &ProxyPass,
    mut upstream: Upstream,
    keep_alive: &mut bool,
) -> Result<Passed, Gone> {
    let answer = match read_head(&mut upstream).await {
        Ok(answer) => answer,
        Err((status, message)) => {
            exchange.log(Level::Error, message);
            exchange.passed.statuses.push(status);
            return Ok(Passed::Failed(status));
        }
    };
    exchange.passed.statuses.push(answer.status);
    let shown = |(name, value): &(String, Vec<u8>)| (name.clone(), String::from_utf8_lossy(value).into_owned());
    exchange.passed.headers = answer.headers.iter().map(shown).collect();
    let Some(rest) = answer.rest(&exchange.method) else {
        exchange.log(Level::Error, "upstream sent a response whose length cannot be known");
        return Ok(Passed::Failed(502));
    };
    let has_page = exchange.settings.error_pages.iter().any(|page| page.statuses.contains(&answer.status));
    if exchange.settings.proxy.intercept_errors && answer.status >= 300 && has_page {
        return Ok(Passed::Failed(answer.status));
    }
    if !body.is_skippable() {
        *keep_alive = false;
    }
    let framing = match (&rest, exchange.request.http_1_1) {
        (Rest::Known(length), _) => Framing::Known(*length),
        (_, true) => Framing::Chunked,
        (_, false) => {
            *keep_alive = false;
            Framing::UntilEnd
        }
    };
    write_head(connection, exchange, pass, &answer, framing, *keep_alive);
    copy(connection, exchange, upstream, rest, framing).await?;
    Ok(Passed::Sent)
}

/// How the client is told the length of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Known(u64),
    Chunked,
    UntilEnd,
}

async fn read_head(upstream: &mut Upstream) -> Result<Answer, (u16, String)> {
    loop {
        match parse(&upstream.received) {
            Ok(Some((answer, used))) => {
                upstream.received.drain(..used);
                // `100 Continue` and the like come before the response.
                if !(100..200).contains(&answer.status) {
                    return Ok(answer);
                }
                continue;
            }
            Ok(None) if upstream.received.len() > MAX_HEAD => {
                return Err((
                    502,
                    "upstream sent too big header while reading response header from upstream".to_owned(),
                ));
            }
            Ok(None) => {}
            Err(error) => {
                return Err((
                    502,
                    format!("upstream sent invalid header ({error}) while reading response header from upstream"),
                ));
            }
        }
        match upstream.receive().await {
            Ok(true) => {}
            Ok(false) => {
                let message = "upstream prematurely closed connection while reading response header from upstream";
                return Err((502, message.to_owned()));
            }
            Err(status) => return Err((status, "upstream timed out (110: Operation timed out)".to_owned())),
        }
    }
}

fn parse(received: &[u8]) -> Result<Option<(Answer, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(used) = response.parse(received)? else { return Ok(None) };
    let headers = response.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect();
    let answer = Answer {
        status: response.code.unwrap_or(502),
        reason: response.reason.unwrap_or_default().to_owned(),
        headers,
    };
    Ok(Some((answer, used)))
}

fn write_head(
    connection: &mut Connection,
    exchange: &mut Exchange,
    pass: &ProxyPass,
    answer: &Answer,
    framing: Framing,
    keep_alive: bool,
) {
    let begin = connection.unsent.len();
    let proxy = std::rc::Rc::clone(&exchange.settings.proxy);
    let mut head = Head::new(&mut connection.unsent, answer.status, &answer.reason);
    if !passes(&proxy, "server") {
        head.line("Server", if exchange.settings.server_tokens { NAME_AND_VERSION } else { NAME });
    }
    if !passes(&proxy, "date") {
        head.line("Date", &connection.service.clock.date());
    }
    match framing {
        Framing::Known(_) => {
            if let Some(length) = answer.header("content-length") {
                head.line("Content-Length", length);
            } else if exchange.method != "HEAD" && !matches!(answer.status, 204 | 304) {
                head.line("Content-Length", "0");
            }
        }
        Framing::Chunked => head.line("Transfer-Encoding", "chunked"),
        Framing::UntilEnd => {}
    }
    head.line("Connection", if keep_alive { "keep-alive" } else { "close" });
    for (name, value) in &answer.headers {
        let lower = name.to_ascii_lowercase();
        let own = NOT_PASSED.contains(&lower.as_str())
            && !(passes(&proxy, &lower) && matches!(lower.as_str(), "server" | "date"));
        if own || proxy.hide.contains(&lower) {
            continue;
        }
        match lower.as_str() {
            "location" | "refresh" => {
                let value = String::from_utf8_lossy(value);
                head.line(name, &redirected(exchange, pass, &value));
            }
            _ => head.bytes(name, value),
        }
    }
    decorate(&mut head, exchange, answer.status, connection.service.clock.unix_ms() / 1000);
    head.end();
    exchange.sent.status = answer.status;
    exchange.sent.bytes = (connection.unsent.len() - begin) as u64;
    note_headers(exchange, &connection.unsent[begin..]);
}

fn passes(proxy: &ProxySettings, name: &str) -> bool {
    proxy.pass.iter().any(|other| other == name)
}

/// What `proxy_redirect` makes of a location.
fn redirected(exchange: &Exchange, pass: &ProxyPass, location: &str) -> String {
    match &exchange.settings.proxy.redirect {
        Redirects::Off => location.to_owned(),
        Redirects::Replace(pairs) => {
            let found = pairs.iter().find_map(|(from, to)| Some((location.strip_prefix(from.as_str())?, to)));
            found.map_or_else(|| location.to_owned(), |(rest, to)| format!("{}{rest}", evaluate(to, exchange)))
        }
        // The URL that was asked stands for the location that asked it.
        Redirects::Default => {
            match (pass.url.as_fixed(), &pass.location, pass.target.as_ref().and_then(|target| target.uri.as_ref())) {
                (Some(url), Some(own), Some(_)) => {
                    location.strip_prefix(url).map_or_else(|| location.to_owned(), |rest| format!("{own}{rest}"))
                }
                (Some(url), _, None) => match location.strip_prefix(url) {
                    Some(rest) if rest.starts_with('/') => rest.to_owned(),
                    _ => location.to_owned(),
                },
                _ => location.to_owned(),
            }
        }
    }
}

/// Copies the body.
async fn copy(
    connection: &mut Connection,
    exchange: &mut Exchange,
    mut upstream: Upstream,
    mut rest: Rest,
    framing: Framing,
) -> Result<(), Gone> {
    loop {
        let mut piece = Vec::new();
        let received = &mut upstream.received;
        let is_done = match &mut rest {
            Rest::Known(left) => {
                let count = received.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                piece.extend(received.drain(..count));
                *left -= count as u64;
                *left == 0
            }
            Rest::Chunked(decoder) => {
                let used = decoder.decode(received, &mut piece).map_err(|_malformed| Gone)?;
                received.drain(..used);
                decoder.is_done()
            }
            Rest::UntilEnd => {
                std::mem::swap(&mut piece, received);
                false
            }
        };
        let before = connection.unsent.len();
        match framing {
            Framing::Chunked => encode(&piece, &mut connection.unsent),
            Framing::Known(_) | Framing::UntilEnd => connection.unsent.extend_from_slice(&piece),
        }
        exchange.sent.body_bytes += piece.len() as u64;
        exchange.sent.bytes += (connection.unsent.len() - before) as u64;
        let ended = is_done || !received_more(connection, exchange, &mut upstream, &rest).await?;
        if ended {
            if framing == Framing::Chunked {
                connection.unsent.extend_from_slice(END);
            }
            return Ok(());
        }
    }
}

/// Sends what has been gathered and waits for more; false at a proper end.
async fn received_more(
    connection: &mut Connection,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    rest: &Rest,
) -> Result<bool, Gone> {
    connection.send().await?;
    match (upstream.receive().await, rest) {
        (Ok(true), _) => Ok(true),
        (Ok(false), Rest::UntilEnd) => Ok(false),
        // The client notices only if its connection ends early too.
        (Ok(false) | Err(_), _) => {
            exchange.log(Level::Error, "upstream prematurely closed connection while reading upstream");
            Err(Gone)
        }
    }
}
