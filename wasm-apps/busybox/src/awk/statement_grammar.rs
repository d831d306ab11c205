//! The grammar of awk's statements.

use super::lexer::Token;
use super::parser::Parser;
use super::program::{Expression, Redirection, Statement, SyntaxError};

impl Parser<'_> {
    pub(super) fn block(&mut self) -> Result<Vec<Statement>, SyntaxError> {
        self.skip_newlines()?;
        self.expect("{")?;
        let mut statements = Vec::new();
        loop {
            self.skip_ends()?;
            if self.take("}")? {
                return Ok(statements);
            }
            statements.push(self.statement()?);
        }
    }

    /// A statement with what ends it.
    fn statement(&mut self) -> Result<Statement, SyntaxError> {
        self.nested(Self::statement_inside)
    }

    fn statement_inside(&mut self) -> Result<Statement, SyntaxError> {
        let Token::Keyword(keyword) = self.token else {
            if self.is("{") {
                return Ok(Statement::Block(self.block()?));
            }
            if self.take(";")? {
                return Ok(Statement::Block(Vec::new()));
            }
            let statement = self.simple()?;
            self.end_of_statement()?;
            return Ok(statement);
        };
        let statement = match keyword {
            "if" => return self.condition(),
            "for" => return self.loop_for(),
            "while" => {
                let condition = self.head()?;
                let body = if self.take(";")? { Statement::Block(Vec::new()) } else { self.body()? };
                return Ok(Statement::While(condition, Box::new(body)));
            }
            "do" => {
                self.advance()?;
                let body = self.body()?;
                self.skip_ends()?;
                if !self.is_keyword("while") {
                    return self.unexpected();
                }
                Statement::Do(Box::new(body), self.head_without_newlines()?)
            }
            "next" | "nextfile" | "break" | "continue" => {
                self.advance()?;
                match keyword {
                    "next" => Statement::Next,
                    "nextfile" => Statement::NextFile,
                    "break" => Statement::Break,
                    _ => Statement::Continue,
                }
            }
            "exit" | "return" => {
                self.advance()?;
                let value = if self.ends_statement() { None } else { Some(self.expression()?) };
                if keyword == "exit" { Statement::Exit(value) } else { Statement::Return(value) }
            }
            _ => self.simple()?,
        };
        self.end_of_statement()?;
        Ok(statement)
    }

    fn ends_statement(&self) -> bool {
        matches!(self.token, Token::Newline | Token::End) || self.is(";") || self.is("}")
    }

    fn end_of_statement(&mut self) -> Result<(), SyntaxError> {
        if !self.ends_statement() {
            return self.unexpected();
        }
        if self.token == Token::Newline || self.is(";") {
            self.advance()?;
        }
        Ok(())
    }

    /// What may stand in a `for`'s head, too.
    fn simple(&mut self) -> Result<Statement, SyntaxError> {
        match self.token {
            Token::Keyword("print") => {
                let (arguments, output) = self.print()?;
                Ok(Statement::Print { arguments, output })
            }
            Token::Keyword("printf") => {
                let (arguments, output) = self.print()?;
                if arguments.is_empty() {
                    return self.error("printf without a format");
                }
                Ok(Statement::Printf { arguments, output })
            }
            Token::Keyword("delete") => {
                self.advance()?;
                let Token::Name(name) = self.advance()? else { return self.error("delete what?") };
                let array = self.variable(name);
                let index = if self.take("[")? { Some(self.list("]")?) } else { None };
                Ok(Statement::Delete(array, index))
            }
            _ => Ok(Statement::Expression(self.expression()?)),
        }
    }

    #[expect(clippy::type_complexity, reason = "the two parts of two statements")]
    fn print(&mut self) -> Result<(Vec<Expression>, Option<(Redirection, Expression)>), SyntaxError> {
        self.advance()?;
        let mut arguments = Vec::new();
        let outer = std::mem::replace(&mut self.no_greater, true);
        if !self.ends_statement() && !self.is(">") && !self.is(">>") && !self.is("|") {
            arguments = self.expressions()?;
        }
        self.no_greater = outer;
        // One list in parentheses holds all arguments.
        if let [Expression::Group(inside)] = arguments.as_mut_slice() {
            arguments = std::mem::take(inside);
        }
        let redirection = match self.token {
            Token::Mark(">") => Redirection::File,
            Token::Mark(">>") => Redirection::Append,
            Token::Mark("|") => Redirection::Pipe,
            _ => return Ok((arguments, None)),
        };
        self.advance()?;
        Ok((arguments, Some((redirection, self.concatenation_without_greater()?))))
    }

    /// `if`, or `while`, and its condition, with the newlines behind it.
    fn head(&mut self) -> Result<Expression, SyntaxError> {
        let condition = self.head_without_newlines()?;
        self.skip_newlines()?;
        Ok(condition)
    }

    fn head_without_newlines(&mut self) -> Result<Expression, SyntaxError> {
        self.advance()?;
        self.expect("(")?;
        let condition = self.expression()?;
        self.expect(")")?;
        Ok(condition)
    }

    fn body(&mut self) -> Result<Statement, SyntaxError> {
        self.skip_newlines()?;
        self.statement()
    }

    fn condition(&mut self) -> Result<Statement, SyntaxError> {
        let condition = self.head()?;
        let then = self.body()?;
        // They end the statement anyway, so that they may all be skipped in search of an `else`.
        self.skip_ends()?;
        let otherwise = if self.take_keyword("else")? { Some(Box::new(self.body()?)) } else { None };
        Ok(Statement::If(condition, Box::new(then), otherwise))
    }

    fn loop_for(&mut self) -> Result<Statement, SyntaxError> {
        self.advance()?;
        self.expect("(")?;
        let first = if self.is(";") {
            None
        } else {
            self.no_in = true;
            let first = self.simple();
            self.no_in = false;
            Some(first?)
        };
        if let Some(Statement::Expression(variable)) = first {
            if self.take_keyword("in")? {
                let Token::Name(name) = self.advance()? else { return self.unexpected() };
                let array = self.variable(name);
                self.expect(")")?;
                let body = self.loop_body()?;
                return Ok(Statement::ForIn(variable, array, Box::new(body)));
            }
            return self.rest_of_for(Some(Statement::Expression(variable)));
        }
        self.rest_of_for(first)
    }

    fn rest_of_for(&mut self, first: Option<Statement>) -> Result<Statement, SyntaxError> {
        self.expect(";")?;
        self.skip_newlines()?;
        let condition = if self.is(";") { None } else { Some(self.expression()?) };
        self.expect(";")?;
        self.skip_newlines()?;
        let step = if self.is(")") { None } else { Some(Box::new(self.simple()?)) };
        self.expect(")")?;
        let body = self.loop_body()?;
        Ok(Statement::For(first.map(Box::new), condition, step, Box::new(body)))
    }

    fn loop_body(&mut self) -> Result<Statement, SyntaxError> {
        if self.take(";")? {
            return Ok(Statement::Block(Vec::new()));
        }
        self.body()
    }
}
