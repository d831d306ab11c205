//! Targets of requests: paths, made plain.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// A target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The host of an absolute URL.
    pub host: Option<&'a str>,
    /// The decoded path, without `.`, `..` and, unless they are wanted, empty segments.
    pub path: String,
    /// What follows the question mark.
    pub args: &'a str,
}

/// Takes a target apart; `None` if it is malformed or its path leads above the root.
pub fn parse(target: &str, merge_slashes: bool) -> Option<Target<'_>> {
    let (host, rest) = match target.split_once("://") {
        Some((scheme, rest)) if !target.starts_with('/') => {
            if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
                return None;
            }
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..end]), &rest[end..])
        }
        _ => (None, target),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (raw, args) = rest.split_once('?').unwrap_or((rest, ""));
    let raw = if raw.is_empty() && host.is_some() { "/" } else { raw };
    Some(Target { host, path: normalize(raw, merge_slashes)?, args })
}

/// Decodes a path and resolves its `.` and `..`.
pub fn normalize(raw: &str, merge_slashes: bool) -> Option<String> {
    if !raw.starts_with('/') {
        return None;
    }
    if !raw.contains('%') && !raw.contains("//") && !raw.contains("/.") && !raw.contains('\0') {
        return Some(raw.to_owned());
    }
    let decoded = decode(raw)?;
    let mut path = String::with_capacity(decoded.len());
    let segments: Vec<&str> = decoded[1..].split('/').collect();
    let last = segments.len() - 1;
    for (index, segment) in segments.into_iter().enumerate() {
        let is_last = index == last;
        match segment {
            "" if !is_last && merge_slashes => continue,
            "." => {
                if is_last {
                    path.push('/');
                }
                continue;
            }
            ".." => {
                path.truncate(path.rfind('/')?);
                if is_last {
                    path.push('/');
                }
                continue;
            }
            _ => {}
        }
        path.push('/');
        path.push_str(segment);
    }
    Some(path)
}

/// Percent-decodes; `None` if a percent sign stands for nothing or for a zero byte. Bytes that are no text become the
/// replacement character, which no file is likely to have.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let bytes = raw.as_bytes();
    for (index, _) in raw.match_indices('%') {
        match bytes.get(index + 1..index + 3)? {
            b"00" => return None,
            digits if digits.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return None,
        }
    }
    if bytes.contains(&0) {
        return None;
    }
    Some(percent_decode_str(raw).decode_utf8_lossy())
}

/// What is escaped in a path that is sent on.
const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'\\');

/// Writes a decoded path so that it can stand in a URL.
pub fn escape(path: &str) -> String {
    utf8_percent_encode(path, IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::{escape, normalize, parse};

    #[test]
    fn paths_are_made_plain() {
        for (raw, expected) in [
            ("/", Some("/")),
            ("/a//b", Some("/a/b")),
            ("/a/./b/../c", Some("/a/c")),
            ("/a/..", Some("/")),
            ("/a/.", Some("/a/")),
            ("/a%2fb%20c", Some("/a/b c")),
            ("/.hidden", Some("/.hidden")),
            ("/..", None),
            ("/a/../..", None),
            ("/%2e%2e/etc", None),
            ("/a/%2e%2e%2f..%2fx", None),
            ("/..%2f..%2fetc/passwd", None),
            ("/a%00", None),
            ("/a%zz", None),
            ("/a%2", None),
            ("a", None),
            ("*", None),
            ("/a\\..\\b", Some("/a\\..\\b")),
        ] {
            assert_eq!(normalize(raw, true).as_deref(), expected, "{raw}");
        }
        assert_eq!(normalize("/a//b", false).as_deref(), Some("/a//b"));
    }

    #[test]
    fn urls_name_their_host() {
        let target = parse("http://h:1/p?x=/../y#z", true).unwrap();
        assert_eq!((target.host, target.path.as_str(), target.args), (Some("h:1"), "/p", "x=/../y"));
        assert_eq!(parse("http://h", true).unwrap().path, "/");
        assert!(parse("ftp://h/", true).is_none());
        assert_eq!(escape("/a b/ä%?"), "/a%20b/%C3%A4%25%3F");
    }
}
