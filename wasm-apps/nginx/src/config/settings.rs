//! What inner blocks inherit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::build::Scope;
use super::error::ConfigError;
use super::model::{
    AccessRule, AddedHeader, Content, ErrorLog, ErrorPage, Expires, Fallback, Level, LogTarget, ModifiedSince, Root,
    Settings, TryFiles,
};
use super::tree::Directive;
use super::values::{flag, number, parse_time, size, status, time};
use super::{logs, proxy};
use crate::variables::Template;

/// What holds if nothing is said.
pub(super) fn initial(root: Template) -> Settings {
    let types = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];
    Settings {
        root: Root::Root(root),
        index: [Template::fixed("index.html")].into(),
        default_type: "text/plain".into(),
        types: Rc::new(types.into_iter().map(|(extension, name)| (extension.to_owned(), name.into())).collect()),
        autoindex: false,
        autoindex_exact_size: true,
        error_pages: Rc::default(),
        add_headers: Rc::default(),
        expires: Expires::Off,
        access_logs: Rc::default(),
        error_log: ErrorLog { target: LogTarget::Stderr, level: Level::Error },
        log_not_found: true,
        keepalive_timeout: Duration::from_secs(75),
        keepalive_requests: 1000,
        body_timeout: Duration::from_secs(60),
        send_timeout: Duration::from_secs(60),
        max_body: 1 << 20,
        server_tokens: true,
        etag: true,
        if_modified_since: ModifiedSince::Exact,
        absolute_redirect: true,
        port_in_redirect: true,
        server_name_in_redirect: false,
        access: Rc::default(),
        limit_except: None,
        try_files: None,
        proxy: Rc::new(proxy::initial()),
        content: Content::Static,
    }
}

/// The list in its place, emptied if this directive is the first of its kind in its block.
fn list<T>(list: &mut Rc<Vec<T>>, first: bool) -> Option<&mut Vec<T>> {
    if first {
        *list = Rc::default();
    }
    Rc::get_mut(list)
}

/// Applies a directive; false if it is none of those that are inherited. `first`: the block has none like it yet.
pub(super) fn apply(
    scope: &Scope<'_>,
    directive: &Directive,
    first: bool,
    settings: &mut Settings,
) -> Result<bool, ConfigError> {
    match directive.name.as_str() {
        "root" => settings.root = Root::Root(scope.path(directive, directive.arg(0))?),
        "index" => {
            let more: Result<Vec<_>, _> = directive.args.iter().map(|arg| scope.template(directive, arg)).collect();
            let before = if first { &[] } else { &*settings.index };
            settings.index = before.iter().cloned().chain(more?).collect();
        }
        "default_type" => settings.default_type = directive.arg(0).into(),
        "types" => settings.types = Rc::new(types(directive)?),
        "autoindex" => settings.autoindex = flag(directive)?,
        "autoindex_exact_size" => settings.autoindex_exact_size = flag(directive)?,
        "error_page" => list(&mut settings.error_pages, first).into_iter().try_for_each(|pages| {
            pages.push(error_page(scope, directive)?);
            Ok(())
        })?,
        "add_header" => list(&mut settings.add_headers, first).into_iter().try_for_each(|headers| {
            headers.push(added_header(scope, directive)?);
            Ok(())
        })?,
        "expires" => settings.expires = expires(directive)?,
        "access_log" => list(&mut settings.access_logs, first)
            .into_iter()
            .try_for_each(|logs| logs::access_log(scope, directive, logs))?,
        "error_log" => settings.error_log = logs::error_log(scope, directive)?,
        "allow" | "deny" => list(&mut settings.access, first).into_iter().try_for_each(|rules| {
            rules.push(access_rule(directive)?);
            Ok(())
        })?,
        "try_files" => settings.try_files = Some(Rc::new(try_files(scope, directive)?)),
        "stub_status" => settings.content = Content::StubStatus,
        name if name.starts_with("proxy_") && name != "proxy_pass" => proxy::apply(scope, directive, first, settings)?,
        _ => return simple(directive, settings),
    }
    Ok(true)
}

/// Switches, numbers and times.
fn simple(directive: &Directive, settings: &mut Settings) -> Result<bool, ConfigError> {
    match directive.name.as_str() {
        "log_not_found" => settings.log_not_found = flag(directive)?,
        "keepalive_timeout" => settings.keepalive_timeout = time(directive, 0)?,
        "keepalive_requests" => settings.keepalive_requests = number(directive, 0)?,
        "client_body_timeout" => settings.body_timeout = time(directive, 0)?,
        "send_timeout" => settings.send_timeout = time(directive, 0)?,
        "client_max_body_size" => settings.max_body = size(directive, 0)?,
        // `build` is what this server never has.
        "server_tokens" if directive.arg(0) == "build" => settings.server_tokens = true,
        "server_tokens" => settings.server_tokens = flag(directive)?,
        "etag" => settings.etag = flag(directive)?,
        "if_modified_since" => {
            settings.if_modified_since = match directive.arg(0) {
                "off" => ModifiedSince::Off,
                "exact" => ModifiedSince::Exact,
                "before" => ModifiedSince::Before,
                other => return Err(directive.error(format!("invalid value \"{other}\""))),
            }
        }
        "absolute_redirect" => settings.absolute_redirect = flag(directive)?,
        "port_in_redirect" => settings.port_in_redirect = flag(directive)?,
        "server_name_in_redirect" => settings.server_name_in_redirect = flag(directive)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn types(directive: &Directive) -> Result<HashMap<String, Rc<str>>, ConfigError> {
    let mut types = HashMap::new();
    for entry in directive.block.as_deref().unwrap_or_default() {
        if entry.block.is_some() || entry.args.is_empty() {
            return Err(entry.error("invalid number of arguments in \"types\" directive"));
        }
        let name: Rc<str> = entry.name.as_str().into();
        types.extend(entry.args.iter().map(|extension| (extension.to_ascii_lowercase(), Rc::clone(&name))));
    }
    Ok(types)
}

fn error_page(scope: &Scope<'_>, directive: &Directive) -> Result<ErrorPage, ConfigError> {
    let (target, mut rest) = directive.args.split_last().ok_or_else(|| directive.invalid(""))?;
    let mut replacement = None;
    if let Some((last, before)) = rest.split_last()
        && let Some(text) = last.strip_prefix('=')
    {
        replacement = Some(if text.is_empty() { None } else { Some(status(directive, text)?) });
        rest = before;
    }
    let mut statuses = Vec::new();
    for text in rest {
        let value = text.parse::<u16>().map_err(|_| directive.error(format!("invalid value \"{text}\"")))?;
        if !(300..=599).contains(&value) {
            return Err(directive.error(format!("value \"{text}\" must be between 300 and 599")));
        }
        statuses.push(value);
    }
    if statuses.is_empty() {
        return Err(directive.error("invalid number of arguments in \"error_page\" directive"));
    }
    Ok(ErrorPage { statuses, replacement, target: scope.template(directive, target)? })
}

fn added_header(scope: &Scope<'_>, directive: &Directive) -> Result<AddedHeader, ConfigError> {
    let always = match directive.args.get(2).map(String::as_str) {
        None => false,
        Some("always") => true,
        Some(other) => return Err(directive.invalid(other)),
    };
    let (name, text) = (directive.arg(0), directive.arg(1));
    if name.bytes().chain(text.bytes()).any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(directive.error("a header cannot hold control characters"));
    }
    Ok(AddedHeader { name: name.to_owned(), value: scope.template(directive, text)?, always })
}

fn expires(directive: &Directive) -> Result<Expires, ConfigError> {
    match directive.arg(0) {
        "off" => Ok(Expires::Off),
        "epoch" => Ok(Expires::Epoch),
        "max" => Ok(Expires::Max),
        text => {
            let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
            let seconds = parse_time(digits).and_then(|time| i64::try_from(time.as_secs()).ok());
            match seconds.filter(|_| directive.args.len() == 1) {
                Some(seconds) => Ok(Expires::After(sign * seconds)),
                None => Err(directive.error("invalid value")),
            }
        }
    }
}

fn access_rule(directive: &Directive) -> Result<AccessRule, ConfigError> {
    let (allow, text) = (directive.name == "allow", directive.arg(0));
    if text == "all" {
        return Ok(AccessRule { allow, network: None });
    }
    let invalid = || directive.invalid(text);
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| invalid())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| *bits <= most).ok_or_else(invalid)?;
    Ok(AccessRule { allow, network: Some((address, bits)) })
}

fn try_files(scope: &Scope<'_>, directive: &Directive) -> Result<TryFiles, ConfigError> {
    let (last, paths) = directive.args.split_last().ok_or_else(|| directive.invalid(""))?;
    let paths: Result<_, _> = paths.iter().map(|path| scope.template(directive, path)).collect();
    let otherwise = match last.strip_prefix('=') {
        Some(code) => Fallback::Status(status(directive, code)?),
        None => Fallback::Path(scope.template(directive, last)?),
    };
    Ok(TryFiles { paths: paths?, otherwise })
}
