//! The values of arithmetic expressions.

use crate::exec::{Flow, Shell};
use crate::syntax::ast::{Arithmetic, Binary, Expression, Piece, Unary};
use crate::syntax::parse_arithmetic;

/// How deeply variables may stand for expressions that name variables.
const MAX_DEPTH: u32 = 50;

/// Why an expression has no value.
enum Problem {
    /// What is expanded in it is no plain number, so that its text has to be read anew.
    NotPlain,
    Message(String),
    Flow(Flow),
}

impl From<Flow> for Problem {
    fn from(flow: Flow) -> Self {
        Self::Flow(flow)
    }
}

type Value = Result<i64, Problem>;

impl Shell {
    /// The value of `$((…))`. An error has been reported.
    pub(crate) fn arithmetic(&mut self, arithmetic: &Arithmetic) -> Result<i64, Flow> {
        if let Some(compiled) = &arithmetic.compiled {
            match self.evaluate(compiled, arithmetic.pieces(), 0) {
                Ok(value) => return Ok(value),
                Err(Problem::NotPlain) => {}
                Err(problem) => return Err(self.arithmetic_problem(problem)),
            }
        }
        let text = self.expand_to_text(&arithmetic.text)?;
        self.arithmetic_text(&text)
    }

    /// The value of an expression's text.
    pub(crate) fn arithmetic_text(&mut self, text: &[u8]) -> Result<i64, Flow> {
        let value = match parse_arithmetic(text) {
            Ok(expression) => self.evaluate(&expression, &[], 0),
            Err(message) => Err(Problem::Message(message)),
        };
        value.map_err(|problem| self.arithmetic_problem(problem))
    }

    fn arithmetic_problem(&mut self, problem: Problem) -> Flow {
        match problem {
            Problem::Flow(flow) => flow,
            Problem::NotPlain => self.fatal("arithmetic syntax error"),
            Problem::Message(message) => self.fatal(message),
        }
    }

    fn evaluate(&mut self, expression: &Expression, pieces: &[Piece], depth: u32) -> Value {
        match expression {
            Expression::Number(number) => Ok(*number),
            Expression::Variable(name) => self.variable_number(name, depth),
            Expression::Expansion(index) => {
                let piece = pieces.get(*index).ok_or(Problem::NotPlain)?;
                let text = self.expand_piece_to_text(piece)?;
                plain_number(&text).ok_or(Problem::NotPlain)
            }
            Expression::Unary(unary, operand) => {
                let value = self.evaluate(operand, pieces, depth)?;
                Ok(match unary {
                    Unary::Plus => value,
                    Unary::Minus => value.wrapping_neg(),
                    Unary::Not => i64::from(value == 0),
                    Unary::Complement => !value,
                })
            }
            Expression::Binary(binary, left, right) => {
                let left = self.evaluate(left, pieces, depth)?;
                let right = self.evaluate(right, pieces, depth)?;
                compute(*binary, left, right)
            }
            Expression::And(left, right) => {
                Ok(i64::from(self.evaluate(left, pieces, depth)? != 0 && self.evaluate(right, pieces, depth)? != 0))
            }
            Expression::Or(left, right) => {
                Ok(i64::from(self.evaluate(left, pieces, depth)? != 0 || self.evaluate(right, pieces, depth)? != 0))
            }
            Expression::Conditional(parts) => {
                let [condition, then, otherwise] = &**parts;
                let chosen = if self.evaluate(condition, pieces, depth)? != 0 { then } else { otherwise };
                self.evaluate(chosen, pieces, depth)
            }
            Expression::Assign(name, binary, value) => {
                let mut value = self.evaluate(value, pieces, depth)?;
                if let Some(binary) = binary {
                    value = compute(*binary, self.variable_number(name, depth)?, value)?;
                }
                self.assign(name, value.to_string().into_bytes())?;
                Ok(value)
            }
            Expression::Increment { name, by, postfix } => {
                let before = self.variable_number(name, depth)?;
                let after = before.wrapping_add(*by);
                self.assign(name, after.to_string().into_bytes())?;
                Ok(if *postfix { before } else { after })
            }
        }
    }

    /// The number a variable holds, or the value of the expression that it holds.
    fn variable_number(&mut self, name: &str, depth: u32) -> Value {
        let Some(text) = self.variable(name) else {
            return if self.reports_unset() { Err(self.unset(name).into()) } else { Ok(0) };
        };
        if let Some(number) = plain_number(&text) {
            return Ok(number);
        }
        if depth >= MAX_DEPTH {
            return Err(Problem::Message(format!("{name}: expression recursion level exceeded")));
        }
        let expression = parse_arithmetic(&text).map_err(Problem::Message)?;
        self.evaluate(&expression, &[], depth + 1)
    }
}

/// A decimal number, with blanks around it at most.
fn plain_number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    let digits = text.strip_prefix('-').unwrap_or(text);
    // What begins with 0 is octal, and a sign belongs to a number.
    if text.is_empty() {
        return Some(0);
    }
    let decimal = digits == "0" || digits.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| decimal)
}

fn compute(binary: Binary, left: i64, right: i64) -> Value {
    let truth = |holds: bool| i64::from(holds);
    Ok(match binary {
        Binary::Multiply => left.wrapping_mul(right),
        Binary::Divide | Binary::Remainder if right == 0 => return Err(Problem::Message("divide by zero".to_owned())),
        Binary::Divide => left.wrapping_div(right),
        Binary::Remainder => left.wrapping_rem(right),
        Binary::Power if right < 0 => return Err(Problem::Message("exponent less than 0".to_owned())),
        Binary::Power => left.wrapping_pow(u32::try_from(right).unwrap_or(u32::MAX)),
        Binary::Add => left.wrapping_add(right),
        Binary::Subtract => left.wrapping_sub(right),
        Binary::ShiftLeft => left.wrapping_shl(right as u32),
        Binary::ShiftRight => left.wrapping_shr(right as u32),
        Binary::Less => truth(left < right),
        Binary::LessOrEqual => truth(left <= right),
        Binary::Greater => truth(left > right),
        Binary::GreaterOrEqual => truth(left >= right),
        Binary::Equal => truth(left == right),
        Binary::NotEqual => truth(left != right),
        Binary::BitAnd => left & right,
        Binary::BitXor => left ^ right,
        Binary::BitOr => left | right,
        Binary::Comma => right,
    })
}
