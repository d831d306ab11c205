//! Patterns: `*`, `?`, `[…]`, matched character by character in time proportional to text and pattern.

use std::ops::Range;

/// A character, or a byte that is none.
type Unit = u32;

#[derive(Debug, Clone)]
enum Part {
    Unit(Unit),
    Any,
    Star,
    Set { negated: bool, members: Vec<Member> },
}

#[derive(Debug, Clone)]
enum Member {
    Range(Unit, Unit),
    /// `[:name:]`
    Class(fn(&char) -> bool),
}

/// A pattern to match texts against.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
    /// The text, if only that text matches.
    literal: Option<Vec<u8>>,
}

/// Bytes that mean something in a pattern unless they are quoted.
pub(crate) fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'!' | b'^' | b'-' | b':')
}

/// Which way a text is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl Pattern {
    /// `quoted`: which parts of `text` stand for themselves, in order.
    pub(crate) fn new(text: &[u8], quoted: &[Range<usize>]) -> Self {
        if !text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')) {
            return Self { parts: Vec::new(), literal: Some(text.to_vec()) };
        }
        let mut reader = Reader { text, quoted, at: 0 };
        let mut parts = Vec::new();
        while let Some((unit, active)) = reader.next() {
            let part = match u8::try_from(unit) {
                Ok(b'*') if active => Part::Star,
                Ok(b'?') if active => Part::Any,
                Ok(b'[') if active => reader.set().unwrap_or(Part::Unit(unit)),
                _ => Part::Unit(unit),
            };
            if !part.is_star() || !parts.last().is_some_and(Part::is_star) {
                parts.push(part);
            }
        }
        Self { parts, literal: None }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match &self.literal {
            Some(literal) => literal == text,
            None => self.end_of_match(text, true, Direction::Forward) == Some(text.len()),
        }
    }

    /// Whether it begins with a dot: only then it matches names that do.
    pub(crate) fn begins_with_dot(&self) -> bool {
        match &self.literal {
            Some(literal) => literal.starts_with(b"."),
            None => matches!(self.parts.first(), Some(Part::Unit(unit)) if *unit == u32::from(b'.')),
        }
    }

    /// How many bytes at the start match.
    pub(crate) fn prefix(&self, text: &[u8], longest: bool) -> Option<usize> {
        match &self.literal {
            Some(literal) => text.starts_with(literal).then_some(literal.len()),
            None => self.end_of_match(text, longest, Direction::Forward),
        }
    }

    /// How many bytes at the end match.
    pub(crate) fn suffix(&self, text: &[u8], longest: bool) -> Option<usize> {
        match &self.literal {
            Some(literal) => text.ends_with(literal).then_some(literal.len()),
            None => self.end_of_match(text, longest, Direction::Backward),
        }
    }

    /// The first and longest match from `from` on, not empty.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        let mut at = from;
        while at < text.len() {
            if let Some(length) = self.prefix(&text[at..], true).filter(|length| *length > 0) {
                return Some(at..at + length);
            }
            at += first_unit(&text[at..]).1;
        }
        None
    }

    /// Follows all ways to match at once. `states[n]`: the first n parts match what was gone through.
    fn end_of_match(&self, text: &[u8], longest: bool, direction: Direction) -> Option<usize> {
        let count = self.parts.len();
        let part = |index: usize| match direction {
            Direction::Forward => &self.parts[index],
            Direction::Backward => &self.parts[count - 1 - index],
        };
        let skip_stars = |states: &mut [bool]| {
            for index in 0..count {
                if states[index] && part(index).is_star() {
                    states[index + 1] = true;
                }
            }
        };
        let mut states = vec![false; count + 1];
        states[0] = true;
        skip_stars(&mut states);
        let (mut found, mut gone) = (None, 0);
        loop {
            if states[count] {
                found = Some(gone);
                if !longest {
                    return found;
                }
            }
            if gone == text.len() || !states.contains(&true) {
                return found;
            }
            let (unit, length) = match direction {
                Direction::Forward => first_unit(&text[gone..]),
                Direction::Backward => last_unit(&text[..text.len() - gone]),
            };
            gone += length;
            for index in (0..count).rev() {
                let there = std::mem::take(&mut states[index + 1]) && index + 1 < count && part(index + 1).is_star();
                states[index + 1] = there || (states[index] && part(index).accepts(unit));
            }
            states[0] = states[0] && count > 0 && part(0).is_star();
            skip_stars(&mut states);
        }
    }
}

impl Part {
    fn is_star(&self) -> bool {
        matches!(self, Self::Star)
    }

    fn accepts(&self, unit: Unit) -> bool {
        match self {
            Self::Unit(own) => *own == unit,
            Self::Any => true,
            Self::Star => false,
            Self::Set { negated, members } => members.iter().any(|member| member.holds(unit)) != *negated,
        }
    }
}

impl Member {
    fn holds(&self, unit: Unit) -> bool {
        match self {
            Self::Range(first, last) => (*first..=*last).contains(&unit),
            Self::Class(class) => char::from_u32(unit).is_some_and(|char| class(&char)),
        }
    }
}

/// Bytes that are no characters come after all of these.
const NO_CHARACTER: Unit = 0x11_0000;

fn first_unit(text: &[u8]) -> (Unit, usize) {
    match text.first() {
        Some(byte) if byte.is_ascii() => (Unit::from(*byte), 1),
        _ => match bstr::decode_utf8(text) {
            (Some(char), length) => (Unit::from(char), length),
            _ => (NO_CHARACTER + Unit::from(text.first().copied().unwrap_or_default()), 1),
        },
    }
}

fn last_unit(text: &[u8]) -> (Unit, usize) {
    match bstr::decode_last_utf8(text) {
        (Some(char), length) => (Unit::from(char), length),
        _ => (NO_CHARACTER + Unit::from(text.last().copied().unwrap_or_default()), 1),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    quoted: &'a [Range<usize>],
    at: usize,
}

impl Reader<'_> {
    /// The next character, and whether it has its meaning.
    fn next(&mut self) -> Option<(Unit, bool)> {
        let active = !self.is_quoted();
        if active && self.text.get(self.at) == Some(&b'\\') && self.at + 1 < self.text.len() {
            self.at += 1;
            return self.unit().map(|unit| (unit, false));
        }
        self.unit().map(|unit| (unit, active))
    }

    fn is_quoted(&self) -> bool {
        self.quoted.iter().any(|range| range.contains(&self.at))
    }

    fn unit(&mut self) -> Option<Unit> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (unit, length) = first_unit(rest);
        self.at += length;
        Some(unit)
    }

    /// What follows a `[`; where it is not closed, that is an ordinary character.
    fn set(&mut self) -> Option<Part> {
        let start = self.at;
        let set = self.closed_set();
        if set.is_none() {
            self.at = start;
        }
        set
    }

    fn closed_set(&mut self) -> Option<Part> {
        let mut members = Vec::new();
        let negated = matches!(self.text.get(self.at), Some(b'!' | b'^')) && !self.is_quoted();
        if negated {
            self.at += 1;
        }
        let first = self.at;
        loop {
            let at = self.at;
            let (unit, active) = self.next()?;
            if unit == Unit::from(b']') && active && at != first {
                return Some(Part::Set { negated, members });
            }
            if unit == Unit::from(b'[') && active && self.text.get(self.at) == Some(&b':') {
                let name = &self.text[self.at + 1..];
                if let Some(length) = name.windows(2).position(|pair| pair == b":]") {
                    members.push(Member::Class(class(&name[..length])?));
                    self.at += length + 3;
                    continue;
                }
            }
            let is_range = self.text.get(self.at) == Some(&b'-')
                && !self.is_quoted()
                && self.text.get(self.at + 1).is_some_and(|byte| *byte != b']');
            let mut last = unit;
            if is_range {
                self.at += 1;
                last = self.next()?.0;
            }
            members.push(Member::Range(unit, last));
        }
    }
}

fn class(name: &[u8]) -> Option<fn(&char) -> bool> {
    Some(match name {
        b"alpha" => |char| char.is_alphabetic(),
        b"digit" => char::is_ascii_digit,
        b"alnum" => |char| char.is_alphanumeric(),
        b"upper" => |char| char.is_uppercase(),
        b"lower" => |char| char.is_lowercase(),
        b"space" => |char| char.is_whitespace(),
        b"blank" => |char| matches!(char, ' ' | '\t'),
        b"punct" => char::is_ascii_punctuation,
        b"print" => |char| !char.is_control(),
        b"graph" => |char| !char.is_control() && !char.is_whitespace(),
        b"cntrl" => |char| char.is_control(),
        b"xdigit" => char::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern.as_bytes(), &[]).matches(text.as_bytes())
    }

    #[test]
    fn wildcards_match() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "aüc"), ("**x", "x"), ("*.tar.*", "a.tar.gz"), ("\\*", "*")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*c", "abd"), ("?", ""), ("?", "ab"), ("abc", "ab"), ("\\*", "x")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn sets_match() {
        for (pattern, text) in [
            ("[abc]", "b"),
            ("[a-c]x", "cx"),
            ("[!a-c]", "d"),
            ("[]a]", "]"),
            ("[a-]", "-"),
            ("[[:digit:]_]", "7"),
            ("[a", "[a"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("[abc]", "d"), ("[!a-c]", "b"), ("[[:upper:]]", "a"), ("[]", "x")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn quoted_parts_stand_for_themselves() {
        let pattern = Pattern::new(b"a*b*", &[1..2]);
        assert!(pattern.matches(b"a*bc"));
        assert!(!pattern.matches(b"axbc"));
    }

    #[test]
    fn shortest_and_longest_ends_are_found() {
        let pattern = Pattern::new(b"*/", &[]);
        assert_eq!(pattern.prefix(b"/usr/lib", false), Some(1));
        assert_eq!(pattern.prefix(b"/usr/lib", true), Some(5));
        let pattern = Pattern::new(b".*", &[]);
        assert_eq!(pattern.suffix(b"a.tar.gz", false), Some(3));
        assert_eq!(pattern.suffix(b"a.tar.gz", true), Some(7));
        assert_eq!(pattern.suffix(b"plain", true), None);
    }

    #[test]
    fn no_text_takes_long() {
        let text = "a".repeat(100_000);
        assert!(!matches("*a*a*a*a*a*a*a*b", &text));
    }

    #[test]
    fn bytes_that_are_no_characters_match_as_one() {
        assert!(Pattern::new(b"a?b", &[]).matches(b"a\xffb"));
        assert!(Pattern::new(b"\xff*", &[]).matches(b"\xff\xfe"));
    }
}
