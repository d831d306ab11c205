//! Shell patterns as POSIX `fnmatch` has them: `*`, `?`, `[…]` and `\`, over bytes.

/// What a pattern's wildcards may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Letters match both cases.
    pub(crate) ignore_case: bool,
    /// Wildcards do not match `/`.
    pub(crate) slash_is_special: bool,
}

/// Whether all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8], options: Options) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on when the rest does not match: the last `*`, which then takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() || pattern_at < pattern.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, text_at));
            continue;
        }
        if let Some(length) = text.get(text_at..).and_then(|rest| one(&pattern[pattern_at..], rest, options)) {
            pattern_at += length.0;
            text_at += length.1;
            continue;
        }
        match retry {
            Some((after_star, from)) if from < text.len() && !(options.slash_is_special && text[from] == b'/') => {
                retry = Some((after_star, from + 1));
                (pattern_at, text_at) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
    true
}

/// How many bytes of the pattern's first element, and of the text, match one character.
fn one(pattern: &[u8], text: &[u8], options: Options) -> Option<(usize, usize)> {
    let (&wanted, &found) = (pattern.first()?, text.first()?);
    let wild = !(options.slash_is_special && found == b'/');
    match wanted {
        b'?' if wild => Some((1, character_length(text))),
        b'?' => None,
        b'[' => match class(pattern, found, options) {
            Some((length, matched)) => (matched && wild).then_some((length, 1)),
            None => (found == b'[').then_some((1, 1)),
        },
        b'\\' if pattern.len() > 1 => same(pattern[1], found, options).then_some((2, 1)),
        _ => same(wanted, found, options).then_some((1, 1)),
    }
}

fn same(one: u8, other: u8, options: Options) -> bool {
    one == other || options.ignore_case && one.eq_ignore_ascii_case(&other)
}

/// The length of the UTF-8 character the text begins with; 1 where it is none.
fn character_length(text: &[u8]) -> usize {
    let length = match text[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if text.get(..length).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()) { length } else { 1 }
}

/// The length of the bracket expression the pattern begins with, and whether `found` is in it. `None`: it has no end.
fn class(pattern: &[u8], found: u8, options: Options) -> Option<(usize, bool)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let (mut at, mut matched) = (first, false);
    loop {
        let byte = *pattern.get(at)?;
        if byte == b']' && at > first {
            return Some((at + 1, matched != negated));
        }
        if byte == b'[' && pattern.get(at + 1) == Some(&b':') {
            let length = pattern[at + 2..].windows(2).position(|end| end == b":]")?;
            matched |= in_named_class(&pattern[at + 2..at + 2 + length], found);
            at += length + 4;
            continue;
        }
        let (low, next) = class_character(pattern, at)?;
        if pattern.get(next) == Some(&b'-') && pattern.get(next + 1).is_some_and(|end| *end != b']') {
            let (high, after) = class_character(pattern, next + 1)?;
            let within = |byte: u8| (low..=high).contains(&byte);
            matched |= within(found)
                || options.ignore_case && (within(found.to_ascii_lowercase()) || within(found.to_ascii_uppercase()));
            at = after;
        } else {
            matched |= same(low, found, options);
            at = next;
        }
    }
}

fn class_character(pattern: &[u8], at: usize) -> Option<(u8, usize)> {
    match pattern.get(at)? {
        b'\\' => Some((*pattern.get(at + 1)?, at + 2)),
        byte => Some((*byte, at + 1)),
    }
}

fn in_named_class(name: &[u8], byte: u8) -> bool {
    match name {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"punct" => byte.is_ascii_punctuation(),
        b"cntrl" => byte.is_ascii_control(),
        b"graph" => byte.is_ascii_graphic(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let options = Options::default();
        for text in matching {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), options), "{pattern} does not match {text}");
        }
        for text in others {
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), options), "{pattern} matches {text}");
        }
    }

    #[test]
    fn wildcards() {
        check("*.txt", &["a.txt", ".txt", "a.b.txt"], &["a.txt2", "txt"]);
        check("a?c*", &["abc", "aécd"], &["ac", "abbc"]);
        check("[a-c]*[!0-9]", &["ax", "c12z"], &["d1x", "a1", "a"]);
        check("[]-]", &["]", "-"], &["a"]);
        check(r"\*[[:digit:]]", &["*1"], &["a1", "*a"]);
        check("[", &["["], &["a"]);
        check("**a**b", &["ab", "xaxb"], &["ba"]);
    }

    #[test]
    fn slashes_and_case() {
        let options = Options { slash_is_special: true, ..Options::default() };
        assert!(!matches(b"a*c", b"a/c", options) && matches(b"a/*", b"a/c", options));
        assert!(matches(b"A[b]", b"aB", Options { ignore_case: true, ..Options::default() }));
    }
}
