//! HTTP/1 as far as it is bytes: heads, paths, dates, ranges, chunks and pages.

pub mod chunked;
pub mod conditional;
pub mod date;
pub mod range;
pub mod request;
pub mod status;
pub mod uri;
