//! `proxy_…` and `upstream`

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::build::Scope;
use super::directives::UPSTREAM;
use super::error::ConfigError;
use super::model::{Peer, ProxyPass, ProxySettings, ProxyTarget, Redirects, Settings, Upstream};
use super::tree::Directive;
use super::values::{flag, time};

/// What holds if nothing is said.
pub(super) fn initial() -> ProxySettings {
    let minute = Duration::from_secs(60);
    ProxySettings {
        headers: Vec::new(),
        http_1_1: false,
        connect_timeout: minute,
        read_timeout: minute,
        send_timeout: minute,
        hide: Vec::new(),
        pass: Vec::new(),
        intercept_errors: false,
        method: None,
        pass_body: true,
        pass_headers: true,
        redirect: Redirects::Default,
        next_upstream: true,
    }
}

/// Applies a directive other than `proxy_pass`.
pub(super) fn apply(
    scope: &Scope<'_>,
    directive: &Directive,
    first: bool,
    settings: &mut Settings,
) -> Result<(), ConfigError> {
    let proxy = Rc::make_mut(&mut settings.proxy);
    match directive.name.as_str() {
        "proxy_connect_timeout" => proxy.connect_timeout = time(directive, 0)?,
        "proxy_read_timeout" => proxy.read_timeout = time(directive, 0)?,
        "proxy_send_timeout" => proxy.send_timeout = time(directive, 0)?,
        "proxy_intercept_errors" => proxy.intercept_errors = flag(directive)?,
        "proxy_pass_request_body" => proxy.pass_body = flag(directive)?,
        "proxy_pass_request_headers" => proxy.pass_headers = flag(directive)?,
        "proxy_method" => proxy.method = Some(scope.template(directive, directive.arg(0))?),
        "proxy_next_upstream" => {
            proxy.next_upstream = directive.args.iter().any(|arg| matches!(arg.as_str(), "error" | "timeout"))
        }
        "proxy_http_version" => {
            proxy.http_1_1 = match directive.arg(0) {
                "1.0" => false,
                "1.1" => true,
                other => return Err(directive.error(format!("invalid value \"{other}\""))),
            }
        }
        "proxy_set_header" => {
            if first {
                proxy.headers.clear();
            }
            let name = directive.arg(0).to_owned();
            proxy.headers.push((name, scope.template(directive, directive.arg(1))?));
        }
        "proxy_hide_header" | "proxy_pass_header" => {
            let list = if directive.name == "proxy_hide_header" { &mut proxy.hide } else { &mut proxy.pass };
            if first {
                list.clear();
            }
            list.push(directive.arg(0).to_ascii_lowercase());
        }
        "proxy_redirect" => redirect(scope, directive, first, proxy)?,
        _ => {}
    }
    Ok(())
}

fn redirect(
    scope: &Scope<'_>,
    directive: &Directive,
    first: bool,
    proxy: &mut ProxySettings,
) -> Result<(), ConfigError> {
    if let [word] = directive.args.as_slice() {
        proxy.redirect = match word.as_str() {
            "off" => Redirects::Off,
            "default" => Redirects::Default,
            other => return Err(directive.invalid(other)),
        };
        return Ok(());
    }
    let from = directive.arg(0);
    if from.starts_with('~') || from.contains('$') {
        return Err(
            directive.error(format!("only fixed prefixes can be replaced in \"proxy_redirect\", not \"{from}\""))
        );
    }
    let pair = (from.to_owned(), scope.template(directive, directive.arg(1))?);
    match &mut proxy.redirect {
        Redirects::Replace(pairs) if !first => pairs.push(pair),
        other => *other = Redirects::Replace(vec![pair]),
    }
    Ok(())
}

/// Takes `http://HOST[:PORT][/PATH…]` apart: the host with its port, and the rest.
pub fn split_url(url: &str) -> Option<(&str, Option<&str>)> {
    let rest = url.get(..7).filter(|start| start.eq_ignore_ascii_case("http://")).map(|_| &url[7..])?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, uri) = rest.split_at(end);
    (!host.is_empty()).then_some((host, Some(uri).filter(|uri| !uri.is_empty())))
}

/// `proxy_pass`, in a location that stands for `location` or for no fixed path.
pub(super) fn pass(
    scope: &Scope<'_>,
    directive: &Directive,
    location: Option<&str>,
) -> Result<Rc<ProxyPass>, ConfigError> {
    let text = directive.arg(0);
    let url = scope.template(directive, text)?;
    let location = location.map(str::to_owned);
    if url.as_fixed().is_none() {
        return Ok(Rc::new(ProxyPass { url, target: None, location }));
    }
    if text.starts_with("https://") {
        return Err(directive.error("https protocol requires SSL support"));
    }
    let Some((host, uri)) = split_url(text) else { return Err(directive.error("invalid URL prefix")) };
    if host.starts_with("unix:") {
        return Err(directive.error(format!("unix sockets are not supported here, in \"{text}\"")));
    }
    if uri.is_some() && location.is_none() {
        return Err(directive.error(
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, \
             or inside \"if\" statement, or inside \"limit_except\" block",
        ));
    }
    let upstream = match scope.upstreams.get(host) {
        Some(upstream) => Rc::clone(upstream),
        None => {
            let peer = |address| Peer { address, weight: 1, backup: false };
            let peers: Vec<Peer> = resolve(scope, directive, host)?.into_iter().map(peer).collect();
            let turns = RefCell::new(vec![0; peers.len()]);
            Rc::new(Upstream { name: host.to_owned(), peers, turns })
        }
    };
    let target = ProxyTarget { host: host.to_owned(), uri: uri.map(str::to_owned), upstream };
    Ok(Rc::new(ProxyPass { url, target: Some(target), location }))
}

fn resolve(scope: &Scope<'_>, directive: &Directive, text: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let invalid = || directive.error(format!("invalid port in upstream \"{text}\""));
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| invalid())?)
        }
        _ => (text, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = match host.parse() {
        Ok(ip) => vec![ip],
        Err(_) => scope.environment.resolve(host),
    };
    if found.is_empty() {
        return Err(directive.error(format!("host not found in upstream \"{text}\"")));
    }
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
}

/// `upstream NAME { server …; }`
pub(super) fn upstream(scope: &mut Scope<'_>, directive: &Directive) -> Result<(), ConfigError> {
    let name = directive.arg(0).to_owned();
    let mut peers = Vec::new();
    let servers = scope.checked(directive.block.as_deref().unwrap_or_default(), UPSTREAM)?;
    for (server, _) in servers {
        let (mut weight, mut backup, mut down) = (1, false, false);
        for parameter in &server.args[1..] {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("weight", number) => {
                    let number = number.parse().ok().filter(|number| (1..=10_000).contains(number));
                    weight = number.ok_or_else(|| server.invalid(parameter))?;
                }
                ("backup", "") => backup = true,
                ("down", "") => down = true,
                // Servers that fail are asked again the next time.
                ("max_fails" | "fail_timeout" | "max_conns", _) => {}
                _ => return Err(server.invalid(parameter)),
            }
        }
        let addresses = resolve(scope, server, server.arg(0))?;
        if !down {
            peers.extend(addresses.into_iter().map(|address| Peer { address, weight, backup }));
        }
    }
    if peers.is_empty() {
        return Err(directive.error("no servers are inside upstream"));
    }
    let turns = RefCell::new(vec![0; peers.len()]);
    if scope.upstreams.insert(name.clone(), Rc::new(Upstream { name: name.clone(), peers, turns })).is_some() {
        return Err(directive.error(format!("duplicate upstream \"{name}\"")));
    }
    Ok(())
}
