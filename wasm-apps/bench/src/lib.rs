//! What husk's benchmarks have guests do, and the natively compiled peers they are compared with: the same code for
//! both. Each function prints what it measured itself as lines of `name value`.

pub mod compute;
pub mod files;
pub mod network;

use std::time::{Duration, Instant};

/// The time, for measuring how long something takes.
#[expect(clippy::disallowed_methods, reason = "benchmarks measure real time, and guests have no other clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds that one of `count` repetitions took.
pub fn nanos_each(elapsed: Duration, count: u32) -> u128 {
    elapsed.as_nanos() / u128::from(count)
}

/// Bytes moved in a second, at the rate of `bytes` in `elapsed`.
pub fn bytes_per_second(bytes: u64, elapsed: Duration) -> u128 {
    u128::from(bytes) * 1_000_000_000 / elapsed.as_nanos().max(1)
}
