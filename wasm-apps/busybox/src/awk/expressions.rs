//! The grammar of awk's expressions.

use std::rc::Rc;

use super::lexer::Token;
use super::parser::Parser;
use super::program::{Arithmetic, Builtin, Comparison, Expression, Source, SyntaxError};
use super::regex::compile;

type Parsed = Result<Expression, SyntaxError>;

fn boxed(expression: Expression) -> Box<Expression> {
    Box::new(expression)
}

impl Parser<'_> {
    /// Expressions with commas between.
    pub(super) fn expressions(&mut self) -> Result<Vec<Expression>, SyntaxError> {
        let mut list = vec![self.expression()?];
        while self.take(",")? {
            self.skip_newlines()?;
            list.push(self.expression()?);
        }
        Ok(list)
    }

    /// Expressions up to a closing mark, which is taken. Inside, nothing outside matters.
    pub(super) fn list(&mut self, end: &str) -> Result<Vec<Expression>, SyntaxError> {
        let outer = (std::mem::take(&mut self.no_in), std::mem::take(&mut self.no_greater));
        self.skip_newlines()?;
        let list = if self.is(end) { Vec::new() } else { self.expressions()? };
        self.skip_newlines()?;
        self.expect(end)?;
        (self.no_in, self.no_greater) = outer;
        Ok(list)
    }

    /// An expression.
    pub(super) fn expression(&mut self) -> Parsed {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed {
        let first = self.or()?;
        if self.take("?")? {
            self.skip_newlines()?;
            let then = self.expression()?;
            self.skip_newlines()?;
            self.expect(":")?;
            self.skip_newlines()?;
            let otherwise = self.expression()?;
            return Ok(Expression::Condition(boxed(first), boxed(then), boxed(otherwise)));
        }
        Ok(first)
    }

    /// What follows a target, if that is assigned to. As yacc's awks do, whatever stands before the target:
    /// `a && b = c` is `a && (b = c)`.
    fn assignment(&mut self, target: Expression) -> Parsed {
        let operation = match self.token {
            Token::Mark("=") => None,
            Token::Mark("+=") => Some(Arithmetic::Add),
            Token::Mark("-=") => Some(Arithmetic::Subtract),
            Token::Mark("*=") => Some(Arithmetic::Multiply),
            Token::Mark("/=") => Some(Arithmetic::Divide),
            Token::Mark("%=") => Some(Arithmetic::Remainder),
            Token::Mark("^=" | "**=") => Some(Arithmetic::Power),
            _ => return Ok(target),
        };
        self.advance()?;
        self.skip_newlines()?;
        let value = self.expression()?;
        Ok(Expression::Assign(boxed(target), operation, boxed(value)))
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.take("||")? {
            self.skip_newlines()?;
            left = Expression::Or(boxed(left), boxed(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.membership()?;
        while self.take("&&")? {
            self.skip_newlines()?;
            left = Expression::And(boxed(left), boxed(self.membership()?));
        }
        Ok(left)
    }

    fn membership(&mut self) -> Parsed {
        let mut left = self.matching()?;
        while !self.no_in && self.take_keyword("in")? {
            let Token::Name(name) = self.advance()? else { return self.error("in what?") };
            let array = self.variable(name);
            let index = match left {
                Expression::Group(list) => list,
                other => vec![other],
            };
            left = Expression::In(index, array);
        }
        Ok(left)
    }

    fn matching(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        while self.is("~") || self.is("!~") {
            let negated = self.advance()? == Token::Mark("!~");
            let regex = boxed(self.comparison()?);
            left = Expression::Match { negated, text: boxed(left), regex };
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.piped()?;
        let comparison = match self.token {
            Token::Mark("<") => Comparison::Less,
            Token::Mark("<=") => Comparison::LessOrEqual,
            Token::Mark("==") => Comparison::Equal,
            Token::Mark("!=") => Comparison::NotEqual,
            Token::Mark(">") if !self.no_greater => Comparison::Greater,
            Token::Mark(">=") => Comparison::GreaterOrEqual,
            _ => return Ok(left),
        };
        self.advance()?;
        let right = self.piped()?;
        Ok(Expression::Compare(comparison, boxed(left), boxed(right)))
    }

    /// A command whose output `getline` reads, or no more than a command.
    fn piped(&mut self) -> Parsed {
        let mut left = self.concatenation()?;
        while self.is("|") {
            // In `print x | "command"` the bar is the statement's.
            if self.no_greater && !self.getline_follows() {
                break;
            }
            self.advance()?;
            if !self.take_keyword("getline")? {
                return self.error("expected getline behind |");
            }
            let target = self.getline_target()?;
            left = Expression::Getline { source: Source::Command(boxed(left)), target };
        }
        Ok(left)
    }

    fn getline_follows(&self) -> bool {
        self.lexer.rest().trim_ascii_start().starts_with(b"getline")
    }

    /// The file or command of a `print`.
    pub(super) fn concatenation_without_greater(&mut self) -> Parsed {
        let outer = std::mem::replace(&mut self.no_greater, true);
        let result = self.concatenation();
        self.no_greater = outer;
        result
    }

    fn concatenation(&mut self) -> Parsed {
        let mut left = self.additive()?;
        while self.begins_operand() {
            left = Expression::Concatenate(boxed(left), boxed(self.additive()?));
        }
        Ok(left)
    }

    /// Whether what comes next can be put behind a text. Signs cannot: they add and subtract.
    fn begins_operand(&self) -> bool {
        match &self.token {
            Token::Number(_) | Token::Text(_) | Token::Name(_) | Token::FunctionName(_) => true,
            Token::Mark(mark) => matches!(*mark, "$" | "(" | "++" | "--"),
            _ => false,
        }
    }

    fn additive(&mut self) -> Parsed {
        let mut left = self.multiplicative()?;
        loop {
            let operation = match self.token {
                Token::Mark("+") => Arithmetic::Add,
                Token::Mark("-") => Arithmetic::Subtract,
                _ => return Ok(left),
            };
            self.advance()?;
            left = Expression::Arithmetic(operation, boxed(left), boxed(self.multiplicative()?));
        }
    }

    fn multiplicative(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operation = match self.token {
                Token::Mark("*") => Arithmetic::Multiply,
                Token::Mark("/") => Arithmetic::Divide,
                Token::Mark("%") => Arithmetic::Remainder,
                _ => return Ok(left),
            };
            self.advance()?;
            left = Expression::Arithmetic(operation, boxed(left), boxed(self.unary()?));
        }
    }

    fn unary(&mut self) -> Parsed {
        let make = match self.token {
            Token::Mark("!") => Expression::Not as fn(Box<Expression>) -> Expression,
            Token::Mark("-") => Expression::Negative,
            Token::Mark("+") => Expression::Positive,
            _ => return self.power(),
        };
        self.advance()?;
        let operand = self.nested(Self::unary)?;
        Ok(make(boxed(operand)))
    }

    fn power(&mut self) -> Parsed {
        let base = self.postfix()?;
        if self.is("^") || self.is("**") {
            self.advance()?;
            // To the right, and signs bind tighter there.
            let exponent = self.nested(Self::unary)?;
            return Ok(Expression::Arithmetic(Arithmetic::Power, boxed(base), boxed(exponent)));
        }
        Ok(base)
    }

    fn postfix(&mut self) -> Parsed {
        let target = self.primary()?;
        if is_target(&target) {
            for (mark, by) in [("++", 1.0), ("--", -1.0)] {
                if self.take(mark)? {
                    return Ok(Expression::Increment { target: boxed(target), by, before: false });
                }
            }
            return self.assignment(target);
        }
        Ok(target)
    }

    fn primary(&mut self) -> Parsed {
        match &self.token {
            Token::Mark("/" | "/=") => {
                let regex = self.lexer.regex()?;
                let regex = compile(&regex).or_else(|problem| self.error(problem))?;
                self.advance()?;
                return Ok(Expression::Regex(regex));
            }
            Token::Mark("$") => {
                self.advance()?;
                if self.is("++") || self.is("--") || self.is("-") || self.is("+") || self.is("!") {
                    return Ok(Expression::Field(boxed(self.nested(Self::unary)?)));
                }
                return Ok(Expression::Field(boxed(self.nested(Self::primary)?)));
            }
            Token::Mark(mark @ ("++" | "--")) => {
                let by = if *mark == "++" { 1.0 } else { -1.0 };
                self.advance()?;
                let target = self.nested(Self::primary)?;
                if !is_target(&target) {
                    return self.error("++ and -- need a variable");
                }
                return Ok(Expression::Increment { target: boxed(target), by, before: true });
            }
            Token::Mark("-" | "+" | "!") => return self.unary(),
            Token::Mark("(") => {
                self.advance()?;
                let list = self.list(")")?;
                if list.is_empty() {
                    return self.error("nothing in parentheses");
                }
                return Ok(Expression::Group(list));
            }
            Token::Keyword("getline") => {
                self.advance()?;
                return self.getline();
            }
            _ => {}
        }
        if !self.begins_operand() {
            return self.unexpected();
        }
        match self.advance()? {
            Token::Number(number) => Ok(Expression::Number(number)),
            Token::Text(text) => Ok(Expression::Text(Rc::from(text))),
            Token::Name(name) => self.named(name),
            Token::FunctionName(name) => self.call(&name),
            _ => self.error("expected an expression"),
        }
    }

    fn named(&mut self, name: String) -> Parsed {
        if let Some((builtin, 0, _)) = Builtin::parse(&name) {
            // `length` may do without parentheses.
            let arguments = if self.take("(")? { self.list(")")? } else { Vec::new() };
            return Ok(Expression::Builtin(builtin, arguments));
        }
        if Builtin::parse(&name).is_some() {
            self.expect("(")?;
            return self.builtin(&name);
        }
        let variable = self.variable(name);
        if self.take("[")? {
            return Ok(Expression::Element(variable, self.list("]")?));
        }
        Ok(Expression::Variable(variable))
    }

    fn call(&mut self, name: &str) -> Parsed {
        self.expect("(")?;
        if Builtin::parse(name).is_some() {
            return self.builtin(name);
        }
        let arguments = self.list(")")?;
        Ok(Expression::Call(self.function_number(name), arguments))
    }

    fn builtin(&mut self, name: &str) -> Parsed {
        let arguments = self.list(")")?;
        match Builtin::parse(name) {
            Some((builtin, least, most)) if (least..=most).contains(&arguments.len()) => {
                Ok(Expression::Builtin(builtin, arguments))
            }
            _ => self.error(format!("wrong number of arguments to {name}")),
        }
    }

    fn getline(&mut self) -> Parsed {
        let target = self.getline_target()?;
        if self.take("<")? {
            let file = self.nested(Self::postfix)?;
            return Ok(Expression::Getline { source: Source::File(boxed(file)), target });
        }
        Ok(Expression::Getline { source: Source::Input, target })
    }

    /// The variable `getline` reads into, if it does not read into the record.
    fn getline_target(&mut self) -> Result<Option<Box<Expression>>, SyntaxError> {
        if matches!(self.token, Token::Name(_)) || self.is("$") {
            let target = self.nested(Self::primary)?;
            return if is_target(&target) { Ok(Some(boxed(target))) } else { self.error("getline into what?") };
        }
        Ok(None)
    }
}

fn is_target(expression: &Expression) -> bool {
    matches!(expression, Expression::Variable(_) | Expression::Field(_) | Expression::Element(..))
}
