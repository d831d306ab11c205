//! Lists, pipelines, simple commands and redirections.

use std::rc::Rc;

use super::ast::{
    AndOr, Assignment, Command, Connector, Item, List, Piece, Pipeline, Redirect, RedirectKind, Simple, Word,
};
use super::here::PendingHere;
use super::parser::{Parsed, Parser, SyntaxError};
use super::tokens::Token;
use super::words::{is_name, mark_tildes};

/// Words that end a list where a command could begin.
const CLOSING: &[&str] = &["then", "else", "elif", "fi", "do", "done", "esac", "}"];

impl Parser<'_> {
    /// Commands up to the end of the line.
    pub(super) fn line_of_commands(&mut self) -> Parsed<List> {
        let mut list = List::default();
        loop {
            let and_or = self.and_or()?;
            let background = self.accept_operator("&")?;
            let more = background || self.accept_operator(";")?;
            list.items.push(Item { and_or, background });
            match self.peek_token()? {
                Token::Newline => {
                    self.peeked = None;
                    return Ok(list);
                }
                Token::End => return Ok(list),
                _ if more => {}
                _ => return Err(self.unexpected(None)),
            }
        }
    }

    /// Commands up to something that closes them, which is left.
    pub(super) fn list(&mut self) -> Parsed<List> {
        let mut list = List::default();
        loop {
            self.skip_newlines()?;
            let token = self.peek_token()?;
            let closed = match token {
                Token::End => true,
                Token::Operator(text) => matches!(*text, ")" | ";;" | ";&" | ";;&"),
                _ => token.plain().is_some_and(|text| CLOSING.contains(&text)),
            };
            if closed {
                return Ok(list);
            }
            let and_or = self.and_or()?;
            let background = self.accept_operator("&")?;
            let separated = background || self.accept_operator(";")? || self.peek_token()?.is_newline();
            list.items.push(Item { and_or, background });
            if !separated {
                return Ok(list);
            }
        }
    }

    /// A list that must hold a command.
    pub(super) fn nonempty_list(&mut self) -> Parsed<List> {
        let list = self.list()?;
        if list.items.is_empty() { Err(self.unexpected(None)) } else { Ok(list) }
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            let connector = match self.peek_token()? {
                Token::Operator("&&") => Connector::And,
                Token::Operator("||") => Connector::Or,
                _ => return Ok(AndOr { first, rest }),
            };
            self.peeked = None;
            self.skip_newlines()?;
            rest.push((connector, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut negated = false;
        while self.accept_word("!")? {
            negated = !negated;
        }
        let mut stages = vec![self.command()?];
        loop {
            if self.accept_operator("|&")? {
                if let Some(stage) = stages.last_mut() {
                    add_redirect(stage, error_to_output());
                }
            } else if !self.accept_operator("|")? {
                return Ok(Pipeline { negated, stages });
            }
            self.skip_newlines()?;
            stages.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut may_be_alias = true;
        loop {
            if let Some(compound) = self.compound()? {
                return Ok(Command::Compound(Box::new(compound), self.redirects()?));
            }
            let name = match self.peek_token()? {
                Token::Word(word) => word.plain().map(str::to_owned),
                _ => None,
            };
            let Some(name) = name.filter(|_| may_be_alias) else { return self.simple() };
            if CLOSING.contains(&name.as_str()) {
                return Err(self.unexpected(None));
            }
            let token = self.peeked.take();
            if !self.expand_alias(&name) {
                self.peeked = token;
                may_be_alias = false;
            }
        }
    }

    fn simple(&mut self) -> Parsed<Command> {
        let mut simple = Simple { line: self.line(), ..Simple::default() };
        loop {
            if let Some(redirect) = self.redirect()? {
                simple.redirects.push(redirect);
                continue;
            }
            match self.peek_token()? {
                Token::Word(_) => {
                    let Token::Word(word) = self.next_token()? else { continue };
                    if let Some(function) = self.function_of(&simple, &word)? {
                        return Ok(function);
                    }
                    simple.add(word);
                }
                _ if simple.words.is_empty() && simple.assignments.is_empty() && simple.redirects.is_empty() => {
                    return Err(self.unexpected(None));
                }
                _ => return Ok(Command::Simple(simple)),
            }
        }
    }

    /// `name() command`, if that is what the first word begins.
    fn function_of(&mut self, simple: &Simple, word: &Word) -> Parsed<Option<Command>> {
        let first = simple.words.is_empty() && simple.assignments.is_empty() && simple.redirects.is_empty();
        let Some(name) = word.plain().filter(|_| first) else { return Ok(None) };
        if !self.accept_operator("(")? {
            return Ok(None);
        }
        if !self.accept_operator(")")? {
            return Err(self.unexpected(Some(")")));
        }
        self.function_body(name.to_owned()).map(Some)
    }

    pub(super) fn function_body(&mut self, name: String) -> Parsed<Command> {
        self.skip_newlines()?;
        let body = self.nested(Self::command)?;
        Ok(Command::Function(name, Rc::new(body)))
    }

    fn redirects(&mut self) -> Parsed<Vec<Redirect>> {
        let mut redirects = Vec::new();
        while let Some(redirect) = self.redirect()? {
            redirects.push(redirect);
        }
        Ok(redirects)
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let number = match self.peek_token()? {
            Token::IoNumber(number) => Some(*number),
            Token::Operator(text) if text.starts_with(['<', '>']) || text.starts_with("&>") => None,
            _ => return Ok(None),
        };
        if number.is_some() {
            self.peeked = None;
        }
        let Token::Operator(operator) = self.next_token()? else { return Err(self.unexpected(None)) };
        let fd = number.unwrap_or(u32::from(!operator.starts_with('<')));
        let target = match self.next_token()? {
            Token::Word(word) => word,
            other => {
                self.peeked = Some(other);
                return Err(self.unexpected(Some("word")));
            }
        };
        let kind = match operator {
            "<" => RedirectKind::Read(target),
            ">" => RedirectKind::Write { target, clobber: false },
            ">|" => RedirectKind::Write { target, clobber: true },
            ">>" => RedirectKind::Append(target),
            "<>" => RedirectKind::ReadWrite(target),
            "<&" => RedirectKind::Duplicate(target),
            ">&" if number.is_none() && !says_descriptor(&target) => RedirectKind::Both { target, append: false },
            ">&" => RedirectKind::Duplicate(target),
            "&>" => RedirectKind::Both { target, append: false },
            "&>>" => RedirectKind::Both { target, append: true },
            "<<<" => RedirectKind::HereString(target),
            _ => {
                let pending = PendingHere::new(&target, operator == "<<-");
                let kind = RedirectKind::Here(Rc::clone(&pending.text));
                self.pending.push(pending);
                kind
            }
        };
        Ok(Some(Redirect { fd, kind }))
    }

    /// The error that says what stands where something else must stand.
    pub(super) fn unexpected(&mut self, expected: Option<&str>) -> SyntaxError {
        let found = match self.peek_token() {
            Ok(token) => token.describe(),
            Err(error) => return error,
        };
        let expected = expected.map(|text| format!(" (expecting \"{text}\")")).unwrap_or_default();
        self.error(format!("unexpected {found}{expected}"))
    }
}

/// `2>&1`
fn error_to_output() -> Redirect {
    Redirect { fd: 2, kind: RedirectKind::Duplicate(Word(vec![Piece::Literal(b"1".to_vec())])) }
}

fn add_redirect(command: &mut Command, redirect: Redirect) {
    match command {
        Command::Simple(simple) => simple.redirects.push(redirect),
        Command::Compound(_, redirects) => redirects.push(redirect),
        Command::Function(..) => {}
    }
}

/// Whether the word of `>&` may be a number or `-`; only plain text that is neither names a file.
fn says_descriptor(word: &Word) -> bool {
    word.plain().is_none_or(|text| text == "-" || text.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Simple {
    fn add(&mut self, mut word: Word) {
        if self.words.is_empty() {
            match assignment(word) {
                Ok(assignment) => return self.assignments.push(assignment),
                Err(no_assignment) => word = no_assignment,
            }
        }
        mark_tildes(&mut word.0, false);
        self.words.push(word);
    }
}

/// Takes `name=value` apart.
fn assignment(mut word: Word) -> Result<Assignment, Word> {
    let Some(Piece::Literal(text)) = word.0.first_mut() else { return Err(word) };
    let Some(equals) = text.iter().position(|byte| *byte == b'=') else { return Err(word) };
    let append = equals > 0 && text[equals - 1] == b'+';
    let name = &text[..equals - usize::from(append)];
    if !is_name(name) {
        return Err(word);
    }
    let name = String::from_utf8_lossy(name).into_owned();
    text.drain(..=equals);
    if text.is_empty() {
        word.0.remove(0);
    }
    mark_tildes(&mut word.0, true);
    Ok(Assignment { name, append, value: word })
}
