//! `http`: formats, upstreams, servers, and which server answers where.

use std::rc::Rc;

use super::build::Scope;
use super::directives::{self, HTTP};
use super::error::ConfigError;
use super::listen::{self, Listen};
use super::model::{AccessLog, Escape, Listening, LogFormat, ServerNames, Settings};
use super::server::{self, Named};
use super::tree::Directive;
use super::{logs, proxy, settings};
use crate::variables::Template;

pub(super) fn build(
    scope: &mut Scope<'_>,
    http: &Directive,
    mut settings: Settings,
) -> Result<Vec<Rc<Listening>>, ConfigError> {
    let directives = scope.checked(http.block.as_deref().unwrap_or_default(), HTTP)?;
    let combined = LogFormat { template: scope.template(http, logs::COMBINED)?, escape: Escape::Default };
    scope.formats.insert("combined".to_owned(), Rc::new(combined));
    for (directive, _) in &directives {
        match directive.name.as_str() {
            "log_format" => {
                let (name, format) = logs::format(scope, directive)?;
                scope.formats.insert(name, Rc::new(format));
            }
            "upstream" => proxy::upstream(scope, directive)?,
            _ => {}
        }
    }
    let path = "/var/log/nginx/access.log";
    let standard =
        AccessLog { target: logs::target(scope, path), format: Rc::clone(&scope.formats["combined"]), condition: None };
    settings.access_logs = Rc::new(vec![standard]);
    let mut common = server::Common::default();
    for (directive, first) in &directives {
        if !settings::apply(scope, directive, *first, &mut settings)? {
            common.apply(directive)?;
        }
    }
    let mut listeners = Vec::new();
    for (directive, _) in directives.iter().filter(|(directive, _)| directive.name == "server") {
        let (listens, names, server) = server::build(scope, directive, &settings, common)?;
        for listen in listens {
            add(scope, &mut listeners, &listen, &names, &server)?;
        }
    }
    Ok(listeners.into_iter().map(|(listening, _)| Rc::new(listening)).collect())
}

/// Enters a server with an address; the first one there is the default unless another one says that it is.
fn add(
    scope: &mut Scope<'_>,
    listeners: &mut Vec<(Listening, bool)>,
    listen: &Listen,
    names: &[Named],
    server: &Rc<super::model::Server>,
) -> Result<(), ConfigError> {
    let known = listeners.iter().position(|(listening, _)| listening.address == listen.address);
    let index = known.unwrap_or(listeners.len());
    if known.is_none() {
        let (address, backlog) = (listen.address, listen::BACKLOG);
        let default = Rc::clone(server);
        listeners.push((Listening { address, backlog, default, names: ServerNames::default() }, false));
    }
    let (listening, has_default) = &mut listeners[index];
    if listen.is_default {
        if std::mem::replace(has_default, true) {
            return Err(ConfigError::new(format!("a duplicate default server for {}", listen.address), &listen.place));
        }
        listening.default = Rc::clone(server);
    }
    listening.backlog = listen.backlog.unwrap_or(listening.backlog);
    for name in names {
        if !name.enter(&mut listening.names, server) {
            scope.warnings.push(format!("conflicting server name \"{}\" on {}, ignored", name.text, listen.address));
        }
    }
    Ok(())
}

impl Scope<'_> {
    /// The directives of a location-like block, with settings applied; what is left is the caller's.
    pub(super) fn with_settings<'d>(
        &mut self,
        directive: &'d Directive,
        context: directives::Context,
        settings: &mut Settings,
    ) -> Result<Vec<&'d Directive>, ConfigError> {
        let mut rest = Vec::new();
        for (directive, first) in self.checked(directive.block.as_deref().unwrap_or_default(), context)? {
            if !settings::apply(self, directive, first, settings)? {
                rest.push(directive);
            }
        }
        Ok(rest)
    }
}

impl Settings {
    /// What holds if nothing is said.
    pub(super) fn initial(prefix: &str) -> Self {
        let root = super::tree::absolute(prefix, "html");
        settings::initial(Template::fixed(&root))
    }
}
