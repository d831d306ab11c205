//! What variables stand for in an exchange.

use std::borrow::Cow;

use crate::NAME_AND_VERSION;
use crate::config::{Escape, LogFormat, Root};
use crate::exchange::Exchange;
use crate::http::date::Parts;
use crate::variables::{Known, Part, Template, Variable};

/// The value of a text.
pub fn evaluate(template: &Template, exchange: &Exchange) -> String {
    let mut value = String::new();
    for part in template.parts() {
        match part {
            Part::Text(text) => value.push_str(text),
            Part::Variable(variable) => value.push_str(&value_of(variable, exchange)),
        }
    }
    value
}

/// Appends a line of a log, without its end.
pub fn log_line(format: &LogFormat, exchange: &Exchange, line: &mut Vec<u8>) {
    for part in format.template.parts() {
        match part {
            Part::Text(text) => line.extend_from_slice(text.as_bytes()),
            Part::Variable(Variable::Known(Known::Request)) => escape(exchange.request.line(), format.escape, line),
            Part::Variable(variable) => escape(value_of(variable, exchange).as_bytes(), format.escape, line),
        }
    }
}

fn escape(value: &[u8], how: Escape, line: &mut Vec<u8>) {
    if how == Escape::Default && value.is_empty() {
        line.push(b'-');
        return;
    }
    let special = |byte: u8| match how {
        Escape::Default => matches!(byte, b'"' | b'\\' | 0..=31 | 127..),
        Escape::Json => matches!(byte, b'"' | b'\\' | 0..=31),
        Escape::None => false,
    };
    if !value.iter().copied().any(special) {
        line.extend_from_slice(value);
        return;
    }
    for &byte in value {
        match (how, byte) {
            _ if !special(byte) => line.push(byte),
            (Escape::Json, b'"' | b'\\') => line.extend_from_slice(&[b'\\', byte]),
            (Escape::Json, _) => line.extend_from_slice(format!("\\u{byte:04X}").as_bytes()),
            _ => line.extend_from_slice(format!("\\x{byte:02X}").as_bytes()),
        }
    }
}

/// The value of a variable; empty if it has none.
pub fn value_of<'a>(variable: &Variable, exchange: &'a Exchange) -> Cow<'a, str> {
    let listed = |headers: &'a [(String, String)], name: &str| {
        let found = headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        Cow::Borrowed(found.map_or("", |(_, value)| value.as_str()))
    };
    match variable {
        Variable::Argument(name) => Cow::Borrowed(argument(&exchange.args, name)),
        Variable::Header(name) => Cow::Borrowed(exchange.request.header(name).unwrap_or_default()),
        Variable::SentHeader(name) => listed(&exchange.sent.headers, name),
        Variable::UpstreamHeader(name) => listed(&exchange.passed.headers, name),
        Variable::Cookie(name) => Cow::Borrowed(cookie(exchange.request.header("cookie").unwrap_or_default(), name)),
        Variable::Capture(number) => Cow::Borrowed(exchange.captures.get(*number).map_or("", String::as_str)),
        Variable::User(place) => Cow::Borrowed(exchange.user.get(*place).map_or("", String::as_str)),
        Variable::Known(known) => known_value(*known, exchange),
    }
}

fn argument<'a>(args: &'a str, name: &str) -> &'a str {
    let pairs = args.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}

fn cookie<'a>(header: &'a str, name: &str) -> &'a str {
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
}

fn known_value(known: Known, exchange: &Exchange) -> Cow<'_, str> {
    let Exchange { request, client, times, sent, .. } = exchange;
    let header = |name| request.header(name).unwrap_or_default();
    Cow::Owned(match known {
        Known::Args | Known::QueryString => return Cow::Borrowed(&exchange.args),
        Known::ContentLength => return Cow::Borrowed(header("content-length")),
        Known::ContentType => return Cow::Borrowed(header("content-type")),
        Known::DocumentUri | Known::Uri => return Cow::Borrowed(&exchange.uri),
        Known::Https | Known::RemoteUser => return Cow::Borrowed(""),
        Known::IsArgs => return Cow::Borrowed(if exchange.args.is_empty() { "" } else { "?" }),
        Known::NginxVersion => return Cow::Borrowed(NAME_AND_VERSION),
        Known::Pipe => return Cow::Borrowed(if exchange.number > 1 { "p" } else { "." }),
        Known::RemoteAddr => return Cow::Borrowed(&client.address),
        Known::RequestMethod => return Cow::Borrowed(&exchange.method),
        Known::RequestUri => return Cow::Borrowed(request.target()),
        Known::Scheme => return Cow::Borrowed("http"),
        Known::ServerName => return Cow::Borrowed(&exchange.server.name),
        Known::ServerProtocol => return Cow::Borrowed(if request.http_1_1 { "HTTP/1.1" } else { "HTTP/1.0" }),
        Known::Request => return String::from_utf8_lossy(request.line()),
        Known::Host => exchange.public_host(),
        Known::Hostname => std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".to_owned()),
        Known::BodyBytesSent => sent.body_bytes.to_string(),
        Known::BytesSent => sent.bytes.to_string(),
        Known::Connection => client.number.to_string(),
        Known::ConnectionRequests => exchange.number.to_string(),
        Known::Status => sent.status.to_string(),
        Known::RemotePort => client.peer.port().to_string(),
        Known::ServerAddr => client.local.ip().to_string(),
        Known::ServerPort => client.local.port().to_string(),
        Known::RequestLength => request.head_length().to_string(),
        Known::DocumentRoot | Known::RealpathRoot => document_root(exchange),
        Known::RequestFilename => file_path(exchange, &exchange.uri),
        Known::Msec => seconds(times.unix_ms),
        Known::RequestTime => seconds(times.now.saturating_sub(times.started) / 1_000_000),
        Known::TimeLocal => Parts::new(times.unix_ms / 1000).local(),
        Known::TimeIso8601 => Parts::new(times.unix_ms / 1000).iso(),
        Known::ProxyAddXForwardedFor => match header("x-forwarded-for") {
            "" => return Cow::Borrowed(&client.address),
            before => format!("{before}, {}", client.address),
        },
        Known::ProxyHost => exchange.passed.host.clone(),
        Known::ProxyPort => exchange.passed.host.rsplit_once(':').map_or("80", |(_, port)| port).to_owned(),
        Known::UpstreamAddr => exchange.passed.addresses.join(", "),
        Known::UpstreamStatus => joined(&exchange.passed.statuses, u16::to_string),
        Known::UpstreamResponseTime => joined(&exchange.passed.times, |time| seconds(time / 1_000_000)),
    })
}

fn joined<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

fn document_root(exchange: &Exchange) -> String {
    match &exchange.settings.root {
        Root::Root(root) | Root::Alias(root, _) => evaluate(root, exchange),
    }
}

/// The path of the file that a path of the server stands for.
pub fn file_path(exchange: &Exchange, uri: &str) -> String {
    let (root, rest) = match &exchange.settings.root {
        Root::Root(root) => (root, uri),
        Root::Alias(root, skipped) => (root, skipped.map_or("", |skipped| uri.get(skipped..).unwrap_or_default())),
    };
    // A root of `/srv/` and a path of `/x` are `/srv//x`, which is as good, but not in messages.
    let mut path = evaluate(root, exchange);
    if path.ends_with('/') && rest.starts_with('/') {
        path.pop();
    }
    path.push_str(rest);
    path
}

#[cfg(test)]
mod tests {
    use super::{Escape, argument, cookie, escape, seconds};

    #[test]
    fn log_lines_cannot_be_forged() {
        let escaped = |value: &[u8], how| {
            let mut line = Vec::new();
            escape(value, how, &mut line);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(escaped(b"a\"b\n\xff\\", Escape::Default), "a\\x22b\\x0A\\xFF\\x5C");
        assert_eq!(escaped(b"", Escape::Default), "-");
        assert_eq!(escaped(b"a\"b\n", Escape::Json), "a\\\"b\\u000A");
    }

    #[test]
    fn arguments_and_cookies_are_found_by_name() {
        assert_eq!(argument("a=1&b=2&a=3", "a"), "1");
        assert_eq!(argument("ab=1", "a"), "");
        assert_eq!(cookie("x=1; y=2", "y"), "2");
        assert_eq!(seconds(1234), "1.234");
    }
}
