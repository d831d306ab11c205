//! The parser's state: where it reads from, what it looks at, and how deep it is. The grammar itself is spread over the
//! sibling modules by topic.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::ast::List;
use super::here::PendingHere;
use super::tokens::Token;

/// How deeply commands, substitutions and quotes may nest. Parsing recurses, and the stack is small.
const MAX_DEPTH: u32 = 100;

/// How often text may be read as arithmetic in vain.
const MAX_MISREADINGS: u32 = 2000;

/// What each alias stands for.
pub(crate) type Aliases = Rc<BTreeMap<String, Vec<u8>>>;

/// Where a script comes from, line by line.
pub(crate) trait Source {
    /// The next line with its newline, if it has one; `None` at the end. `continued`: a command has begun before.
    fn next_line(&mut self, continued: bool) -> Result<Option<Vec<u8>>, SyntaxError>;

    /// Whether lines are to be shown as they are read.
    fn set_verbose(&mut self, _verbose: bool) {}

    /// Whether it is known that no command comes any more.
    fn is_blank(&self) -> bool {
        false
    }
}

/// A script that is there already.
pub(crate) struct Text {
    text: Vec<u8>,
    at: usize,
    verbose: bool,
}

impl Text {
    pub(crate) fn new(text: Vec<u8>) -> Self {
        Self { text, at: 0, verbose: false }
    }
}

impl Source for Text {
    fn next_line(&mut self, _continued: bool) -> Result<Option<Vec<u8>>, SyntaxError> {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |newline| newline + 1);
        self.at += length;
        if self.verbose {
            echo(&rest[..length]);
        }
        Ok((length > 0).then(|| rest[..length].to_vec()))
    }

    fn set_verbose(&mut self, verbose: bool) {
        self.verbose = verbose;
    }

    fn is_blank(&self) -> bool {
        self.text[self.at..].iter().all(u8::is_ascii_whitespace)
    }
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    At {
        line: u32,
        message: String,
    },
    /// The user gave up the command while typing it.
    Interrupted,
}

impl SyntaxError {
    /// The script itself cannot be read.
    pub(crate) fn unreadable(error: &std::io::Error) -> Self {
        Self::At { line: 0, message: format!("cannot read commands: {error}") }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { line, message } => write!(f, "line {line}: syntax error: {message}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// What `set -v` does with a line.
pub(crate) fn echo(line: &[u8]) {
    // Nowhere is left to say that this fails.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
}

pub(super) type Parsed<T> = Result<T, SyntaxError>;

pub(crate) struct Parser<'a> {
    source: &'a mut dyn Source,
    buffer: Vec<u8>,
    at: usize,
    line: u32,
    depth: u32,
    /// How often parentheses that looked like arithmetic turned out to be commands'.
    misreadings: u32,
    /// Something of the command under way has been read.
    begun: bool,
    ended: bool,
    pub(super) peeked: Option<Token>,
    /// Documents whose `<<` has been seen and whose text comes after the line.
    pub(super) pending: Vec<PendingHere>,
    aliases: Aliases,
    /// Aliases whose text is being read, and where it ends; they are not expanded again in there.
    expanding: Vec<(String, usize)>,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(source: &'a mut dyn Source) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            at: 0,
            line: 1,
            depth: 0,
            misreadings: 0,
            begun: false,
            ended: false,
            peeked: None,
            pending: Vec::new(),
            aliases: Aliases::default(),
            expanding: Vec::new(),
        }
    }

    /// Counts lines from another one.
    pub(crate) fn at_line(mut self, line: u32) -> Self {
        self.line = line;
        self
    }

    /// Aliases to be expanded from the next command on.
    pub(crate) fn set_aliases(&mut self, aliases: &Aliases) {
        self.aliases = Rc::clone(aliases);
    }

    /// Whether lines are to be shown as they are read.
    pub(crate) fn set_verbose(&mut self, verbose: bool) {
        self.source.set_verbose(verbose);
    }

    /// Forgets what is left of the line.
    pub(crate) fn skip_line(&mut self) {
        self.at = self.buffer.len();
        self.peeked = None;
        self.pending.clear();
        self.depth = 0;
    }

    /// Whether it is known that the last command has been read.
    pub(crate) fn is_at_end(&self) -> bool {
        let nothing_peeked = matches!(self.peeked, None | Some(Token::Newline | Token::End));
        nothing_peeked && self.buffer[self.at..].iter().all(u8::is_ascii_whitespace) && self.source.is_blank()
    }

    /// The next line of commands, which may be several lines of text; `None` at the end.
    pub(crate) fn next_command(&mut self) -> Parsed<Option<List>> {
        loop {
            self.begun = false;
            if self.at == self.buffer.len() {
                self.buffer.clear();
                self.at = 0;
                self.expanding.clear();
            }
            match self.peek_token()? {
                Token::Newline => self.peeked = None,
                Token::End => return Ok(None),
                _ => break,
            }
        }
        let list = self.line_of_commands()?;
        Ok(Some(list))
    }

    /// A parser for text found within this one's: its `next_command` sees nothing but `source`.
    pub(super) fn within<'b>(&self, source: &'b mut dyn Source, line: u32) -> Parsed<Parser<'b>> {
        let mut parser = Parser::new(source).at_line(line);
        parser.depth = self.depth + 1;
        parser.misreadings = self.misreadings;
        parser.aliases = Rc::clone(&self.aliases);
        if parser.depth > MAX_DEPTH { Err(self.too_deep()) } else { Ok(parser) }
    }

    /// Everything there is, as one list.
    pub(crate) fn whole(&mut self) -> Parsed<List> {
        let mut whole = List::default();
        while let Some(list) = self.next_command()? {
            whole.items.extend(list.items);
        }
        Ok(whole)
    }

    /// Parses something that may contain itself.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn too_deep(&self) -> SyntaxError {
        self.error(format!("nested more than {MAX_DEPTH} levels deep"))
    }

    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError::At { line: self.line, message: message.into() }
    }

    pub(crate) fn line(&self) -> u32 {
        self.line
    }

    fn fill(&mut self) -> Parsed<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.source.next_line(self.begun)? {
            Some(line) => self.buffer.extend(line),
            None => self.ended = true,
        }
        self.begun = true;
        Ok(!self.ended)
    }

    /// The next byte as it is.
    pub(super) fn peek_raw(&mut self) -> Parsed<Option<u8>> {
        self.peek_at(0)
    }

    /// The byte `ahead` bytes further on.
    pub(super) fn peek_at(&mut self, ahead: usize) -> Parsed<Option<u8>> {
        while self.at + ahead >= self.buffer.len() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.buffer.get(self.at + ahead).copied())
    }

    /// The next byte, joined lines taken for one.
    pub(super) fn peek(&mut self) -> Parsed<Option<u8>> {
        while self.peek_raw()? == Some(b'\\') && self.peek_at(1)? == Some(b'\n') {
            self.at += 2;
            self.line += 1;
        }
        self.peek_raw()
    }

    /// Takes the byte that was looked at.
    pub(super) fn bump(&mut self) {
        if self.buffer.get(self.at) == Some(&b'\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    /// Takes the next byte if it is this one.
    pub(super) fn accept(&mut self, byte: u8) -> Parsed<bool> {
        let there = self.peek()? == Some(byte);
        if there {
            self.bump();
        }
        Ok(there)
    }

    /// A place to come back to.
    pub(super) fn mark(&self) -> (usize, u32) {
        (self.at, self.line)
    }

    pub(super) fn rewind(&mut self, (at, line): (usize, u32)) {
        self.at = at;
        self.line = line;
    }

    /// Goes back to read as commands what was read as arithmetic. Within each other these double the work.
    pub(super) fn rewind_to_commands(&mut self, mark: (usize, u32)) -> Parsed<()> {
        self.misreadings += 1;
        if self.misreadings > MAX_MISREADINGS {
            return Err(self.error("too many parentheses that may be arithmetic or commands"));
        }
        self.rewind(mark);
        Ok(())
    }

    /// Reads on with what `name` is an alias of, if it is one.
    pub(super) fn expand_alias(&mut self, name: &str) -> bool {
        let Some(text) = self.aliases.get(name) else { return false };
        let at = self.at;
        self.expanding.retain(|(_, end)| *end > at);
        if self.expanding.len() >= MAX_DEPTH as usize || self.expanding.iter().any(|(active, _)| active == name) {
            return false;
        }
        for (_, end) in &mut self.expanding {
            *end += text.len();
        }
        self.expanding.push((name.to_owned(), at + text.len() + 1));
        self.buffer.splice(at..at, text.iter().copied());
        true
    }
}
