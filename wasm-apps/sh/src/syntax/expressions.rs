//! Expressions of arithmetic: C's operators and their precedence.

use super::ast::{Binary, Expression, Piece, Unary};
use super::words::is_name_byte;

/// How deeply an expression may nest.
const MAX_DEPTH: u32 = 100;

/// The expression that a text without expansions says.
pub(crate) fn parse_text(text: &[u8]) -> Result<Expression, String> {
    parse(&[Piece::Literal(text.to_vec())])
}

pub(super) fn parse(pieces: &[Piece]) -> Result<Expression, String> {
    let mut symbols = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(text) | Piece::Quoted(text) => symbols.extend(text.iter().map(|byte| Symbol::Byte(*byte))),
            Piece::Tilde(_) | Piece::Double(_) => return Err("syntax error".to_owned()),
            _ => symbols.push(Symbol::Expansion(index)),
        }
    }
    let mut reader = Reader { symbols: &symbols, at: 0, depth: 0 };
    reader.blanks();
    if reader.at == symbols.len() {
        return Ok(Expression::Number(0));
    }
    let expression = reader.comma()?;
    if reader.at < symbols.len() { Err(reader.error()) } else { Ok(expression) }
}

#[derive(Clone, Copy)]
enum Symbol {
    Byte(u8),
    /// The place of a piece.
    Expansion(usize),
}

struct Reader<'a> {
    symbols: &'a [Symbol],
    at: usize,
    depth: u32,
}

type Read = Result<Expression, String>;

/// Operators of two operands by how tightly they bind; those that begin others come later.
const LEVELS: &[&[(&str, Binary)]] = &[
    &[("|", Binary::BitOr)],
    &[("^", Binary::BitXor)],
    &[("&", Binary::BitAnd)],
    &[("==", Binary::Equal), ("!=", Binary::NotEqual)],
    &[("<=", Binary::LessOrEqual), (">=", Binary::GreaterOrEqual), ("<", Binary::Less), (">", Binary::Greater)],
    &[("<<", Binary::ShiftLeft), (">>", Binary::ShiftRight)],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[("*", Binary::Multiply), ("/", Binary::Divide), ("%", Binary::Remainder)],
];

/// Every operator there is, longer ones first: what the text is cut into.
const OPERATORS: &[&str] = &[
    "<<=", ">>=", "**", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=",
    "^=", "|=", "+", "-", "*", "/", "%", "<", ">", "=", "!", "~", "&", "|", "^", "?", ":", ",", "(", ")",
];

const ASSIGNMENTS: &[(&str, Option<Binary>)] = &[
    ("=", None),
    ("+=", Some(Binary::Add)),
    ("-=", Some(Binary::Subtract)),
    ("*=", Some(Binary::Multiply)),
    ("/=", Some(Binary::Divide)),
    ("%=", Some(Binary::Remainder)),
    ("<<=", Some(Binary::ShiftLeft)),
    (">>=", Some(Binary::ShiftRight)),
    ("&=", Some(Binary::BitAnd)),
    ("^=", Some(Binary::BitXor)),
    ("|=", Some(Binary::BitOr)),
];

impl Reader<'_> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        match self.symbols.get(self.at + ahead) {
            Some(Symbol::Byte(byte)) => Some(*byte),
            _ => None,
        }
    }

    fn blanks(&mut self) {
        while self.byte(0).is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// The operator that stands here.
    fn operator(&self) -> Option<&'static str> {
        let stands = |text: &str| text.bytes().enumerate().all(|(ahead, byte)| self.byte(ahead) == Some(byte));
        OPERATORS.iter().find(|text| stands(text)).copied()
    }

    fn take(&mut self, operator: &str) {
        self.at += operator.len();
        self.blanks();
    }

    fn accept(&mut self, operator: &str) -> bool {
        let there = self.operator() == Some(operator);
        if there {
            self.take(operator);
        }
        there
    }

    fn error(&self) -> String {
        match self.symbols.get(self.at) {
            None => "arithmetic syntax error: operand expected".to_owned(),
            Some(Symbol::Expansion(_)) => "arithmetic syntax error".to_owned(),
            Some(Symbol::Byte(_)) => {
                let rest = self.symbols[self.at..].iter().map_while(|symbol| match symbol {
                    Symbol::Byte(byte) => Some(char::from(*byte)),
                    Symbol::Expansion(_) => None,
                });
                format!("arithmetic syntax error at \"{}\"", rest.take(20).collect::<String>())
            }
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        if self.depth >= MAX_DEPTH {
            return Err(format!("arithmetic expression nested more than {MAX_DEPTH} levels deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn comma(&mut self) -> Read {
        let mut left = self.assignment()?;
        while self.accept(",") {
            left = Expression::Binary(Binary::Comma, Box::new(left), Box::new(self.assignment()?));
        }
        Ok(left)
    }

    fn assignment(&mut self) -> Read {
        self.nested(|reader| {
            let start = reader.at;
            if let Some(name) = reader.name() {
                let operator = reader.operator();
                if let Some((text, binary)) = ASSIGNMENTS.iter().find(|(text, _)| operator == Some(text)) {
                    reader.take(text);
                    return Ok(Expression::Assign(name, *binary, Box::new(reader.assignment()?)));
                }
                reader.at = start;
            }
            reader.conditional()
        })
    }

    fn conditional(&mut self) -> Read {
        let condition = self.or()?;
        if !self.accept("?") {
            return Ok(condition);
        }
        let then = self.nested(Self::comma)?;
        if !self.accept(":") {
            return Err(self.error());
        }
        let otherwise = self.nested(Self::conditional)?;
        Ok(Expression::Conditional(Box::new([condition, then, otherwise])))
    }

    fn or(&mut self) -> Read {
        let mut left = self.and()?;
        while self.accept("||") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Read {
        let mut left = self.binary(LEVELS)?;
        while self.accept("&&") {
            left = Expression::And(Box::new(left), Box::new(self.binary(LEVELS)?));
        }
        Ok(left)
    }

    fn binary(&mut self, levels: &[&[(&str, Binary)]]) -> Read {
        let Some((level, tighter)) = levels.split_first() else { return self.power() };
        let mut left = self.binary(tighter)?;
        loop {
            let operator = self.operator();
            let Some((text, binary)) = level.iter().find(|(text, _)| operator == Some(text)) else { return Ok(left) };
            self.take(text);
            left = Expression::Binary(*binary, Box::new(left), Box::new(self.binary(tighter)?));
        }
    }

    fn power(&mut self) -> Read {
        let base = self.unary()?;
        if !self.accept("**") {
            return Ok(base);
        }
        let exponent = self.nested(Self::power)?;
        Ok(Expression::Binary(Binary::Power, Box::new(base), Box::new(exponent)))
    }

    fn unary(&mut self) -> Read {
        if let Some(text @ ("++" | "--")) = self.operator() {
            let start = self.at;
            self.take(text);
            if let Some(name) = self.name() {
                return Ok(Expression::Increment { name, by: if text == "++" { 1 } else { -1 }, postfix: false });
            }
            // Two signs.
            self.at = start;
        }
        let unary = match self.byte(0) {
            Some(b'+') => Unary::Plus,
            Some(b'-') => Unary::Minus,
            Some(b'!') => Unary::Not,
            Some(b'~') => Unary::Complement,
            _ => return self.primary(),
        };
        self.at += 1;
        self.blanks();
        let operand = self.nested(Self::unary)?;
        Ok(Expression::Unary(unary, Box::new(operand)))
    }

    fn primary(&mut self) -> Read {
        if self.accept("(") {
            let expression = self.nested(Self::comma)?;
            return if self.accept(")") { Ok(expression) } else { Err(self.error()) };
        }
        if let Some(Symbol::Expansion(index)) = self.symbols.get(self.at).copied() {
            self.at += 1;
            // An expansion next to a digit or letter is part of what that says.
            let glued = |byte: Option<u8>| byte.is_some_and(is_name_byte);
            let follows = matches!(self.symbols.get(self.at), Some(Symbol::Expansion(_)));
            if follows || glued(self.byte(0)) {
                return Err(self.error());
            }
            self.blanks();
            return Ok(Expression::Expansion(index));
        }
        if let Some(name) = self.name() {
            return Ok(match self.operator() {
                Some(text @ ("++" | "--")) => {
                    self.take(text);
                    Expression::Increment { name, by: if text == "++" { 1 } else { -1 }, postfix: true }
                }
                _ => Expression::Variable(name),
            });
        }
        self.number()
    }

    /// A variable's name.
    fn name(&mut self) -> Option<String> {
        if self.byte(0)?.is_ascii_digit() {
            return None;
        }
        let name = self.name_bytes();
        if name.is_empty() || matches!(self.symbols.get(self.at), Some(Symbol::Expansion(_))) {
            self.at -= name.len();
            return None;
        }
        self.blanks();
        Some(name)
    }

    fn name_bytes(&mut self) -> String {
        let mut text = String::new();
        while let Some(byte) = self.byte(0).filter(|byte| is_name_byte(*byte)) {
            text.push(char::from(byte));
            self.at += 1;
        }
        text
    }

    fn number(&mut self) -> Read {
        let start = self.at;
        let mut text = self.name_bytes();
        if self.byte(0) == Some(b'#') && !text.is_empty() {
            self.at += 1;
            text = format!("{text}#{}", self.name_bytes());
        }
        let glued = matches!(self.symbols.get(self.at), Some(Symbol::Expansion(_)));
        match number(&text).filter(|_| !glued) {
            Some(number) => {
                self.blanks();
                Ok(Expression::Number(number))
            }
            None => {
                self.at = start;
                Err(self.error())
            }
        }
    }
}

/// A number as C writes it, or `base#digits`.
pub(crate) fn number(text: &str) -> Option<i64> {
    let (digits, base) = match text.split_once('#') {
        Some((base, digits)) => (digits, base.parse().ok().filter(|base| (2..=36).contains(base))?),
        None => match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if text.len() > 1 && text.starts_with('0') => (text, 8),
            None => (text, 10),
        },
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    // What is too large counts as the largest number.
    match i64::from_str_radix(digits, base) {
        Ok(number) => Some(number),
        Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => Some(i64::MAX),
        Err(_) => None,
    }
}
