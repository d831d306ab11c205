//! POSIX regular expressions, basic and extended, as GNU's tools read them, in the syntax of the `regex` crates.
//!
//! Used by `grep`, `find -regex` and `awk`. Matching is leftmost-first where POSIX wants the longest alternative.

use std::fmt::Write;

/// Which of the syntaxes a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `\(` groups and `\{` counts; `\|`, `\+` and `\?` as GNU has them.
    Basic,
    /// `(` groups and `{` counts.
    Extended,
    /// Basic, but `+` and `?` without a backslash: what `find` is used to.
    Emacs,
    /// Extended, with C's escapes, in brackets too.
    Awk,
}

/// A pattern for the `regex` crates.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) pattern: String,
    /// It has back-references, which only `fancy-regex` understands.
    pub(crate) backreferences: bool,
}

/// Translates a pattern; fails with what is wrong with it, in the words of GNU's tools.
pub(crate) fn translate(pattern: &str, syntax: Syntax) -> Result<Translated, &'static str> {
    let mut translator = Translator {
        rest: pattern.chars().collect::<Vec<_>>().into_iter().peekable(),
        syntax,
        output: String::with_capacity(pattern.len() + 8),
        groups: Vec::new(),
        atom: None,
        quantified: false,
        backreferences: false,
    };
    translator.run()?;
    Ok(Translated { pattern: translator.output, backreferences: translator.backreferences })
}

struct Translator {
    rest: std::iter::Peekable<std::vec::IntoIter<char>>,
    syntax: Syntax,
    output: String,
    /// Where the open groups begin in `output`.
    groups: Vec<usize>,
    /// Where the last atom begins in `output`: what a quantifier is about.
    atom: Option<usize>,
    /// The last atom has a quantifier already.
    quantified: bool,
    backreferences: bool,
}

impl Translator {
    fn run(&mut self) -> Result<(), &'static str> {
        while let Some(character) = self.rest.next() {
            match character {
                '\\' => self.escaped()?,
                '[' => {
                    self.begin_atom();
                    self.bracket()?;
                }
                '*' => self.quantifier("*"),
                '.' => self.atom("."),
                '^' if self.extended() || self.at_start() => self.assertion("^"),
                '$' if self.extended() || self.at_end() => self.assertion("$"),
                '(' if self.extended() => self.open(),
                ')' if self.extended() && !self.groups.is_empty() => self.close(),
                '|' if self.extended() => self.alternative(),
                '+' if self.syntax != Syntax::Basic => self.quantifier("+"),
                '?' if self.syntax != Syntax::Basic => self.quantifier("?"),
                '{' if self.extended() => self.interval()?,
                other => self.literal(other),
            }
        }
        if self.groups.is_empty() { Ok(()) } else { Err("Unmatched ( or \\(") }
    }

    fn extended(&self) -> bool {
        matches!(self.syntax, Syntax::Extended | Syntax::Awk)
    }

    /// Whether nothing but the beginning of an alternative has been read.
    fn at_start(&self) -> bool {
        self.output.is_empty() || self.output.ends_with('|') && !self.output.ends_with("\\|") || self.after_open()
    }

    fn after_open(&self) -> bool {
        self.groups.last().is_some_and(|start| self.output.len() == start + 1)
    }

    /// Whether a `$` read just now ends an alternative of a basic pattern.
    fn at_end(&self) -> bool {
        let mut ahead = self.rest.clone();
        match (ahead.next(), ahead.next()) {
            (None, _) => true,
            (Some('\\'), Some(next)) => matches!(next, ')' | '|'),
            _ => false,
        }
    }

    fn begin_atom(&mut self) {
        self.atom = Some(self.output.len());
        self.quantified = false;
    }

    fn atom(&mut self, text: &str) {
        self.begin_atom();
        self.output.push_str(text);
    }

    fn literal(&mut self, character: char) {
        self.begin_atom();
        push_literal(&mut self.output, character);
    }

    fn assertion(&mut self, text: &str) {
        self.output.push_str(text);
        self.atom = None;
    }

    fn open(&mut self) {
        self.groups.push(self.output.len());
        self.output.push('(');
        self.atom = None;
    }

    fn close(&mut self) {
        self.output.push(')');
        self.atom = self.groups.pop();
        self.quantified = false;
    }

    fn alternative(&mut self) {
        self.output.push('|');
        self.atom = None;
    }

    /// A quantifier without anything to quantify is a character like any other.
    fn quantifier(&mut self, text: &str) {
        let Some(start) = self.atom else {
            return self.literal_quantifier(text);
        };
        // What follows a quantifier would say "lazily" in the other syntax.
        if self.quantified {
            self.output.insert_str(start, "(?:");
            self.output.push(')');
        }
        self.output.push_str(text);
        self.quantified = true;
    }

    fn literal_quantifier(&mut self, text: &str) {
        if !self.extended() || text == "{" || self.output.is_empty() {
            text.chars().for_each(|character| self.literal(character));
        }
    }

    /// `{n}`, `{n,}`, `{,m}` or `{n,m}` behind its opening brace; an extended pattern may have any other brace.
    fn interval(&mut self) -> Result<(), &'static str> {
        let mut ahead = self.rest.clone();
        let mut text = String::new();
        let closed = loop {
            match ahead.next() {
                Some('}') if self.extended() => break true,
                Some('\\') if !self.extended() => break ahead.next() == Some('}'),
                Some(character) if character.is_ascii_digit() || character == ',' => text.push(character),
                _ => break false,
            }
        };
        let (low, high) = text.split_once(',').unwrap_or((&text, &text));
        let valid = closed && !(low.is_empty() && high.is_empty()) && !high.contains(',');
        if !valid && self.extended() {
            self.literal('{');
            return Ok(());
        }
        if !valid {
            return Err(if closed { "Invalid content of \\{\\}" } else { "Unmatched \\{" });
        }
        let bound = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u16>().ok() };
        let (Some(least), Some(most)) = (bound(low), bound(high)) else {
            return Err("Regular expression too big");
        };
        if !high.is_empty() && least > most {
            return Err("Invalid content of \\{\\}");
        }
        let quantifier = match (text.contains(','), high.is_empty()) {
            (false, _) => format!("{{{least}}}"),
            (true, true) => format!("{{{least},}}"),
            (true, false) => format!("{{{least},{most}}}"),
        };
        self.rest = ahead;
        self.quantifier(&quantifier);
        Ok(())
    }

    fn escaped(&mut self) -> Result<(), &'static str> {
        let Some(character) = self.rest.next() else {
            return Err("Trailing backslash");
        };
        match character {
            '(' if !self.extended() => self.open(),
            ')' if !self.extended() => {
                if self.groups.is_empty() {
                    return Err("Unmatched ) or \\)");
                }
                self.close();
            }
            '{' if !self.extended() => self.interval()?,
            '|' if !self.extended() => self.alternative(),
            '+' | '?' if !self.extended() => self.quantifier(&character.to_string()),
            _ if self.syntax == Syntax::Awk && self.c_escape(character) => {}
            '1'..='9' => {
                self.backreferences = true;
                self.begin_atom();
                // A digit behind it is not part of the number.
                let _infallible = write!(self.output, "(?:\\{character})");
            }
            '<' => self.assertion(r"\b{start}"),
            '>' => self.assertion(r"\b{end}"),
            'b' => self.assertion(r"\b"),
            'B' => self.assertion(r"\B"),
            '`' => self.assertion(r"\A"),
            '\'' => self.assertion(r"\z"),
            'w' | 'W' | 's' | 'S' => self.atom(&format!("\\{character}")),
            other => self.literal(other),
        }
        Ok(())
    }

    /// Reads the rest of an escape that awk's strings have too, such as `\n` or `\101`; false if it is none.
    fn c_escape(&mut self, character: char) -> bool {
        match c_character(character) {
            Some(plain) => self.literal(plain),
            None if character.is_digit(8) => {
                let mut value = character.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.rest.peek().and_then(|next| next.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    self.rest.next();
                }
                self.literal(char::from_u32(value).unwrap_or('\0'));
            }
            None => return false,
        }
        true
    }

    /// A bracket expression behind its opening bracket.
    fn bracket(&mut self) -> Result<(), &'static str> {
        const UNMATCHED: &str = "Unmatched [, [^, [:, [., or [=";
        self.output.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.output.push('^');
        }
        let mut first = true;
        loop {
            let character = self.rest.next().ok_or(UNMATCHED)?;
            match character {
                ']' if !first => break,
                '[' if matches!(self.rest.peek(), Some(':' | '.' | '=')) => self.bracket_class().ok_or(UNMATCHED)??,
                '\\' if self.syntax == Syntax::Awk => {
                    let escaped = self.rest.next().ok_or(UNMATCHED)?;
                    push_in_class(&mut self.output, c_character(escaped).unwrap_or(escaped));
                }
                // A hyphen is a range's only between two ends.
                '-' if !first && self.rest.peek().is_some_and(|next| *next != ']') => self.output.push('-'),
                other => push_in_class(&mut self.output, other),
            }
            first = false;
        }
        self.output.push(']');
        Ok(())
    }

    /// `[:alpha:]`, `[.-.]` or `[=a=]` behind its first bracket. `None`: it does not end.
    fn bracket_class(&mut self) -> Option<Result<(), &'static str>> {
        let kind = self.rest.next()?;
        let mut name = String::new();
        loop {
            let character = self.rest.next()?;
            if character == kind && self.rest.next_if_eq(&']').is_some() {
                break;
            }
            name.push(character);
        }
        if kind != ':' {
            name.chars().for_each(|character| push_in_class(&mut self.output, character));
            return Some(Ok(()));
        }
        let class = match name.as_str() {
            "alpha" => r"\p{Alphabetic}",
            "lower" => r"\p{Lowercase}",
            "upper" => r"\p{Uppercase}",
            "alnum" => r"\p{Alphabetic}\p{Nd}",
            "space" => r"\s",
            "digit" | "blank" | "cntrl" | "graph" | "print" | "punct" | "xdigit" => {
                self.output.push_str(&format!("[:{name}:]"));
                return Some(Ok(()));
            }
            _ => return Some(Err("Invalid character class name")),
        };
        self.output.push_str(class);
        Some(Ok(()))
    }
}

/// The character an escape of C stands for.
fn c_character(escape: char) -> Option<char> {
    Some(match escape {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'f' => '\x0c',
        'v' => '\x0b',
        'a' => '\x07',
        '"' | '/' => escape,
        _ => return None,
    })
}

fn push_literal(output: &mut String, character: char) {
    if character.is_ascii_punctuation() {
        output.push('\\');
    }
    output.push(character);
}

fn push_in_class(output: &mut String, character: char) {
    if matches!(character, '[' | ']' | '\\' | '^' | '-' | '&' | '~') {
        output.push('\\');
    }
    output.push(character);
}

/// Characters that would mean something, escaped, for patterns that are plain text.
pub(crate) fn escape(text: &str) -> String {
    let mut output = String::with_capacity(text.len() + 8);
    text.chars().for_each(|character| push_literal(&mut output, character));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, syntax: Syntax, expected: &str) {
        assert_eq!(translate(pattern, syntax).map(|translated| translated.pattern), Ok(expected.to_owned()));
    }

    #[test]
    fn basic_patterns() {
        check(r"a\(b*\)c", Syntax::Basic, "a(b*)c");
        check("a+b?(c)|{1}", Syntax::Basic, r"a\+b\?\(c\)\|\{1\}");
        check(r"a\{2,3\}\|b\+", Syntax::Basic, "a{2,3}|b+");
        check("*a^b$c", Syntax::Basic, r"\*a\^b\$c");
        check(r"^\(^a$\)$", Syntax::Basic, "^(^a$)$");
        assert_eq!(translate(r"\(a", Syntax::Basic), Err("Unmatched ( or \\("));
        assert!(translate(r"\(a\)\1", Syntax::Basic).is_ok_and(|translated| translated.backreferences));
    }

    #[test]
    fn extended_patterns() {
        check("a+?b", Syntax::Extended, "(?:a+)?b");
        check("(a|b){2}x{,3}y{z", Syntax::Extended, r"(a|b){2}x{0,3}y\{z");
        check(r"\(a\.", Syntax::Extended, r"\(a\.");
        check("[]a-]x[^]b]", Syntax::Extended, r"[\]a\-]x[^\]b]");
        check("[[:digit:]_]", Syntax::Extended, "[[:digit:]_]");
        check(r"[\d]", Syntax::Extended, r"[\\d]");
    }

    #[test]
    fn awk_patterns() {
        check(r"a\/b[\]\n]", Syntax::Awk, "a\\/b[\\]\n]");
        check(r"\101\t", Syntax::Awk, "A\t");
    }
}
