//! Here-documents: their text follows the line they are named in.

use std::cell::RefCell;
use std::rc::Rc;

use super::ast::{Piece, Word};
use super::parser::{Parsed, Parser, Text};

/// A document that is named, and not read yet.
pub(super) struct PendingHere {
    pub(super) delimiter: Vec<u8>,
    /// The delimiter was quoted: the text is taken as it is.
    pub(super) verbatim: bool,
    /// Tabs at the starts of lines are left out.
    pub(super) strip_tabs: bool,
    pub(super) text: Rc<RefCell<Word>>,
}

impl PendingHere {
    pub(super) fn new(delimiter: &Word, strip_tabs: bool) -> Self {
        let verbatim = !matches!(delimiter.0[..], [Piece::Literal(_)]);
        Self { delimiter: unquoted(&delimiter.0), verbatim, strip_tabs, text: Rc::default() }
    }
}

/// The text of a delimiter: nothing is expanded in it.
fn unquoted(pieces: &[Piece]) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(part) | Piece::Quoted(part) => text.extend_from_slice(part),
            Piece::Double(parts) => text.extend(unquoted(parts)),
            _ => {}
        }
    }
    text
}

impl Parser<'_> {
    pub(super) fn read_here_documents(&mut self) -> Parsed<()> {
        for pending in std::mem::take(&mut self.pending) {
            let line = self.line();
            let text = self.here_text(&pending)?;
            let word = if pending.verbatim {
                Word(vec![Piece::Quoted(text)])
            } else {
                let mut source = Text::new(text);
                Word(vec![Piece::Double(self.within(&mut source, line)?.here_pieces()?)])
            };
            *pending.text.borrow_mut() = word;
        }
        Ok(())
    }

    fn here_text(&mut self, pending: &PendingHere) -> Parsed<Vec<u8>> {
        let mut text = Vec::new();
        let mut continued = false;
        loop {
            let Some(mut line) = self.raw_line()? else { return Ok(text) };
            if pending.strip_tabs {
                let tabs = line.iter().take_while(|byte| **byte == b'\t').count();
                line.drain(..tabs);
            }
            let content = line.strip_suffix(b"\n").unwrap_or(&line);
            if !continued && content == pending.delimiter {
                return Ok(text);
            }
            let backslashes = content.iter().rev().take_while(|byte| **byte == b'\\').count();
            continued = !pending.verbatim && backslashes % 2 == 1;
            text.extend(line);
        }
    }

    fn raw_line(&mut self) -> Parsed<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while let Some(byte) = self.peek_raw()? {
            self.bump();
            line.push(byte);
            if byte == b'\n' {
                break;
            }
        }
        Ok((!line.is_empty()).then_some(line))
    }
}
