//! The grammar of `find`'s expressions.

use std::ffi::OsString;
use std::os::wasi::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use regex::bytes::RegexBuilder;

use super::exec::Exec;
use super::printf::Format;
use super::question::{Age, Compare, Stamp, Test, Text};
use super::{Follow, Walk};
use crate::accounts;
use crate::attributes::{self, Time};
use crate::failure::Failure;
use crate::glob;
use crate::mode::Change;
use crate::posix_regex::{self, Syntax};

/// An expression: how tests and actions go together.
pub(super) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    /// Each is evaluated, and the last counts.
    List(Vec<Expression>),
    Not(Box<Expression>),
    Test(Test),
    Action(Action),
}

/// What is done with files.
pub(super) enum Action {
    Print { end: u8 },
    Printf(Format),
    List,
    Delete,
    Prune,
    Quit,
    Exec(Exec),
}

/// How deeply parentheses may be nested.
const MAX_NESTING: usize = 128;

/// Parses an expression; options in it go to `walk`. Without an action, files are printed.
pub(super) fn parse(arguments: Vec<OsString>, walk: &mut Walk) -> Result<Expression, Failure> {
    let mut parser =
        Parser { rest: arguments.into_iter().peekable(), walk, syntax: Syntax::Emacs, nesting: 0, acts: false };
    if parser.rest.peek().is_none() {
        return Ok(Expression::Action(Action::Print { end: b'\n' }));
    }
    let expression = parser.list()?;
    if let Some(extra) = parser.rest.next() {
        return Err(Failure::Usage(format!("paths must precede expression: '{}'", extra.display())));
    }
    if parser.acts {
        return Ok(expression);
    }
    Ok(Expression::All(vec![expression, Expression::Action(Action::Print { end: b'\n' })]))
}

struct Parser<'a> {
    rest: std::iter::Peekable<std::vec::IntoIter<OsString>>,
    walk: &'a mut Walk,
    /// What `-regex` is written in.
    syntax: Syntax,
    nesting: usize,
    /// There is an action, other than `-prune` and `-quit`.
    acts: bool,
}

impl Parser<'_> {
    fn next_is(&mut self, words: &[&str]) -> bool {
        self.rest.next_if(|argument| argument.to_str().is_some_and(|word| words.contains(&word))).is_some()
    }

    fn peek_is(&mut self, words: &[&str]) -> bool {
        self.rest.peek().is_some_and(|argument| argument.to_str().is_some_and(|word| words.contains(&word)))
    }

    fn list(&mut self) -> Result<Expression, Failure> {
        let mut items = vec![self.any()?];
        while self.next_is(&[","]) {
            items.push(self.any()?);
        }
        Ok(single_or(items, Expression::List))
    }

    fn any(&mut self) -> Result<Expression, Failure> {
        let mut items = vec![self.all()?];
        while self.next_is(&["-o", "-or"]) {
            items.push(self.all()?);
        }
        Ok(single_or(items, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, Failure> {
        let mut items = vec![self.term()?];
        loop {
            let joined = self.next_is(&["-a", "-and"]);
            if !joined && (self.rest.peek().is_none() || self.peek_is(&["-o", "-or", ",", ")"])) {
                return Ok(single_or(items, Expression::All));
            }
            items.push(self.term()?);
        }
    }

    fn term(&mut self) -> Result<Expression, Failure> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Failure::usage("expression is nested too deeply"));
        }
        let Some(word) = self.rest.next() else {
            return Err(Failure::usage("expected an expression at the end"));
        };
        let term = match word.to_str() {
            Some("!" | "-not") => Expression::Not(Box::new(self.term()?)),
            Some("(") => {
                let inside = self.list()?;
                if !self.next_is(&[")"]) {
                    return Err(Failure::usage("missing closing ')'"));
                }
                inside
            }
            Some(name) if name.starts_with('-') => self.primary(name)?,
            _ => return Err(Failure::Usage(format!("paths must precede expression: '{}'", word.display()))),
        };
        self.nesting -= 1;
        Ok(term)
    }

    fn argument(&mut self, name: &str) -> Result<OsString, Failure> {
        self.rest.next().ok_or_else(|| Failure::Usage(format!("missing argument to '{name}'")))
    }

    fn text(&mut self, name: &str) -> Result<String, Failure> {
        crate::options::text(self.argument(name)?)
    }

    fn number<N: std::str::FromStr>(&mut self, name: &str) -> Result<N, Failure> {
        let text = self.text(name)?;
        text.parse().map_err(|_| invalid(name, &text))
    }

    fn primary(&mut self, name: &str) -> Result<Expression, Failure> {
        if self.option(name)? {
            return Ok(Expression::Test(Test::Constant(true)));
        }
        if let Some(action) = self.action(name)? {
            self.acts |= !matches!(action, Action::Prune | Action::Quit);
            return Ok(Expression::Action(action));
        }
        match self.test(name)? {
            Some(test) => Ok(Expression::Test(test)),
            None => Err(Failure::Usage(format!("unknown predicate '{name}'"))),
        }
    }

    /// Options hold for the whole walk, wherever they are.
    fn option(&mut self, name: &str) -> Result<bool, Failure> {
        match name {
            "-maxdepth" => self.walk.max_depth = Some(self.number(name)?),
            "-mindepth" => self.walk.min_depth = self.number(name)?,
            "-depth" | "-d" => self.walk.contents_first = true,
            "-xdev" | "-mount" => self.walk.one_device = true,
            "-follow" => self.walk.follow = Follow::Always,
            "-noleaf" | "-nowarn" | "-warn" | "-ignore_readdir_race" | "-noignore_readdir_race" => {}
            "-regextype" => {
                let name_of_type = self.text(name)?;
                self.syntax = match name_of_type.as_str() {
                    "emacs" | "findutils-default" => Syntax::Emacs,
                    "posix-basic" | "grep" | "sed" | "ed" => Syntax::Basic,
                    "posix-extended" | "egrep" | "posix-egrep" => Syntax::Extended,
                    "awk" | "posix-awk" | "gnu-awk" => Syntax::Awk,
                    _ => return Err(invalid(name, &name_of_type)),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn action(&mut self, name: &str) -> Result<Option<Action>, Failure> {
        Ok(Some(match name {
            "-print" => Action::Print { end: b'\n' },
            "-print0" => Action::Print { end: 0 },
            "-printf" => Action::Printf(Format::parse(&self.text(name)?)),
            "-ls" => Action::List,
            "-delete" => {
                self.walk.contents_first = true;
                Action::Delete
            }
            "-prune" => Action::Prune,
            "-quit" => Action::Quit,
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let mut command = Vec::new();
                loop {
                    let word = self.argument(name)?;
                    let batch = word == "+" && command.last().is_some_and(|last| last == "{}");
                    if word == ";" || batch && name.starts_with("-exec") {
                        break Action::Exec(Exec::new(name, command, batch)?);
                    }
                    command.push(word);
                }
            }
            _ => return Ok(None),
        }))
    }

    fn test(&mut self, name: &str) -> Result<Option<Test>, Failure> {
        let glob = |text, pattern, ignore_case| Test::Glob {
            text,
            pattern,
            options: glob::Options { ignore_case, ..Default::default() },
        };
        Ok(Some(match name {
            "-true" => Test::Constant(true),
            "-false" => Test::Constant(false),
            "-name" | "-iname" => glob(Text::Name, self.argument(name)?, name == "-iname"),
            "-path" | "-wholename" => glob(Text::Path, self.argument(name)?, false),
            "-ipath" | "-iwholename" => glob(Text::Path, self.argument(name)?, true),
            "-lname" | "-ilname" => glob(Text::Target, self.argument(name)?, name == "-ilname"),
            "-regex" | "-iregex" => self.regex(name)?,
            "-type" | "-xtype" => {
                let types = self.text(name)?;
                let letters: Vec<char> = types.split(',').filter_map(|letter| letter.parse().ok()).collect();
                if letters.len() != types.split(',').count()
                    || !letters.iter().all(|letter| "fdlcbps".contains(*letter))
                {
                    return Err(invalid(name, &types));
                }
                Test::Kind { letters, of_target: name == "-xtype" }
            }
            "-empty" => Test::Empty,
            "-size" => self.size(name)?,
            "-perm" => self.mode(name)?,
            "-links" => Test::Links(self.compare(name)?),
            "-inum" => Test::Inode(self.compare(name)?),
            "-uid" => Test::Uid(self.compare(name)?),
            "-gid" => Test::Gid(self.compare(name)?),
            "-user" => {
                let user = self.text(name)?;
                Test::Uid(Compare::Exactly(accounts::uid_of(&user).ok_or_else(|| invalid(name, &user))?.into()))
            }
            "-group" => {
                let group = self.text(name)?;
                Test::Gid(Compare::Exactly(accounts::gid_of(&group).ok_or_else(|| invalid(name, &group))?.into()))
            }
            "-nouser" => Test::NoUser,
            "-nogroup" => Test::NoGroup,
            "-readable" => Test::Access(0o4),
            "-writable" => Test::Access(0o2),
            "-executable" => Test::Access(0o1),
            "-samefile" => {
                let attributes = self.attributes(name)?;
                Test::SameFile { device: attributes.device, inode: attributes.inode }
            }
            _ => return self.time(name),
        }))
    }

    fn time(&mut self, name: &str) -> Result<Option<Test>, Failure> {
        let age = |stamp, minutes, compare| Test::Age { stamp, age: Age { minutes, compare }, now: SystemTime::now() };
        let newer = name.strip_prefix("-newer").map(|letters| letters.chars().collect::<Vec<_>>());
        Ok(Some(match (name, newer.as_deref()) {
            ("-mtime", _) => age(Stamp::Modified, false, self.compare(name)?),
            ("-atime", _) => age(Stamp::Accessed, false, self.compare(name)?),
            ("-ctime", _) => age(Stamp::Changed, false, self.compare(name)?),
            ("-mmin", _) => age(Stamp::Modified, true, self.compare(name)?),
            ("-amin", _) => age(Stamp::Accessed, true, self.compare(name)?),
            ("-cmin", _) => age(Stamp::Changed, true, self.compare(name)?),
            ("-anewer", _) => Test::Newer { stamp: Stamp::Accessed, than: self.attributes(name)?.modified },
            ("-cnewer", _) => Test::Newer { stamp: Stamp::Changed, than: self.attributes(name)?.modified },
            (_, Some([])) => Test::Newer { stamp: Stamp::Modified, than: self.attributes(name)?.modified },
            (_, Some([stamp, 't'])) => {
                let text = self.text(name)?;
                let than = parse_time(&text).ok_or_else(|| invalid(name, &text))?;
                Test::Newer { stamp: Stamp::parse(*stamp).ok_or_else(|| invalid("find", name))?, than }
            }
            (_, Some([stamp, reference])) => {
                let (Some(stamp), Some(reference)) = (Stamp::parse(*stamp), Stamp::parse(*reference)) else {
                    return Ok(None);
                };
                Test::Newer { stamp, than: reference.of(&self.attributes(name)?) }
            }
            _ => return Ok(None),
        }))
    }

    fn attributes(&mut self, name: &str) -> Result<attributes::Attributes, Failure> {
        let path = self.argument(name)?;
        attributes::of(Path::new(&path), true).map_err(Failure::at(&path))
    }

    fn compare(&mut self, name: &str) -> Result<Compare, Failure> {
        let text = self.text(name)?;
        Compare::parse(&text).ok_or_else(|| invalid(name, &text))
    }

    fn regex(&mut self, name: &str) -> Result<Test, Failure> {
        let text = self.text(name)?;
        let translated = posix_regex::translate(&text, self.syntax).map_err(Failure::usage)?;
        let mut builder = RegexBuilder::new(&format!("^(?:{})$", translated.pattern));
        let regex = builder.case_insensitive(name == "-iregex").dot_matches_new_line(true).build();
        Ok(Test::Regex(regex.map_err(|_| invalid(name, &text))?))
    }

    fn size(&mut self, name: &str) -> Result<Test, Failure> {
        let text = self.text(name)?;
        let (number, unit) = match text.as_bytes().last() {
            Some(b'c') => (&text[..text.len() - 1], 1),
            Some(b'w') => (&text[..text.len() - 1], 2),
            Some(b'b') => (&text[..text.len() - 1], 512),
            Some(b'k') => (&text[..text.len() - 1], 1 << 10),
            Some(b'M') => (&text[..text.len() - 1], 1 << 20),
            Some(b'G') => (&text[..text.len() - 1], 1 << 30),
            _ => (text.as_str(), 512),
        };
        let compare = Compare::parse(number).ok_or_else(|| invalid(name, &text))?;
        Ok(Test::Size { compare, unit })
    }

    fn mode(&mut self, name: &str) -> Result<Test, Failure> {
        let text = self.text(name)?;
        let (how, mode) = match text.as_bytes().first() {
            Some(how @ (b'-' | b'/')) => (char::from(*how), &text[1..]),
            _ => ('=', text.as_str()),
        };
        let change = Change::parse(mode).ok_or_else(|| invalid(name, &text))?;
        Ok(Test::Mode { how, mode: change.apply(0, false, 0) })
    }
}

fn single_or(mut items: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    if items.len() > 1 { many(items) } else { items.swap_remove(0) }
}

fn invalid(name: &str, argument: &str) -> Failure {
    Failure::Usage(format!("invalid argument '{argument}' to '{name}'"))
}

/// `@SECONDS`, or a date with or without a time, in UTC.
fn parse_time(text: &str) -> Option<Time> {
    if let Some(seconds) = text.strip_prefix('@') {
        return Some((seconds.parse().ok()?, 0));
    }
    let civil = || {
        let time: jiff::civil::DateTime = text.parse().ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(civil)?;
    Some((timestamp.as_second(), u32::try_from(timestamp.subsec_nanosecond()).ok()?))
}

/// The bytes of an argument.
pub(super) fn bytes(argument: &OsString) -> &[u8] {
    argument.as_bytes()
}
