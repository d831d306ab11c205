//! Prints when it started: `started-ns`, nanoseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "the host compares this time with its own")]
fn main() {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    println!("started-ns {}", started.as_nanos());
}
