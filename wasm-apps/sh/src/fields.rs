//! Fields under construction: what is quoted in them, and where expansions are split.

use std::ops::Range;

use crate::pattern::{Pattern, is_special};

#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    pub(crate) text: Vec<u8>,
    /// Parts that stand for themselves in a pattern; those in which nothing could stand for more are left out.
    quoted: Vec<Range<usize>>,
}

impl Field {
    fn push_quoted(&mut self, text: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        if text.iter().any(|byte| is_special(*byte)) {
            self.quoted.push(start..self.text.len());
        }
    }

    pub(crate) fn pattern(&self) -> Pattern {
        Pattern::new(&self.text, &self.quoted)
    }

    /// Whether pathname expansion may find something else than the text.
    pub(crate) fn is_glob(&self) -> bool {
        has_pattern(&self.text, |at| !self.quoted.iter().any(|range| range.contains(&at)))
    }

    /// The parts between slashes.
    pub(crate) fn components(&self) -> Vec<Field> {
        let mut components = vec![Field::default()];
        for (at, byte) in self.text.iter().enumerate() {
            if *byte == b'/' {
                components.push(Field::default());
            } else if let Some(component) = components.last_mut() {
                if self.quoted.iter().any(|range| range.contains(&at)) {
                    component.push_quoted(&[*byte]);
                } else {
                    component.text.push(*byte);
                }
            }
        }
        components
    }
}

/// Whether a text with these active bytes is a pattern. A `[` that is not closed is none.
pub(crate) fn has_pattern(text: &[u8], active: impl Fn(usize) -> bool) -> bool {
    let active_byte = |at: usize, wanted: u8| text[at] == wanted && active(at);
    (0..text.len()).any(|at| match text[at] {
        b'*' | b'?' => active(at),
        b'[' => active(at) && (at + 2..text.len()).any(|end| active_byte(end, b']')),
        _ => false,
    })
}

/// Builds fields from what a word's pieces give.
pub(crate) struct Builder {
    fields: Vec<Field>,
    current: Field,
    /// There is a current field, even if it is empty.
    begun: bool,
    /// Blanks have ended the field before.
    blank_ended: bool,
    /// What expansions are split at; `None`: they are not.
    separators: Option<Vec<u8>>,
}

impl Builder {
    pub(crate) fn new(separators: Option<Vec<u8>>) -> Self {
        Self { fields: Vec::new(), current: Field::default(), begun: false, blank_ended: false, separators }
    }

    pub(crate) fn splits(&self) -> bool {
        self.separators.is_some()
    }

    pub(crate) fn quoted(&mut self, text: &[u8]) {
        self.begun = true;
        self.blank_ended = false;
        self.current.push_quoted(text);
    }

    /// What the script itself says without quotes.
    pub(crate) fn literal(&mut self, text: &[u8]) {
        self.begun |= !text.is_empty();
        self.blank_ended = false;
        self.current.text.extend_from_slice(text);
    }

    /// What an expansion gives without quotes around it.
    pub(crate) fn expanded(&mut self, text: &[u8]) {
        let Some(separators) = self.separators.take() else { return self.literal(text) };
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.iter().position(|byte| separators.contains(byte)).unwrap_or(rest.len());
            if length > 0 {
                self.literal(&rest[..length]);
            }
            if let Some(separator) = rest.get(length) {
                self.separate(*separator);
            }
            rest = rest.get(length + 1..).unwrap_or_default();
        }
        self.separators = Some(separators);
    }

    fn separate(&mut self, separator: u8) {
        let blank = matches!(separator, b' ' | b'\t' | b'\n');
        if self.begun {
            self.end_field();
            self.blank_ended = blank;
        } else if !blank {
            // Together with blanks before it, it is one separator.
            if !std::mem::take(&mut self.blank_ended) {
                self.fields.push(Field::default());
            }
        }
    }

    /// Ends the current field, if there is one.
    pub(crate) fn end_field(&mut self) {
        if std::mem::take(&mut self.begun) {
            self.fields.push(std::mem::take(&mut self.current));
        }
        self.blank_ended = false;
    }

    pub(crate) fn finish(mut self) -> Vec<Field> {
        self.end_field();
        self.fields
    }

    /// All of it as one field.
    pub(crate) fn finish_one(mut self) -> Field {
        self.end_field();
        self.fields.into_iter().next().unwrap_or_default()
    }
}

/// Splits a line as `read` does, into at most `count` fields, the last of which takes the rest. `escaped` says which
/// bytes a backslash has made ordinary.
pub(crate) fn split_line(line: &[u8], escaped: &[bool], separators: &[u8], count: usize) -> Vec<Vec<u8>> {
    let ordinary = |at: usize| escaped[at] || !separators.contains(&line[at]);
    let blank = |at: usize| !ordinary(at) && matches!(line[at], b' ' | b'\t' | b'\n');
    let mut fields = Vec::new();
    let mut at = 0;
    while at < line.len() && blank(at) {
        at += 1;
    }
    while at < line.len() && fields.len() < count {
        let start = at;
        if fields.len() + 1 == count {
            fields.push(last_field(line, start, &ordinary, &blank));
            break;
        }
        while at < line.len() && ordinary(at) {
            at += 1;
        }
        fields.push(line[start..at].to_vec());
        at = after_separator(line.len(), at, &ordinary, &blank);
    }
    fields
}

/// Blanks, one other separator, and blanks again.
fn after_separator(
    end: usize,
    mut at: usize,
    ordinary: &dyn Fn(usize) -> bool,
    blank: &dyn Fn(usize) -> bool,
) -> usize {
    while at < end && blank(at) {
        at += 1;
    }
    if at < end && !ordinary(at) {
        at += 1;
        while at < end && blank(at) {
            at += 1;
        }
    }
    at
}

/// The rest without the blanks at its end, and without a single separator there if that is all that follows a field.
fn last_field(line: &[u8], start: usize, ordinary: &dyn Fn(usize) -> bool, blank: &dyn Fn(usize) -> bool) -> Vec<u8> {
    let mut end = line.len();
    while end > start && blank(end - 1) {
        end -= 1;
    }
    let first_end = (start..end).find(|at| !ordinary(*at)).unwrap_or(end);
    if after_separator(end, first_end, ordinary, blank) >= end {
        end = first_end;
    }
    line[start..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(separators: &str, text: &str) -> Vec<String> {
        let mut builder = Builder::new(Some(separators.as_bytes().to_vec()));
        builder.expanded(text.as_bytes());
        builder.finish().into_iter().map(|field| String::from_utf8(field.text).unwrap()).collect()
    }

    #[test]
    fn blanks_separate_together() {
        assert_eq!(split(" \t\n", "  a  b\tc\n"), ["a", "b", "c"]);
        assert!(split(" ", "   ").is_empty());
    }

    #[test]
    fn other_separators_make_empty_fields() {
        assert_eq!(split(":", "a::b:"), ["a", "", "b"]);
        assert_eq!(split(":", ":a"), ["", "a"]);
        assert_eq!(split(": ", "a : b::c"), ["a", "b", "", "c"]);
    }

    #[test]
    fn quotes_keep_fields_together() {
        let mut builder = Builder::new(Some(b" ".to_vec()));
        builder.literal(b"x");
        builder.expanded(b"1 2");
        builder.quoted(b" y ");
        builder.end_field();
        builder.quoted(b"");
        let fields: Vec<_> = builder.finish().into_iter().map(|field| field.text).collect();
        assert_eq!(fields, [&b"x1"[..], b"2 y ", b""]);
    }

    #[test]
    fn only_open_patterns_are_globs() {
        for (text, is_glob) in [("*", true), ("[", false), ("[a]", true), ("[]", false), ("a]", false), ("?", true)] {
            assert_eq!(has_pattern(text.as_bytes(), |_| true), is_glob, "{text}");
        }
        assert!(!has_pattern(b"*", |_| false));
    }

    fn read(separators: &str, line: &str, count: usize) -> Vec<String> {
        let fields = split_line(line.as_bytes(), &vec![false; line.len()], separators.as_bytes(), count);
        fields.into_iter().map(|field| String::from_utf8(field).unwrap()).collect()
    }

    #[test]
    fn read_gives_the_rest_to_the_last() {
        assert_eq!(read(" ", " a  b c ", 2), ["a", "b c"]);
        assert_eq!(read(":", "a:b::c", 3), ["a", "b", ":c"]);
        assert_eq!(read(",", "a,b,", 2), ["a", "b"]);
        assert_eq!(read("", " a ", 1), [" a "]);
        assert_eq!(read(" ", "one", 3), ["one"]);
    }
}
