//! Carrying out `set`, `if`, `return`, `rewrite` and `break`.

use std::rc::Rc;

use regex_lite::{Captures, Regex};

use super::content::type_of;
use super::{Disk, Kind, Next, Outcome, Response};
use crate::exchange::Exchange;
use crate::script::{Condition, FileTest, Instruction, Rewrite, Script, Then};
use crate::values::{evaluate, file_path, value_of};

/// How a script ends.
pub(super) enum Flow {
    /// The request goes on, with another path if it has moved.
    Next {
        /// Whether its location must be looked for again.
        moved: bool,
    },
    /// It goes there.
    Done(Next),
}

/// How an instruction ends.
enum Step {
    Continue,
    /// No further instructions; whether the location must be looked for again.
    Stop(bool),
    Done(Next),
}

pub(super) fn run(exchange: &mut Exchange, script: &Script, disk: &dyn Disk) -> Flow {
    let before = exchange.uri.clone();
    match block(exchange, script, disk) {
        Step::Continue => Flow::Next { moved: exchange.uri != before },
        Step::Stop(moved) => Flow::Next { moved },
        Step::Done(next) => Flow::Done(next),
    }
}

fn block(exchange: &mut Exchange, script: &Script, disk: &dyn Disk) -> Step {
    for instruction in script {
        let step = match instruction {
            Instruction::Set(place, value) => {
                let value = evaluate(value, exchange);
                if let Some(variable) = exchange.user.get_mut(*place) {
                    *variable = value;
                }
                Step::Continue
            }
            Instruction::Return(status, text) => {
                let text = text.as_ref().map(|text| evaluate(text, exchange));
                Step::Done(returned(exchange, *status, text))
            }
            Instruction::Rewrite(rewrite) => rewritten(exchange, rewrite),
            Instruction::Break => Step::Stop(false),
            Instruction::If(condition, script, settings) => {
                if !holds(exchange, condition, disk) {
                    continue;
                }
                if let Some(settings) = settings {
                    exchange.settings = Rc::clone(settings);
                }
                block(exchange, script, disk)
            }
        };
        if !matches!(step, Step::Continue) {
            return step;
        }
    }
    Step::Continue
}

fn returned(exchange: &mut Exchange, status: u16, text: Option<String>) -> Next {
    Next::Done(match (status, text) {
        (444, _) => Outcome::Close,
        (301 | 302 | 303 | 307 | 308, Some(url)) => Outcome::Respond(Response::redirect(status, url)),
        (_, Some(text)) => {
            let content_type = type_of(exchange, &exchange.uri);
            Outcome::Respond(Response::text(status, content_type, text))
        }
        (200..=299, None) => {
            let content_type = type_of(exchange, &exchange.uri);
            Outcome::Respond(Response::text(status, content_type, ""))
        }
        (status, None) => return Next::Status(status),
    })
}

fn rewritten(exchange: &mut Exchange, rewrite: &Rewrite) -> Step {
    let uri = exchange.uri.clone();
    let Some(captures) = rewrite.regex.captures(&uri) else { return Step::Continue };
    capture(exchange, &rewrite.regex, &captures);
    let target = evaluate(&rewrite.replacement, exchange);
    let (path, args) = target.split_once('?').map_or((target.as_str(), None), |(path, args)| (path, Some(args)));
    let args = match (args, rewrite.keep_args, exchange.args.as_str()) {
        (None, true, own) => own.to_owned(),
        (None, false, _) => String::new(),
        (Some(new), true, own) if !own.is_empty() => format!("{new}&{own}"),
        (Some(new), ..) => new.to_owned(),
    };
    if let Then::Redirect(status) = rewrite.then {
        let query = if args.is_empty() { String::new() } else { format!("?{args}") };
        return Step::Done(Next::Done(Outcome::Respond(Response::redirect(status, format!("{path}{query}")))));
    }
    exchange.uri = path.to_owned();
    exchange.args = args;
    exchange.untouched = false;
    match rewrite.then {
        Then::Last => Step::Stop(true),
        Then::Break => Step::Stop(false),
        Then::Continue | Then::Redirect(_) => Step::Continue,
    }
}

fn holds(exchange: &mut Exchange, condition: &Condition, disk: &dyn Disk) -> bool {
    match condition {
        Condition::True(variable) => !matches!(&*value_of(variable, exchange), "" | "0"),
        Condition::Equal(variable, text, negated) => {
            (value_of(variable, exchange) == evaluate(text, exchange)) != *negated
        }
        Condition::Match(variable, regex, negated) => {
            let value = value_of(variable, exchange).into_owned();
            let captures = regex.captures(&value);
            if let Some(captures) = &captures {
                capture(exchange, regex, captures);
            }
            captures.is_some() != *negated
        }
        Condition::File(test, path, negated) => {
            let path = evaluate(path, exchange);
            let path = if path.starts_with('/') { path } else { file_path(exchange, &path) };
            let found = disk.stat(&path).map(|stat| stat.kind);
            let holds = match test {
                FileTest::File => found == Ok(Kind::File),
                FileTest::Directory => found == Ok(Kind::Directory),
                FileTest::Exists => found.is_ok(),
            };
            holds != *negated
        }
    }
}

/// Keeps what a regular expression has captured, by number and by name.
pub(super) fn capture(exchange: &mut Exchange, regex: &Regex, captures: &Captures<'_>) {
    let text = |index| captures.get(index).map_or_else(String::new, |found| found.as_str().to_owned());
    exchange.captures = (0..captures.len()).map(text).collect();
    for (index, name) in regex.capture_names().enumerate() {
        if let Some(place) = name.and_then(|name| exchange.server.variables.place(name))
            && let Some(variable) = exchange.user.get_mut(place)
        {
            variable.clone_from(&exchange.captures[index]);
        }
    }
}
