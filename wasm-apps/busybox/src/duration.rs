//! Durations as `sleep`, `timeout` and `watch` are given them.

use std::time::Duration;

use crate::failure::Failure;

/// Seconds, or a number with `s`, `m`, `h` or `d` behind it.
pub(crate) fn parse(text: &str) -> Result<Duration, Failure> {
    let invalid = || Failure::Usage(format!("invalid time interval '{text}'"));
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1.0),
        Some(b'm') => (&text[..text.len() - 1], 60.0),
        Some(b'h') => (&text[..text.len() - 1], 3600.0),
        Some(b'd') => (&text[..text.len() - 1], 86400.0),
        _ => (text, 1.0),
    };
    let seconds: f64 = number.parse().map_err(|_| invalid())?;
    if seconds.is_nan() || seconds < 0.0 {
        return Err(invalid());
    }
    Ok(Duration::try_from_secs_f64(seconds * unit).unwrap_or(Duration::MAX))
}
