//! Where arithmetic stands in a script, and where it ends.

use super::ast::{Arithmetic, Piece, Word};
use super::expressions::parse;
use super::parser::{Parsed, Parser};
use super::words::push_literal;

impl Parser<'_> {
    /// The expression up to `))`, or `None` if these parentheses turn out to be commands'.
    pub(super) fn arithmetic_to_close(&mut self) -> Parsed<Option<Arithmetic>> {
        let mut pieces = Vec::new();
        let mut depth = 0;
        loop {
            match self.peek()? {
                None => return Ok(None),
                Some(b'(') => depth += 1,
                Some(b')') if depth == 0 => {
                    self.bump();
                    if !self.accept(b')')? {
                        return Ok(None);
                    }
                    return Ok(Some(Arithmetic::new(pieces)));
                }
                Some(b')') => depth -= 1,
                Some(_) => {}
            }
            if !self.arithmetic_piece(&mut pieces)? {
                return Ok(None);
            }
        }
    }

    /// The expression up to a `}`, or to `stop` outside of parentheses and `? :`.
    pub(super) fn arithmetic_to(&mut self, stop: u8) -> Parsed<Arithmetic> {
        let mut pieces = Vec::new();
        let mut depth = 0;
        loop {
            match self.peek()? {
                None => return Err(self.error("missing '}'")),
                Some(b'}') => return Ok(Arithmetic::new(pieces)),
                Some(byte) if byte == stop && depth == 0 => return Ok(Arithmetic::new(pieces)),
                Some(b'(' | b'?') => depth += 1,
                Some(b')' | b':') => depth -= 1,
                Some(_) => {}
            }
            self.arithmetic_piece(&mut pieces)?;
        }
    }

    fn arithmetic_piece(&mut self, pieces: &mut Vec<Piece>) -> Parsed<bool> {
        let Some(byte) = self.peek()? else { return Ok(false) };
        match byte {
            b'$' | b'`' => {
                for piece in self.one_expansion()? {
                    match piece {
                        Piece::Literal(text) => text.iter().for_each(|byte| push_literal(pieces, *byte)),
                        expansion => pieces.push(expansion),
                    }
                }
            }
            // Quotes have no meaning here, except that what they enclose is expanded.
            b'"' => self.bump(),
            // These belong to no expression, so this is a command.
            b';' | b'\'' => return Ok(false),
            _ => {
                self.bump();
                push_literal(pieces, byte);
            }
        }
        Ok(true)
    }
}

impl Arithmetic {
    fn new(pieces: Vec<Piece>) -> Self {
        let compiled = parse(&pieces).ok();
        Self { text: Word(vec![Piece::Double(pieces)]), compiled }
    }
}
