//! Values of awk programs, and what they are worth as numbers and texts.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use indexmap::IndexMap;

use super::format;

/// A text; copies of it are cheap.
pub(super) type Text = Rc<[u8]>;
/// An array, in the order elements were made, which functions share with their callers.
pub(super) type Array = Rc<RefCell<IndexMap<Text, Value>>>;

#[derive(Debug, Clone, Default)]
pub(super) enum Value {
    /// Of a variable that was never set: 0 and "".
    #[default]
    Unset,
    Number(f64),
    Text(Text),
    /// Input that looks like a number, and is compared as one.
    Numeric(Text, f64),
}

impl Value {
    pub(super) fn text(bytes: &[u8]) -> Self {
        Self::Text(Rc::from(bytes))
    }

    /// The value of input: a field, say.
    pub(super) fn input(bytes: &[u8]) -> Self {
        let trimmed = bytes.trim_ascii();
        if trimmed.first().is_some_and(|first| first.is_ascii_digit() || b"+-.".contains(first)) {
            let (number, length) = leading_number(trimmed);
            if length == trimmed.len() && length > 0 {
                return Self::Numeric(Rc::from(bytes), number);
            }
        }
        Self::Text(Rc::from(bytes))
    }

    pub(super) fn bool(value: bool) -> Self {
        Self::Number(f64::from(u8::from(value)))
    }

    pub(super) fn to_number(&self) -> f64 {
        match self {
            Self::Unset => 0.0,
            Self::Number(number) | Self::Numeric(_, number) => *number,
            Self::Text(text) => leading_number(text.trim_ascii_start()).0,
        }
    }

    /// As text; numbers that are not whole are written as `format`, such as `%.6g`, says.
    pub(super) fn to_text(&self, format: &[u8]) -> Text {
        match self {
            Self::Unset => Rc::from(&[][..]),
            Self::Number(number) => Rc::from(number_text(*number, format)),
            Self::Text(text) | Self::Numeric(text, _) => Rc::clone(text),
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Unset => false,
            Self::Number(number) | Self::Numeric(_, number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
        }
    }

    fn is_numeric(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    /// Numbers are compared as numbers; everything else as text.
    pub(super) fn compare(&self, other: &Self, format: &[u8]) -> Option<Ordering> {
        if self.is_numeric() && other.is_numeric() {
            return self.to_number().partial_cmp(&other.to_number());
        }
        Some(self.to_text(format).cmp(&other.to_text(format)))
    }
}

fn number_text(number: f64, format: &[u8]) -> Vec<u8> {
    if number.is_nan() {
        return if number.is_sign_negative() { b"-nan".to_vec() } else { b"nan".to_vec() };
    }
    if number.is_infinite() {
        return if number < 0.0 { b"-inf".to_vec() } else { b"inf".to_vec() };
    }
    if number.fract() == 0.0 && number.abs() < 1e16 {
        return (number as i64).to_string().into_bytes();
    }
    format::sprintf(format, &[Value::Number(number)], b"%.6g")
}

/// The decimal number a text begins with, 0 if it begins with none, and its length.
pub(super) fn leading_number(text: &[u8]) -> (f64, usize) {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let signed = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let whole = digits(signed);
    let mut end = signed + whole;
    let mut fraction = 0;
    if text.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return named_number(text, signed);
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = if end + 1 + sign <= text.len() { digits(end + 1 + sign) } else { 0 };
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[..end]).ok().and_then(|text| text.parse().ok());
    (number.unwrap_or_default(), end)
}

/// `+inf` and `-nan`, which need their signs.
fn named_number(text: &[u8], signed: usize) -> (f64, usize) {
    let name = text.get(signed..signed + 3).filter(|_| signed == 1).map(<[u8]>::to_ascii_lowercase);
    let number = match name.as_deref() {
        Some(b"inf") => f64::INFINITY,
        Some(b"nan") => f64::NAN,
        _ => return (0.0, 0),
    };
    (if text[0] == b'-' { -number } else { number }, 4)
}
