//! The words that tables are made of: bare ones, quoted texts, and YAML in braces.

use std::fmt::Write as _;

use crate::base::clock::Timestamp;

const ORIGIN: i64 = 1_800_000_000;

/// A word of a table. Texts are in `"`, `'` or backquotes; in braces and brackets, spaces and quotes don't end a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Bare(String),
    Text(String),
}

impl Word {
    pub(super) fn as_str(&self) -> &str {
        let (Self::Bare(text) | Self::Text(text)) = self;
        text
    }
}

pub(super) fn bare(text: impl Into<String>) -> Word {
    Word::Bare(text.into())
}

/// Splits a line into words; `;` is one of its own.
pub(super) fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            ';' => 1,
            '"' | '\'' | '`' => {
                let end = rest[1..].find(first).unwrap_or_else(|| panic!("an open quote in {line:?}")) + 1;
                words.push(Word::Text(rest[1..end].into()));
                rest = rest[end + 1..].trim_start();
                continue;
            }
            _ => bare_end(rest),
        };
        words.push(bare(&rest[..end]));
        rest = rest[end..].trim_start();
    }
    words
}

/// Where a bare word ends: at a space or `;` outside of braces and of quotes after `=` or `:`.
fn bare_end(text: &str) -> usize {
    let (mut depth, mut quote) = (0, None);
    for (index, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('{' | '[', None) => depth += 1,
            ('}' | ']', None) => depth -= 1,
            (c, None) if depth == 0 && (c == ';' || c.is_whitespace()) => return index,
            _ => {}
        }
    }
    text.len()
}

/// The words between one `;` and the next.
pub(super) fn clauses(line: &str) -> Vec<Vec<Word>> {
    let words = words(line);
    let clauses = words.split(|word| *word == bare(";")).map(<[Word]>::to_vec);
    clauses.filter(|clause| !clause.is_empty()).collect()
}

/// Words as a table has them.
pub(super) fn join(words: &[Word]) -> String {
    let mut line = String::new();
    for word in words {
        let space = if line.is_empty() { "" } else { " " };
        let _ = match word {
            Word::Bare(word) => write!(line, "{space}{word}"),
            Word::Text(text) if text.contains('"') && text.contains('\'') => write!(line, "{space}`{text}`"),
            Word::Text(text) if text.contains('"') => write!(line, "{space}'{text}'"),
            Word::Text(text) => write!(line, "{space}\"{text}\""),
        };
    }
    line
}

/// A time in seconds since the beginning of the tables.
pub(super) fn at(seconds: &str) -> Timestamp {
    let seconds: f64 = seconds.parse().unwrap_or_else(|_| panic!("{seconds:?} is not a time"));
    Timestamp::from_millisecond(ORIGIN * 1000 + (seconds * 1000.0) as i64).unwrap()
}

/// The inverse of `at`.
pub(super) fn seconds(at: Timestamp) -> String {
    ((at.as_millisecond() - ORIGIN * 1000) as f64 / 1000.0).to_string()
}
