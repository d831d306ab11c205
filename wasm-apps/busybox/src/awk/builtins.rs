//! Functions of awk's own.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::format::sprintf;
use super::interpreter::{Interpreter, Interrupt};
use super::program::{Builtin, Expression, Variable, special};
use super::record::Separator;
use super::value::{Array, Text, Value};
use crate::find::time_text;
use crate::process::Program;

/// Numbers that look random: xorshift64*.
pub(super) struct Random {
    state: u64,
    seed: f64,
}

impl Default for Random {
    fn default() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, seed: 0.0 }
    }
}

impl Random {
    fn next(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Starts anew; the seed before.
    fn seed(&mut self, seed: f64) -> f64 {
        self.state = seed.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..8 {
            self.next();
        }
        std::mem::replace(&mut self.seed, seed)
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs() as f64)
}

/// How many characters a text has.
fn length(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Where a text's characters begin, and its end.
fn boundaries(text: &[u8]) -> Vec<usize> {
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80).map(|(at, _)| at);
    starts.chain([text.len()]).collect()
}

fn substring(text: &[u8], start: f64, count: f64) -> &[u8] {
    let first = start.round();
    let end = (first + count.round()).min(1e15);
    let first = first.max(1.0);
    if end.is_nan() || end <= first {
        return b"";
    }
    let boundaries = boundaries(text);
    let place = |character: f64| boundaries.get(character as usize - 1).copied().unwrap_or(text.len());
    &text[place(first)..place(end)]
}

impl<'p> Interpreter<'p> {
    /// Calls a function.
    pub(super) fn builtin(&mut self, builtin: Builtin, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        Ok(match builtin {
            Builtin::Length => self.length(arguments.first())?,
            Builtin::Substr => {
                let text = self.text(&arguments[0])?;
                let start = self.number(&arguments[1])?;
                let count = arguments.get(2).map_or(Ok(f64::INFINITY), |count| self.number(count))?;
                Value::text(substring(&text, start, count))
            }
            Builtin::Index => {
                let (text, wanted) = (self.text(&arguments[0])?, self.text(&arguments[1])?);
                let at =
                    if wanted.is_empty() { None } else { text.windows(wanted.len()).position(|part| part == &*wanted) };
                Value::Number(at.map_or(0.0, |at| length(&text[..at]) as f64 + 1.0))
            }
            Builtin::Split => self.split(arguments)?,
            Builtin::Sub | Builtin::Gsub => self.substitute(arguments, builtin == Builtin::Gsub)?,
            Builtin::Gensub => self.gensub(arguments)?,
            Builtin::Match => self.match_function(arguments)?,
            Builtin::Sprintf => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.evaluate(argument)?);
                }
                let number_format = self.special_text(special::CONVFMT);
                let format = values.remove(0).to_text(&number_format);
                Value::Text(Rc::from(sprintf(&format, &values, &number_format)))
            }
            Builtin::Lower => {
                Value::text(String::from_utf8_lossy(&self.text(&arguments[0])?).to_lowercase().as_bytes())
            }
            Builtin::Upper => {
                Value::text(String::from_utf8_lossy(&self.text(&arguments[0])?).to_uppercase().as_bytes())
            }
            Builtin::System | Builtin::Close | Builtin::Flush => self.outside(builtin, arguments)?,
            Builtin::Systime => Value::Number(now()),
            Builtin::Strftime => self.strftime(arguments)?,
            Builtin::Mktime => self.mktime(arguments)?,
            Builtin::Rand => Value::Number(self.random.next()),
            Builtin::Srand => {
                let seed = arguments.first().map_or_else(|| Ok(now()), |seed| self.number(seed))?;
                Value::Number(self.random.seed(seed))
            }
            _ => self.calculation(builtin, arguments)?,
        })
    }

    fn calculation(&mut self, builtin: Builtin, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let mut numbers = Vec::with_capacity(arguments.len());
        for argument in arguments {
            numbers.push(self.number(argument)?);
        }
        let bits: Vec<u64> = numbers.iter().map(|number| *number as u64).collect();
        let x = numbers[0];
        Ok(Value::Number(match builtin {
            Builtin::Sin => x.sin(),
            Builtin::Cos => x.cos(),
            Builtin::Atan2 => x.atan2(numbers[1]),
            Builtin::Exp => x.exp(),
            Builtin::Log => x.ln(),
            Builtin::Sqrt => x.sqrt(),
            Builtin::And => bits.iter().fold(u64::MAX, |all, bits| all & bits) as f64,
            Builtin::Or => bits.iter().fold(0, |all, bits| all | bits) as f64,
            Builtin::Xor => bits.iter().fold(0, |all, bits| all ^ bits) as f64,
            Builtin::Complement => (!bits[0] & ((1 << 53) - 1)) as f64,
            Builtin::LeftShift => bits[0].checked_shl(bits[1] as u32).unwrap_or(0) as f64,
            Builtin::RightShift => bits[0].checked_shr(bits[1] as u32).unwrap_or(0) as f64,
            _ => x.trunc(),
        }))
    }

    fn length(&mut self, argument: Option<&'p Expression>) -> Result<Value, Interrupt> {
        let text = match argument {
            None => self.record_text(),
            Some(Expression::Variable(variable)) if self.is_array(*variable) => {
                return Ok(Value::Number(self.array(*variable)?.borrow().len() as f64));
            }
            Some(argument) => self.text(argument)?,
        };
        Ok(Value::Number(length(&text) as f64))
    }

    fn is_array(&mut self, variable: Variable) -> bool {
        matches!(self.cell(variable), super::interpreter::Cell::Array(_))
    }

    /// The array an argument names.
    fn array_argument(&mut self, argument: &'p Expression) -> Result<Array, Interrupt> {
        match argument {
            Expression::Variable(variable) => self.array(*variable),
            _ => Err("the argument must be an array".to_owned().into()),
        }
    }

    fn split(&mut self, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let text = self.text(&arguments[0])?;
        let separator = match arguments.get(2) {
            Some(Expression::Regex(regex)) => Separator::Regex(Rc::clone(regex)),
            Some(other) => {
                let text = self.text(other)?;
                Separator::parse(&text, &mut self.regexes)?
            }
            None => {
                let text = self.special_text(special::FS);
                Separator::parse(&text, &mut self.regexes)?
            }
        };
        let array = self.array_argument(&arguments[1])?;
        let mut array = array.borrow_mut();
        array.clear();
        let parts = separator.split(&text);
        for (number, part) in parts.iter().enumerate() {
            let key = (number + 1).to_string().into_bytes();
            array.insert(Rc::from(key), Value::input(&text[part.clone()]));
        }
        Ok(Value::Number(parts.len() as f64))
    }

    fn substitute(&mut self, arguments: &'p [Expression], all: bool) -> Result<Value, Interrupt> {
        let regex = self.regex(&arguments[0])?;
        let replacement = self.text(&arguments[1])?;
        let text: Text = match arguments.get(2) {
            Some(target) => self.text(target)?,
            None => self.record_text(),
        };
        let (mut output, mut done, mut count) = (Vec::with_capacity(text.len()), 0, 0);
        for found in regex.find_iter(&text).take(if all { usize::MAX } else { 1 }) {
            output.extend_from_slice(&text[done..found.start()]);
            replace(&replacement, found.as_bytes(), &mut output);
            done = found.end();
            count += 1;
        }
        if count > 0 {
            output.extend_from_slice(&text[done..]);
            match arguments.get(2) {
                Some(target) => self.assign(target, Value::text(&output))?,
                None => self.record.set(output),
            }
        }
        Ok(Value::Number(f64::from(count)))
    }

    /// GNU's: the text with matches replaced, all or the one of a number; `\1` stands for groups.
    fn gensub(&mut self, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let regex = self.regex(&arguments[0])?;
        let replacement = self.text(&arguments[1])?;
        let which = self.text(&arguments[2])?;
        let text: Text = match arguments.get(3) {
            Some(text) => self.text(text)?,
            None => self.record_text(),
        };
        let only = if matches!(which.first(), Some(b'g' | b'G')) {
            None
        } else {
            Some((Value::Text(which).to_number() as usize).max(1))
        };
        let (mut output, mut done) = (Vec::with_capacity(text.len()), 0);
        for (number, captures) in regex.captures_iter(&text).enumerate() {
            let Some(found) = captures.get(0).filter(|_| only.is_none_or(|only| only == number + 1)) else { continue };
            output.extend_from_slice(&text[done..found.start()]);
            let mut rest = replacement.iter();
            while let Some(byte) = rest.next() {
                match (byte, rest.as_slice().first()) {
                    (b'\\', Some(digit)) if digit.is_ascii_digit() => {
                        output
                            .extend(captures.get(usize::from(digit - b'0')).map_or(&b""[..], |group| group.as_bytes()));
                        rest.next();
                    }
                    (b'\\', Some(other)) => {
                        output.push(*other);
                        rest.next();
                    }
                    (b'&', _) => output.extend_from_slice(found.as_bytes()),
                    _ => output.push(*byte),
                }
            }
            done = found.end();
        }
        output.extend_from_slice(&text[done..]);
        Ok(Value::text(&output))
    }

    fn match_function(&mut self, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let text = self.text(&arguments[0])?;
        let regex = self.regex(&arguments[1])?;
        let captures = regex.captures(&text);
        if let Some(array) = arguments.get(2) {
            let array = self.array_argument(array)?;
            let mut array = array.borrow_mut();
            array.clear();
            for (number, group) in captures.iter().flat_map(|captures| captures.iter().enumerate()) {
                if let Some(group) = group {
                    array.insert(Rc::from(number.to_string().into_bytes()), Value::input(group.as_bytes()));
                }
            }
        }
        let found = captures.and_then(|captures| captures.get(0));
        let (start, count) = found.map_or((0.0, -1.0), |found| {
            (length(&text[..found.start()]) as f64 + 1.0, length(found.as_bytes()) as f64)
        });
        self.set_variable(Variable::Global(special::RSTART), Value::Number(start))?;
        self.set_variable(Variable::Global(special::RLENGTH), Value::Number(count))?;
        Ok(Value::Number(start))
    }

    /// Functions about other programs and files.
    fn outside(&mut self, builtin: Builtin, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let name = arguments.first().map_or_else(|| Ok(Text::default()), |name| self.text(name))?;
        let code = match builtin {
            Builtin::System => {
                self.streams.flush()?;
                let command = std::os::wasi::ffi::OsStrExt::from_bytes(&name);
                i32::from(Program::shell(command).run()?.code())
            }
            Builtin::Close => self.streams.close(&name)?,
            _ => {
                self.streams.flush()?;
                0
            }
        };
        Ok(Value::Number(code.into()))
    }

    fn strftime(&mut self, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let format = match arguments.first() {
            Some(format) => String::from_utf8_lossy(&self.text(format)?).into_owned(),
            None => "%a %b %e %H:%M:%S %Z %Y".to_owned(),
        };
        let time = arguments.get(1).map_or_else(|| Ok(now()), |time| self.number(time))?;
        Ok(Value::text(time_text((time as i64, 0), &format).as_bytes()))
    }

    /// `YYYY MM DD HH MM SS` in UTC as seconds; -1 for what is no time.
    fn mktime(&mut self, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let text = self.text(&arguments[0])?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let numbers: Vec<i16> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let small = |place: usize| numbers.get(place).and_then(|number| i8::try_from(*number).ok());
        let time = || {
            let (month, day, hour) = (small(1)?, small(2)?, small(3)?);
            let time = jiff::civil::DateTime::new(*numbers.first()?, month, day, hour, small(4)?, small(5)?, 0).ok()?;
            Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
        };
        Ok(Value::Number(time().map_or(-1.0, |seconds| seconds as f64)))
    }
}

/// Puts a replacement in a match's place: `&` is the match, unless there is a backslash before it.
fn replace(replacement: &[u8], found: &[u8], output: &mut Vec<u8>) {
    let mut rest = replacement.iter();
    while let Some(byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'\\', Some(escaped @ (b'&' | b'\\'))) => {
                output.push(*escaped);
                rest.next();
            }
            (b'&', _) => output.extend_from_slice(found),
            _ => output.push(*byte),
        }
    }
}
