//! `awk`, as POSIX describes it, with the extensions of GNU's that scripts use.
//!
//! The grammar needs no system, and is compiled elsewhere as well, to be tested.

#[cfg(target_env = "p1")]
mod builtins;
#[cfg(target_env = "p1")]
mod command;
#[cfg(target_env = "p1")]
mod evaluate;
mod expressions;
mod format;
#[cfg(target_env = "p1")]
mod input;
#[cfg(target_env = "p1")]
mod interpreter;
mod lexer;
mod parser;
mod program;
#[cfg(target_env = "p1")]
mod record;
mod regex;
mod statement_grammar;
#[cfg(target_env = "p1")]
mod statements;
#[cfg(target_env = "p1")]
mod streams;
mod value;

#[cfg(target_env = "p1")]
pub(crate) use command::{USAGE, awk};
