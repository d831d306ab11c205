//! A line of a log file, in the format of Kubernetes' container runtimes (kubelet v1.36 `parseCRILog`):
//!
//! ```text
//! 2027-01-15T08:00:00.123456789Z stdout F the text
//! 2027-01-15T08:00:00.123456789Z stderr P a part of a line that goes on
//! ```
//! Everything before the text has the same length in every line.

use super::LogStream;
use crate::base::clock::Timestamp;

/// Bytes of a line's text; longer ones are in parts.
pub(super) const MAX_TEXT: usize = 16 * 1024;
/// Bytes of the time.
const TIME: usize = 30;
/// Bytes before the text.
pub(super) const HEAD: usize = TIME + " stdout F ".len();
/// The longest line with its end.
pub(super) const MAX_LINE: usize = HEAD + MAX_TEXT + 1;

/// A time as it stands in lines. The texts of two times sort as the times do.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// A line, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a str,
    pub(super) stream: LogStream,
    /// Whether the program has ended the line here.
    pub(super) whole: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line without its end apart; `None` for what is none, as after a crash.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (head, text) = line.split_at_checked(HEAD)?;
        let (time, rest) = std::str::from_utf8(head).ok()?.split_at_checked(TIME)?;
        let (stream, whole) = match rest {
            " stdout F " => (LogStream::Stdout, true),
            " stdout P " => (LogStream::Stdout, false),
            " stderr F " => (LogStream::Stderr, true),
            " stderr P " => (LogStream::Stderr, false),
            _ => return None,
        };
        time.ends_with('Z').then_some(Self { time, stream, whole, text })
    }
}

/// Appends a line.
pub(super) fn write(to: &mut Vec<u8>, time: &str, stream: LogStream, whole: bool, text: &[u8]) {
    to.extend_from_slice(time.as_bytes());
    to.extend_from_slice(match (stream, whole) {
        (LogStream::Stdout, true) => b" stdout F ",
        (LogStream::Stdout, false) => b" stdout P ",
        (LogStream::Stderr, true) => b" stderr F ",
        (LogStream::Stderr, false) => b" stderr P ",
    });
    to.extend_from_slice(text);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let at = time("2027-01-15T08:00:00.5Z".parse().unwrap());
        assert_eq!(at, "2027-01-15T08:00:00.500000000Z");
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            for whole in [true, false] {
                let mut bytes = Vec::new();
                write(&mut bytes, &at, stream, whole, b"text \xff");
                assert_eq!(bytes.pop(), Some(b'\n'));
                assert_eq!(Line::parse(&bytes), Some(Line { time: &at, stream, whole, text: b"text \xff" }));
            }
        }
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        for line in [
            &b""[..],
            b"2027-01-15T08:00:00.500000000Z",
            b"2027-01-15T08:00:00.500000000Z stdlog F x",
            &[0xFF; 60],
            b"2027-01-15T08:00:00.50000000\xC3\xA9 stdout F x",
        ] {
            assert_eq!(Line::parse(line), None, "{line:?}");
        }
    }
}
