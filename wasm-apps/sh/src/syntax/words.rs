//! Words: quotes and expansions.

use std::rc::Rc;

use super::ast::{Name, Operation, Parameter, Piece, Word};
use super::parser::{Parsed, Parser, Text};
use super::tokens::is_meta;

/// Where a run of pieces stands, which decides what ends it and what quotes mean in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A word of a command.
    Word,
    /// In double quotes.
    Double,
    /// Here-documents, and texts that are expanded as one.
    Here,
    /// Within `${…}`, up to `}`, and to `/` and `:` if `stop` is one.
    Brace { quoted: bool, stop: u8 },
}

impl Place {
    fn quoted(self) -> bool {
        !matches!(self, Self::Word | Self::Brace { quoted: false, .. })
    }

    fn ends_at(self, byte: u8) -> bool {
        match self {
            Self::Word => is_meta(byte),
            Self::Double => byte == b'"',
            Self::Here => false,
            Self::Brace { stop, .. } => byte == b'}' || (stop != 0 && byte == stop),
        }
    }

    /// Whether a backslash takes the special meaning of `byte` away.
    fn escapes(self, byte: u8) -> bool {
        match self {
            Self::Double => matches!(byte, b'$' | b'`' | b'"' | b'\\'),
            Self::Here => matches!(byte, b'$' | b'`' | b'\\'),
            Self::Brace { quoted: true, .. } => matches!(byte, b'$' | b'`' | b'"' | b'\\' | b'}'),
            _ => true,
        }
    }
}

/// Whether this may be a variable's name.
pub(crate) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(|first| is_name_start(*first)) && text.iter().all(|byte| is_name_byte(*byte))
}

pub(super) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Adds to the last piece if that is unquoted text.
pub(super) fn push_literal(pieces: &mut Vec<Piece>, byte: u8) {
    match pieces.last_mut() {
        Some(Piece::Literal(text)) => text.push(byte),
        _ => pieces.push(Piece::Literal(vec![byte])),
    }
}

/// Finds `~` and `~user` at the start, and in an assignment behind each colon.
pub(super) fn mark_tildes(pieces: &mut Vec<Piece>, in_assignment: bool) {
    let mut index = 0;
    let mut at_start = true;
    while index < pieces.len() {
        let last = index + 1 == pieces.len();
        let Piece::Literal(text) = &pieces[index] else {
            at_start = false;
            index += 1;
            continue;
        };
        let starts = text.iter().enumerate().filter(|(at, byte)| {
            **byte == b'~' && if *at == 0 { at_start } else { in_assignment && text[at - 1] == b':' }
        });
        let found = starts.map(|(at, _)| at).find_map(|at| {
            let ends = |byte: &u8| *byte == b'/' || (in_assignment && *byte == b':');
            let length = text[at + 1..].iter().position(ends);
            let user = &text[at + 1..length.map_or(text.len(), |length| at + 1 + length)];
            ((length.is_some() || last) && user.iter().all(|byte| is_name_byte(*byte) || b"-.".contains(byte)))
                .then(|| (at, String::from_utf8_lossy(user).into_owned()))
        });
        at_start = false;
        if let Some((at, user)) = found {
            let rest = text[at + 1 + user.len()..].to_vec();
            let mut parts = vec![Piece::Tilde(user)];
            if at > 0 {
                parts.insert(0, Piece::Literal(text[..at].to_vec()));
                index += 1;
            }
            if !rest.is_empty() {
                parts.push(Piece::Literal(rest));
            }
            let place = index - usize::from(at > 0);
            pieces.splice(place..=place, parts);
        }
        index += 1;
    }
}

impl Parser<'_> {
    pub(super) fn word(&mut self) -> Parsed<Word> {
        self.pieces(Place::Word).map(Word)
    }

    /// All there is, as a here-document's text.
    pub(super) fn here_pieces(&mut self) -> Parsed<Vec<Piece>> {
        self.pieces(Place::Here)
    }

    /// The expansion that begins here, as it is in double quotes.
    pub(super) fn one_expansion(&mut self) -> Parsed<Vec<Piece>> {
        let mut pieces = Vec::new();
        if self.accept(b'`')? {
            pieces.push(self.backquoted(true)?);
        } else if self.accept(b'$')? {
            self.nested(|parser| parser.dollar(true, &mut pieces))?;
        }
        Ok(pieces)
    }

    /// A prompt, or any other text in which only expansions have a meaning.
    pub(crate) fn text(&mut self) -> Parsed<Word> {
        Ok(Word(vec![Piece::Double(self.here_pieces()?)]))
    }

    fn pieces(&mut self, place: Place) -> Parsed<Vec<Piece>> {
        let mut pieces = Vec::new();
        while let Some(byte) = self.peek()? {
            if place.ends_at(byte) {
                return Ok(pieces);
            }
            self.bump();
            match byte {
                b'\\' => self.escape(place, &mut pieces)?,
                b'\'' if !place.quoted() => pieces.push(Piece::Quoted(self.single_quoted()?)),
                b'"' if place != Place::Here => pieces.push(Piece::Double(self.nested(Self::double_quoted)?)),
                b'$' => self.nested(|parser| parser.dollar(place.quoted(), &mut pieces))?,
                b'`' => pieces.push(self.backquoted(place.quoted())?),
                _ => push_literal(&mut pieces, byte),
            }
        }
        match place {
            Place::Word | Place::Here => Ok(pieces),
            Place::Double => Err(self.error("unterminated quoted string")),
            Place::Brace { .. } => Err(self.error("missing '}'")),
        }
    }

    fn escape(&mut self, place: Place, pieces: &mut Vec<Piece>) -> Parsed<()> {
        match self.peek_raw()? {
            Some(byte) if place.escapes(byte) => {
                self.bump();
                match pieces.last_mut() {
                    Some(Piece::Quoted(text)) => text.push(byte),
                    _ => pieces.push(Piece::Quoted(vec![byte])),
                }
            }
            _ => push_literal(pieces, b'\\'),
        }
        Ok(())
    }

    fn single_quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.peek_raw()? else { return Err(self.error("unterminated quoted string")) };
            self.bump();
            if byte == b'\'' {
                return Ok(text);
            }
            text.push(byte);
        }
    }

    fn double_quoted(&mut self) -> Parsed<Vec<Piece>> {
        let pieces = self.pieces(Place::Double)?;
        self.bump();
        Ok(pieces)
    }

    /// What follows a `$`.
    fn dollar(&mut self, quoted: bool, pieces: &mut Vec<Piece>) -> Parsed<()> {
        let value = |name| Piece::Parameter(Box::new(Parameter { name, operation: Operation::Value }));
        match self.peek()? {
            Some(b'(') => {
                self.bump();
                pieces.push(self.parenthesised()?);
            }
            Some(b'{') => {
                self.bump();
                pieces.push(Piece::Parameter(Box::new(self.braced(quoted)?)));
            }
            Some(b'\'') if !quoted => {
                self.bump();
                pieces.push(Piece::Quoted(self.ansi_quoted()?));
            }
            Some(byte) if is_name_start(byte) => pieces.push(value(Name::Variable(self.name()?))),
            Some(byte @ b'0'..=b'9') => {
                self.bump();
                pieces.push(value(Name::Positional(usize::from(byte - b'0'))));
            }
            Some(byte) if b"@*#?-$!".contains(&byte) => {
                self.bump();
                pieces.push(value(Name::Special(byte)));
            }
            _ => push_literal(pieces, b'$'),
        }
        Ok(())
    }

    /// What follows `$(`.
    fn parenthesised(&mut self) -> Parsed<Piece> {
        let mark = self.mark();
        if self.accept(b'(')? {
            if let Some(arithmetic) = self.arithmetic_to_close()? {
                return Ok(Piece::Arithmetic(Box::new(arithmetic)));
            }
            self.rewind_to_commands(mark)?;
        }
        let pending = std::mem::take(&mut self.pending);
        let list = self.list()?;
        self.expect_operator(")")?;
        self.pending = pending;
        Ok(Piece::Command(Rc::new(list)))
    }

    /// What follows a backquote.
    fn backquoted(&mut self, quoted: bool) -> Parsed<Piece> {
        let line = self.line();
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.peek_raw()? else { return Err(self.error("unterminated backquote")) };
            self.bump();
            match byte {
                b'`' => break,
                b'\\' => match self.peek_raw()? {
                    Some(escaped) if b"$`\\".contains(&escaped) || (quoted && escaped == b'"') => {
                        self.bump();
                        text.push(escaped);
                    }
                    _ => text.push(b'\\'),
                },
                _ => text.push(byte),
            }
        }
        let mut source = Text::new(text);
        let list = self.within(&mut source, line)?.whole()?;
        Ok(Piece::Command(Rc::new(list)))
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        let mut name = String::new();
        while let Some(byte) = self.peek()?.filter(|byte| is_name_byte(*byte)) {
            self.bump();
            name.push(char::from(byte));
        }
        Ok(name)
    }

    /// A word within `${…}`, up to `}` or `stop`.
    pub(super) fn brace_word(&mut self, quoted: bool, stop: u8) -> Parsed<Word> {
        let mut pieces = self.pieces(Place::Brace { quoted, stop })?;
        if !quoted {
            mark_tildes(&mut pieces, false);
        }
        Ok(Word(pieces))
    }

    /// What follows `$'`.
    fn ansi_quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            let Some(byte) = self.peek_raw()? else { return Err(self.error("unterminated quoted string")) };
            self.bump();
            match byte {
                b'\'' => return Ok(crate::text::unescape(&text, crate::text::Escapes::Ansi).text),
                b'\\' => {
                    text.push(byte);
                    if let Some(escaped) = self.peek_raw()? {
                        self.bump();
                        text.push(escaped);
                    }
                }
                _ => text.push(byte),
            }
        }
    }
}
