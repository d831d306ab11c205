//! From text to commands: the grammar of the shell. Nothing here runs anything.

mod arithmetic;
pub(crate) mod ast;
mod commands;
mod compound;
mod conditions;
mod expressions;
mod here;
mod parameters;
mod parser;
mod tokens;
mod words;

pub(crate) use expressions::{number, parse_text as parse_arithmetic};
pub(crate) use parser::{Aliases, Parser, Source, SyntaxError, Text, echo};
pub(crate) use words::is_name;

#[cfg(test)]
mod tests;
