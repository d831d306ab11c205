//! What awk programs are made of.

use std::fmt;
use std::rc::Rc;

use regex::bytes::Regex;

/// A program that cannot be understood.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) problem: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "syntax error at source line {}: {}", self.line, self.problem)
    }
}

/// A program.
#[derive(Default)]
pub(super) struct Program {
    pub(super) begin: Vec<Vec<Statement>>,
    pub(super) rules: Vec<Rule>,
    pub(super) end: Vec<Vec<Statement>>,
    pub(super) functions: Vec<Function>,
    /// Names of the global variables, by their numbers.
    pub(super) globals: Vec<String>,
}

/// A pattern and what is done with the records it matches.
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    /// `None` prints the record.
    pub(super) action: Option<Vec<Statement>>,
}

pub(super) enum Pattern {
    Always,
    When(Expression),
    Range(Expression, Expression),
}

#[derive(Default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) parameters: usize,
    pub(super) body: Vec<Statement>,
    pub(super) defined: bool,
}

/// Where a variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Global(usize),
    /// A parameter of the function.
    Local(usize),
}

pub(super) enum Statement {
    Expression(Expression),
    Print {
        arguments: Vec<Expression>,
        output: Option<(Redirection, Expression)>,
    },
    Printf {
        arguments: Vec<Expression>,
        output: Option<(Redirection, Expression)>,
    },
    If(Expression, Box<Statement>, Option<Box<Statement>>),
    While(Expression, Box<Statement>),
    Do(Box<Statement>, Expression),
    For(Option<Box<Statement>>, Option<Expression>, Option<Box<Statement>>, Box<Statement>),
    ForIn(Expression, Variable, Box<Statement>),
    Block(Vec<Statement>),
    /// An element, or the whole array.
    Delete(Variable, Option<Vec<Expression>>),
    Break,
    Continue,
    Next,
    NextFile,
    Exit(Option<Expression>),
    Return(Option<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirection {
    File,
    Append,
    Pipe,
}

pub(super) enum Expression {
    Number(f64),
    Text(Rc<[u8]>),
    /// Matches the record, or is the right side of a match.
    Regex(Rc<Regex>),
    Variable(Variable),
    Field(Box<Expression>),
    Element(Variable, Vec<Expression>),
    Arithmetic(Arithmetic, Box<Expression>, Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    Concatenate(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    Positive(Box<Expression>),
    Match {
        negated: bool,
        text: Box<Expression>,
        regex: Box<Expression>,
    },
    In(Vec<Expression>, Variable),
    Condition(Box<Expression>, Box<Expression>, Box<Expression>),
    /// To a variable, field or element.
    Assign(Box<Expression>, Option<Arithmetic>, Box<Expression>),
    Increment {
        target: Box<Expression>,
        by: f64,
        before: bool,
    },
    Call(usize, Vec<Expression>),
    Builtin(Builtin, Vec<Expression>),
    Getline {
        source: Source,
        target: Option<Box<Expression>>,
    },
    /// In parentheses; several are an index.
    Group(Vec<Expression>),
}

/// What `getline` reads.
pub(super) enum Source {
    Input,
    File(Box<Expression>),
    Command(Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
}

macro_rules! builtins {
    ($($variant:ident $name:literal $least:literal $most:literal,)*) => {
        /// A function of awk's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Builtin {
            $($variant,)*
        }

        impl Builtin {
            /// The function of a name, and how many arguments it takes.
            pub(super) fn parse(name: &str) -> Option<(Self, usize, usize)> {
                match name {
                    $($name => Some((Self::$variant, $least, $most)),)*
                    _ => None,
                }
            }
        }
    };
}

builtins! {
    And "and" 2 8, Atan2 "atan2" 2 2, Close "close" 1 2, Complement "compl" 1 1, Cos "cos" 1 1, Exp "exp" 1 1,
    Flush "fflush" 0 1, Gensub "gensub" 3 4, Gsub "gsub" 2 3, Index "index" 2 2, Int "int" 1 1, Length "length" 0 1,
    Log "log" 1 1, LeftShift "lshift" 2 2, Match "match" 2 3, Mktime "mktime" 1 2, Or "or" 2 8, Rand "rand" 0 0,
    RightShift "rshift" 2 2, Sin "sin" 1 1, Split "split" 2 4, Sprintf "sprintf" 1 255, Sqrt "sqrt" 1 1,
    Srand "srand" 0 1, Strftime "strftime" 0 3, Sub "sub" 2 3, Substr "substr" 2 3, System "system" 1 1,
    Systime "systime" 0 0, Lower "tolower" 1 1, Upper "toupper" 1 1, Xor "xor" 2 8,
}

/// The variables that mean something, whose numbers are their places here.
pub(super) const SPECIAL: &[&str] = &[
    "NF", "NR", "FNR", "FS", "OFS", "ORS", "RS", "FILENAME", "SUBSEP", "RSTART", "RLENGTH", "CONVFMT", "OFMT",
    "ENVIRON", "ARGC", "ARGV",
];

/// Numbers of special variables.
pub(super) mod special {
    pub(in crate::awk) const NF: usize = 0;
    pub(in crate::awk) const NR: usize = 1;
    pub(in crate::awk) const FNR: usize = 2;
    pub(in crate::awk) const FS: usize = 3;
    pub(in crate::awk) const OFS: usize = 4;
    pub(in crate::awk) const ORS: usize = 5;
    pub(in crate::awk) const RS: usize = 6;
    pub(in crate::awk) const FILENAME: usize = 7;
    pub(in crate::awk) const SUBSEP: usize = 8;
    pub(in crate::awk) const RSTART: usize = 9;
    pub(in crate::awk) const RLENGTH: usize = 10;
    pub(in crate::awk) const CONVFMT: usize = 11;
    pub(in crate::awk) const OFMT: usize = 12;
    pub(in crate::awk) const ENVIRON: usize = 13;
    pub(in crate::awk) const ARGC: usize = 14;
    pub(in crate::awk) const ARGV: usize = 15;
}
