//! Selectors as clients write them into URLs: `app in (a,b),!old` for labels, `spec.nodeName=n` for fields.
//!
//! Source of the rules: apimachinery v1.36 `pkg/labels` (`Parse`, `Requirement.Matches`) and `pkg/fields`
//! (`ParseSelector`). Lengths are bounded by those of a request.

use super::super::validate::formats;
use super::Labels;

/// The most terms that a selector may have.
const MAX_TERMS: usize = 1000;

/// Why a selector cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text of a label selector does not follow the grammar.
    #[error("unable to parse requirement: {0}")]
    Requirement(String),
    /// The text of a field selector does not follow the grammar.
    #[error("invalid field selector {0:?}: {1}")]
    Field(String, &'static str),
    /// More terms than anyone needs.
    #[error("selectors may have at most {MAX_TERMS} terms")]
    TooLong,
}

/// A label selector: all of its requirements must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelQuery(Vec<LabelTerm>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelTerm {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

impl LabelQuery {
    /// Reads a selector; an empty one selects everything.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: text };
        let mut terms = Vec::new();
        if parser.peek() == Token::End {
            return Ok(Self(terms));
        }
        loop {
            terms.push(parser.term()?);
            if terms.len() > MAX_TERMS {
                return Err(SelectorError::TooLong);
            }
            match parser.next() {
                Token::End => break,
                Token::Comma => match parser.peek() {
                    Token::Word(_) | Token::Not => {}
                    found => return Err(unexpected(&found, "identifier after ','")),
                },
                found => return Err(unexpected(&found, "',' or 'end of string'")),
            }
        }
        Ok(Self(terms))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it selects an object with these labels.
    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        self.0.iter().all(|LabelTerm { key, operator }| {
            let value = labels.and_then(|labels| labels.get(key));
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match operator {
                Operator::Exists => value.is_some(),
                Operator::Absent => value.is_none(),
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Operator::Above(bound) => number().is_some_and(|number| number > *bound),
                Operator::Below(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'t> {
    End,
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Above,
    Below,
    Word(&'t str),
}

fn unexpected(found: &Token<'_>, expected: &str) -> SelectorError {
    let found = match found {
        Token::End => "",
        Token::Comma => ",",
        Token::Open => "(",
        Token::Close => ")",
        Token::Not => "!",
        Token::Equals => "=",
        Token::NotEquals => "!=",
        Token::Above => ">",
        Token::Below => "<",
        Token::Word(word) => word,
    };
    SelectorError::Requirement(format!("found '{found}', expected: {expected}"))
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        Parser { rest: self.rest }.next()
    }

    fn next(&mut self) -> Token<'t> {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        for (symbol, token) in [
            ("!=", Token::NotEquals),
            ("!", Token::Not),
            ("==", Token::Equals),
            ("=", Token::Equals),
            (",", Token::Comma),
            ("(", Token::Open),
            (")", Token::Close),
            (">", Token::Above),
            ("<", Token::Below),
        ] {
            if let Some(rest) = text.strip_prefix(symbol) {
                self.rest = rest;
                return token;
            }
        }
        let end = text.find([' ', '\t', '\r', '\n', '!', '=', ',', '(', ')', '>', '<']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        if word.is_empty() { Token::End } else { Token::Word(word) }
    }

    fn term(&mut self) -> Result<LabelTerm, SelectorError> {
        let negated = self.peek() == Token::Not;
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(key) => key.to_owned(),
            found => return Err(unexpected(&found, "identifier")),
        };
        if let Some(problem) = formats::qualified_name(&key).into_iter().next() {
            return Err(SelectorError::Requirement(format!("key: Invalid value: {key:?}: {problem}")));
        }
        if negated {
            return Ok(LabelTerm { key, operator: Operator::Absent });
        }
        let operator = match self.peek() {
            Token::End | Token::Comma => Operator::Exists,
            _ => match self.next() {
                Token::Equals => Operator::In(vec![self.value(&key)?]),
                Token::NotEquals => Operator::NotIn(vec![self.value(&key)?]),
                Token::Above => Operator::Above(self.bound(&key)?),
                Token::Below => Operator::Below(self.bound(&key)?),
                Token::Word("in") => Operator::In(self.values(&key)?),
                Token::Word("notin") => Operator::NotIn(self.values(&key)?),
                found => return Err(unexpected(&found, "in, notin, =, ==, !=, gt, lt")),
            },
        };
        Ok(LabelTerm { key, operator })
    }

    /// One value, which may be empty.
    fn value(&mut self, key: &str) -> Result<String, SelectorError> {
        let value = match self.peek() {
            Token::Word(value) => {
                self.next();
                value
            }
            Token::End | Token::Comma | Token::Close => "",
            found => return Err(unexpected(&found, "identifier")),
        };
        match formats::label_value(value).into_iter().next() {
            None => Ok(value.to_owned()),
            Some(problem) => {
                Err(SelectorError::Requirement(format!("values[0][{key}]: Invalid value: {value:?}: {problem}")))
            }
        }
    }

    fn bound(&mut self, key: &str) -> Result<i64, SelectorError> {
        let value = self.value(key)?;
        value.parse().map_err(|_| {
            let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
            SelectorError::Requirement(format!("values[0][{key}]: Invalid value: {value:?}: {detail}"))
        })
    }

    /// `(a, b)`
    fn values(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Open => {}
            found => return Err(unexpected(&found, "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value(key)?);
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                found => return Err(unexpected(&found, "',', or ')'")),
            }
        }
    }
}

/// A field selector: all of its terms must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldQuery(Vec<FieldTerm>);

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field, such as `spec.nodeName`.
    pub field: String,
    /// What it is compared with.
    pub value: String,
    /// Whether it must be something else.
    pub negated: bool,
}

impl FieldQuery {
    /// Reads a selector; an empty one selects everything. Empty terms are passed over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let (field, negated, value) = split_term(term)
                .ok_or_else(|| SelectorError::Field(term.to_owned(), "can't understand the term: use =, == or !="))?;
            let value = unescape(value)
                .ok_or_else(|| SelectorError::Field(term.to_owned(), "only \\, = and , may follow a backslash"))?;
            terms.push(FieldTerm { field: field.to_owned(), value, negated });
            if terms.len() > MAX_TERMS {
                return Err(SelectorError::TooLong);
            }
        }
        Ok(Self(terms))
    }

    /// Its terms.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.0
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the fields other names, where there are any.
    pub fn rename(&mut self, name: impl Fn(&str) -> Option<String>) {
        for term in &mut self.0 {
            if let Some(name) = name(&term.field) {
                term.field = name;
            }
        }
    }
}

/// Splits at commas that no backslash stands before.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// The first operator decides.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let equals = term.find('=')?;
    if let Some(field) = term[..equals].strip_suffix('!') {
        return Some((field, true, &term[equals + 1..]));
    }
    let value = &term[equals + 1..];
    Some((&term[..equals], false, value.strip_prefix('=').unwrap_or(value)))
}

fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|next| ['\\', ',', '='].contains(next))?),
            ',' | '=' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_by_every_operator() {
        let labels = [("app", "web"), ("tier", "front"), ("n", "5"), ("empty", ""), ("a.b/c", "x")];
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web , tier=front", true),
            ("app=db", false),
            ("app!=db", true),
            ("other!=db", true),
            ("app in (db, web)", true),
            ("app in (db)", false),
            ("app notin (db)", true),
            ("app notin (web)", false),
            ("other notin (web)", true),
            ("app", true),
            ("other", false),
            ("!other", true),
            ("!app", false),
            ("! app", false),
            ("n>4", true),
            ("n>5", false),
            ("n<6", true),
            ("app<6", false),
            ("empty=", true),
            ("app=", false),
            ("empty in (,x)", true),
            ("a.b/c=x", true),
            ("app=web,tier=back", false),
        ] {
            let query = LabelQuery::parse(selector).unwrap();
            assert_eq!(query.matches(Some(&labels)), expected, "{selector}");
        }
        assert!(LabelQuery::parse("!a").unwrap().matches(None));
    }

    #[test]
    fn wrong_label_selectors_are_refused() {
        for (selector, expected) in [
            ("a=b,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: identifier"),
            ("a in b", "found 'b', expected: '('"),
            ("a in (b", "found '', expected: ',', or ')'"),
            ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("a>x", "for 'Gt', 'Lt' operators, the value must be an integer"),
            ("-a", "key: Invalid value: \"-a\""),
            ("a=-b", "values[0][a]: Invalid value: \"-b\""),
        ] {
            let error = LabelQuery::parse(selector).unwrap_err().to_string();
            assert!(error.starts_with("unable to parse requirement: ") && error.contains(expected), "{error}");
        }
        let long = vec!["a"; MAX_TERMS + 1].join(",");
        assert_eq!(LabelQuery::parse(&long), Err(SelectorError::TooLong));
    }

    #[test]
    fn field_selectors_are_terms() {
        let term = |field: &str, value: &str, negated| FieldTerm { field: field.into(), value: value.into(), negated };
        for (selector, expected) in [
            ("", vec![]),
            ("a.b=x\\,y", vec![term("a.b", "x,y", false)]),
            ("a.b==x,", vec![term("a.b", "x", false)]),
            ("a!=,b!=\\=", vec![term("a", "", true), term("b", "=", true)]),
        ] {
            assert_eq!(FieldQuery::parse(selector).unwrap().terms(), expected, "{selector}");
        }
        for wrong in ["a", "a=b\\c", "a=b=c", "a!b"] {
            assert!(FieldQuery::parse(wrong).is_err(), "{wrong}");
        }
    }
}
