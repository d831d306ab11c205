//! What `set`, `if`, `return`, `rewrite` and `break` make a request do, in their order.

use std::rc::Rc;

use regex_lite::Regex;

use crate::config::Settings;
use crate::variables::{Template, Variable};

/// Instructions, in order.
pub type Script = Vec<Instruction>;

/// One directive.
#[derive(Debug)]
pub enum Instruction {
    /// `set $VARIABLE VALUE`
    Set(usize, Template),
    /// `return STATUS [TEXT|URL]`
    Return(u16, Option<Template>),
    /// `rewrite REGEX REPLACEMENT [FLAG]`
    Rewrite(Rewrite),
    /// `break`
    Break,
    /// `if (CONDITION) { … }`
    If(Condition, Script, Option<Rc<Settings>>),
}

/// `rewrite`
#[derive(Debug)]
pub struct Rewrite {
    /// What the path must match.
    pub regex: Regex,
    /// The new path, or a URL.
    pub replacement: Template,
    /// What next.
    pub then: Then,
    /// Whether the request's own arguments are kept.
    pub keep_args: bool,
}

/// What follows a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next instruction.
    Continue,
    /// A location is looked for.
    Last,
    /// The location goes on.
    Break,
    /// The client is sent there.
    Redirect(u16),
}

/// What `if` asks.
#[derive(Debug)]
pub enum Condition {
    /// Neither empty nor `0`.
    True(Variable),
    /// `=`, or `!=` if negated.
    Equal(Variable, Template, bool),
    /// `~`, `~*`, or with `!` if negated.
    Match(Variable, Regex, bool),
    /// `-f`, `-d`, `-e`, `-x`, or with `!` if negated.
    File(FileTest, Template, bool),
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileTest {
    /// It is a file.
    File,
    /// It is a directory.
    Directory,
    /// It is there.
    Exists,
}
