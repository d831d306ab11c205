//! Arguments of directives: switches, sizes, times, regular expressions.

use std::time::Duration;

use regex_lite::{Regex, RegexBuilder};

use super::error::ConfigError;
use super::tree::Directive;

/// `on` or `off`.
pub(super) fn flag(directive: &Directive) -> Result<bool, ConfigError> {
    match directive.arg(0) {
        text if text.eq_ignore_ascii_case("on") => Ok(true),
        text if text.eq_ignore_ascii_case("off") => Ok(false),
        text => Err(directive.error(format!(
            "invalid value \"{text}\" in \"{}\" directive, it must be \"on\" or \"off\"",
            directive.name
        ))),
    }
}

/// A number without a unit.
pub(super) fn number(directive: &Directive, index: usize) -> Result<u64, ConfigError> {
    directive.arg(index).parse().map_err(|_| directive.error("invalid number"))
}

/// Bytes: `10`, `8k`, `1m`, `1g`.
pub(super) fn size(directive: &Directive, index: usize) -> Result<u64, ConfigError> {
    parse_size(directive.arg(index))
        .ok_or_else(|| directive.error(format!("\"{}\" directive invalid value", directive.name)))
}

fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (last, 'k' | 'K') => (&text[..last], 1 << 10),
        (last, 'm' | 'M') => (&text[..last], 1 << 20),
        (last, 'g' | 'G') => (&text[..last], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A time: `60`, `1500ms`, `1m30s`, `1d`.
pub(super) fn time(directive: &Directive, index: usize) -> Result<Duration, ConfigError> {
    parse_time(directive.arg(index))
        .ok_or_else(|| directive.error(format!("\"{}\" directive invalid value", directive.name)))
}

pub(super) fn parse_time(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        let value: u64 = rest[..digits].parse().ok()?;
        let unit_end =
            rest[digits..].find(|next: char| !next.is_ascii_alphabetic()).map_or(rest.len(), |end| digits + end);
        let milliseconds = match &rest[digits..unit_end] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(value.checked_mul(milliseconds)?))?;
        rest = rest[unit_end..].trim_start();
    }
    (!text.is_empty()).then_some(total)
}

/// A regular expression.
pub(super) fn regex(directive: &Directive, pattern: &str, ignore_case: bool) -> Result<Regex, ConfigError> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .build()
        .map_err(|error| directive.error(format!("regular expression \"{pattern}\" cannot be used: {error}")))
}

/// A status of a response.
pub(super) fn status(directive: &Directive, text: &str) -> Result<u16, ConfigError> {
    text.parse()
        .ok()
        .filter(|status| (100..=999).contains(status))
        .ok_or_else(|| directive.error(format!("invalid return code \"{text}\"")))
}

#[cfg(test)]
mod tests {
    use super::{Duration, parse_size, parse_time};

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(parse_size("8k"), Some(8192));
        assert_eq!(parse_size("1M"), Some(1 << 20));
        assert_eq!(parse_size("k"), None);
        assert_eq!(parse_size("99999999999999999999g"), None);
        assert_eq!(parse_time("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_time("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_time("65"), Some(Duration::from_secs(65)));
        assert_eq!(parse_time("5x"), None);
        assert_eq!(parse_time(""), None);
    }
}
