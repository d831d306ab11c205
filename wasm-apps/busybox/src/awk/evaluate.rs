//! What awk's expressions are worth.

use std::cmp::Ordering;
use std::rc::Rc;

use regex::bytes::Regex;

use super::interpreter::{Cell, Interpreter, Interrupt, MAX_CALLS};
use super::program::{Arithmetic, Comparison, Expression, Source, Variable, special};
use super::statements::Flow;
use super::value::{Text, Value};

impl<'p> Interpreter<'p> {
    /// An expression's value.
    pub(super) fn evaluate(&mut self, expression: &'p Expression) -> Result<Value, Interrupt> {
        Ok(match expression {
            Expression::Number(number) => Value::Number(*number),
            Expression::Text(text) => Value::Text(Rc::clone(text)),
            Expression::Regex(regex) => Value::bool(regex.is_match(&self.record_text())),
            Expression::Variable(variable) => self.variable(*variable)?,
            Expression::Field(number) => {
                let number = self.field_number(number)?;
                self.field(number)
            }
            Expression::Element(array, indices) => {
                let key = self.key(indices)?;
                self.array(*array)?.borrow_mut().entry(key).or_default().clone()
            }
            Expression::Arithmetic(operation, left, right) => {
                let left = self.evaluate(left)?.to_number();
                let right = self.evaluate(right)?.to_number();
                Value::Number(calculate(*operation, left, right)?)
            }
            Expression::Compare(comparison, left, right) => self.compare(*comparison, left, right)?,
            Expression::Concatenate(left, right) => {
                let (left, right) = (self.text(left)?, self.text(right)?);
                Value::Text(Rc::from([&left[..], &right].concat()))
            }
            Expression::And(left, right) => {
                Value::bool(self.evaluate(left)?.is_true() && self.evaluate(right)?.is_true())
            }
            Expression::Or(left, right) => {
                Value::bool(self.evaluate(left)?.is_true() || self.evaluate(right)?.is_true())
            }
            Expression::Not(operand) => Value::bool(!self.evaluate(operand)?.is_true()),
            Expression::Negative(operand) => Value::Number(-self.evaluate(operand)?.to_number()),
            Expression::Positive(operand) => Value::Number(self.evaluate(operand)?.to_number()),
            Expression::Match { negated, text, regex } => {
                let text = self.text(text)?;
                Value::bool(self.regex(regex)?.is_match(&text) != *negated)
            }
            Expression::In(indices, array) => {
                let key = self.key(indices)?;
                Value::bool(self.array(*array)?.borrow().contains_key(&key))
            }
            Expression::Condition(condition, then, otherwise) => {
                let chosen = if self.evaluate(condition)?.is_true() { then } else { otherwise };
                self.evaluate(chosen)?
            }
            Expression::Assign(target, operation, value) => self.assignment(target, *operation, value)?,
            Expression::Increment { target, by, before } => {
                let old = self.evaluate(target)?.to_number();
                self.assign(target, Value::Number(old + by))?;
                Value::Number(if *before { old + by } else { old })
            }
            Expression::Call(function, arguments) => self.call(*function, arguments)?,
            Expression::Builtin(builtin, arguments) => self.builtin(*builtin, arguments)?,
            Expression::Getline { source, target } => self.getline(source, target.as_deref())?,
            Expression::Group(list) => match list.as_slice() {
                [only] => self.evaluate(only)?,
                _ => return Err("a list in parentheses is no value".to_owned().into()),
            },
        })
    }

    /// An expression's text.
    pub(super) fn text(&mut self, expression: &'p Expression) -> Result<Text, Interrupt> {
        match self.evaluate(expression)? {
            Value::Text(text) | Value::Numeric(text, _) => Ok(text),
            value => Ok(value.to_text(&self.special_text(special::CONVFMT))),
        }
    }

    pub(super) fn number(&mut self, expression: &'p Expression) -> Result<f64, Interrupt> {
        Ok(self.evaluate(expression)?.to_number())
    }

    /// An expression as a regular expression: itself, or one made of its text.
    pub(super) fn regex(&mut self, expression: &'p Expression) -> Result<Rc<Regex>, Interrupt> {
        match expression {
            Expression::Regex(regex) => Ok(Rc::clone(regex)),
            Expression::Group(list) if list.len() == 1 => self.regex(&list[0]),
            other => {
                let text = self.text(other)?;
                Ok(self.regexes.get(&text)?)
            }
        }
    }

    fn field_number(&mut self, number: &'p Expression) -> Result<usize, Interrupt> {
        let number = self.number(number)?;
        if number < 0.0 || number.is_nan() {
            return Err(format!("trying to access out of range field {number}").into());
        }
        Ok(number as usize)
    }

    fn field(&mut self, number: usize) -> Value {
        if number == 0 { Value::input(&self.record_text()) } else { self.record.field(number) }
    }

    /// Sets a variable, field or element.
    pub(super) fn assign(&mut self, target: &'p Expression, value: Value) -> Result<(), Interrupt> {
        match target {
            Expression::Variable(variable) => self.set_variable(*variable, value),
            Expression::Field(number) => {
                let number = self.field_number(number)?;
                if number == 0 {
                    let text = value.to_text(&self.special_text(special::CONVFMT));
                    self.record.set(text.to_vec());
                    return Ok(());
                }
                // A field is a text, which may still look like a number.
                let value = match value {
                    Value::Unset => Value::text(b""),
                    other => other,
                };
                Ok(self.record.set_field(number, value)?)
            }
            Expression::Element(array, indices) => {
                let key = self.key(indices)?;
                self.array(*array)?.borrow_mut().insert(key, value);
                Ok(())
            }
            Expression::Group(list) if list.len() == 1 => self.assign(&list[0], value),
            _ => Err("assignment to what is no variable".to_owned().into()),
        }
    }

    fn assignment(
        &mut self,
        target: &'p Expression,
        operation: Option<Arithmetic>,
        value: &'p Expression,
    ) -> Result<Value, Interrupt> {
        let value = self.evaluate(value)?;
        let value = match operation {
            Some(operation) => {
                let old = self.evaluate(target)?.to_number();
                Value::Number(calculate(operation, old, value.to_number())?)
            }
            None => value,
        };
        self.assign(target, value.clone())?;
        Ok(value)
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &'p Expression,
        right: &'p Expression,
    ) -> Result<Value, Interrupt> {
        let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
        let order = left.compare(&right, &self.special_text(special::CONVFMT));
        Ok(Value::bool(match comparison {
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::NotEqual => order != Some(Ordering::Equal),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }))
    }

    /// Calls a function of the program. Arrays are shared with it; a variable that is nothing yet may become one.
    fn call(&mut self, number: usize, arguments: &'p [Expression]) -> Result<Value, Interrupt> {
        let function = &self.program.functions[number];
        if arguments.len() > function.parameters {
            return Err(format!("function {} called with too many arguments", function.name).into());
        }
        if self.frames.len() >= MAX_CALLS {
            return Err(format!("function {} calls too deeply", function.name).into());
        }
        let mut frame = Vec::with_capacity(function.parameters);
        let mut unset: Vec<(usize, Variable)> = Vec::new();
        for (place, argument) in arguments.iter().enumerate() {
            let cell = match argument {
                Expression::Variable(variable) => match self.cell(*variable) {
                    Cell::Array(array) => Cell::Array(Rc::clone(array)),
                    Cell::Unset if !is_counted(*variable) => {
                        unset.push((place, *variable));
                        Cell::Unset
                    }
                    _ => Cell::Value(self.variable(*variable)?),
                },
                other => Cell::Value(self.evaluate(other)?),
            };
            frame.push(cell);
        }
        frame.resize(function.parameters, Cell::Unset);
        self.frames.push(frame);
        let flow = self.block(&function.body);
        let mut frame = self.frames.pop().unwrap_or_default();
        for (place, variable) in unset {
            if let Cell::Array(array) = std::mem::take(&mut frame[place])
                && matches!(self.cell(variable), Cell::Unset)
            {
                *self.cell(variable) = Cell::Array(array);
            }
        }
        match flow? {
            Flow::Return(value) => Ok(value),
            _ => Ok(Value::Unset),
        }
    }

    /// 1 if there was a record, 0 at the end, -1 if it cannot be read.
    fn getline(&mut self, source: &'p Source, target: Option<&'p Expression>) -> Result<Value, Interrupt> {
        let record = match source {
            Source::Input => self.read_input()?,
            Source::File(name) | Source::Command(name) => {
                let name = self.text(name)?;
                let is_command = matches!(source, Source::Command(_));
                let separator = self.separator.clone();
                let Some(reader) = self.streams.reader(is_command, &name)? else {
                    return Ok(Value::Number(-1.0));
                };
                match reader.record(&separator) {
                    Ok(record) if is_command && record.is_some() => {
                        self.records += 1.0;
                        record
                    }
                    Ok(record) => record,
                    Err(_) => return Ok(Value::Number(-1.0)),
                }
            }
        };
        let Some(record) = record else { return Ok(Value::Number(0.0)) };
        match target {
            Some(target) => self.assign(target, Value::input(&record))?,
            None => self.record.set(record),
        }
        Ok(Value::Number(1.0))
    }
}

/// Whether a variable's value is not in its cell.
fn is_counted(variable: Variable) -> bool {
    matches!(variable, Variable::Global(special::NF | special::NR | special::FNR))
}

fn calculate(operation: Arithmetic, left: f64, right: f64) -> Result<f64, Interrupt> {
    Ok(match operation {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide if right == 0.0 => return Err("division by zero".to_owned().into()),
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder if right == 0.0 => return Err("division by zero in %".to_owned().into()),
        Arithmetic::Remainder => left % right,
        Arithmetic::Power => left.powf(right),
    })
}
