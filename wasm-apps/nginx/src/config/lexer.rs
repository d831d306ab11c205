//! Configuration text to words and punctuation, by nginx's rules for quotes, escapes and comments.

use super::error::{ConfigError, Place};

/// A piece of configuration text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// `;`
    End,
    /// `{`
    Open,
    /// `}`
    Close,
}

/// Splits text into tokens.
pub(super) struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    place: Place,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, place: Place) -> Self {
        Self { rest: text.chars().peekable(), place }
    }

    /// Where the last token was.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.rest.next();
        // The command line, which is line 0, has no lines.
        if next == Some('\n') && self.place.line > 0 {
            self.place.line += 1;
        }
        next
    }

    /// The next token; `None` at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<Token>, ConfigError> {
        while let Some(&next) = self.rest.peek() {
            match next {
                '#' => while self.rest.next_if(|next| *next != '\n').is_some() {},
                next if next.is_ascii_whitespace() => {
                    self.bump();
                }
                _ => break,
            }
        }
        let Some(&first) = self.rest.peek() else { return Ok(None) };
        let token = match first {
            ';' => Token::End,
            '{' => Token::Open,
            '}' => Token::Close,
            '"' | '\'' => return self.quoted(first).map(Some),
            _ => return self.word().map(Some),
        };
        self.bump();
        Ok(Some(token))
    }

    fn quoted(&mut self, quote: char) -> Result<Token, ConfigError> {
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return Err(self.unexpected_end(r#"";" or "}""#)),
                Some('\\') => self.escaped(&mut text),
                Some(next) if next == quote => break,
                Some(next) => text.push(next),
            }
        }
        match self.rest.peek() {
            Some(&next) if !next.is_ascii_whitespace() && !matches!(next, ';' | '{' | ')') => {
                Err(ConfigError::new(format!("unexpected \"{next}\""), &self.place))
            }
            _ => Ok(Token::Word(text)),
        }
    }

    fn word(&mut self) -> Result<Token, ConfigError> {
        let mut text = String::new();
        loop {
            match self.rest.peek() {
                None => return Ok(Token::Word(text)),
                Some('{') if text.ends_with('$') => {}
                Some(';' | '{') => return Ok(Token::Word(text)),
                Some(next) if next.is_ascii_whitespace() => return Ok(Token::Word(text)),
                Some(_) => {}
            }
            match self.bump() {
                Some('\\') => self.escaped(&mut text),
                next => text.extend(next),
            }
        }
    }

    /// What follows a backslash: quotes and the like without it, anything else (regular expressions) with it.
    fn escaped(&mut self, text: &mut String) {
        match self.bump() {
            Some(next @ ('"' | '\'' | '\\')) => text.push(next),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            next => {
                text.push('\\');
                text.extend(next);
            }
        }
    }

    pub(super) fn unexpected_end(&self, expected: &str) -> ConfigError {
        ConfigError::new(format!("unexpected end of file, expecting {expected}"), &self.place)
    }
}
