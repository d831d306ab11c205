//! `/range/N`: N letters, of which a client may ask for a part.

use crate::reply::Reply;
use crate::request::Request;

/// Most letters.
const MAX_LETTERS: u64 = 100 * 1024;

/// All of the letters, or those that the `Range` header names.
pub(crate) fn answer(request: &Request, count: &str) -> Reply {
    let Some(count) = count.parse().ok().filter(|count| (1..=MAX_LETTERS).contains(count)) else {
        return Reply::bad("the count must be from 1 to 102400");
    };
    let (status, first, last) = match request.header("range").map(|range| part(range, count)) {
        // What is no range of bytes is left aside (RFC 9110, 14.2).
        None | Some(Part::Unknown) => (200, 0, count - 1),
        Some(Part::Of(first, last)) => (206, first, last),
        Some(Part::Outside) => {
            return Reply::status(416).with("Content-Range", &format!("bytes */{count}"));
        }
    };
    let letters: Vec<u8> = (first..=last).map(|index| b'a' + (index % 26) as u8).collect();
    let reply = Reply::new(status, "application/octet-stream", letters).with("Accept-Ranges", "bytes");
    if status == 206 { reply.with("Content-Range", &format!("bytes {first}-{last}/{count}")) } else { reply }
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Unknown,
    Outside,
    /// From the first to the last byte, both included.
    Of(u64, u64),
}

/// The part that a `Range` header names of so many bytes.
fn part(range: &str, count: u64) -> Part {
    let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let Some((first, last)) = bounds else { return Part::Unknown };
    let bounds = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(count - 1)),
        (Ok(first), Err(_)) if last.is_empty() => (first, count - 1),
        (Err(_), Ok(length)) if first.is_empty() && length > 0 => (count.saturating_sub(length), count - 1),
        _ => return Part::Unknown,
    };
    if bounds.0 < count { Part::Of(bounds.0, bounds.1) } else { Part::Outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        for (range, expected) in [
            ("bytes=0-4", Part::Of(0, 4)),
            ("bytes=5-", Part::Of(5, 9)),
            ("bytes=-3", Part::Of(7, 9)),
            ("bytes=-30", Part::Of(0, 9)),
            ("bytes=8-99", Part::Of(8, 9)),
            ("bytes=10-", Part::Outside),
            ("bytes=4-3", Part::Unknown),
            ("bytes=-", Part::Unknown),
            ("bytes=0-1,3-4", Part::Unknown),
            ("lines=0-4", Part::Unknown),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn the_answer_says_which_part_it_is() {
        let header = ("Range".to_owned(), "bytes=24-".to_owned());
        let request = Request { headers: vec![header], ..Request::default() };
        let reply = answer(&request, "27");
        assert_eq!(reply.status, 206);
        assert!(reply.head(true).contains("Content-Range: bytes 24-26/27\r\n"));
        assert_eq!((answer(&request, "24").status, answer(&Request::default(), "24").status), (416, 200));
        assert_eq!(answer(&request, "0").status, 400);
    }
}
