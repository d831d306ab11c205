//! Expansion: from words to fields.

mod arithmetic;
mod glob;
mod parameters;

use crate::exec::{Flow, Shell};
use crate::pattern::Pattern;
use crate::state::Flag;
use crate::syntax::ast::{Piece, Word};

use crate::fields::{Builder, Field, has_pattern};

/// How the pieces of a word are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Manner {
    /// They stand in double quotes.
    quoted: bool,
    /// They are themselves the result of an expansion: literal text is split as well.
    inner: bool,
}

const PLAIN: Manner = Manner { quoted: false, inner: false };

impl Shell {
    /// The fields that a command's words become.
    pub(crate) fn expand_fields<'w>(
        &mut self,
        words: impl IntoIterator<Item = &'w Word>,
    ) -> Result<Vec<Vec<u8>>, Flow> {
        let mut fields = Vec::new();
        for word in words {
            self.expand_word(word, &mut fields)?;
        }
        Ok(fields)
    }

    fn expand_word(&mut self, word: &Word, fields: &mut Vec<Vec<u8>>) -> Result<(), Flow> {
        if let [Piece::Literal(text)] = &word.0[..]
            && !has_pattern(text, |_| true)
        {
            fields.push(text.clone());
            return Ok(());
        }
        let mut builder = Builder::new(Some(self.separators()));
        self.pieces(&word.0, PLAIN, &mut builder)?;
        for field in builder.finish() {
            if field.is_glob() && !self.state.options.has(Flag::NoGlob) {
                let found = self.glob(&field);
                if !found.is_empty() {
                    fields.extend(found);
                    continue;
                }
            }
            fields.push(field.text);
        }
        Ok(())
    }

    /// One text, neither split nor matched against files: the value of an assignment and the like.
    pub(crate) fn expand_to_text(&mut self, word: &Word) -> Result<Vec<u8>, Flow> {
        match &word.0[..] {
            [] => Ok(Vec::new()),
            [Piece::Literal(text)] => Ok(text.clone()),
            pieces => Ok(self.one_field(pieces)?.text),
        }
    }

    pub(crate) fn expand_pattern(&mut self, word: &Word) -> Result<Pattern, Flow> {
        Ok(self.one_field(&word.0)?.pattern())
    }

    fn expand_piece_to_text(&mut self, piece: &Piece) -> Result<Vec<u8>, Flow> {
        Ok(self.one_field(std::slice::from_ref(piece))?.text)
    }

    fn one_field(&mut self, pieces: &[Piece]) -> Result<Field, Flow> {
        let mut builder = Builder::new(None);
        self.pieces(pieces, PLAIN, &mut builder)?;
        Ok(builder.finish_one())
    }

    /// What `$IFS` says, or what holds without it.
    pub(crate) fn separators(&self) -> Vec<u8> {
        self.state.variables.get("IFS").unwrap_or(b" \t\n").to_vec()
    }

    fn pieces(&mut self, pieces: &[Piece], manner: Manner, builder: &mut Builder) -> Result<(), Flow> {
        pieces.iter().try_for_each(|piece| self.piece(piece, manner, builder))
    }

    fn piece(&mut self, piece: &Piece, manner: Manner, builder: &mut Builder) -> Result<(), Flow> {
        match piece {
            Piece::Literal(text) if manner.quoted => builder.quoted(text),
            Piece::Literal(text) if manner.inner => builder.expanded(text),
            Piece::Literal(text) => builder.literal(text),
            Piece::Quoted(text) => builder.quoted(text),
            Piece::Double(pieces) if pieces.is_empty() => builder.quoted(b""),
            Piece::Double(pieces) => self.pieces(pieces, Manner { quoted: true, ..manner }, builder)?,
            Piece::Parameter(parameter) => self.parameter(parameter, manner, builder)?,
            Piece::Command(list) => {
                let output = self.command_substitution(list)?;
                push(&output, manner, builder);
            }
            Piece::Arithmetic(arithmetic) => {
                let value = self.arithmetic(arithmetic)?;
                push(value.to_string().as_bytes(), manner, builder);
            }
            Piece::Tilde(user) => builder.quoted(&self.home_of(user)),
        }
        Ok(())
    }

    /// What `~user` stands for, or itself.
    fn home_of(&self, user: &str) -> Vec<u8> {
        if user.is_empty() {
            return self.state.variables.get("HOME").map_or_else(|| b"~".to_vec(), <[u8]>::to_vec);
        }
        let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
        let home = accounts.split(|byte| *byte == b'\n').find_map(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            (fields.next()? == user.as_bytes()).then(|| fields.nth(4)).flatten()
        });
        home.map_or_else(|| format!("~{user}").into_bytes(), <[u8]>::to_vec)
    }
}

fn push(text: &[u8], manner: Manner, builder: &mut Builder) {
    if manner.quoted {
        builder.quoted(text);
    } else {
        builder.expanded(text);
    }
}
