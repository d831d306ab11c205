//! Byte sizes as quantities: what `sizeLimit` needs of them.

/// The whole number of bytes a quantity such as `1Mi`, `1.5G` or `1e3` stands for, rounded up; none where it is no
/// quantity or negative. More than fits is as much as fits.
pub(super) fn bytes(quantity: &str) -> Option<u64> {
    let digits_end =
        quantity.find(|character: char| !matches!(character, '0'..='9' | '.' | '+')).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(digits_end);
    let (numerator, denominator) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1000_u128.pow(2), 1),
        "G" => (1000_u128.pow(3), 1),
        "T" => (1000_u128.pow(4), 1),
        "P" => (1000_u128.pow(5), 1),
        "E" => (1000_u128.pow(6), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.pow(exponent.unsigned_abs().min(18));
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    let number = number.strip_prefix('+').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // More digits than this cannot change the rounded result of any size that fits.
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(fraction.len() as u32);
    let digits = format!("{whole}{fraction}");
    if digits.len() > 19 {
        return Some(u64::MAX);
    }
    let value = digits.parse::<u128>().ok()?.saturating_mul(numerator).div_ceil(denominator * scale);
    Some(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn quantities_are_bytes() {
        for (quantity, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("1Mi", Some(1 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("100M", Some(100_000_000)),
            ("128974848000m", Some(128_974_848)),
            ("1m", Some(1)),
            ("1e3", Some(1000)),
            ("12E6", Some(12_000_000)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("99999999999999999999Ei", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("1.2.3", None),
            ("1Xi", None),
            ("Mi", None),
        ] {
            assert_eq!(bytes(quantity), expected, "{quantity}");
        }
    }
}
