//! Compound commands: what begins with a reserved word or a parenthesis.

use super::ast::{Arm, Command, Compound, List};
use super::parser::{Parsed, Parser};
use super::tokens::Token;
use super::words::{is_name, mark_tildes};

impl Parser<'_> {
    /// The compound command that begins here, if one does.
    pub(super) fn compound(&mut self) -> Parsed<Option<Compound>> {
        let token = self.peek_token()?;
        if token.is("(") {
            self.peeked = None;
            return self.nested(Self::parenthesis).map(Some);
        }
        let parse = match token.plain() {
            Some("{") => Self::group,
            Some("if") => Self::if_command,
            Some("for") => Self::for_command,
            Some("while") => |parser: &mut Self| parser.while_command(false),
            Some("until") => |parser: &mut Self| parser.while_command(true),
            Some("case") => Self::case_command,
            Some("[[") => |parser: &mut Self| parser.conditional().map(Compound::Condition),
            Some("function") => return self.function_keyword(),
            _ => return Ok(None),
        };
        self.peeked = None;
        self.nested(parse).map(Some)
    }

    /// `function name { … }` is turned into what `name() { … }` would be, and read from there.
    fn function_keyword(&mut self) -> Parsed<Option<Compound>> {
        self.peeked = None;
        let Token::Word(word) = self.next_token()? else { return Err(self.unexpected(Some("word"))) };
        let Some(name) = word.plain().map(str::to_owned) else { return Err(self.error("bad function name")) };
        if self.accept_operator("(")? && !self.accept_operator(")")? {
            return Err(self.unexpected(Some(")")));
        }
        let function = self.function_body(name)?;
        Ok(Some(Compound::Group(List::of(function))))
    }

    fn parenthesis(&mut self) -> Parsed<Compound> {
        if self.peek_raw()? == Some(b'(') {
            let mark = self.mark();
            self.bump();
            if let Some(arithmetic) = self.arithmetic_to_close()? {
                return Ok(Compound::Arithmetic(arithmetic));
            }
            self.rewind_to_commands(mark)?;
        }
        let list = self.nonempty_list()?;
        self.expect_operator(")")?;
        Ok(Compound::Subshell(list))
    }

    fn group(&mut self) -> Parsed<Compound> {
        let list = self.nonempty_list()?;
        self.expect_word("}")?;
        Ok(Compound::Group(list))
    }

    fn if_command(&mut self) -> Parsed<Compound> {
        let mut branches = Vec::new();
        loop {
            let condition = self.nonempty_list()?;
            self.expect_word("then")?;
            branches.push((condition, self.nonempty_list()?));
            if self.accept_word("elif")? {
                continue;
            }
            let otherwise = if self.accept_word("else")? { Some(self.nonempty_list()?) } else { None };
            self.expect_word("fi")?;
            return Ok(Compound::If { branches, otherwise });
        }
    }

    fn for_command(&mut self) -> Parsed<Compound> {
        let token = self.next_token()?;
        let Some(name) = token.plain().filter(|name| is_name(name.as_bytes())) else {
            self.peeked = Some(token);
            return Err(self.error("bad for loop variable"));
        };
        let name = name.to_owned();
        self.skip_newlines()?;
        let mut words = None;
        if self.accept_word("in")? {
            let mut list = Vec::new();
            while let Token::Word(_) = self.peek_token()? {
                let Token::Word(mut word) = self.next_token()? else { break };
                mark_tildes(&mut word.0, false);
                list.push(word);
            }
            words = Some(list);
            if !self.peek_token()?.is(";") && !self.peek_token()?.is_newline() {
                return Err(self.unexpected(Some("do")));
            }
        }
        self.accept_operator(";")?;
        self.skip_newlines()?;
        Ok(Compound::For { name, words, body: self.do_group()? })
    }

    fn while_command(&mut self, until: bool) -> Parsed<Compound> {
        let condition = self.nonempty_list()?;
        Ok(Compound::While { until, condition, body: self.do_group()? })
    }

    fn do_group(&mut self) -> Parsed<List> {
        self.expect_word("do")?;
        let body = self.nonempty_list()?;
        self.expect_word("done")?;
        Ok(body)
    }

    fn case_command(&mut self) -> Parsed<Compound> {
        let Token::Word(mut word) = self.next_token()? else { return Err(self.unexpected(Some("word"))) };
        mark_tildes(&mut word.0, false);
        self.skip_newlines()?;
        self.expect_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.accept_word("esac")? {
                return Ok(Compound::Case { word, arms });
            }
            let (arm, ended) = self.arm()?;
            arms.push(arm);
            if !ended {
                self.expect_word("esac")?;
                return Ok(Compound::Case { word, arms });
            }
        }
    }

    /// One arm, and whether it was ended by its own mark.
    fn arm(&mut self) -> Parsed<(Arm, bool)> {
        self.accept_operator("(")?;
        let mut patterns = Vec::new();
        loop {
            match self.next_token()? {
                Token::Word(mut word) => {
                    mark_tildes(&mut word.0, false);
                    patterns.push(word);
                }
                other => {
                    self.peeked = Some(other);
                    return Err(self.unexpected(Some("word")));
                }
            }
            if !self.accept_operator("|")? {
                break;
            }
        }
        self.expect_operator(")")?;
        let body = self.list()?;
        let falls_through = self.accept_operator(";&")?;
        let ended = falls_through || self.accept_operator(";;")?;
        Ok((Arm { patterns, body, falls_through }, ended))
    }

    fn expect_word(&mut self, text: &str) -> Parsed<()> {
        if self.accept_word(text)? { Ok(()) } else { Err(self.unexpected(Some(text))) }
    }

    pub(super) fn expect_operator(&mut self, operator: &str) -> Parsed<()> {
        if self.accept_operator(operator)? { Ok(()) } else { Err(self.unexpected(Some(operator))) }
    }
}

impl List {
    /// One command.
    pub(super) fn of(command: Command) -> Self {
        use super::ast::{AndOr, Item, Pipeline};
        let first = Pipeline { negated: false, stages: vec![command] };
        Self { items: vec![Item { and_or: AndOr { first, rest: Vec::new() }, background: false }] }
    }
}
