//! What a plain YAML scalar means: YAML 1.1 with the exceptions Kubernetes' reader makes (no base-60 numbers, and
//! timestamps stay text).

use super::Value;

/// Resolves a scalar that was written without quotes.
pub(super) fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        ".nan" | ".NaN" | ".NAN" => return float(f64::NAN, text),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return float(f64::INFINITY, text),
        "-.inf" | "-.Inf" | "-.INF" => return float(f64::NEG_INFINITY, text),
        _ => {}
    }
    if let Some(value) = boolean(text) {
        return Value::Bool { value, written: text.to_owned() };
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Value::String(text.to_owned());
    }
    let digits = text.replace('_', "");
    if let Some(value) = integer(&digits) {
        return Value::Integer { value, written: text.to_owned() };
    }
    match decimal(&digits) {
        Some(value) => float(value, text),
        None => Value::String(text.to_owned()),
    }
}

/// A number as JSON text, the way Go's encoder writes it. Infinities and not-a-number have no JSON form.
pub(super) fn float_as_json(value: f64) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let magnitude = value.abs();
    let plain = magnitude == 0.0 || (1e-6..1e21).contains(&magnitude);
    Some(if plain { format!("{value}") } else { format!("{value:e}") })
}

fn float(value: f64, written: &str) -> Value {
    Value::Float { value, written: written.to_owned() }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Integers in bases 2, 8 (`0644` and `0o644`), 10 and 16, within 64 bits.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// Decimal fractions and exponents: digits around at most one dot, then perhaps `e` and an integer.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.chars().all(|digit| digit.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let any_digit = !whole.is_empty() || !fraction.is_empty();
    if !any_digit || !all_digits(whole) || !all_digits(fraction) || !exponent_fits {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kind and value a plain scalar has, as one word.
    fn shown(text: &str) -> String {
        match resolve_plain(text) {
            Value::Null => "null".to_owned(),
            Value::Bool { value, .. } => format!("bool {value}"),
            Value::Integer { value, .. } => format!("int {value}"),
            Value::Float { value, .. } => format!("float {value}"),
            Value::String(text) => format!("str {text}"),
            Value::Sequence(_) | Value::Mapping(_) => "collection".to_owned(),
        }
    }

    #[test]
    fn plain_scalars_mean_what_kubernetes_takes_them_for() {
        for (text, expected) in [
            ("", "null"),
            ("~", "null"),
            ("yes", "bool true"),
            ("Off", "bool false"),
            ("n", "bool false"),
            ("yEs", "str yEs"),
            ("0644", "int 420"),
            ("0o644", "int 420"),
            ("0x1F", "int 31"),
            ("0b101", "int 5"),
            ("08", "float 8"),
            ("0", "int 0"),
            ("1_000", "int 1000"),
            ("-12", "int -12"),
            ("18446744073709551615", "int 18446744073709551615"),
            ("18446744073709551616", "float 18446744073709552000"),
            ("1e3", "float 1000"),
            (".5", "float 0.5"),
            ("1.", "float 1"),
            (".", "str ."),
            ("-", "str -"),
            ("1:30", "str 1:30"),
            ("1.2.3", "str 1.2.3"),
            ("100m", "str 100m"),
            ("2001-12-14", "str 2001-12-14"),
            ("inf", "str inf"),
            ("<<", "str <<"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        assert_eq!(float_as_json(0.5).as_deref(), Some("0.5"));
        assert_eq!(float_as_json(1000.0).as_deref(), Some("1000"));
        assert_eq!(float_as_json(f64::NAN), None);
    }
}
