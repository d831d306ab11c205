//! The head of a request that is passed on.

use nginx::config::{ProxyPass, ProxyTarget};
use nginx::exchange::Exchange;
use nginx::http::request::BodyLength;
use nginx::http::uri;
use nginx::values::evaluate;

/// Headers that are between the client and this server only, or that are written anew.
const NOT_PASSED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Writes the head of a request for another server.
pub(super) fn head(exchange: &Exchange, pass: &ProxyPass, target: &ProxyTarget) -> Vec<u8> {
    let proxy = &exchange.settings.proxy;
    let chunked = proxy.pass_body && exchange.request.body == BodyLength::Chunked;
    let method = proxy.method.as_ref().map_or_else(|| exchange.method.clone(), |method| evaluate(method, exchange));
    // A body in chunks cannot be passed on to a server that is spoken to in HTTP/1.0.
    let version = if proxy.http_1_1 || chunked { "1.1" } else { "1.0" };
    let mut head = format!("{method} {} HTTP/{version}\r\n", path(exchange, pass, target)).into_bytes();
    let is_set = |name: &str| proxy.headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
    if !is_set("host") {
        line(&mut head, "Host", target.host.as_bytes());
    }
    if !is_set("connection") {
        line(&mut head, "Connection", b"close");
    }
    for (name, value) in &proxy.headers {
        let value = evaluate(value, exchange);
        if !value.is_empty() {
            line(&mut head, name, value.as_bytes());
        }
    }
    match exchange.request.body {
        _ if !proxy.pass_body => {}
        BodyLength::Chunked => line(&mut head, "Transfer-Encoding", b"chunked"),
        BodyLength::Known(0) if exchange.request.header("content-length").is_none() => {}
        BodyLength::Known(length) => line(&mut head, "Content-Length", length.to_string().as_bytes()),
    }
    if proxy.pass_headers {
        let named = exchange.request.header("connection").unwrap_or_default();
        let is_named = |name: &str| named.split(',').any(|other| other.trim().eq_ignore_ascii_case(name));
        for (name, value) in exchange.request.headers() {
            let own = NOT_PASSED.iter().any(|other| name.eq_ignore_ascii_case(other));
            if !own && !is_set(name) && !is_named(name) {
                line(&mut head, name, value);
            }
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Appends a header; nothing that its value holds can begin another one.
fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    head.extend_from_slice(b"\r\n");
}

/// The target of the request: with the location replaced, or as the client sent it.
fn path(exchange: &Exchange, pass: &ProxyPass, target: &ProxyTarget) -> String {
    let query = if exchange.args.is_empty() { String::new() } else { format!("?{}", exchange.args) };
    let path = match (&target.uri, &pass.location) {
        // A URL with variables says everything itself.
        (Some(uri), _) if pass.target.is_none() => uri.clone(),
        (Some(uri), Some(location)) => {
            let rest = exchange.uri.get(location.len()..).unwrap_or_default();
            format!("{uri}{}{query}", uri::escape(rest))
        }
        (Some(uri), None) => format!("{uri}{query}"),
        (None, _) if exchange.untouched && exchange.request.target().starts_with('/') => {
            exchange.request.target().split('#').next().unwrap_or_default().to_owned()
        }
        (None, _) => format!("{}{query}", uri::escape(&exchange.uri)),
    };
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    // Rewriting may have put anything there.
    path.replace(|next: char| next.is_ascii_control() || next == ' ', "")
}
