//! The record and its fields.

use std::ops::Range;
use std::rc::Rc;

use regex::bytes::Regex;

use super::regex::Regexes;
use super::value::{Text, Value};

/// The most fields a record may be given.
const MAX_FIELDS: usize = 1 << 20;

/// What separates fields.
#[derive(Clone)]
pub(super) enum Separator {
    /// Runs of blanks and newlines; those at the ends do not count.
    Blanks,
    Byte(u8),
    /// Every character is a field.
    Nothing,
    Regex(Rc<Regex>),
}

impl Separator {
    /// The separator that `FS`, or an argument of `split`, stands for.
    pub(super) fn parse(text: &[u8], regexes: &mut Regexes) -> Result<Self, String> {
        Ok(match text {
            b" " => Self::Blanks,
            b"" => Self::Nothing,
            [byte] if *byte != b'\\' && byte.is_ascii() => Self::Byte(*byte),
            _ => Self::Regex(regexes.get(text)?),
        })
    }

    /// Where the fields of a text are.
    pub(super) fn split(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut fields = Vec::new();
        if text.is_empty() {
            return fields;
        }
        let mut start = 0;
        match self {
            Self::Blanks => {
                let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n');
                while let Some(skipped) = text[start..].iter().position(|byte| !is_blank(byte)) {
                    start += skipped;
                    let end = text[start..].iter().position(is_blank).map_or(text.len(), |length| start + length);
                    fields.push(start..end);
                    start = end;
                }
                return fields;
            }
            Self::Byte(byte) => {
                for (at, _) in text.iter().enumerate().filter(|(_, found)| *found == byte) {
                    fields.push(start..at);
                    start = at + 1;
                }
            }
            Self::Nothing => {
                let starts = text.iter().enumerate().skip(1).filter(|(_, byte)| **byte & 0xc0 != 0x80);
                for (at, _) in starts {
                    fields.push(start..at);
                    start = at;
                }
            }
            Self::Regex(regex) => {
                for found in regex.find_iter(text).filter(|found| !found.is_empty()) {
                    fields.push(start..found.start());
                    start = found.end();
                }
            }
        }
        fields.push(start..text.len());
        fields
    }
}

/// The record. It is split when a field is asked for, and put together again when it is asked for itself.
pub(super) struct Record {
    text: Vec<u8>,
    separator: Separator,
    fields: Fields,
    /// The text is older than the fields.
    stale: bool,
}

enum Fields {
    NotSplit,
    /// Parts of the text.
    Parts(Vec<Range<usize>>),
    /// On their own, since one was changed.
    Values(Vec<Value>),
}

impl Record {
    pub(super) fn new() -> Self {
        Self { text: Vec::new(), separator: Separator::Blanks, fields: Fields::NotSplit, stale: false }
    }

    /// Sets what separates the fields of this record, if it is not split yet, and of those to come.
    pub(super) fn set_separator(&mut self, separator: Separator) {
        // The record's fields are those that the old separator makes.
        self.split();
        self.separator = separator;
    }

    pub(super) fn set(&mut self, text: Vec<u8>) {
        (self.text, self.fields, self.stale) = (text, Fields::NotSplit, false);
    }

    fn split(&mut self) {
        if matches!(self.fields, Fields::NotSplit) {
            self.fields = Fields::Parts(self.separator.split(&self.text));
        }
    }

    pub(super) fn count(&mut self) -> usize {
        self.split();
        match &self.fields {
            Fields::NotSplit => 0,
            Fields::Parts(parts) => parts.len(),
            Fields::Values(values) => values.len(),
        }
    }

    /// The record's text; `output_separator` is what fields are put together with.
    pub(super) fn text(&mut self, output_separator: impl FnOnce() -> (Text, Text)) -> &[u8] {
        if let (true, Fields::Values(values)) = (self.stale, &self.fields) {
            let (between, number_format) = output_separator();
            let texts: Vec<Text> = values.iter().map(|value| value.to_text(&number_format)).collect();
            self.text = texts.join(&between[..]);
            self.stale = false;
        }
        &self.text
    }

    /// A field, counted from 1.
    pub(super) fn field(&mut self, number: usize) -> Value {
        self.split();
        match &self.fields {
            Fields::NotSplit => Value::Unset,
            Fields::Parts(parts) => {
                parts.get(number - 1).map_or(Value::Unset, |part| Value::input(&self.text[part.clone()]))
            }
            Fields::Values(values) => values.get(number - 1).cloned().unwrap_or_default(),
        }
    }

    /// The fields as values of their own, at least `count` of them.
    fn values(&mut self, count: usize) -> Result<&mut Vec<Value>, String> {
        if count > MAX_FIELDS {
            return Err(format!("a record cannot have {count} fields"));
        }
        self.split();
        if let Fields::Parts(parts) = &self.fields {
            self.fields = Fields::Values(parts.iter().map(|part| Value::input(&self.text[part.clone()])).collect());
        }
        self.stale = true;
        match &mut self.fields {
            Fields::Values(values) => {
                if values.len() < count {
                    values.resize(count, Value::Unset);
                }
                Ok(values)
            }
            Fields::NotSplit | Fields::Parts(_) => Err("the record is not split".to_owned()),
        }
    }

    pub(super) fn set_field(&mut self, number: usize, value: Value) -> Result<(), String> {
        self.values(number)?[number - 1] = value;
        Ok(())
    }

    pub(super) fn set_count(&mut self, count: usize) -> Result<(), String> {
        self.values(count)?.truncate(count);
        Ok(())
    }
}
