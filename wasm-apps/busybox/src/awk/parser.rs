//! The grammar of awk: rules and functions here, statements in [`super::statement_grammar`], expressions in
//! [`super::expressions`].

use std::collections::HashMap;

use super::lexer::{Lexer, Token};
use super::program::{Function, Pattern, Program, Rule, SPECIAL, SyntaxError, Variable};

/// How deeply statements and expressions may be nested.
const MAX_NESTING: usize = 200;

/// Parses a program.
pub(super) fn parse(source: &[u8]) -> Result<Program, SyntaxError> {
    let mut parser = Parser {
        lexer: Lexer::new(source),
        token: Token::End,
        program: Program { globals: SPECIAL.iter().map(|name| (*name).to_owned()).collect(), ..Program::default() },
        globals: SPECIAL.iter().enumerate().map(|(number, name)| ((*name).to_owned(), number)).collect(),
        functions: HashMap::new(),
        parameters: Vec::new(),
        no_in: false,
        no_greater: false,
        nesting: 0,
    };
    parser.advance()?;
    parser.items()?;
    if let Some(missing) = parser.program.functions.iter().find(|function| !function.defined) {
        return Err(SyntaxError {
            line: parser.lexer.line(),
            problem: format!("function {} not defined", missing.name),
        });
    }
    Ok(parser.program)
}

pub(super) struct Parser<'a> {
    pub(super) lexer: Lexer<'a>,
    pub(super) token: Token,
    program: Program,
    globals: HashMap<String, usize>,
    functions: HashMap<String, usize>,
    /// Of the function being read.
    parameters: Vec<String>,
    /// `in` is a `for`'s.
    pub(super) no_in: bool,
    /// `>` is a `print`'s.
    pub(super) no_greater: bool,
    nesting: usize,
}

impl Parser<'_> {
    pub(super) fn advance(&mut self) -> Result<Token, SyntaxError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    pub(super) fn error<T>(&self, problem: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { line: self.lexer.line(), problem: problem.into() })
    }

    pub(super) fn unexpected<T>(&self) -> Result<T, SyntaxError> {
        self.error(match &self.token {
            Token::Newline => "unexpected end of line".to_owned(),
            Token::End => "unexpected end of program".to_owned(),
            Token::Mark(text) | Token::Keyword(text) => format!("unexpected {text}"),
            Token::Name(name) | Token::FunctionName(name) => format!("unexpected name {name}"),
            Token::Number(number) => format!("unexpected number {number}"),
            Token::Text(text) => format!("unexpected string \"{}\"", String::from_utf8_lossy(text)),
        })
    }

    pub(super) fn is(&self, mark: &str) -> bool {
        matches!(&self.token, Token::Mark(found) if *found == mark)
    }

    pub(super) fn is_keyword(&self, keyword: &str) -> bool {
        matches!(&self.token, Token::Keyword(found) if *found == keyword)
    }

    pub(super) fn take(&mut self, mark: &str) -> Result<bool, SyntaxError> {
        let found = self.is(mark);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(super) fn take_keyword(&mut self, keyword: &str) -> Result<bool, SyntaxError> {
        let found = self.is_keyword(keyword);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, mark: &str) -> Result<(), SyntaxError> {
        if self.take(mark)? { Ok(()) } else { self.unexpected() }
    }

    pub(super) fn skip_newlines(&mut self) -> Result<(), SyntaxError> {
        while self.token == Token::Newline {
            self.advance()?;
        }
        Ok(())
    }

    pub(super) fn skip_ends(&mut self) -> Result<(), SyntaxError> {
        while self.token == Token::Newline || self.is(";") {
            self.advance()?;
        }
        Ok(())
    }

    /// Reads something that may hold more of its kind.
    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.error("nested too deeply");
        }
        let result = read(self);
        self.nesting -= 1;
        result
    }

    fn items(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.skip_ends()?;
            match &self.token {
                Token::End => return Ok(()),
                Token::Keyword("BEGIN") => {
                    self.advance()?;
                    let block = self.block()?;
                    self.program.begin.push(block);
                }
                Token::Keyword("END") => {
                    self.advance()?;
                    let block = self.block()?;
                    self.program.end.push(block);
                }
                Token::Keyword("function") => self.function()?,
                _ => {
                    let rule = self.rule()?;
                    self.program.rules.push(rule);
                }
            }
        }
    }

    fn rule(&mut self) -> Result<Rule, SyntaxError> {
        let pattern = if self.is("{") {
            Pattern::Always
        } else {
            let first = self.expression()?;
            if self.take(",")? {
                self.skip_newlines()?;
                Pattern::Range(first, self.expression()?)
            } else {
                Pattern::When(first)
            }
        };
        let action = if self.is("{") { Some(self.block()?) } else { None };
        if action.is_none() && !matches!(self.token, Token::Newline | Token::End) && !self.is(";") {
            return self.unexpected();
        }
        Ok(Rule { pattern, action })
    }

    fn function(&mut self) -> Result<(), SyntaxError> {
        self.advance()?;
        let name = match self.advance()? {
            Token::Name(name) | Token::FunctionName(name) => name,
            _ => return self.error("a function has no name"),
        };
        self.expect("(")?;
        let mut parameters = Vec::new();
        while !self.take(")")? {
            self.skip_newlines()?;
            match self.advance()? {
                Token::Name(parameter) => parameters.push(parameter),
                _ => return self.error(format!("bad parameter of function {name}")),
            }
            self.skip_newlines()?;
            if !self.is(")") {
                self.expect(",")?;
                self.skip_newlines()?;
            }
        }
        self.skip_newlines()?;
        let number = self.function_number(&name);
        if self.program.functions[number].defined {
            return self.error(format!("function {name} defined twice"));
        }
        let count = parameters.len();
        self.parameters = parameters;
        let body = self.block()?;
        self.parameters.clear();
        self.program.functions[number] = Function { name, parameters: count, body, defined: true };
        Ok(())
    }

    pub(super) fn function_number(&mut self, name: &str) -> usize {
        if let Some(number) = self.functions.get(name) {
            return *number;
        }
        let number = self.program.functions.len();
        self.program.functions.push(Function { name: name.to_owned(), ..Function::default() });
        self.functions.insert(name.to_owned(), number);
        number
    }

    pub(super) fn variable(&mut self, name: String) -> Variable {
        if let Some(number) = self.parameters.iter().position(|parameter| *parameter == name) {
            return Variable::Local(number);
        }
        if let Some(number) = self.globals.get(&name) {
            return Variable::Global(*number);
        }
        let number = self.program.globals.len();
        self.program.globals.push(name.clone());
        self.globals.insert(name, number);
        Variable::Global(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_told_by_its_line() {
        for (source, line) in [
            ("{ print", 1),
            ("BEGIN { x = 1\n y = = 2 }", 2),
            ("\n\n{ f(1) }", 3),
            ("function f(a) { }\nfunction f(b) { }", 2),
            ("{ print \"open }", 1),
        ] {
            let error = parse(source.as_bytes()).err().map(|error| error.line);
            assert_eq!(error, Some(line), "{source}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        // Frames are many times larger in an unoptimised program of this machine than in the guest.
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        let parsing = thread.spawn(|| {
            let deep = format!("{{ x = {}1{} }}", "(".repeat(10_000), ")".repeat(10_000));
            parse(deep.as_bytes()).err().map(|error| error.problem)
        });
        assert_eq!(parsing.unwrap().join().unwrap().as_deref(), Some("nested too deeply"));
    }

    #[test]
    fn programs_people_write_are_parsed() {
        for source in [
            "!seen[$0]++",
            "NR == 1, /end/ { print > \"/tmp/x\"; next }",
            "{ for (i = NF; i > 0; i--) printf \"%s%s\", $i, (i > 1 ? OFS : ORS) }",
            "function max(a, b) { return a > b ? a : b } { m = max(m, $1) } END { print m }",
            "{ while ((\"date\" | getline line) > 0) n++ } END { close(\"date\") }",
            "BEGIN { if (!(\"x\" in a)) print length }",
        ] {
            assert!(parse(source.as_bytes()).is_ok(), "{source}");
        }
    }
}
