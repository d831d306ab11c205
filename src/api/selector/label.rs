//! Label selectors as clients write them in queries: `app=web,tier in (front, back),!draft`.
//!
//! ```text
//!   selector    := [ requirement { "," requirement } ]
//!   requirement := key | "!" key | key ("=" | "==" | "!=" | ">" | "<") [ value ] | key ("in" | "notin") "(" values ")"
//! ```
//!
//! Grammar, leniencies and texts are those of `apimachinery/pkg/labels/selector.go` v1.36.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Labels, MAX_SELECTOR, SelectorError};
use crate::api::validate::{BadValue, ErrorKind, FieldError, label_value, qualified_name};

/// What may stand between a key and its values, as messages list it.
const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";
/// The most errors that are told of one selector.
const MAX_ERRORS: usize = 10;

/// A label selector: what an object's labels must fulfil. The default one is fulfilled by all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelQuery {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Exists,
    DoesNotExist,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelQuery {
    /// Reads a selector; an empty one picks everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR {
            return Err(SelectorError(format!("the label selector is longer than {MAX_SELECTOR} bytes")));
        }
        Parser { tokens: Lexer { rest: text }.peekable() }.selector()
    }

    /// Whether it picks everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object is picked whose labels `label` knows.
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.condition.holds(label(&requirement.key)))
    }

    /// Whether an object with these labels is picked.
    pub fn matches_labels(&self, labels: Option<&Labels>) -> bool {
        self.matches(|key| labels?.get(key).map(String::as_str))
    }

    /// Whether the object is picked, by its `metadata.labels`.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
        self.matches(|key| labels?.get(key)?.as_str())
    }
}

impl Condition {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            Self::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// What selectors are made of. `in` and `notin` are words until a place asks for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Symbol(&'static str),
}

impl<'t> Token<'t> {
    fn text(self) -> &'t str {
        match self {
            Self::Word(text) => text,
            Self::Symbol(text) => text,
        }
    }
}

/// The text of what comes next, as messages quote it; nothing at the end.
fn shown(token: Option<Token<'_>>) -> &str {
    token.map_or("", Token::text)
}

#[derive(Clone)]
struct Lexer<'t> {
    rest: &'t str,
}

/// Longer ones first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

impl<'t> Iterator for Lexer<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let text = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol)) {
            self.rest = &text[symbol.len()..];
            return Some(Token::Symbol(symbol));
        }
        let end = text.find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(Token::Word(word))
    }
}

struct Parser<'t> {
    tokens: std::iter::Peekable<Lexer<'t>>,
}

impl<'t> Parser<'t> {
    fn peek(&mut self) -> Option<Token<'t>> {
        self.tokens.peek().copied()
    }

    /// Whether a word or `!` comes next, with which a requirement begins.
    fn at_requirement(&mut self) -> bool {
        matches!(self.peek(), Some(Token::Word(_) | Token::Symbol("!")))
    }

    fn selector(mut self) -> Result<LabelQuery, SelectorError> {
        let mut requirements = Vec::new();
        if self.peek().is_none() {
            return Ok(LabelQuery::default());
        }
        if !self.at_requirement() {
            return Err(found(self.peek(), ", expected: !, identifier, or 'end of string'"));
        }
        loop {
            let requirement = self.requirement();
            requirements
                .push(requirement.map_err(|error| SelectorError(format!("unable to parse requirement: {error}")))?);
            match self.tokens.next() {
                None => return Ok(LabelQuery { requirements }),
                Some(Token::Symbol(",")) if self.at_requirement() => {}
                Some(Token::Symbol(",")) => return Err(found(self.peek(), ", expected: identifier after ','")),
                other => return Err(found(other, ", expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == Some(Token::Symbol("!"));
        if negated {
            self.tokens.next();
        }
        let key = match self.tokens.next() {
            Some(Token::Word(key)) => key,
            other => return Err(found(other, ", expected: identifier")),
        };
        let wrong = qualified_name(key);
        if !wrong.is_empty() {
            refuse(&[invalid("", key.into(), wrong.join("; "))])?;
        }
        if negated {
            // As in Kubernetes, what follows is refused where a comma is expected.
            return Ok(Requirement { key: key.to_owned(), condition: Condition::DoesNotExist });
        }
        if matches!(self.peek(), None | Some(Token::Symbol(","))) {
            return Ok(Requirement { key: key.to_owned(), condition: Condition::Exists });
        }
        let operator = self.tokens.next();
        let condition = match operator.map(Token::text) {
            Some("in") => Condition::In(self.values(key)?),
            Some("notin") => Condition::NotIn(self.values(key)?),
            Some("=" | "==") => Condition::In(self.exact_value(key)?),
            Some("!=") => Condition::NotIn(self.exact_value(key)?),
            Some(">") => Condition::GreaterThan(self.bound(key)?),
            Some("<") => Condition::LessThan(self.bound(key)?),
            _ => return Err(found(operator, &format!(", expected: {BINARY_OPERATORS}"))),
        };
        Ok(Requirement { key: key.to_owned(), condition })
    }

    /// The value after `=` and its like; there may be none, which is the empty one.
    fn exact_text(&mut self) -> Result<&'t str, SelectorError> {
        if matches!(self.peek(), None | Some(Token::Symbol(","))) {
            return Ok("");
        }
        match self.tokens.next() {
            Some(Token::Word(value)) => Ok(value),
            other => Err(found(other, ", expected: identifier")),
        }
    }

    fn exact_value(&mut self, key: &str) -> Result<BTreeSet<String>, SelectorError> {
        let values = BTreeSet::from([self.exact_text()?.to_owned()]);
        refuse(
            &values.iter().enumerate().filter_map(|(index, value)| value_error(key, index, value)).collect::<Vec<_>>(),
        )?;
        Ok(values)
    }

    fn bound(&mut self, key: &str) -> Result<i64, SelectorError> {
        let text = self.exact_text()?;
        let mut errors = Vec::new();
        let bound = text.parse().ok();
        if bound.is_none() {
            let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
            errors.push(invalid("values[0]", text.into(), detail.to_owned()));
        }
        errors.extend(value_error(key, 0, text));
        refuse(&errors)?;
        Ok(bound.unwrap_or_default())
    }

    /// The values in parentheses. Empty ones count: `(,a)` has two.
    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, SelectorError> {
        let open = self.tokens.next();
        if open != Some(Token::Symbol("(")) {
            return Err(found(open, " expected: '('"));
        }
        let mut values = BTreeSet::new();
        if !matches!(self.peek(), Some(Token::Word(_) | Token::Symbol("," | ")"))) {
            return Err(found(self.peek(), ", expected: ',', ')' or identifier"));
        }
        if self.peek() == Some(Token::Symbol(")")) {
            self.tokens.next();
            let detail = "for 'in', 'notin' operators, values set can't be empty".to_owned();
            refuse(&[invalid("values", BadValue::Bare("[]".to_owned()), detail)])?;
        }
        loop {
            if let Some(Token::Word(value)) = self.peek() {
                self.tokens.next();
                values.insert(value.to_owned());
            } else {
                values.insert(String::new());
            }
            match self.tokens.next() {
                Some(Token::Symbol(")")) => break,
                Some(Token::Symbol(",")) => {}
                other => return Err(found(other, ", expected: ',' or ')'")),
            }
            if !matches!(self.peek(), Some(Token::Word(_) | Token::Symbol("," | ")"))) {
                return Err(found(self.peek(), ", expected: ',', or identifier"));
            }
        }
        refuse(
            &values.iter().enumerate().filter_map(|(index, value)| value_error(key, index, value)).collect::<Vec<_>>(),
        )?;
        Ok(values)
    }
}

fn found(token: Option<Token<'_>>, expected: &str) -> SelectorError {
    SelectorError(format!("found '{}'{expected}", shown(token)))
}

fn invalid(path: &str, value: BadValue, detail: String) -> FieldError {
    FieldError { path: path.to_owned(), kind: ErrorKind::Invalid, value: Some(value), detail }
}

fn value_error(key: &str, index: usize, value: &str) -> Option<FieldError> {
    let wrong = label_value(value);
    (!wrong.is_empty()).then(|| invalid(&format!("values[{index}][{key}]"), value.into(), wrong.join("; ")))
}

/// Fails if there are errors, with all of them as one text.
fn refuse(errors: &[FieldError]) -> Result<(), SelectorError> {
    match errors {
        [] => Ok(()),
        [error] => Err(SelectorError(error.to_string())),
        _ => {
            let texts: Vec<String> = errors.iter().take(MAX_ERRORS).map(ToString::to_string).collect();
            Err(SelectorError(format!("[{}]", texts.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(selector: &str, labels: &[(&str, &str)]) -> bool {
        let query = LabelQuery::parse(selector).unwrap_or_else(|error| panic!("{selector:?}: {error}"));
        query.matches(|key| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn selectors_pick_as_kubernetes_documents_them() {
        let web = [("app", "web"), ("tier", "front"), ("example.com/weight", "12"), ("empty", "")];
        for (selector, expected) in [
            ("", true),
            ("  ", true),
            ("app=web", true),
            ("app==web", true),
            (" app = web , tier\t=\nfront ", true),
            ("app=db", false),
            ("app!=db", true),
            ("none!=db", true),
            ("app!=web", false),
            ("app in (db, web)", true),
            ("app in(web)", true),
            ("app in (db)", false),
            ("none in (db)", false),
            ("app notin (db)", true),
            ("none notin (db)", true),
            ("app notin (web,db)", false),
            ("app", true),
            ("none", false),
            ("!none", true),
            ("! app", false),
            ("app=web,!none,tier", true),
            ("app=web,none", false),
            ("empty=", true),
            ("empty=,app", true),
            ("empty in (,)", true),
            ("empty in (a,,b)", true),
            ("app in (,web)", true),
            ("app=", false),
            ("example.com/weight>11", true),
            ("example.com/weight > 12", false),
            ("example.com/weight<13", true),
            ("app>1", false),
            ("none<1", false),
            ("app in (in, notin, web)", true),
            ("app=in", false),
        ] {
            assert_eq!(picks(selector, &web), expected, "{selector:?}");
        }
        assert!(picks("in=notin", &[("in", "notin")]));
    }

    #[test]
    fn what_cannot_be_read_is_said_in_kubernetes_words() {
        let name_rule = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                         with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
                         validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        let value_rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
                          '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
                          'my_value',  or '12345', regex used for validation is \
                          '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
        for (selector, expected) in [
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt".to_owned()),
            ("a=b,", "found '', expected: identifier after ','".to_owned()),
            ("a=b c", "found 'c', expected: ',' or 'end of string'".to_owned()),
            (",a", "found ',', expected: !, identifier, or 'end of string'".to_owned()),
            ("=a", "found '=', expected: !, identifier, or 'end of string'".to_owned()),
            ("a,,b", "found ',', expected: identifier after ','".to_owned()),
            ("!", "unable to parse requirement: found '', expected: identifier".to_owned()),
            ("!a=b", "found '=', expected: ',' or 'end of string'".to_owned()),
            ("a==!b", "unable to parse requirement: found '!', expected: identifier".to_owned()),
            ("a in b", "unable to parse requirement: found 'b' expected: '('".to_owned()),
            ("a in", "unable to parse requirement: found '' expected: '('".to_owned()),
            ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier".to_owned()),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'".to_owned()),
            ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier".to_owned()),
            ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'".to_owned()),
            (
                "a in ()",
                "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set \
                 can't be empty"
                    .to_owned(),
            ),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value \
                 must be an integer"
                    .to_owned(),
            ),
            ("-a", format!("unable to parse requirement: <nil>: Invalid value: \"-a\": {name_rule}")),
            ("a=-", format!("unable to parse requirement: values[0][a]: Invalid value: \"-\": {value_rule}")),
            (
                "a in (b,-,+)",
                format!(
                    "unable to parse requirement: [values[0][a]: Invalid value: \"+\": {value_rule}, \
                     values[1][a]: Invalid value: \"-\": {value_rule}]"
                ),
            ),
        ] {
            assert_eq!(LabelQuery::parse(selector).unwrap_err().to_string(), expected, "{selector:?}");
        }
    }

    #[test]
    fn hostile_selectors_are_answered() {
        let long = "a,".repeat(MAX_SELECTOR);
        assert!(LabelQuery::parse(&long).is_err());
        let many = format!("a in ({})", "-,".repeat(MAX_SELECTOR / 2 - 10));
        assert!(LabelQuery::parse(&many).unwrap_err().to_string().len() < 100_000);
        for selector in ["\0", "a=\u{0}", "ä=b", "a=ä", "((((((((", "a in ((b))", "!!a", "\u{feff}a", "a\u{a0}=b"] {
            assert!(LabelQuery::parse(selector).is_err(), "{selector:?}");
        }
    }
}
