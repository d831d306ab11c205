//! Backslash escapes, and text quoted for reading back.

/// Which escapes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// Of `echo -e` and `%b`: octal numbers begin with 0, and `\c` ends the text.
    Echo,
    /// Of a `printf` format.
    Format,
    /// Of `$'…'`.
    Ansi,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unescaped {
    pub(crate) text: Vec<u8>,
    /// A `\c` said that nothing is to follow.
    pub(crate) ended: bool,
}

/// Replaces escapes by what they stand for.
pub(crate) fn unescape(text: &[u8], escapes: Escapes) -> Unescaped {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let Some((&escaped, after)) = rest.split_first().filter(|_| byte == b'\\') else {
            result.push(byte);
            continue;
        };
        rest = after;
        match escaped {
            b'a' => result.push(7),
            b'b' => result.push(8),
            b'e' | b'E' => result.push(27),
            b'f' => result.push(12),
            b'n' => result.push(b'\n'),
            b'r' => result.push(b'\r'),
            b't' => result.push(b'\t'),
            b'v' => result.push(11),
            b'\\' => result.push(b'\\'),
            b'\'' | b'"' if escapes != Escapes::Echo => result.push(escaped),
            b'c' if escapes == Escapes::Echo => return Unescaped { text: result, ended: true },
            b'x' if digit(rest.first(), 16).is_some() => result.push(number(&mut rest, 16, 2) as u8),
            b'u' | b'U' if escapes == Escapes::Ansi => {
                let code = number(&mut rest, 16, if escaped == b'u' { 4 } else { 8 });
                let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                result.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'0' if escapes == Escapes::Echo => result.push(number(&mut rest, 8, 3) as u8),
            b'0'..=b'7' => {
                rest = &text[text.len() - rest.len() - 1..];
                result.push(number(&mut rest, 8, 3) as u8);
            }
            _ => result.extend([b'\\', escaped]),
        }
    }
    Unescaped { text: result, ended: false }
}

fn digit(byte: Option<&u8>, base: u32) -> Option<u32> {
    char::from(*byte?).to_digit(base)
}

/// Takes up to `longest` digits.
fn number(rest: &mut &[u8], base: u32, longest: usize) -> u32 {
    let mut number: u32 = 0;
    for _ in 0..longest {
        let Some(digit) = digit(rest.first(), base) else { break };
        number = number.wrapping_mul(base).wrapping_add(digit);
        *rest = &rest[1..];
    }
    number
}

/// The text in quotes, so that the shell reads it as one word.
pub(crate) fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            _ => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The text in quotes if it needs them.
pub(crate) fn quote_if_needed(text: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=./:@%,".contains(byte);
    if !text.is_empty() && text.iter().all(plain) { text.to_vec() } else { quote(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, escapes: Escapes, expected: &[u8]) {
        assert_eq!(unescape(text.as_bytes(), escapes).text, expected, "{text}");
    }

    #[test]
    fn escapes_stand_for_bytes() {
        check(r"a\tb\\c\n", Escapes::Format, b"a\tb\\c\n");
        check(r"\101 \x41 \q", Escapes::Format, b"A A \\q");
        check(r"\0101", Escapes::Echo, b"A");
        check(r"\u00fc\'", Escapes::Ansi, "ü'".as_bytes());
        check("end\\", Escapes::Echo, b"end\\");
    }

    #[test]
    fn nothing_follows_c() {
        assert_eq!(unescape(br"a\cb", Escapes::Echo), Unescaped { text: b"a".to_vec(), ended: true });
    }

    #[test]
    fn quoted_text_is_one_word() {
        assert_eq!(quote(b"it's"), br"'it'\''s'");
        assert_eq!(quote_if_needed(b"plain-1.txt"), b"plain-1.txt");
        assert_eq!(quote_if_needed(b""), b"''");
    }
}
