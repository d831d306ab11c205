//! `access_log`, `log_format` and `error_log`.

use std::rc::Rc;

use super::build::Scope;
use super::error::ConfigError;
use super::model::{AccessLog, ErrorLog, Escape, Level, LogFormat, LogTarget};
use super::tree::{Directive, absolute};

/// The format that logs have unless they say otherwise.
pub(super) const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
     \"$http_referer\" \"$http_user_agent\"";

/// Where the lines of a log at `path` go. `/dev/stdout` and `/dev/stderr` need not be there, and a link to one of them
/// is as good.
pub(super) fn target(scope: &Scope<'_>, path: &str) -> LogTarget {
    let path = absolute(scope.prefix, path);
    let link = scope.environment.link(&path);
    match link.as_deref().unwrap_or(&path) {
        "/dev/stdout" => LogTarget::Stdout,
        "/dev/stderr" => LogTarget::Stderr,
        _ => LogTarget::File(Rc::from(path)),
    }
}

/// `error_log PATH [LEVEL]`
pub(super) fn error_log(scope: &Scope<'_>, directive: &Directive) -> Result<ErrorLog, ConfigError> {
    let level = match directive.args.get(1) {
        None => Level::Error,
        Some(name) => match Level::NAMES.iter().find(|(known, _)| known == name) {
            Some((_, level)) => *level,
            None => return Err(directive.error(format!("invalid log level \"{name}\""))),
        },
    };
    let path = directive.arg(0);
    if path.starts_with("syslog:") || path.starts_with("memory:") {
        return Err(directive.error(format!("logs can go to files and standard streams only, not to \"{path}\"")));
    }
    let target = if path == "stderr" { LogTarget::Stderr } else { target(scope, path) };
    Ok(ErrorLog { target, level })
}

/// `log_format NAME [escape=HOW] TEXT…`
pub(super) fn format(scope: &Scope<'_>, directive: &Directive) -> Result<(String, LogFormat), ConfigError> {
    let (name, mut text) = (directive.arg(0), &directive.args[1..]);
    if scope.formats.contains_key(name) {
        return Err(directive.error(format!("duplicate \"log_format\" name \"{name}\"")));
    }
    let mut escape = Escape::Default;
    if let Some(how) = text[0].strip_prefix("escape=") {
        escape = match how {
            "default" => Escape::Default,
            "json" => Escape::Json,
            "none" => Escape::None,
            _ => return Err(directive.error(format!("unknown log format escaping \"{how}\""))),
        };
        text = &text[1..];
    }
    let template = scope.template(directive, &text.concat())?;
    Ok((name.to_owned(), LogFormat { template, escape }))
}

/// `access_log off` or `access_log PATH [FORMAT] [if=CONDITION]`
pub(super) fn access_log(
    scope: &Scope<'_>,
    directive: &Directive,
    logs: &mut Vec<AccessLog>,
) -> Result<(), ConfigError> {
    let path = directive.arg(0);
    if path == "off" {
        logs.clear();
        return Ok(());
    }
    if path.starts_with("syslog:") || path.contains('$') {
        return Err(directive.error(format!("logs can go to files and standard streams only, not to \"{path}\"")));
    }
    let (mut format, mut condition) = ("combined", None);
    for (index, arg) in directive.args.iter().enumerate().skip(1) {
        match arg.split_once('=') {
            None if index == 1 => format = arg,
            Some(("if", text)) => condition = Some(scope.template(directive, text)?),
            // Lines are gathered as it is.
            Some(("buffer" | "flush", _)) => {}
            _ => return Err(directive.invalid(arg)),
        }
    }
    let Some(format) = scope.formats.get(format) else {
        return Err(directive.error(format!("unknown log format \"{format}\"")));
    };
    logs.push(AccessLog { target: target(scope, path), format: Rc::clone(format), condition });
    Ok(())
}
