//! What stands between `[[` and `]]`.

use super::ast::{Condition, Word};
use super::parser::{Parsed, Parser};
use super::tokens::Token;

const BINARY: &[&str] = &["=", "==", "!=", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef"];

impl Parser<'_> {
    pub(super) fn conditional(&mut self) -> Parsed<Condition> {
        let condition = self.any_condition()?;
        if self.accept_word("]]")? { Ok(condition) } else { Err(self.unexpected(Some("]]"))) }
    }

    fn any_condition(&mut self) -> Parsed<Condition> {
        let mut condition = self.all_conditions()?;
        while self.accept_operator("||")? {
            self.skip_newlines()?;
            condition = Condition::Or(Box::new(condition), Box::new(self.all_conditions()?));
        }
        Ok(condition)
    }

    fn all_conditions(&mut self) -> Parsed<Condition> {
        let mut condition = self.one_condition()?;
        while self.accept_operator("&&")? {
            self.skip_newlines()?;
            condition = Condition::And(Box::new(condition), Box::new(self.one_condition()?));
        }
        Ok(condition)
    }

    fn one_condition(&mut self) -> Parsed<Condition> {
        if self.accept_word("!")? {
            return self.nested(Self::one_condition).map(|condition| Condition::Not(Box::new(condition)));
        }
        if self.accept_operator("(")? {
            let condition = self.nested(Self::any_condition)?;
            self.expect_operator(")")?;
            return Ok(condition);
        }
        let left = self.operand()?;
        let is_unary = left.plain().is_some_and(|text| text.len() == 2 && text.starts_with('-'));
        if is_unary && matches!(self.peek_token()?, Token::Word(word) if word.plain() != Some("]]")) {
            return Ok(Condition::Unary(left.plain().unwrap_or_default().to_owned(), self.operand()?));
        }
        let operator = match self.peek_token()? {
            Token::Operator(text @ ("<" | ">")) => (*text).to_owned(),
            token => match token.plain().filter(|text| BINARY.contains(text)) {
                Some(text) => text.to_owned(),
                None => return Ok(Condition::Word(left)),
            },
        };
        self.peeked = None;
        Ok(Condition::Binary(left, operator, self.operand()?))
    }

    fn operand(&mut self) -> Parsed<Word> {
        match self.next_token()? {
            Token::Word(word) if word.plain() != Some("]]") => Ok(word),
            other => {
                self.peeked = Some(other);
                Err(self.unexpected(None))
            }
        }
    }
}
