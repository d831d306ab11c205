//! From text to commands: the grammar of the shell. Nothing here runs anything.

mod arithmetic;
pub(crate) mod ast;
mod commands;
mod compound;
mod conditions;
mod here;
mod parser;
mod tokens;
mod words;

pub(crate) use arithmetic::{number, parse_text as parse_arithmetic};
pub(crate) use parser::{Aliases, Parser, Source, SyntaxError, Text, echo};
pub(crate) use words::is_name;

#[cfg(test)]
mod tests;
