//! `location` and `limit_except`

use std::collections::HashMap;
use std::rc::Rc;

use super::build::Scope;
use super::directives::{LIMIT_EXCEPT, LOCATION};
use super::error::ConfigError;
use super::model::{Content, LimitExcept, Location, Root, Settings};
use super::tree::Directive;
use super::{proxy, rewrite, values};
use crate::locations::{Locations, Pattern};

/// What a location stands in.
pub(super) enum Parent<'a> {
    /// A server, which has its named locations too.
    Server(&'a mut HashMap<String, Rc<Location>>),
    /// The location of this prefix, if it is no regular expression.
    Location(Option<&'a str>),
}

/// What `location` says before its block.
struct Head {
    /// `None`: it is named.
    pattern: Option<Pattern>,
    text: String,
}

impl Head {
    fn parse(directive: &Directive) -> Result<Self, ConfigError> {
        let exact = |text: &str| (Some(Pattern::Exact), text.to_owned());
        let prefix = |text: &str, final_| (Some(Pattern::Prefix { final_ }), text.to_owned());
        let regex = |text: &str, ignore_case| {
            Ok::<_, ConfigError>((Some(Pattern::Regex(values::regex(directive, text, ignore_case)?)), text.to_owned()))
        };
        let (pattern, text) = match directive.args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["=", text] => exact(text),
            ["^~", text] => prefix(text, true),
            ["~", text] => regex(text, false)?,
            ["~*", text] => regex(text, true)?,
            [modifier, _] => return Err(directive.error(format!("invalid location modifier \"{modifier}\""))),
            [text] => match [text.strip_prefix("^~"), text.strip_prefix("~*"), text.strip_prefix(['=', '~'])] {
                [Some(rest), ..] => prefix(rest, true),
                [_, Some(rest), _] => regex(rest, true)?,
                [_, _, Some(rest)] if text.starts_with('=') => exact(rest),
                [_, _, Some(rest)] => regex(rest, false)?,
                _ if text.starts_with('@') => (None, text.to_owned()),
                _ => prefix(text, false),
            },
            _ => (None, String::new()),
        };
        Ok(Self { pattern, text })
    }

    /// The path that a prefix or an exact location stands for.
    fn path(&self) -> Option<&str> {
        match self.pattern {
            Some(Pattern::Exact | Pattern::Prefix { .. }) => Some(&self.text),
            _ => None,
        }
    }
}

pub(super) fn build(
    scope: &mut Scope<'_>,
    directive: &Directive,
    outer: &Settings,
    parent: Parent<'_>,
    into: &mut Locations,
) -> Result<(), ConfigError> {
    let head = Head::parse(directive)?;
    if let (Parent::Location(outer), None) = (&parent, &head.pattern) {
        let outer = outer.unwrap_or("~");
        return Err(directive
            .error(format!("named location \"{}\" can be on the server level only, not in \"{outer}\"", head.text)));
    }
    if let (Parent::Location(Some(outer)), Some(path)) = (&parent, head.path())
        && !path.starts_with(outer)
    {
        return Err(directive.error(format!("location \"{path}\" is outside location \"{outer}\"")));
    }
    let mut settings = Settings { content: Content::Static, try_files: None, limit_except: None, ..outer.clone() };
    let rest = scope.with_settings(directive, LOCATION, &mut settings)?;
    let names: Vec<&str> = rest.iter().map(|directive| directive.name.as_str()).collect();
    for directive in &rest {
        match directive.name.as_str() {
            "alias" => {
                if directive.block.is_none() && names.contains(&"root") {
                    return Err(
                        directive.error("\"alias\" directive is duplicate, \"root\" directive was specified earlier")
                    );
                }
                let template = scope.path(directive, directive.arg(0))?;
                settings.root = Root::Alias(template, head.path().map(str::len));
            }
            "proxy_pass" => settings.content = Content::Proxy(proxy::pass(scope, directive, head.path())?),
            _ => {}
        }
    }
    for directive in rest.iter().filter(|directive| directive.name == "limit_except") {
        settings.limit_except = Some(limit_except(scope, directive, &settings)?);
    }
    let mut nested = Locations::default();
    for directive in rest.iter().filter(|directive| directive.name == "location") {
        build(scope, directive, &settings, Parent::Location(head.path()), &mut nested)?;
    }
    let script = rewrite::script(scope, &rest, &settings, rewrite::Around::Location)?;
    let location = Location {
        pattern: head.text.clone(),
        settings: Rc::new(settings),
        script,
        nested,
        internal: names.contains(&"internal"),
    };
    enter(directive, head, Rc::new(location), parent, into)
}

fn enter(
    directive: &Directive,
    head: Head,
    location: Rc<Location>,
    parent: Parent<'_>,
    into: &mut Locations,
) -> Result<(), ConfigError> {
    let is_new = match (head.pattern, parent) {
        (Some(pattern), _) => into.add(pattern, location),
        (None, Parent::Server(named)) => named.insert(head.text.clone(), location).is_none(),
        (None, Parent::Location(_)) => true,
    };
    if is_new { Ok(()) } else { Err(directive.error(format!("duplicate location \"{}\"", head.text))) }
}

fn limit_except(
    scope: &mut Scope<'_>,
    directive: &Directive,
    outer: &Settings,
) -> Result<Rc<LimitExcept>, ConfigError> {
    let mut settings = outer.clone();
    for directive in scope.with_settings(directive, LIMIT_EXCEPT, &mut settings)? {
        settings.content = Content::Proxy(proxy::pass(scope, directive, None)?);
    }
    let mut methods: Vec<String> = directive.args.iter().map(|method| method.to_ascii_uppercase()).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    Ok(Rc::new(LimitExcept { methods, settings: Rc::new(settings) }))
}
