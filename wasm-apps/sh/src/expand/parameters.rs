//! Parameters: `$x` and all of `${x…}`.

use std::borrow::Cow;

use bstr::ByteSlice;

use super::{Manner, push};
use crate::exec::{Flow, Shell};
use crate::fields::Builder;
use crate::pattern::Pattern;
use crate::state::Flag;
use crate::syntax::ast::{Anchor, Name, Operation, Parameter, Unless, Word};

/// The longest value that a replacement may give.
const MAX_VALUE: usize = 64 << 20;

impl Shell {
    /// The value of a variable, computed ones included.
    pub(crate) fn variable(&mut self, name: &str) -> Option<Cow<'_, [u8]>> {
        match name {
            "LINENO" => return Some(Cow::Owned(self.state.line.to_string().into_bytes())),
            "RANDOM" if self.state.variables.get(name).is_some() => {
                return Some(Cow::Owned(self.random().to_string().into_bytes()));
            }
            _ => {}
        }
        self.state.variables.get(name).map(Cow::Borrowed)
    }

    /// Whether unset variables are an error.
    pub(crate) fn reports_unset(&self) -> bool {
        self.state.options.has(Flag::NoUnset)
    }

    pub(crate) fn unset(&mut self, name: &str) -> Flow {
        self.fatal(format!("{name}: parameter not set"))
    }

    pub(super) fn parameter(
        &mut self,
        parameter: &Parameter,
        manner: Manner,
        builder: &mut Builder,
    ) -> Result<(), Flow> {
        if let (Name::Special(b'@' | b'*'), operation) = (&parameter.name, &parameter.operation)
            && !matches!(operation, Operation::Length)
        {
            return self.all_parameters(parameter, manner, builder);
        }
        let value = self.value(&parameter.name);
        match &parameter.operation {
            Operation::Unless { action, colon, word } => {
                let missing = value.as_ref().is_none_or(|value| *colon && value.is_empty());
                match action {
                    Unless::Alternative if missing => {
                        if manner.quoted {
                            builder.quoted(b"");
                        }
                    }
                    Unless::Default if missing => self.inner_word(word, manner, builder)?,
                    Unless::Alternative => self.inner_word(word, manner, builder)?,
                    Unless::Assign if missing => {
                        let value = self.expand_to_text(word)?;
                        let Name::Variable(name) = &parameter.name else {
                            return Err(self.fatal(format!("{}: cannot assign in this way", describe(&parameter.name))));
                        };
                        self.assign(name, value.clone())?;
                        push(&value, manner, builder);
                    }
                    Unless::Error if missing => return Err(self.missing(parameter, *colon, word)),
                    _ => push(&value.unwrap_or_default(), manner, builder),
                }
                Ok(())
            }
            operation => {
                if value.is_none() && self.reports_unset() {
                    return Err(self.unset(&describe(&parameter.name)));
                }
                let value = self.operate(operation, value.unwrap_or_default())?;
                push(&value, manner, builder);
                Ok(())
            }
        }
    }

    fn missing(&mut self, parameter: &Parameter, colon: bool, word: &Word) -> Flow {
        let message = match self.expand_to_text(word) {
            Ok(message) if word.0.is_empty() => {
                debug_assert!(message.is_empty());
                format!("parameter {}not set", if colon { "null or " } else { "" })
            }
            Ok(message) => message.to_str_lossy().into_owned(),
            Err(flow) => return flow,
        };
        self.fatal(format!("{}: {message}", describe(&parameter.name)))
    }

    fn inner_word(&mut self, word: &Word, manner: Manner, builder: &mut Builder) -> Result<(), Flow> {
        if word.0.is_empty() && manner.quoted {
            builder.quoted(b"");
        }
        self.pieces(&word.0, Manner { inner: true, ..manner }, builder)
    }

    /// The value of a parameter other than `$@` and `$*` in a list.
    fn value(&mut self, name: &Name) -> Option<Vec<u8>> {
        let number = |number: usize| Some(number.to_string().into_bytes());
        match name {
            Name::Variable(name) => self.variable(name).map(Cow::into_owned),
            Name::Positional(0) => Some(self.state.name.to_vec()),
            Name::Positional(index) => self.state.positional.get(index - 1).cloned(),
            Name::Special(b'#' | b'@' | b'*') => number(self.state.positional.len()),
            Name::Special(b'?') => number(self.state.status.into()),
            Name::Special(b'$') => number(self.state.pid as usize),
            Name::Special(b'!') => self.state.last_background.and_then(|pid| number(pid as usize)),
            Name::Special(_) => Some(self.state.options.letters().into_bytes()),
        }
    }

    /// `$@` and `$*`.
    fn all_parameters(&mut self, parameter: &Parameter, manner: Manner, builder: &mut Builder) -> Result<(), Flow> {
        let mut values = self.state.positional.to_vec();
        match &parameter.operation {
            Operation::Value => {}
            Operation::Unless { action, colon, word } => {
                let missing = values.is_empty() || (*colon && values.iter().all(Vec::is_empty));
                match action {
                    Unless::Alternative if missing => return Ok(()),
                    Unless::Alternative => return self.inner_word(word, manner, builder),
                    Unless::Default if missing => return self.inner_word(word, manner, builder),
                    Unless::Assign if missing => return Err(self.fatal("@: cannot assign in this way")),
                    Unless::Error if missing => return Err(self.missing(parameter, *colon, word)),
                    _ => {}
                }
            }
            Operation::Substring { offset, length } => {
                let mut all = vec![self.state.name.to_vec()];
                all.append(&mut values);
                let offset = self.arithmetic(offset)?;
                let length = length.as_ref().map(|length| self.arithmetic(length)).transpose()?;
                values = range(all.len(), offset.max(1), length).map(|range| all[range].to_vec()).unwrap_or_default();
            }
            operation => {
                values = values.into_iter().map(|value| self.operate(operation, value)).collect::<Result<_, _>>()?;
            }
        }
        self.push_list(parameter.name == Name::Special(b'@'), &values, manner, builder);
        Ok(())
    }

    fn push_list(&self, each: bool, values: &[Vec<u8>], manner: Manner, builder: &mut Builder) {
        let separators = self.separators();
        let first = &separators[..separators.len().min(1)];
        if manner.quoted && !each {
            return builder.quoted(&values.join(first));
        }
        if !builder.splits() {
            let separator = if each { b" " } else { first };
            return builder.quoted(&values.join(separator));
        }
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                builder.end_field();
            }
            push(value, manner, builder);
        }
    }

    /// What an operation makes of a value.
    fn operate(&mut self, operation: &Operation, value: Vec<u8>) -> Result<Vec<u8>, Flow> {
        Ok(match operation {
            Operation::Value | Operation::Unless { .. } => value,
            Operation::Length => value.chars().count().to_string().into_bytes(),
            Operation::Remove { suffix, longest, pattern } => {
                let pattern = self.expand_pattern(pattern)?;
                remove(value, &pattern, *suffix, *longest)
            }
            Operation::Substring { offset, length } => {
                let offset = self.arithmetic(offset)?;
                let length = length.as_ref().map(|length| self.arithmetic(length)).transpose()?;
                substring(&value, offset, length)
            }
            Operation::Replace { all, anchor, pattern, with } => {
                let pattern = self.expand_pattern(pattern)?;
                let with = self.expand_to_text(with)?;
                match replace(&value, &pattern, *all, *anchor, &with) {
                    Some(value) => value,
                    None => return Err(self.fatal("replacement is too long")),
                }
            }
        })
    }
}

fn describe(name: &Name) -> String {
    match name {
        Name::Variable(name) => name.clone(),
        Name::Positional(index) => index.to_string(),
        Name::Special(byte) => char::from(*byte).to_string(),
    }
}

fn remove(mut value: Vec<u8>, pattern: &Pattern, suffix: bool, longest: bool) -> Vec<u8> {
    if suffix {
        let length = pattern.suffix(&value, longest).unwrap_or_default();
        value.truncate(value.len() - length);
    } else {
        let length = pattern.prefix(&value, longest).unwrap_or_default();
        value.drain(..length);
    }
    value
}

/// The indices that an offset and a length stand for. Below 0, both count from the end.
fn range(count: usize, offset: i64, length: Option<i64>) -> Option<std::ops::Range<usize>> {
    let count = i64::try_from(count).ok()?;
    let start = if offset < 0 { count + offset } else { offset };
    let end = match length {
        None => count,
        Some(length) if length < 0 => count + length,
        Some(length) => start.saturating_add(length).min(count),
    };
    (0 <= start && start <= end)
        .then(|| usize::try_from(start).ok().zip(usize::try_from(end).ok()))?
        .map(|(start, end)| start..end)
}

fn substring(value: &[u8], offset: i64, length: Option<i64>) -> Vec<u8> {
    let starts: Vec<usize> = value.char_indices().map(|(start, ..)| start).chain([value.len()]).collect();
    match range(starts.len() - 1, offset, length) {
        Some(range) => value[starts[range.start]..starts[range.end]].to_vec(),
        None => Vec::new(),
    }
}

fn replace(value: &[u8], pattern: &Pattern, all: bool, anchor: Anchor, with: &[u8]) -> Option<Vec<u8>> {
    let mut result = Vec::new();
    let mut at = 0;
    match anchor {
        Anchor::Start => {
            if let Some(length) = pattern.prefix(value, true) {
                result.extend_from_slice(with);
                at = length;
            }
        }
        Anchor::End => {
            let Some(length) = pattern.suffix(value, true) else { return Some(value.to_vec()) };
            return Some([&value[..value.len() - length], with].concat());
        }
        Anchor::None => {
            while let Some(found) = pattern.find(value, at) {
                result.extend_from_slice(&value[at..found.start]);
                result.extend_from_slice(with);
                at = found.end;
                if !all {
                    break;
                }
                if result.len() > MAX_VALUE {
                    return None;
                }
            }
        }
    }
    result.extend_from_slice(&value[at..]);
    Some(result)
}
