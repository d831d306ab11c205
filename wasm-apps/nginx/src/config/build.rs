//! The outermost directives, and what all others are built with.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::directives::{self, EVENTS, Effect, MAIN};
use super::error::{ConfigError, Place};
use super::model::{Config, ErrorLog, Level, LogFormat, LogTarget, Settings, Upstream};
use super::tree::{Directive, Environment, Reader, absolute};
use super::{http, logs, values};
use crate::variables::{Names, Template, TemplateError};

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The configuration file.
    pub file: String,
    /// What other relative paths are relative to.
    pub prefix: String,
    /// Directives of the command line (`-g`).
    pub directives: String,
    /// Where messages go unless the configuration says (`-e`).
    pub error_log: Option<String>,
}

/// A configuration and the files it was read from.
#[derive(Debug)]
pub struct Loaded {
    /// It.
    pub config: Config,
    /// Paths and contents.
    pub files: BTreeMap<String, String>,
}

/// What is known while a configuration is built.
pub(super) struct Scope<'a> {
    pub(super) environment: &'a dyn Environment,
    pub(super) prefix: &'a str,
    pub(super) names: Rc<Names>,
    pub(super) formats: HashMap<String, Rc<LogFormat>>,
    pub(super) upstreams: HashMap<String, Rc<Upstream>>,
    pub(super) warnings: Vec<String>,
}

impl Scope<'_> {
    /// A text with variables.
    pub(super) fn template(&self, directive: &Directive, text: &str) -> Result<Template, ConfigError> {
        Template::parse(text, &self.names).map_err(|error| match error {
            TemplateError::Unknown(name) => directive.error(format!("unknown \"{name}\" variable")),
            TemplateError::Malformed => directive.error("invalid variable name"),
        })
    }

    /// A path with variables, below the prefix unless it is absolute or begins with a variable.
    pub(super) fn path(&self, directive: &Directive, text: &str) -> Result<Template, ConfigError> {
        if text.starts_with('$') {
            return self.template(directive, text);
        }
        let path = absolute(self.prefix, text);
        self.template(directive, &path)
    }

    /// The directives of a block that have an effect, checked.
    pub(super) fn checked<'d>(
        &self,
        block: &'d [Directive],
        context: directives::Context,
    ) -> Result<Vec<(&'d Directive, bool)>, ConfigError> {
        let mut effective = Vec::with_capacity(block.len());
        for (index, directive) in block.iter().enumerate() {
            let before = &block[..index];
            if directives::check(directive, context, before)? == Effect::Some {
                effective.push((directive, before.iter().all(|other| other.name != directive.name)));
            }
        }
        Ok(effective)
    }
}

/// Reads a configuration. If its file is not there and `defaults` is given, that is read instead.
pub fn load(environment: &dyn Environment, source: &Source, defaults: Option<&str>) -> Result<Loaded, ConfigError> {
    match (environment.read(&source.file), defaults) {
        (Err(error), Some(text)) if error.kind() == std::io::ErrorKind::NotFound => {
            load_text(environment, source, text)
        }
        _ => load_tree(environment, source, |reader| reader.file(&source.file, None, 0)),
    }
}

/// Understands a text as a configuration.
pub fn load_text(environment: &dyn Environment, source: &Source, text: &str) -> Result<Loaded, ConfigError> {
    let place = Place { file: Rc::from("built-in configuration"), line: 1 };
    load_tree(environment, source, |reader| reader.text(text, place, 0))
}

fn load_tree(
    environment: &dyn Environment,
    source: &Source,
    read: impl FnOnce(&mut Reader<'_>) -> Result<Vec<Directive>, ConfigError>,
) -> Result<Loaded, ConfigError> {
    let directory = source.file.rsplit_once('/').map_or(".", |(directory, _)| directory);
    let mut reader = Reader::new(environment, directory);
    let command_line = Place { file: Rc::from("command line"), line: 0 };
    let mut tree = reader.text(&source.directives, command_line, 0)?;
    tree.extend(read(&mut reader)?);
    let mut scope = Scope {
        environment,
        prefix: &source.prefix,
        names: Rc::default(),
        formats: HashMap::new(),
        upstreams: HashMap::new(),
        warnings: Vec::new(),
    };
    collect_names(&tree, Rc::make_mut(&mut scope.names));
    let config = build(&mut scope, &tree, source)?;
    Ok(Loaded { config, files: reader.read })
}

fn build(scope: &mut Scope<'_>, tree: &[Directive], source: &Source) -> Result<Config, ConfigError> {
    let target = source.error_log.as_deref().map_or(LogTarget::Stderr, |path| logs::target(scope, path));
    let mut config = Config {
        foreground: false,
        pid: "/run/nginx.pid".to_owned(),
        error_log: ErrorLog { target, level: Level::Error },
        listeners: Vec::new(),
        variables: scope.names.count(),
        warnings: Vec::new(),
        request_limit: None,
    };
    let directives = scope.checked(tree, MAIN)?;
    for (directive, _) in &directives {
        match directive.name.as_str() {
            "daemon" => config.foreground = !values::flag(directive)?,
            "pid" => config.pid = absolute(scope.prefix, directive.arg(0)),
            "error_log" => config.error_log = logs::error_log(scope, directive)?,
            _ => {}
        }
    }
    let Some(events) = the_only(&directives, "events")? else {
        return Err(ConfigError::general("no \"events\" section in configuration"));
    };
    scope.checked(events.block.as_deref().unwrap_or_default(), EVENTS)?;
    if let Some(http) = the_only(&directives, "http")? {
        let mut settings = Settings::initial(scope.prefix);
        settings.error_log = config.error_log.clone();
        config.listeners = http::build(scope, http, settings)?;
    }
    config.warnings = std::mem::take(&mut scope.warnings);
    Ok(config)
}

/// The block of this name.
fn the_only<'a>(directives: &[(&'a Directive, bool)], name: &str) -> Result<Option<&'a Directive>, ConfigError> {
    let mut blocks = directives.iter().map(|(directive, _)| *directive).filter(|directive| directive.name == name);
    match (blocks.next(), blocks.next()) {
        (_, Some(second)) => Err(second.error(format!("\"{name}\" directive is duplicate"))),
        (first, None) => Ok(first),
    }
}

/// Variables may be used before the directive that sets them.
fn collect_names(tree: &[Directive], names: &mut Names) {
    for directive in tree {
        if let ("set", Some(name)) =
            (directive.name.as_str(), directive.args.first().and_then(|arg| arg.strip_prefix('$')))
        {
            names.add(name);
        }
        if matches!(directive.name.as_str(), "location" | "server_name" | "rewrite" | "if") {
            for arg in &directive.args {
                group_names(arg).for_each(|name| {
                    names.add(name);
                });
            }
        }
        collect_names(directive.block.as_deref().unwrap_or_default(), names);
    }
}

/// The names of a regular expression's groups.
fn group_names(regex: &str) -> impl Iterator<Item = &str> {
    let named = regex.split("(?").skip(1).filter_map(|rest| {
        let (name, _) = rest.trim_start_matches('P').strip_prefix('<')?.split_once('>')?;
        Some(name)
    });
    named.filter(|name| !name.is_empty() && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_'))
}
