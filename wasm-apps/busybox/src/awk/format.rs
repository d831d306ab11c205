//! `printf`.

use super::value::Value;

/// The widest a field gets.
const MAX_WIDTH: usize = 1 << 20;

#[derive(Debug, Clone, Default)]
struct Spec {
    left: bool,
    sign: bool,
    space: bool,
    alternate: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats values. `number_format` is how numbers that are not whole become texts.
pub(super) fn sprintf(format: &[u8], values: &[Value], number_format: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(format.len() + 16);
    let mut values = values.iter();
    let mut at = 0;
    while let Some(byte) = format.get(at) {
        at += 1;
        if *byte != b'%' {
            output.push(*byte);
            continue;
        }
        let start = at - 1;
        let spec = Spec::parse(format, &mut at, &mut values);
        let Some(conversion) = format.get(at) else {
            output.extend_from_slice(&format[start..]);
            break;
        };
        at += 1;
        match conversion {
            b'%' => output.push(b'%'),
            b'c' => spec.pad(&character(values.next()), false, &mut output),
            b's' => {
                let text = values.next().map_or_else(|| Vec::new().into(), |value| value.to_text(number_format));
                spec.pad(truncated(&text, spec.precision), false, &mut output);
            }
            b'd' | b'i' => {
                let number = values.next().map_or(0.0, Value::to_number);
                if number.is_finite() {
                    spec.integer(number < 0.0 && number > -1e38, number.trunc().abs(), 10, false, &mut output);
                } else {
                    spec.pad(&special(number), false, &mut output);
                }
            }
            b'o' | b'x' | b'X' | b'u' => {
                let number = values.next().map_or(0.0, Value::to_number).trunc();
                let radix = match conversion {
                    b'o' => 8,
                    b'u' => 10,
                    _ => 16,
                };
                let number = if number < 0.0 { (number as i64).cast_unsigned() as f64 } else { number };
                spec.integer(false, number, radix, *conversion == b'X', &mut output);
            }
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' => {
                let number = values.next().map_or(0.0, Value::to_number);
                spec.float(number, *conversion, &mut output);
            }
            _ => output.extend_from_slice(&format[start..at]),
        }
    }
    output
}

/// A number's character, or a text's first one.
fn character(value: Option<&Value>) -> Vec<u8> {
    match value {
        None | Some(Value::Unset) => Vec::new(),
        Some(Value::Number(number) | Value::Numeric(_, number)) => {
            let code = *number as u32;
            match char::from_u32(code) {
                Some(character) if code >= 128 => character.to_string().into_bytes(),
                _ => vec![(code & 0xff) as u8],
            }
        }
        Some(Value::Text(text)) => truncated(text, Some(1)).to_vec(),
    }
}

/// The first characters of a text.
fn truncated(text: &[u8], characters: Option<usize>) -> &[u8] {
    let Some(count) = characters else { return text };
    let mut starts = text.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80).map(|(at, _)| at);
    &text[..starts.nth(count).unwrap_or(text.len())]
}

fn special(number: f64) -> Vec<u8> {
    let text = match (number.is_nan(), number.is_sign_negative()) {
        (true, false) => "nan",
        (true, true) => "-nan",
        (false, false) => "inf",
        (false, true) => "-inf",
    };
    text.as_bytes().to_vec()
}

impl Spec {
    fn parse<'a>(format: &[u8], at: &mut usize, values: &mut impl Iterator<Item = &'a Value>) -> Self {
        let mut spec = Self::default();
        while let Some(flag) = format.get(*at) {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.sign = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                b'0' => spec.zeros = true,
                _ => break,
            }
            *at += 1;
        }
        let mut number = |at: &mut usize| {
            if format.get(*at) == Some(&b'*') {
                *at += 1;
                return values.next().map_or(0.0, Value::to_number) as i64;
            }
            let mut number = 0_i64;
            while let Some(digit) = format.get(*at).filter(|byte| byte.is_ascii_digit()) {
                number = (number * 10 + i64::from(digit - b'0')).min(MAX_WIDTH as i64);
                *at += 1;
            }
            number
        };
        let width = number(at);
        spec.left |= width < 0;
        spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
        if format.get(*at) == Some(&b'.') {
            *at += 1;
            spec.precision = usize::try_from(number(at)).ok().map(|precision| precision.min(MAX_WIDTH));
        }
        // C's sizes of integers mean nothing here.
        while matches!(format.get(*at), Some(b'l' | b'h' | b'q' | b'L')) {
            *at += 1;
        }
        spec
    }

    fn pad(&self, text: &[u8], numeric: bool, output: &mut Vec<u8>) {
        let characters = text.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let missing = self.width.saturating_sub(characters);
        if self.left {
            output.extend_from_slice(text);
            output.resize(output.len() + missing, b' ');
        } else if self.zeros && numeric {
            let prefix = match text {
                [b'+' | b'-' | b' ', ..] => 1,
                [b'0', b'x' | b'X', ..] => 2,
                _ => 0,
            };
            output.extend_from_slice(&text[..prefix]);
            output.resize(output.len() + missing, b'0');
            output.extend_from_slice(&text[prefix..]);
        } else {
            output.resize(output.len() + missing, b' ');
            output.extend_from_slice(text);
        }
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.sign, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        }
    }

    fn integer(&self, negative: bool, size: f64, radix: u8, upper: bool, output: &mut Vec<u8>) {
        let mut digits = match radix {
            _ if size >= 1.8e19 => format!("{size:.0}"),
            8 => format!("{:o}", size as u64),
            16 if upper => format!("{:X}", size as u64),
            16 => format!("{:x}", size as u64),
            _ => (size as u64).to_string(),
        };
        if let Some(least) = self.precision {
            digits = "0".repeat(least.saturating_sub(digits.len())) + &digits;
        }
        let prefix = match (self.alternate && size != 0.0, radix) {
            (true, 8) => "0",
            (true, 16) if upper => "0X",
            (true, 16) => "0x",
            _ => "",
        };
        let text = format!("{}{prefix}{digits}", if radix == 10 { self.sign(negative) } else { "" });
        self.pad(text.as_bytes(), self.precision.is_none(), output);
    }

    fn float(&self, number: f64, conversion: u8, output: &mut Vec<u8>) {
        if !number.is_finite() {
            return self.pad(&special(number), false, output);
        }
        let precision = self.precision.unwrap_or(6);
        let size = number.abs();
        let mut text = match conversion.to_ascii_lowercase() {
            b'f' => format!("{size:.precision$}"),
            b'e' => exponential(size, precision),
            _ => general(size, precision.max(1), self.alternate),
        };
        if conversion.is_ascii_uppercase() {
            text.make_ascii_uppercase();
        }
        let text = self.sign(number.is_sign_negative()).to_owned() + &text;
        self.pad(text.as_bytes(), true, output);
    }
}

/// `1.5e+03`.
fn exponential(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// The shorter of both notations, as C's `%g`.
fn general(size: f64, precision: usize, keeps_zeros: bool) -> String {
    if size == 0.0 {
        return "0".to_owned();
    }
    let scientific = exponential(size, precision - 1);
    let exponent: i32 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or_default();
    let strip = |text: &str| {
        if text.contains('.') && !keeps_zeros {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    match usize::try_from(exponent) {
        Ok(exponent) if exponent < precision => strip(&format!("{size:.*}", precision - 1 - exponent)),
        Err(_) if exponent >= -4 => strip(&format!("{size:.*}", precision - 1 + exponent.unsigned_abs() as usize)),
        _ => {
            let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
            format!("{}e{exponent}", strip(digits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(format: &str, value: f64, expected: &str) {
        let text = sprintf(format.as_bytes(), &[Value::Number(value)], b"%.6g");
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    #[test]
    fn numbers() {
        check("%d|", -3.9, "-3|");
        check("%05d", 42.0, "00042");
        check("%+.2f", 2.345, "+2.35");
        check("%e", 12345.678, "1.234568e+04");
        check("%g", 100_000.0, "100000");
        check("%g", 1e6, "1e+06");
        check("%g", 0.0001, "0.0001");
        check("%.3g", 1234.5, "1.23e+03");
        check("%x %%", 255.0, "ff %");
        check("%-5d|", 7.0, "7    |");
        check("%c", 65.0, "A");
        check("%z", 1.0, "%z");
    }
}
