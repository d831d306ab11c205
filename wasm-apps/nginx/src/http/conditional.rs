//! Requests that depend on what the client has already.

use super::date;
use super::request::Request;
use crate::config::ModifiedSince;

/// What of a file decides whether a client's copy is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validators<'a> {
    /// Its `ETag`, if there is one.
    pub etag: Option<&'a str>,
    /// When it was changed, in seconds since 1970.
    pub modified: u64,
}

/// What the conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes on.
    Go,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// A file's `ETag`: when it was changed and how long it is.
pub fn etag(modified: u64, size: u64) -> String {
    format!("\"{modified:x}-{size:x}\"")
}

/// Judges the headers `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since`, in nginx's order.
pub fn judge(request: &Request, file: Validators<'_>, since: ModifiedSince) -> Verdict {
    if let Some(limit) = request.header("if-unmodified-since").and_then(date::parse)
        && file.modified > limit
    {
        return Verdict::Failed;
    }
    if let Some(list) = request.header("if-match")
        && !lists(list, file.etag, false)
    {
        return Verdict::Failed;
    }
    let none_match = request.header("if-none-match");
    let modified_since = request.header("if-modified-since");
    if none_match.is_none() && modified_since.is_none() {
        return Verdict::Go;
    }
    if let Some(text) = modified_since.filter(|_| none_match.is_none() || since != ModifiedSince::Off) {
        let unchanged = match since {
            ModifiedSince::Off => false,
            ModifiedSince::Exact => date::parse(text) == Some(file.modified),
            ModifiedSince::Before => date::parse(text).is_some_and(|time| file.modified <= time),
        };
        // `If-None-Match` is the better condition where both are there.
        if !unchanged && none_match.is_none() {
            return Verdict::Go;
        }
    }
    match none_match {
        Some(list) if !lists(list, file.etag, true) => Verdict::Go,
        _ => Verdict::NotModified,
    }
}

/// Whether a range may be answered with a part: the client's copy, if it named one, is this one.
pub fn range_applies(request: &Request, file: Validators<'_>) -> bool {
    match request.header("if-range") {
        None => true,
        Some(text) if text.starts_with('"') => file.etag == Some(text),
        Some(text) => date::parse(text) == Some(file.modified),
    }
}

/// Whether a list of tags has this one; `weak`: tags that say they are weak count too.
fn lists(list: &str, etag: Option<&str>, weak: bool) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    list.split(',').map(str::trim).any(|tag| {
        let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == etag
    })
}
