//! Tokens: words, operators and line ends.

use super::ast::Word;
use super::parser::{Parsed, Parser};

#[derive(Debug, Clone)]
pub(super) enum Token {
    Word(Word),
    /// A number right before `<` or `>`.
    IoNumber(u32),
    Operator(&'static str),
    Newline,
    End,
}

impl Token {
    /// How an error message names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => match word.plain() {
                Some(text) => format!("\"{text}\""),
                None => "word".to_owned(),
            },
            Self::IoNumber(number) => format!("\"{number}\""),
            Self::Operator(text) => format!("\"{text}\""),
            Self::Newline => "newline".to_owned(),
            Self::End => "end of file".to_owned(),
        }
    }

    pub(super) fn is_newline(&self) -> bool {
        matches!(self, Self::Newline)
    }

    pub(super) fn is(&self, operator: &str) -> bool {
        matches!(self, Self::Operator(found) if *found == operator)
    }

    /// The text of a word that may be reserved.
    pub(super) fn plain(&self) -> Option<&str> {
        match self {
            Self::Word(word) => word.plain(),
            _ => None,
        }
    }
}

/// Longer ones first where one begins another.
const OPERATORS: &[&str] = &[
    "&&", "&>>", "&>", "&", "||", "|&", "|", ";;&", ";;", ";&", ";", "<<<", "<<-", "<<", "<&", "<>", "<", ">>", ">&",
    ">|", ">", "(", ")",
];

/// Whether a byte ends an unquoted word.
pub(super) fn is_meta(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')')
}

impl Parser<'_> {
    pub(super) fn peek_token(&mut self) -> Parsed<&Token> {
        if self.peeked.is_none() {
            let token = self.lex()?;
            self.peeked = Some(token);
        }
        Ok(self.peeked.as_ref().unwrap_or(&Token::End))
    }

    pub(super) fn next_token(&mut self) -> Parsed<Token> {
        self.peek_token()?;
        Ok(self.peeked.take().unwrap_or(Token::End))
    }

    /// Takes the next token if it is this operator.
    pub(super) fn accept_operator(&mut self, operator: &str) -> Parsed<bool> {
        let there = self.peek_token()?.is(operator);
        if there {
            self.peeked = None;
        }
        Ok(there)
    }

    /// Takes the next token if it is this word.
    pub(super) fn accept_word(&mut self, text: &str) -> Parsed<bool> {
        let there = self.peek_token()?.plain() == Some(text);
        if there {
            self.peeked = None;
        }
        Ok(there)
    }

    pub(super) fn skip_newlines(&mut self) -> Parsed<()> {
        while self.peek_token()?.is_newline() {
            self.peeked = None;
        }
        Ok(())
    }

    fn lex(&mut self) -> Parsed<Token> {
        self.skip_blanks()?;
        let Some(byte) = self.peek()? else {
            self.read_here_documents()?;
            return Ok(Token::End);
        };
        if byte == b'\n' {
            self.bump();
            self.read_here_documents()?;
            return Ok(Token::Newline);
        }
        if let Some(number) = self.io_number()? {
            return Ok(Token::IoNumber(number));
        }
        if is_meta(byte) { self.operator().map(Token::Operator) } else { self.word().map(Token::Word) }
    }

    fn skip_blanks(&mut self) -> Parsed<()> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t') => self.bump(),
                Some(b'#') => {
                    while self.peek_raw()?.is_some_and(|byte| byte != b'\n') {
                        self.bump();
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn io_number(&mut self) -> Parsed<Option<u32>> {
        let mut length = 0;
        let mut number: u32 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek_at(length)? {
            number = number.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
            length += 1;
        }
        if length == 0 || !matches!(self.peek_at(length)?, Some(b'<' | b'>')) {
            return Ok(None);
        }
        (0..length).for_each(|_| self.bump());
        Ok(Some(number))
    }

    fn operator(&mut self) -> Parsed<&'static str> {
        for operator in OPERATORS {
            let mark = self.mark();
            let mut matches = true;
            for byte in operator.bytes() {
                if !self.accept(byte)? {
                    matches = false;
                    break;
                }
            }
            if matches {
                return Ok(operator);
            }
            self.rewind(mark);
        }
        Err(self.error("unexpected character"))
    }
}
