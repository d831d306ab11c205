//! `printf`.

use bstr::ByteSlice;

use super::Outcome;
use crate::exec::Shell;
use crate::syntax::number;
use crate::text::{Escapes, quote_if_needed, unescape};

/// Widths and precisions beyond this are cut.
const MAX_WIDTH: usize = 1 << 16;

pub(super) fn printf(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let arguments = if arguments.get(1).is_some_and(|word| word == b"--") { &arguments[1..] } else { arguments };
    let Some(format) = arguments.get(1) else { return shell.complain(b"printf", "usage: printf format [arg ...]") };
    let mut printer = Printer { words: &arguments[2..], output: Vec::new(), problems: Vec::new(), ended: false };
    loop {
        let left = printer.words.len();
        if let Err(problem) = printer.format(format) {
            printer.problems.push(problem);
            break;
        }
        // A format that takes no argument is used once.
        if printer.ended || printer.words.is_empty() || printer.words.len() == left {
            break;
        }
    }
    let (output, problems) = (printer.output, printer.problems);
    let status = shell.print(output)?;
    for problem in &problems {
        shell.report(format!("printf: {problem}"));
    }
    Ok(status.max(u8::from(!problems.is_empty())))
}

struct Printer<'a> {
    words: &'a [Vec<u8>],
    output: Vec<u8>,
    problems: Vec<String>,
    /// A `\c` said that nothing is to follow.
    ended: bool,
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Layout {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    alternative: bool,
    width: usize,
    precision: Option<usize>,
}

impl Printer<'_> {
    fn next(&mut self) -> Option<Vec<u8>> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first.clone())
    }

    fn format(&mut self, format: &[u8]) -> Result<(), String> {
        let mut rest = format;
        while let Some(percent) = rest.find_byte(b'%') {
            self.output.extend(unescape(&rest[..percent], Escapes::Format).text);
            rest = &rest[percent + 1..];
            if let Some(after) = rest.strip_prefix(b"%") {
                self.output.push(b'%');
                rest = after;
                continue;
            }
            let layout = self.layout(&mut rest);
            while let Some((b'l' | b'h' | b'j' | b'z' | b't' | b'L', after)) = rest.split_first() {
                rest = after;
            }
            let Some((letter, after)) = rest.split_first() else {
                return Err("%: missing format character".to_owned());
            };
            rest = after;
            self.convert(*letter, &layout)?;
            if self.ended {
                return Ok(());
            }
        }
        self.output.extend(unescape(rest, Escapes::Format).text);
        Ok(())
    }

    fn layout(&mut self, rest: &mut &[u8]) -> Layout {
        let mut layout = Layout::default();
        while let Some((flag, after)) = rest.split_first() {
            match flag {
                b'-' => layout.left = true,
                b'0' => layout.zeros = true,
                b'+' => layout.plus = true,
                b' ' => layout.space = true,
                b'#' => layout.alternative = true,
                _ => break,
            }
            *rest = after;
        }
        let width = self.size(rest).unwrap_or_default();
        layout.left |= width < 0;
        layout.width = usize::try_from(width.unsigned_abs()).map_or(MAX_WIDTH, |width| width.min(MAX_WIDTH));
        if let Some(after) = rest.strip_prefix(b".") {
            *rest = after;
            let precision = self.size(rest).unwrap_or_default();
            layout.precision = usize::try_from(precision).ok().map(|precision| precision.min(MAX_WIDTH));
        }
        layout
    }

    /// A width or precision, which `*` takes from the arguments.
    fn size(&mut self, rest: &mut &[u8]) -> Option<i64> {
        if let Some(after) = rest.strip_prefix(b"*") {
            *rest = after;
            return Some(self.integer());
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let size = rest[..digits].to_str().ok()?.parse().ok();
        *rest = &rest[digits..];
        size
    }

    fn convert(&mut self, letter: u8, layout: &Layout) -> Result<(), String> {
        match letter {
            b's' => {
                let text = self.next().unwrap_or_default();
                self.text(text, layout);
            }
            b'b' => {
                let unescaped = unescape(&self.next().unwrap_or_default(), Escapes::Echo);
                self.ended = unescaped.ended;
                self.text(unescaped.text, layout);
            }
            b'q' => {
                let text = quote_if_needed(&self.next().unwrap_or_default());
                self.text(text, layout);
            }
            b'c' => {
                let mut text = self.next().unwrap_or_default();
                text.truncate(1);
                self.text(text, layout);
            }
            b'd' | b'i' => {
                let value = self.integer();
                self.number(value < 0, value.unsigned_abs().to_string(), "", layout);
            }
            b'u' => {
                let value = self.integer().cast_unsigned();
                self.number(false, value.to_string(), "", layout);
            }
            b'o' => {
                let value = self.integer();
                self.number(false, format!("{value:o}"), if layout.alternative { "0" } else { "" }, layout);
            }
            b'x' | b'X' => {
                let value = self.integer();
                let lower = format!("{value:x}");
                let prefix = if layout.alternative && value != 0 { "0x" } else { "" };
                if letter == b'X' {
                    self.number(false, lower.to_uppercase(), &prefix.to_uppercase(), layout);
                } else {
                    self.number(false, lower, prefix, layout);
                }
            }
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' => {
                let value = self.float();
                let digits = float_digits(value.abs(), letter, layout.precision.unwrap_or(6));
                let layout = Layout { precision: None, ..*layout };
                self.number(value.is_sign_negative(), digits, "", &layout);
            }
            _ => return Err(format!("%{}: invalid format character", char::from(letter))),
        }
        Ok(())
    }

    fn text(&mut self, mut text: Vec<u8>, layout: &Layout) {
        if let Some(precision) = layout.precision {
            text.truncate(precision);
        }
        self.pad(text, layout);
    }

    fn pad(&mut self, text: Vec<u8>, layout: &Layout) {
        let padding = vec![b' '; layout.width.saturating_sub(text.len())];
        let (first, second) = if layout.left { (text, padding) } else { (padding, text) };
        self.output.extend(first);
        self.output.extend(second);
    }

    fn number(&mut self, negative: bool, mut digits: String, prefix: &str, layout: &Layout) {
        let sign = match () {
            () if negative => "-",
            () if layout.plus => "+",
            () if layout.space => " ",
            () => "",
        };
        let used = sign.len() + prefix.len();
        let least = match layout.precision {
            Some(precision) => precision,
            None if layout.zeros && !layout.left => layout.width.saturating_sub(used),
            None => 0,
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        self.pad(format!("{sign}{prefix}{digits}").into_bytes(), layout);
    }

    fn integer(&mut self) -> i64 {
        let Some(word) = self.next() else { return 0 };
        if let [b'\'' | b'"', rest @ ..] = word.as_slice() {
            return rest.chars().next().map_or(0, |char| i64::from(u32::from(char)));
        }
        let text = word.to_str_lossy();
        let trimmed = text.trim_start();
        let (negative, digits) = match trimmed.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
        };
        // What is no number up to its end counts as far as it is one.
        let valid = (1..=digits.len()).rev().find_map(|length| Some((length, number(digits.get(..length)?)?)));
        let (length, value) = valid.unwrap_or((0, 0));
        if length < digits.len() || digits.is_empty() {
            let problem = if length == 0 { "expected numeric value" } else { "not completely converted" };
            self.problems.push(format!("{text}: {problem}"));
        }
        if negative { value.wrapping_neg() } else { value }
    }

    fn float(&mut self) -> f64 {
        let Some(word) = self.next() else { return 0.0 };
        let text = word.to_str_lossy();
        text.trim().parse().unwrap_or_else(|_| {
            self.problems.push(format!("{text}: expected numeric value"));
            0.0
        })
    }
}

/// Digits as C's `%e`, `%f` and `%g` show them.
fn float_digits(value: f64, letter: u8, precision: usize) -> String {
    let exponential = |precision: usize| {
        let text = format!("{value:.precision$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        format!("{mantissa}e{sign}{digits:0>2}")
    };
    let text = match letter {
        _ if !value.is_finite() => format!("{value}").to_lowercase(),
        b'f' | b'F' => format!("{value:.precision$}"),
        b'e' | b'E' => exponential(precision),
        _ => {
            let precision = precision.max(1);
            let shown = format!("{value:.*e}", precision - 1);
            let exponent: i32 =
                shown.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or_default();
            let fits = exponent >= -4 && usize::try_from(exponent.max(0)).is_ok_and(|exponent| exponent < precision);
            if fits {
                let decimals = usize::try_from(i32::try_from(precision).unwrap_or(i32::MAX) - 1 - exponent);
                trim_zeros(&format!("{value:.*}", decimals.unwrap_or_default()))
            } else {
                let text = exponential(precision - 1);
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
                format!("{}e{exponent}", trim_zeros(mantissa))
            }
        }
    };
    if letter.is_ascii_uppercase() { text.to_uppercase() } else { text }
}

fn trim_zeros(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}
