//! Parsing of Kubernetes quantities (`250m`, `64Mi`, `1e3`) into exact thousandths.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Powers of ten at which a decimal fraction is cut off; nothing below a nano is meant by a resource.
const NANO_DIGITS: usize = 9;

/// A quantity in billionths, so that every suffix from `n` to `Ei` is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Nanos(pub(super) i128);

impl Nanos {
    pub(super) const ONE: Self = Self(1_000_000_000);

    /// `ceil(self / divisor)`; a divisor that is not positive counts as 1.
    pub(super) fn div_ceil(self, divisor: Self) -> i128 {
        let divisor = if divisor.0 > 0 { divisor } else { Self::ONE };
        -((-self.0).div_euclid(divisor.0))
    }
}

/// Parses `<number><suffix>` as `apimachinery resource.ParseQuantity` does; `None` if it is no quantity or too large.
pub(super) fn parse(quantity: &Quantity) -> Option<Nanos> {
    parse_text(&quantity.0)
}

/// The quantity's value, 0 for text that is none (validation has refused such already).
pub(super) fn value(quantity: &Quantity) -> Nanos {
    parse(quantity).unwrap_or_default()
}

fn parse_text(text: &str) -> Option<Nanos> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (base, exponent) = multiplier(suffix)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = NANO_DIGITS as i32 + exponent - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(base)?;
    let nanos = if scale >= 0 {
        scaled.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?
    } else {
        // Sub-nano parts round up, as upstream does.
        let divisor = 10_i128.checked_pow(scale.unsigned_abs()).unwrap_or(i128::MAX);
        -((-scaled).div_euclid(divisor))
    };
    Some(Nanos(if negative { -nanos } else { nanos }))
}

/// The binary factor and the decimal exponent of a suffix.
fn multiplier(suffix: &str) -> Option<(i128, i32)> {
    let plain = match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            return (-30..=30).contains(&exponent).then_some((1, exponent));
        }
    };
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix_is_exact() {
        for (text, expected) in [
            ("1", Some(1_000_000_000)),
            ("250m", Some(250_000_000)),
            ("1.5", Some(1_500_000_000)),
            (".5", Some(500_000_000)),
            ("5.", Some(5_000_000_000)),
            ("-1", Some(-1_000_000_000)),
            ("+1", Some(1_000_000_000)),
            ("1n", Some(1)),
            ("1u", Some(1_000)),
            ("2k", Some(2_000 * 1_000_000_000)),
            ("3M", Some(3_000_000 * 1_000_000_000)),
            ("1G", Some(1_000_000_000 * 1_000_000_000)),
            ("1T", Some(1_000_000_000_000 * 1_000_000_000)),
            ("1P", Some(1_000_000_000_000_000 * 1_000_000_000)),
            ("1E", Some(1_000_000_000_000_000_000 * 1_000_000_000)),
            ("1Ki", Some(1024 * 1_000_000_000)),
            ("64Mi", Some(67_108_864 * 1_000_000_000)),
            ("1Gi", Some((1 << 30) * 1_000_000_000)),
            ("1Ti", Some((1 << 40) * 1_000_000_000)),
            ("1Pi", Some((1 << 50) * 1_000_000_000)),
            ("1Ei", Some((1 << 60) * 1_000_000_000)),
            ("1e3", Some(1_000 * 1_000_000_000)),
            ("1E-3", Some(1_000_000)),
            ("0.0000000001", Some(1)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("1x", None),
            ("m", None),
            ("1e99", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(parse_text(text).map(|nanos| nanos.0), expected, "{text}");
        }
    }
}
