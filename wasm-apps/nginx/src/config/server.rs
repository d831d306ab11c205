//! `server`

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use regex_lite::Regex;

use super::build::Scope;
use super::directives::SERVER;
use super::error::ConfigError;
use super::listen::{self, Listen};
use super::model::{Server, ServerNames, Settings};
use super::tree::Directive;
use super::{location, rewrite, values};
use crate::locations::Locations;

/// What `http` and `server` may say about reading requests.
#[derive(Clone, Copy)]
pub(super) struct Common {
    header_timeout: Duration,
    merge_slashes: bool,
    underscores_in_headers: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self { header_timeout: Duration::from_secs(60), merge_slashes: true, underscores_in_headers: false }
    }
}

impl Common {
    pub(super) fn apply(&mut self, directive: &Directive) -> Result<(), ConfigError> {
        match directive.name.as_str() {
            "client_header_timeout" => self.header_timeout = values::time(directive, 0)?,
            "merge_slashes" => self.merge_slashes = values::flag(directive)?,
            "underscores_in_headers" => self.underscores_in_headers = values::flag(directive)?,
            _ => {}
        }
        Ok(())
    }
}

/// A name of a server.
pub(super) struct Named {
    pub(super) text: String,
    kind: Kind,
}

enum Kind {
    Exact(String),
    Suffix(String),
    Prefix(String),
    Regex(Regex),
}

impl Named {
    fn parse(directive: &Directive, text: &str) -> Result<Vec<Self>, ConfigError> {
        let lower = text.to_ascii_lowercase();
        let kinds = match lower.as_str() {
            _ if text.starts_with('~') => vec![Kind::Regex(values::regex(directive, &text[1..], true)?)],
            name if name.starts_with("*.") => vec![Kind::Suffix(name[1..].to_owned())],
            name if name.starts_with('.') => vec![Kind::Exact(name[1..].to_owned()), Kind::Suffix(name.to_owned())],
            name if name.ends_with(".*") => vec![Kind::Prefix(name[..name.len() - 1].to_owned())],
            name if name.contains('*') || name.contains('/') => {
                return Err(directive.error(format!("invalid server name or wildcard \"{text}\"")));
            }
            name => vec![Kind::Exact(name.to_owned())],
        };
        Ok(kinds.into_iter().map(|kind| Self { text: text.to_owned(), kind }).collect())
    }

    /// Enters the server under this name; false if another one has it.
    pub(super) fn enter(&self, names: &mut ServerNames, server: &Rc<Server>) -> bool {
        let sorted = |list: &mut Vec<(String, Rc<Server>)>, name: &String| {
            let is_new = list.iter().all(|(other, _)| other != name);
            if is_new {
                let place = list.partition_point(|(other, _)| other.len() >= name.len());
                list.insert(place, (name.clone(), Rc::clone(server)));
            }
            is_new
        };
        match &self.kind {
            Kind::Exact(name) if names.exact.contains_key(name) => false,
            Kind::Exact(name) => names.exact.insert(name.clone(), Rc::clone(server)).is_none(),
            Kind::Suffix(name) => sorted(&mut names.suffixes, name),
            Kind::Prefix(name) => sorted(&mut names.prefixes, name),
            Kind::Regex(regex) => {
                names.regexes.push((regex.clone(), Rc::clone(server)));
                true
            }
        }
    }
}

type Built = (Vec<Listen>, Vec<Named>, Rc<Server>);

pub(super) fn build(
    scope: &mut Scope<'_>,
    directive: &Directive,
    outer: &Settings,
    mut common: Common,
) -> Result<Built, ConfigError> {
    let mut settings = outer.clone();
    let rest = scope.with_settings(directive, SERVER, &mut settings)?;
    let (mut listens, mut names) = (Vec::new(), Vec::new());
    for directive in &rest {
        match directive.name.as_str() {
            "listen" => {
                let more = listen::parse(scope, directive)?;
                for listen in &more {
                    if listens.iter().any(|other: &Listen| other.address == listen.address) {
                        return Err(directive.error(format!("a duplicate listen {}", directive.arg(0))));
                    }
                }
                listens.extend(more);
            }
            "server_name" => {
                for arg in &directive.args {
                    names.extend(Named::parse(directive, arg)?);
                }
            }
            _ => common.apply(directive)?,
        }
    }
    if listens.is_empty() {
        listens.push(Listen::standard(&directive.place));
    }
    let (mut locations, mut named) = (Locations::default(), HashMap::new());
    for directive in rest.iter().filter(|directive| directive.name == "location") {
        location::build(scope, directive, &settings, location::Parent::Server(&mut named), &mut locations)?;
    }
    let script = rewrite::script(scope, &rest, &settings, rewrite::Around::Server)?;
    let name = names.first().map(|name: &Named| name.text.clone()).unwrap_or_default();
    let server = Server {
        name,
        settings: Rc::new(settings),
        script,
        locations,
        named,
        header_timeout: common.header_timeout,
        merge_slashes: common.merge_slashes,
        underscores_in_headers: common.underscores_in_headers,
        variables: Rc::clone(&scope.names),
    };
    Ok((listens, names, Rc::new(server)))
}
