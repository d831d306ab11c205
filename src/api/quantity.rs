//! Kubernetes quantities (`500m`, `64Mi`, `1.5Gi`, `2e3`): exact parsing, comparison, rounding and canonical printing.
//!
//! Values are kept in billionths (nano), the finest Kubernetes keeps. Nothing here is floating point.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Nano units in one unit.
const NANOS: i128 = 1_000_000_000;
/// The most a quantity with a binary suffix can be; larger ones are capped, as in Kubernetes.
const MAX_BINARY: i128 = i64::MAX as i128 * NANOS;
/// Fraction digits that are kept; what is cut off rounds the rest up.
const MAX_FRACTION_DIGITS: usize = 18;
/// Suffixes that multiply by a power of ten, with the power.
const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
/// Suffixes that multiply by a power of 1024, in order of the power.
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An amount of a resource. Two quantities are equal when their amounts are, however they were written.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// Why a text is no quantity. The first three read as Kubernetes' do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form at all.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// No number before the suffix.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// A suffix nobody knows.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// Beyond what can be kept (about 10²⁹).
    #[error("the quantity is too large")]
    TooLarge,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// A whole number of units.
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: units as i128 * NANOS, format: Format::Decimal }
    }

    /// Whole units (bytes, cores), rounded away from zero and kept within 64 bits: Kubernetes' `Value()`.
    pub fn value(&self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANOS))
    }

    /// Thousandths (millicores), rounded away from zero and kept within 64 bits: Kubernetes' `MilliValue()`.
    pub fn milli_value(&self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANOS / 1000))
    }

    /// How often `divisor` fits, rounded up: what `resourceFieldRef` shows. A divisor of zero counts as 1.
    pub fn divided_by(&self, divisor: &Self) -> i64 {
        let divisor = if divisor.nanos == 0 { NANOS } else { divisor.nanos };
        saturate(divide_away_from_zero(self.nanos, divisor))
    }

    /// Whether the amount is zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether the amount is above zero.
    pub fn is_positive(&self) -> bool {
        self.nanos > 0
    }

    /// The same amount rounded up to thousandths, as Kubernetes does to every resource it stores.
    pub fn rounded_up_to_milli(&self) -> Self {
        let milli = NANOS / 1000;
        Self { nanos: divide_away_from_zero(self.nanos, milli).saturating_mul(milli), format: self.format }
    }

    /// The sum, in this quantity's format (the other's where this is zero).
    pub fn plus(&self, other: &Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// Reads the quantity that a typed object holds; it is valid there once decoding has accepted it.
    pub fn of(quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Result<Self, QuantityError> {
        quantity.0.parse()
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn divide_away_from_zero(value: i128, divisor: i128) -> i128 {
    let quotient = value / divisor;
    if value % divisor == 0 {
        quotient
    } else if (value < 0) == (divisor < 0) {
        quotient + 1
    } else {
        quotient - 1
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The power a suffix stands for.
enum Scale {
    Ten(i32),
    Two(u32),
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::Format);
        }
        check_suffix_form(suffix)?;
        let (scale, mut format) = interpret_suffix(suffix)?;
        let magnitude = scaled_nanos(whole, fraction, &scale)?;
        if format == Format::Binary && magnitude > 0 && magnitude < NANOS {
            format = Format::Decimal;
        }
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len()))
}

fn check_suffix_form(suffix: &str) -> Result<(), QuantityError> {
    let rest = suffix.trim_start_matches(|letter| "eEinumkKMGTP".contains(letter));
    let digits = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if digits.chars().all(|digit| digit.is_ascii_digit()) { Ok(()) } else { Err(QuantityError::Format) }
}

fn interpret_suffix(suffix: &str) -> Result<(Scale, Format), QuantityError> {
    if let Some((_, power)) = DECIMAL_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::Ten(*power), Format::Decimal));
    }
    let binary = BINARY_SUFFIXES.iter().position(|name| *name == suffix);
    if let Some(power) = binary.and_then(|index| u32::try_from(index * 10).ok()) {
        return Ok((Scale::Two(power), Format::Binary));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse::<i32>().ok());
    exponent.map(|power| (Scale::Ten(power), Format::Exponent)).ok_or(QuantityError::Suffix)
}

/// The number `whole.fraction` times the scale, in nano units, rounded up.
fn scaled_nanos(whole: &str, fraction: &str, scale: &Scale) -> Result<i128, QuantityError> {
    let kept = &fraction[..fraction.len().min(MAX_FRACTION_DIGITS)];
    let cut_off = fraction[kept.len()..].contains(|digit| digit != '0');
    let digits = format!("{whole}{kept}");
    let digits = digits.trim_start_matches('0');
    let number: i128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| QuantityError::TooLarge)? };
    if number == 0 && !cut_off {
        return Ok(0);
    }
    let places = i32::try_from(kept.len()).map_err(|_| QuantityError::TooLarge)?;
    let (number, power) = match scale {
        Scale::Ten(power) => (Some(number), power.saturating_add(9).saturating_sub(places)),
        Scale::Two(power) => (number.checked_mul(1 << *power), 9 - places),
    };
    let scaled = number.and_then(|number| times_power_of_ten(number, power, cut_off));
    match (scaled, scale) {
        (Some(nanos), Scale::Two(_)) => Ok(nanos.min(MAX_BINARY)),
        (None, Scale::Two(_)) => Ok(MAX_BINARY),
        (Some(nanos), Scale::Ten(_)) => Ok(nanos),
        (None, Scale::Ten(_)) => Err(QuantityError::TooLarge),
    }
}

/// `number × 10^power`, rounded up; `None` when it cannot be kept.
fn times_power_of_ten(number: i128, power: i32, round_up: bool) -> Option<i128> {
    if power >= 0 {
        let scaled = number.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?;
        return scaled.checked_add(i128::from(round_up));
    }
    let Some(divisor) = 10_i128.checked_pow(power.unsigned_abs()) else { return Some(1) };
    let remainder = number % divisor != 0 || round_up;
    Some(number / divisor + i128::from(remainder))
}

impl fmt::Display for Quantity {
    /// The canonical form: no precision lost, no fraction, the largest suffix that allows both.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return formatter.write_str("0");
        }
        let whole = self.nanos % NANOS == 0;
        let small = self.nanos.unsigned_abs() < 1024 * NANOS.unsigned_abs();
        if self.format == Format::Binary && whole && !small {
            let mut units = self.nanos / NANOS;
            let mut power = 0;
            while units % 1024 == 0 && power + 1 < BINARY_SUFFIXES.len() {
                units /= 1024;
                power += 1;
            }
            return write!(formatter, "{units}{}", BINARY_SUFFIXES[power]);
        }
        let mut mantissa = self.nanos;
        let mut power = -9;
        while mantissa % 1000 == 0 && power < 18 {
            mantissa /= 1000;
            power += 3;
        }
        if self.format == Format::Exponent {
            return if power == 0 { write!(formatter, "{mantissa}") } else { write!(formatter, "{mantissa}e{power}") };
        }
        let suffix = DECIMAL_SUFFIXES.iter().find(|(_, exponent)| *exponent == power).map_or("", |(name, _)| name);
        write!(formatter, "{mantissa}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn quantities_print_in_their_canonical_form() {
        for (written, canonical) in [
            ("0", "0"),
            ("0Mi", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("-1", "-1"),
            ("1.5", "1500m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("1500m", "1500m"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Mi", "512Ki"),
            ("0.5Ki", "512"),
            ("0.0001Ki", "102400u"),
            ("512Ki", "512Ki"),
            ("128Mi", "128Mi"),
            ("1000Ki", "1000Ki"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("12e-3", "12e-3"),
            ("1E", "1E"),
            ("100k", "100k"),
            ("1u", "1u"),
            ("0.1n", "1n"),
            ("1.0000000001", "1000000001n"),
            ("9Ei", "9223372036854775807"),
            ("8Ei", "9223372036854775807"),
            ("7Ei", "7Ei"),
            ("-5Mi", "-5Mi"),
            ("00012", "12"),
        ] {
            assert_eq!(parse(written).to_string(), canonical, "{written}");
            assert_eq!(parse(canonical), parse(written), "{written}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for (written, error) in [
            ("", QuantityError::Format),
            (" 1", QuantityError::Format),
            ("1 ", QuantityError::Format),
            ("1.1.M", QuantityError::Format),
            ("1+1.0M", QuantityError::Format),
            ("0.1am", QuantityError::Format),
            ("aoeu", QuantityError::Format),
            ("Mi", QuantityError::Format),
            ("0.1mi", QuantityError::Suffix),
            (".5i", QuantityError::Suffix),
            ("1i", QuantityError::Suffix),
            ("-3.01e-", QuantityError::Suffix),
            ("1K", QuantityError::Suffix),
            ("64MB", QuantityError::Format),
            ("1e99", QuantityError::TooLarge),
            ("99999999999999999999999999999999999999999", QuantityError::TooLarge),
        ] {
            assert_eq!(written.parse::<Quantity>(), Err(error), "{written:?}");
        }
    }

    #[test]
    fn amounts_round_away_from_zero() {
        for (written, value, milli) in [
            ("64Mi", 64 << 20, (64 << 20) * 1000),
            ("1.5", 2, 1500),
            ("1m", 1, 1),
            ("1u", 1, 1),
            ("-1500m", -2, -1500),
            ("250m", 1, 250),
            ("9Ei", i64::MAX, i64::MAX),
        ] {
            assert_eq!((parse(written).value(), parse(written).milli_value()), (value, milli), "{written}");
        }
    }

    #[test]
    fn resource_fields_divide_and_round_up() {
        for (amount, divisor, shown) in
            [("1250m", "1", 2), ("1250m", "1m", 1250), ("64Mi", "1Mi", 64), ("65Mi", "1Gi", 1), ("64Mi", "0", 64 << 20)]
        {
            assert_eq!(parse(amount).divided_by(&parse(divisor)), shown, "{amount} / {divisor}");
        }
    }

    #[test]
    fn amounts_compare_however_they_are_written() {
        assert_eq!(parse("1Gi"), parse("1024Mi"));
        assert_eq!(parse("1"), parse("1000m"));
        assert!(parse("128Mi") > parse("128M"));
        assert_eq!(parse("500m").plus(&parse("0.5")).to_string(), "1");
        assert_eq!(parse("1500u").rounded_up_to_milli().to_string(), "2m");
    }
}
