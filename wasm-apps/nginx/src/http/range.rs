//! `Range:`

/// What a client wants of a representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// All of it: nothing was asked for, or nothing that is understood, or several parts.
    Whole,
    /// This part: where it begins and how long it is.
    Part(u64, u64),
    /// Something that is not there.
    Unsatisfiable,
}

/// Understands a header for something of `length` bytes.
pub fn parse(header: &str, length: u64) -> Range {
    let Some(spec) = header.get(..6).filter(|unit| unit.eq_ignore_ascii_case("bytes=")).map(|_| header[6..].trim())
    else {
        return Range::Whole;
    };
    let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else { return Range::Whole };
    let number = |text: &str| {
        let text = text.trim();
        match text.parse::<u64>() {
            Ok(number) => Some(number),
            Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Some(u64::MAX),
            Err(_) => None,
        }
    };
    match (first.trim().is_empty(), number(first), last.trim().is_empty(), number(last)) {
        (true, _, false, Some(0)) => Range::Unsatisfiable,
        (true, _, false, Some(suffix)) if length > 0 => {
            let start = length.saturating_sub(suffix);
            Range::Part(start, length - start)
        }
        (true, _, false, Some(_)) => Range::Unsatisfiable,
        (false, Some(first), true, _) if first < length => Range::Part(first, length - first),
        (false, Some(first), false, Some(last)) if first <= last && first < length => {
            Range::Part(first, last.min(length - 1) - first + 1)
        }
        (false, Some(first), false, Some(last)) if first > last => Range::Whole,
        (false, Some(_), _, _) => Range::Unsatisfiable,
        _ => Range::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::{Range, parse};

    #[test]
    fn parts_are_cut_to_what_is_there() {
        for (header, expected) in [
            ("bytes=0-4", Range::Part(0, 5)),
            ("bytes=5-", Range::Part(5, 5)),
            ("bytes=-3", Range::Part(7, 3)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=9-99999999999999999999", Range::Part(9, 1)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=4-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("lines=0-1", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=-", Range::Whole),
        ] {
            assert_eq!(parse(header, 10), expected, "{header}");
        }
        assert_eq!(parse("bytes=-1", 0), Range::Unsatisfiable);
    }
}
