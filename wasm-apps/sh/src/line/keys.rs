//! From what a terminal sends to keys.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    /// With Ctrl: the letter.
    Control(char),
    Left,
    Right,
    WordLeft,
    WordRight,
    Up,
    Down,
    Home,
    End,
    Delete,
    Backspace,
    Enter,
    Tab,
    /// Sequences that mean nothing here.
    Other,
}

/// Takes keys out of bytes, which may come in parts.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
}

/// The longest escape sequence that is waited for.
const MAX_SEQUENCE: usize = 16;

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next key, if all of it has come.
    pub(crate) fn next(&mut self) -> Option<Key> {
        let (key, length) = decode(&self.bytes)?;
        self.bytes.drain(..length);
        Some(key)
    }
}

fn decode(bytes: &[u8]) -> Option<(Key, usize)> {
    let first = *bytes.first()?;
    let key = match first {
        0x1b => return escape(bytes),
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x08 | 0x7f => Key::Backspace,
        0..=0x1f => Key::Control(char::from(first + b'a' - 1)),
        0x20..=0x7e => Key::Char(char::from(first)),
        _ => {
            let (char, length) = bstr::decode_utf8(bytes);
            let may_go_on =
                char.is_none() && bytes.len() < 4 && (0xc2..=0xf4).contains(&first) && length == bytes.len();
            return if may_go_on { None } else { Some((char.map_or(Key::Other, Key::Char), length.max(1))) };
        }
    };
    Some((key, 1))
}

fn escape(bytes: &[u8]) -> Option<(Key, usize)> {
    match bytes.get(1)? {
        b'[' | b'O' => {
            let parameters = bytes[2..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';')).count();
            let end = 2 + parameters;
            let Some(last) = bytes.get(end) else {
                return (bytes.len() > MAX_SEQUENCE).then_some((Key::Other, bytes.len()));
            };
            let words = bytes[2..end].ends_with(b";5") || bytes[2..end].ends_with(b";3");
            let key = match (last, &bytes[2..end]) {
                (b'A', _) => Key::Up,
                (b'B', _) => Key::Down,
                (b'C', _) if words => Key::WordRight,
                (b'D', _) if words => Key::WordLeft,
                (b'C', _) => Key::Right,
                (b'D', _) => Key::Left,
                (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
                (b'F', _) | (b'~', b"4" | b"8") => Key::End,
                (b'~', b"3") => Key::Delete,
                _ => Key::Other,
            };
            Some((key, end + 1))
        }
        b'b' => Some((Key::WordLeft, 2)),
        b'f' => Some((Key::WordRight, 2)),
        0x1b => Some((Key::Other, 1)),
        _ => Some((Key::Other, 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(parts: &[&[u8]]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        let mut keys = Vec::new();
        for part in parts {
            decoder.feed(part);
            keys.extend(std::iter::from_fn(|| decoder.next()));
        }
        keys
    }

    #[test]
    fn sequences_are_keys() {
        assert_eq!(keys(&[b"a\x1b[A\x1b[3~\x01"]), [Key::Char('a'), Key::Up, Key::Delete, Key::Control('a')]);
        assert_eq!(keys(&[b"\x1bOH\x1b[1;5C\r\x7f"]), [Key::Home, Key::WordRight, Key::Enter, Key::Backspace]);
    }

    #[test]
    fn parts_are_put_together() {
        assert_eq!(keys(&[b"\xc3", b"\xbc\x1b", b"[", b"D"]), [Key::Char('ü'), Key::Left]);
        assert_eq!(keys(&[b"\xffa"]), [Key::Other, Key::Char('a')]);
    }
}
