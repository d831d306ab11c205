//! Tokens of awk programs.

use super::program::SyntaxError;

/// A token. Whether a slash divides or begins a regular expression is for the parser to know: see [`Lexer::regex`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Text(Vec<u8>),
    /// A name that is no keyword.
    Name(String),
    /// A name with an opening parenthesis right behind it.
    FunctionName(String),
    Keyword(&'static str),
    /// An operator or a mark.
    Mark(&'static str),
    Newline,
    End,
}

const KEYWORDS: &[&str] = &[
    "BEGIN", "END", "break", "continue", "delete", "do", "else", "exit", "for", "func", "function", "getline", "if",
    "in", "next", "nextfile", "print", "printf", "return", "while",
];

/// Longest first.
const MARKS: &[&str] = &[
    "**=", "+=", "-=", "*=", "/=", "%=", "^=", "**", "==", "<=", ">=", "!=", "++", "--", "&&", "||", ">>", "!~", "{",
    "}", "(", ")", "[", "]", ";", ",", "+", "-", "*", "/", "%", "^", "!", ">", "<", "|", "?", ":", "~", "$", "=",
];

pub(super) struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    /// Where the last token begins.
    start: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Self { source, at: 0, start: 0, line: 1 }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The source that is still to be read.
    pub(super) fn rest(&self) -> &[u8] {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    fn error(&self, problem: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, problem: problem.into() }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token, SyntaxError> {
        self.skip_blanks();
        self.start = self.at;
        let Some(first) = self.peek() else { return Ok(Token::End) };
        let second_is_digit = self.source.get(self.at + 1).is_some_and(u8::is_ascii_digit);
        match first {
            b'\n' => {
                self.at += 1;
                self.line += 1;
                Ok(Token::Newline)
            }
            b'"' => self.text(),
            b'0'..=b'9' => Ok(self.number()),
            b'.' if second_is_digit => Ok(self.number()),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(self.name()),
            _ => {
                let rest = &self.source[self.at..];
                let mark = MARKS.iter().find(|mark| rest.starts_with(mark.as_bytes()));
                let mark = mark.ok_or_else(|| self.error(format!("unexpected character '{}'", char::from(first))))?;
                self.at += mark.len();
                Ok(Token::Mark(mark))
            }
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.source[self.at..];
            match rest {
                [b' ' | b'\t' | b'\r', ..] => self.at += 1,
                [b'\\', b'\n', ..] => {
                    self.at += 2;
                    self.line += 1;
                }
                [b'\\', b'\r', b'\n', ..] => {
                    self.at += 3;
                    self.line += 1;
                }
                [b'#', ..] => self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
                _ => return,
            }
        }
    }

    fn number(&mut self) -> Token {
        let rest = &self.source[self.at..];
        if let [b'0', b'x' | b'X', digit, ..] = rest
            && digit.is_ascii_hexdigit()
        {
            let length = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let value = rest[2..2 + length]
                .iter()
                .fold(0.0, |value, byte| value * 16.0 + f64::from(char::from(*byte).to_digit(16).unwrap_or_default()));
            self.at += 2 + length;
            return Token::Number(value);
        }
        let (value, length) = super::value::leading_number(rest);
        self.at += length.max(1);
        Token::Number(value)
    }

    fn name(&mut self) -> Token {
        let rest = &self.source[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        self.at += length;
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        if let Some(keyword) = KEYWORDS.iter().find(|keyword| **keyword == name) {
            return Token::Keyword(if *keyword == "func" { "function" } else { keyword });
        }
        if self.peek() == Some(b'(') { Token::FunctionName(name) } else { Token::Name(name) }
    }

    fn text(&mut self) -> Result<Token, SyntaxError> {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.peek() {
                None | Some(b'\n') => return Err(self.error("unterminated string")),
                Some(b'"') => break,
                Some(b'\\') => {
                    if self.source.get(self.at + 1) == Some(&b'\n') {
                        self.line += 1;
                    }
                    self.at += unescape(&self.source[self.at..], &mut text);
                }
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(Token::Text(text))
    }

    /// Reads the regular expression whose slash is, or begins, the last token.
    pub(super) fn regex(&mut self) -> Result<String, SyntaxError> {
        self.at = self.start + 1;
        let mut regex = Vec::new();
        let mut in_brackets = 0;
        loop {
            match self.peek() {
                None | Some(b'\n') => return Err(self.error("unterminated regular expression")),
                Some(b'/') if in_brackets == 0 => break,
                Some(b'\\') => {
                    // `\/` is for this lexer only; the rest for the expression's.
                    if self.source.get(self.at + 1) != Some(&b'/') {
                        regex.push(b'\\');
                    }
                    self.at += 1;
                    regex.extend(self.peek());
                }
                Some(byte) => {
                    match byte {
                        b'[' if in_brackets == 0 => in_brackets = regex.len() + 1,
                        // Right behind `[` or `[^` it is a character like any other.
                        b']' if in_brackets > 0 && regex[in_brackets..] != *b"" && regex[in_brackets..] != *b"^" => {
                            in_brackets = 0;
                        }
                        _ => {}
                    }
                    regex.push(byte);
                }
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(String::from_utf8_lossy(&regex).into_owned())
    }
}

/// Reads the escape that `source` begins with into `text`, and gives its length.
fn unescape(source: &[u8], text: &mut Vec<u8>) -> usize {
    let Some(escaped) = source.get(1) else {
        text.push(b'\\');
        return 1;
    };
    let plain = match escaped {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'\\' | b'"' | b'/' => *escaped,
        b'\n' => return 2,
        b'0'..=b'7' => {
            let digits = source[1..].iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let value = source[1..=digits].iter().fold(0_u32, |value, byte| value * 8 + u32::from(byte - b'0'));
            text.push((value & 0xff) as u8);
            return 1 + digits;
        }
        b'x' if source.get(2).is_some_and(u8::is_ascii_hexdigit) => {
            let digits = source[2..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count();
            let value = source[2..2 + digits]
                .iter()
                .fold(0, |value, byte| value * 16 + char::from(*byte).to_digit(16).unwrap_or_default());
            text.push((value & 0xff) as u8);
            return 2 + digits;
        }
        other => {
            text.extend([b'\\', *other]);
            return 2;
        }
    };
    text.push(plain);
    2
}

/// The text of an assignment on the command line, with its escapes read.
pub(super) fn unescaped(source: &[u8]) -> Vec<u8> {
    let (mut text, mut at) = (Vec::with_capacity(source.len()), 0);
    while let Some(byte) = source.get(at) {
        if *byte == b'\\' {
            at += unescape(&source[at..], &mut text);
        } else {
            text.push(*byte);
            at += 1;
        }
    }
    text
}
