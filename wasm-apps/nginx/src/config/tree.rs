//! Configuration text to a tree of directives, with included files in their places.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::error::{ConfigError, Place, explain_io};
use super::lexer::{Lexer, Token};

/// Blocks and includes inside one another.
const MAX_DEPTH: usize = 64;
/// Bytes of one configuration file.
const MAX_FILE: usize = 4 << 20;
/// Files of one configuration.
const MAX_FILES: usize = 1000;

/// What a configuration is read from and checked against.
pub trait Environment {
    /// The contents of a file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// The names in a directory.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Where a symbolic link leads, if it is one.
    fn link(&self, path: &str) -> Option<String>;
    /// The addresses of a host; none if it is not known.
    fn resolve(&self, host: &str) -> Vec<std::net::IpAddr>;
}

/// `name arguments;` or `name arguments { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// Its first word.
    pub(super) name: String,
    /// Its other words.
    pub(super) args: Vec<String>,
    /// What stands between braces.
    pub(super) block: Option<Vec<Directive>>,
    /// Where it begins.
    pub(super) place: Place,
}

impl Directive {
    /// A problem with it.
    pub(super) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(message, &self.place)
    }

    /// An argument that is not one of those expected.
    pub(super) fn invalid(&self, argument: &str) -> ConfigError {
        self.error(format!("invalid parameter \"{argument}\""))
    }

    /// The argument at `index`, which the number of arguments has been checked for.
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }
}

/// Reads files and the files they include.
pub(super) struct Reader<'a> {
    files: &'a dyn Environment,
    /// What relative paths are relative to.
    directory: String,
    /// Every file read, for `-T`.
    pub(super) read: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(files: &'a dyn Environment, directory: &str) -> Self {
        Self { files, directory: directory.to_owned(), read: BTreeMap::new() }
    }

    /// The directives of a file, named by `from` if one includes it.
    pub(super) fn file(
        &mut self,
        path: &str,
        from: Option<&Place>,
        depth: usize,
    ) -> Result<Vec<Directive>, ConfigError> {
        let failed = |problem: String| ConfigError { message: problem, place: from.cloned() };
        if self.read.len() >= MAX_FILES {
            return Err(failed(format!("too many configuration files, \"{path}\" is one too much")));
        }
        let bytes = self
            .files
            .read(path)
            .map_err(|error| failed(format!("open() \"{path}\" failed {}", explain_io(&error))))?;
        if bytes.len() > MAX_FILE {
            return Err(failed(format!("configuration file \"{path}\" is larger than {MAX_FILE} bytes")));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| failed(format!("configuration file \"{path}\" is not UTF-8")))?;
        let place = Place { file: Rc::from(path), line: 1 };
        let directives = self.text(&text, place, depth)?;
        self.read.insert(path.to_owned(), text);
        Ok(directives)
    }

    /// The directives of a text.
    pub(super) fn text(&mut self, text: &str, place: Place, depth: usize) -> Result<Vec<Directive>, ConfigError> {
        let mut lexer = Lexer::new(text, place);
        self.block(&mut lexer, depth, false)
    }

    fn block(&mut self, lexer: &mut Lexer<'_>, depth: usize, inside: bool) -> Result<Vec<Directive>, ConfigError> {
        let mut directives = Vec::new();
        loop {
            let name = match lexer.next()? {
                None if inside => return Err(lexer.unexpected_end("\"}\"")),
                None => return Ok(directives),
                Some(Token::Close) if inside => return Ok(directives),
                Some(Token::Close) => return Err(ConfigError::new("unexpected \"}\"", lexer.place())),
                Some(Token::End) => return Err(ConfigError::new("unexpected \";\"", lexer.place())),
                Some(Token::Open) => return Err(ConfigError::new("unexpected \"{\"", lexer.place())),
                Some(Token::Word(name)) => name,
            };
            let directive = self.directive(lexer, name, depth)?;
            match directive.name.as_str() {
                "include" => self.include(&directive, depth, &mut directives)?,
                _ => directives.push(directive),
            }
        }
    }

    fn directive(&mut self, lexer: &mut Lexer<'_>, name: String, depth: usize) -> Result<Directive, ConfigError> {
        let place = lexer.place().clone();
        let mut directive = Directive { name, args: Vec::new(), block: None, place };
        loop {
            match lexer.next()? {
                Some(Token::Word(word)) => directive.args.push(word),
                Some(Token::End) => return Ok(directive),
                Some(Token::Open) if depth >= MAX_DEPTH => {
                    return Err(directive.error(format!("more than {MAX_DEPTH} blocks inside one another")));
                }
                Some(Token::Open) => {
                    directive.block = Some(self.block(lexer, depth + 1, true)?);
                    return Ok(directive);
                }
                Some(Token::Close) => return Err(ConfigError::new("unexpected \"}\"", lexer.place())),
                None => return Err(lexer.unexpected_end(r#"";" or "}""#)),
            }
        }
    }

    fn include(&mut self, include: &Directive, depth: usize, into: &mut Vec<Directive>) -> Result<(), ConfigError> {
        let [pattern] = include.args.as_slice() else {
            return Err(include.error("invalid number of arguments in \"include\" directive"));
        };
        if depth >= MAX_DEPTH {
            return Err(include.error("too many includes inside one another"));
        }
        let path = absolute(&self.directory, pattern);
        let Some((directory, name)) = path.rsplit_once('/').filter(|(_, name)| name.contains(['*', '?', '['])) else {
            into.extend(self.file(&path, Some(&include.place), depth + 1)?);
            return Ok(());
        };
        // A pattern that nothing matches is no mistake.
        let mut names = self.files.list(directory).unwrap_or_default();
        names.retain(|found| matches(name.as_bytes(), found.as_bytes()));
        names.sort();
        for found in names {
            into.extend(self.file(&format!("{directory}/{found}"), Some(&include.place), depth + 1)?);
        }
        Ok(())
    }
}

/// The path itself if it is absolute, else below `directory`.
pub(super) fn absolute(directory: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", directory.trim_end_matches('/')) }
}

/// Whether a file name matches a pattern of `*`, `?` and `[…]`; hidden files are matched by a leading dot only.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    matches_rest(pattern, name)
}

fn matches_rest(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', pattern)), _) => (0..=name.len()).any(|taken| matches_rest(pattern, &name[taken..])),
        (Some((b'?', pattern)), Some((_, name))) => matches_rest(pattern, name),
        (Some((b'[', class)), Some((first, name))) => match class.iter().position(|byte| *byte == b']') {
            Some(end) => in_class(&class[..end], *first) && matches_rest(&class[end + 1..], name),
            None => false,
        },
        (Some((wanted, pattern)), Some((first, name))) => wanted == first && matches_rest(pattern, name),
        _ => false,
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, class) = match class.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, class),
    };
    let mut rest = class;
    let mut found = false;
    while let Some((first, more)) = rest.split_first() {
        if let [b'-', last, more @ ..] = more {
            found |= (*first..=*last).contains(&byte);
            rest = more;
        } else {
            found |= *first == byte;
            rest = more;
        }
    }
    found != negated
}
