//! What a script is parsed into. All of it can be sent to another process of this shell.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

/// Commands one after the other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) items: Vec<Item>,
}

/// One part of a list, ended by `;`, `&` or a newline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) and_or: AndOr,
    pub(crate) background: bool,
}

/// Pipelines joined by `&&` and `||`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AndOr {
    pub(crate) first: Pipeline,
    pub(crate) rest: Vec<(Connector, Pipeline)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Connector {
    And,
    Or,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pipeline {
    /// It began with `!`.
    pub(crate) negated: bool,
    /// At least one.
    pub(crate) stages: Vec<Command>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Command {
    Simple(Simple),
    Compound(Box<Compound>, Vec<Redirect>),
    Function(String, Rc<Command>),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Simple {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) words: Vec<Word>,
    pub(crate) redirects: Vec<Redirect>,
    /// Where it stands, from 1.
    pub(crate) line: u32,
    /// Nothing comes after it in its process.
    pub(crate) last: bool,
}

impl List {
    /// The simple command that, if it runs at all, is the last to run.
    pub(crate) fn last_simple(&mut self) -> Option<&mut Simple> {
        let item = self.items.last_mut().filter(|item| !item.background)?;
        let pipeline = item.and_or.rest.last_mut().map_or(&mut item.and_or.first, |(_, pipeline)| pipeline);
        match &mut pipeline.stages[..] {
            [Command::Simple(simple)] if !pipeline.negated => Some(simple),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    /// It was written with `+=`.
    pub(crate) append: bool,
    pub(crate) value: Word,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Compound {
    Group(List),
    Subshell(List),
    If {
        branches: Vec<(List, List)>,
        otherwise: Option<List>,
    },
    /// Without words: over the positional parameters.
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: List,
    },
    /// `until` runs as long as the condition fails.
    While {
        until: bool,
        condition: List,
        body: List,
    },
    Case {
        word: Word,
        arms: Vec<Arm>,
    },
    /// `[[ … ]]`
    Condition(Condition),
    /// `(( … ))`
    Arithmetic(Arithmetic),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Arm {
    pub(crate) patterns: Vec<Word>,
    pub(crate) body: List,
    /// It ended with `;&`: the next one runs as well.
    pub(crate) falls_through: bool,
}

/// What stands between `[[` and `]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Condition {
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    /// `-f word`
    Unary(String, Word),
    /// `word == pattern`
    Binary(Word, String, Word),
    Word(Word),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Redirect {
    pub(crate) fd: u32,
    pub(crate) kind: RedirectKind,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum RedirectKind {
    /// `<`
    Read(Word),
    /// `>`; `clobber` for `>|`
    Write { target: Word, clobber: bool },
    /// `>>`
    Append(Word),
    /// `<>`
    ReadWrite(Word),
    /// `<&` and `>&`; the word says a number or `-`.
    Duplicate(Word),
    /// `&>` and `&>>`: standard output and error.
    Both { target: Word, append: bool },
    /// `<<`; the text follows the line, so it is filled in later.
    Here(Rc<RefCell<Word>>),
    /// `<<<`
    HereString(Word),
}

/// What becomes any number of fields.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Word(pub(crate) Vec<Piece>);

impl Arithmetic {
    /// What the numbers of expansions in `compiled` count.
    pub(crate) fn pieces(&self) -> &[Piece] {
        match &self.text.0[..] {
            [Piece::Double(pieces)] => pieces,
            pieces => pieces,
        }
    }
}

impl Word {
    /// The text of a word that says it plainly, without quotes and expansions.
    pub(crate) fn plain(&self) -> Option<&str> {
        match &self.0[..] {
            [Piece::Literal(text)] => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Whether expanding it runs commands.
    pub(crate) fn runs_commands(&self) -> bool {
        self.0.iter().any(Piece::runs_commands)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Piece {
    /// Not quoted: pattern characters have their meaning.
    Literal(Vec<u8>),
    /// Behind a backslash or in single quotes.
    Quoted(Vec<u8>),
    /// In double quotes.
    Double(Vec<Piece>),
    Parameter(Box<Parameter>),
    /// `$( … )`
    Command(Rc<List>),
    /// `$(( … ))`
    Arithmetic(Box<Arithmetic>),
    /// `~` or `~user`
    Tilde(String),
}

impl Piece {
    fn runs_commands(&self) -> bool {
        match self {
            Self::Literal(_) | Self::Quoted(_) | Self::Tilde(_) => false,
            Self::Double(pieces) => pieces.iter().any(Self::runs_commands),
            Self::Command(_) => true,
            Self::Parameter(parameter) => parameter.operation.words().any(Word::runs_commands),
            Self::Arithmetic(arithmetic) => arithmetic.text.runs_commands(),
        }
    }
}

/// `${name…}`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Parameter {
    pub(crate) name: Name,
    pub(crate) operation: Operation,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Name {
    Variable(String),
    Positional(usize),
    /// One of `@*#?-$!`.
    Special(u8),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Operation {
    Value,
    /// `${#name}`
    Length,
    /// `-`, `=`, `?` and `+`; with `colon`, empty counts as unset.
    Unless {
        action: Unless,
        colon: bool,
        word: Word,
    },
    /// `#`, `##`, `%` and `%%`
    Remove {
        suffix: bool,
        longest: bool,
        pattern: Word,
    },
    /// `${name:offset:length}`
    Substring {
        offset: Arithmetic,
        length: Option<Arithmetic>,
    },
    /// `${name/pattern/with}`
    Replace {
        all: bool,
        anchor: Anchor,
        pattern: Word,
        with: Word,
    },
}

impl Operation {
    fn words(&self) -> impl Iterator<Item = &Word> {
        let (one, two) = match self {
            Self::Value | Self::Length => (None, None),
            Self::Unless { word, .. } => (Some(word), None),
            Self::Remove { pattern, .. } => (Some(pattern), None),
            Self::Substring { offset, length } => (Some(&offset.text), length.as_ref().map(|length| &length.text)),
            Self::Replace { pattern, with, .. } => (Some(pattern), Some(with)),
        };
        one.into_iter().chain(two)
    }
}

/// What a parameter that is not set means, or for [`Unless::Alternative`] one that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unless {
    Default,
    Assign,
    Error,
    Alternative,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Anchor {
    None,
    Start,
    End,
}

/// An arithmetic expression. What is expanded in it may be more than a number, and then the text is what counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Arithmetic {
    pub(crate) text: Word,
    /// What the text means as long as every expansion in it gives a number.
    pub(crate) compiled: Option<Expression>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Expression {
    Number(i64),
    Variable(String),
    /// Which of the text's pieces.
    Expansion(usize),
    Unary(Unary, Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Conditional(Box<[Expression; 3]>),
    /// `name = …`, or `name += …` and the like
    Assign(String, Option<Binary>, Box<Expression>),
    /// `name++` and the like: what is added, and whether the value is that of before.
    Increment {
        name: String,
        by: i64,
        postfix: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unary {
    Plus,
    Minus,
    Not,
    Complement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Binary {
    Multiply,
    Divide,
    Remainder,
    Power,
    Add,
    Subtract,
    ShiftLeft,
    ShiftRight,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    BitAnd,
    BitXor,
    BitOr,
    Comma,
}
