//! `listen`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::build::Scope;
use super::error::{ConfigError, Place};
use super::tree::Directive;

/// Connections that wait to be accepted, unless a directive says otherwise.
pub(super) const BACKLOG: u64 = 511;

/// One `listen` directive.
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    pub(super) is_default: bool,
    pub(super) backlog: Option<u64>,
    pub(super) place: Place,
}

impl Listen {
    /// Where servers listen that say nothing about it.
    pub(super) fn standard(place: &Place) -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        Self { address, is_default: false, backlog: None, place: place.clone() }
    }
}

pub(super) fn parse(scope: &Scope<'_>, directive: &Directive) -> Result<Vec<Listen>, ConfigError> {
    let (mut is_default, mut backlog) = (false, None);
    for parameter in &directive.args[1..] {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("default_server" | "default", "") => is_default = true,
            ("backlog", number) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                backlog = Some(number.ok_or_else(|| directive.error(format!("invalid backlog \"{parameter}\"")))?);
            }
            ("reuseport" | "deferred" | "bind", "")
            | ("ipv6only" | "so_keepalive" | "fastopen" | "rcvbuf" | "sndbuf", _) => {}
            ("ssl", "") => {
                return Err(directive.error("the \"ssl\" parameter requires ngx_http_ssl_module"));
            }
            ("http2" | "quic" | "proxy_protocol", "") => {
                return Err(directive.error(format!("the \"{parameter}\" parameter is not supported here")));
            }
            _ => return Err(directive.invalid(parameter)),
        }
    }
    let addresses = addresses(scope, directive)?;
    let listen = |address| Listen { address, is_default, backlog, place: directive.place.clone() };
    Ok(addresses.into_iter().map(listen).collect())
}

fn addresses(scope: &Scope<'_>, directive: &Directive) -> Result<Vec<SocketAddr>, ConfigError> {
    let text = directive.arg(0);
    if text.starts_with("unix:") {
        return Err(
            directive.error(format!("unix sockets are not supported here, in \"{text}\" of the \"listen\" directive"))
        );
    }
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(directive.error(format!("invalid port in \"{}\" of the \"listen\" directive", directive.arg(0)))),
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(vec![SocketAddr::new(any, port(text)?)]);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, number)) if !host.starts_with('[') || host.ends_with(']') => (host, port(number)?),
        _ => (text, 80),
    };
    if host == "*" {
        return Ok(vec![SocketAddr::new(any, port)]);
    }
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = scope.environment.resolve(host);
    if found.is_empty() {
        return Err(directive.error(format!("host not found in \"{text}\" of the \"listen\" directive")));
    }
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}
