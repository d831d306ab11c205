//! `set`, `if`, `return`, `rewrite` and `break`

use std::rc::Rc;

use super::build::Scope;
use super::directives::{LOCATION_IF, SERVER_IF};
use super::error::ConfigError;
use super::model::{Content, Settings};
use super::tree::Directive;
use super::{proxy, values};
use crate::script::{Condition, FileTest, Instruction, Rewrite, Script, Then};
use crate::variables::{Template, Variable};

/// What a script stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    Server,
    Location,
}

/// The instructions among the directives of a block.
pub(super) fn script(
    scope: &mut Scope<'_>,
    directives: &[&Directive],
    settings: &Settings,
    around: Around,
) -> Result<Script, ConfigError> {
    let mut script = Vec::new();
    for directive in directives {
        script.push(match directive.name.as_str() {
            "set" => set(scope, directive)?,
            "return" => return_(scope, directive)?,
            "rewrite" => Instruction::Rewrite(rewrite(scope, directive)?),
            "break" => Instruction::Break,
            "if" => if_(scope, directive, settings, around)?,
            _ => continue,
        });
    }
    Ok(script)
}

fn set(scope: &Scope<'_>, directive: &Directive) -> Result<Instruction, ConfigError> {
    let name = directive.arg(0);
    let place = name.strip_prefix('$').and_then(|name| scope.names.place(name));
    let Some(place) = place else { return Err(directive.error(format!("invalid variable name \"{name}\""))) };
    Ok(Instruction::Set(place, scope.template(directive, directive.arg(1))?))
}

fn return_(scope: &Scope<'_>, directive: &Directive) -> Result<Instruction, ConfigError> {
    let first = directive.arg(0);
    let is_url = ["http://", "https://", "$"].iter().any(|start| first.starts_with(start));
    if directive.args.len() == 1 && is_url {
        return Ok(Instruction::Return(302, Some(scope.template(directive, first)?)));
    }
    let text = directive.args.get(1).map(|text| scope.template(directive, text)).transpose()?;
    Ok(Instruction::Return(values::status(directive, first)?, text))
}

fn rewrite(scope: &Scope<'_>, directive: &Directive) -> Result<Rewrite, ConfigError> {
    let regex = values::regex(directive, directive.arg(0), false)?;
    let (text, keep_args) = match directive.arg(1).strip_suffix('?') {
        Some(text) => (text, false),
        None => (directive.arg(1), true),
    };
    let is_url = ["http://", "https://", "$scheme"].iter().any(|start| text.starts_with(start));
    let then = match directive.args.get(2).map(String::as_str) {
        None if is_url => Then::Redirect(302),
        None => Then::Continue,
        Some("last") => Then::Last,
        Some("break") => Then::Break,
        Some("redirect") => Then::Redirect(302),
        Some("permanent") => Then::Redirect(301),
        Some(flag) => return Err(directive.invalid(flag)),
    };
    Ok(Rewrite { regex, replacement: scope.template(directive, text)?, then, keep_args })
}

fn if_(
    scope: &mut Scope<'_>,
    directive: &Directive,
    settings: &Settings,
    around: Around,
) -> Result<Instruction, ConfigError> {
    let condition = condition(scope, directive)?;
    let context = if around == Around::Server { SERVER_IF } else { LOCATION_IF };
    let mut inner = settings.clone();
    let rest = scope.with_settings(directive, context, &mut inner)?;
    for directive in rest.iter().filter(|directive| directive.name == "proxy_pass") {
        inner.content = Content::Proxy(proxy::pass(scope, directive, None)?);
    }
    let script = script(scope, &rest, &inner, around)?;
    let inner = (around == Around::Location).then(|| Rc::new(inner));
    Ok(Instruction::If(condition, script, inner))
}

fn condition(scope: &Scope<'_>, directive: &Directive) -> Result<Condition, ConfigError> {
    let invalid = || directive.error(format!("invalid condition \"{}\"", directive.args.join(" ")));
    let mut words: Vec<&str> = directive.args.iter().map(String::as_str).collect();
    let first = words.first_mut().ok_or_else(invalid)?;
    *first = first.strip_prefix('(').ok_or_else(invalid)?;
    let last = words.last_mut().ok_or_else(invalid)?;
    *last = last.strip_suffix(')').ok_or_else(invalid)?;
    words.retain(|word| !word.is_empty());
    // An empty operand (`""`) is a word too, but it is gone now.
    let variable = |text: &str| match scope.template(directive, text)?.parts() {
        [crate::variables::Part::Variable(variable)] => Ok::<Variable, ConfigError>(variable.clone()),
        _ => Err(invalid()),
    };
    Ok(match words[..] {
        [name] => Condition::True(variable(name)?),
        [test, path] if test.trim_start_matches('!').starts_with('-') => {
            let test_of = match test.trim_start_matches('!') {
                "-f" => FileTest::File,
                "-d" => FileTest::Directory,
                "-e" | "-x" => FileTest::Exists,
                _ => return Err(invalid()),
            };
            Condition::File(test_of, scope.template(directive, path)?, test.starts_with('!'))
        }
        [name, operator @ ("=" | "!=")] => Condition::Equal(variable(name)?, Template::default(), operator == "!="),
        [name, operator @ ("=" | "!="), text] => {
            Condition::Equal(variable(name)?, scope.template(directive, text)?, operator == "!=")
        }
        [name, operator @ ("~" | "~*" | "!~" | "!~*"), pattern] => {
            let regex = values::regex(directive, pattern, operator.ends_with('*'))?;
            Condition::Match(variable(name)?, regex, operator.starts_with('!'))
        }
        _ => return Err(invalid()),
    })
}
