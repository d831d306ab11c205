//! `env`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::wasi::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::failure::Failure;
use crate::options::{CommandLine, Item, unknown};
use crate::process::Program;

pub(crate) const USAGE: &str = "env [-i0] [-u NAME]... [-C DIR] [-S STRING] [NAME=VALUE]... [PROGRAM [ARGUMENT]...]

Print the environment, or run PROGRAM in a changed one

  -i  Start with nothing    -u NAME  Remove NAME    -C DIR  Change to DIR
  -S STRING  Split STRING into arguments            -0      End lines with NUL";

pub(crate) fn env(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let mut directory = None;
    let mut end = b'\n';
    let mut line = CommandLine::new(arguments);
    let mut argv = Vec::new();
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(word) if word == "-" && argv.is_empty() => variables.clear(),
            Item::Operand(word) => match assignment(&word) {
                Some((name, value)) => set(&mut variables, name, value),
                None => {
                    argv = line.program(word)?;
                    break;
                }
            },
            Item::Option(option) => match option.as_str() {
                "i" | "ignore-environment" => variables.clear(),
                "u" | "unset" => {
                    let name = line.value()?;
                    variables.retain(|(known, _)| *known != name);
                }
                "0" | "null" => end = 0,
                "C" | "chdir" => directory = Some(PathBuf::from(line.value()?)),
                "S" | "split-string" => {
                    let mut words = split(&line.text()?)?;
                    words.extend(line.rest()?);
                    line = CommandLine::new(words);
                }
                _ => return Err(unknown(&option)),
            },
        }
    }
    if argv.is_empty() {
        let mut output = std::io::stdout().lock();
        for (name, value) in variables {
            output.write_all(&[name.as_bytes(), b"=", value.as_bytes(), &[end]].concat())?;
        }
        return Ok(0);
    }
    let mut program = Program::with_environment(argv, variables.into_iter());
    if let Some(directory) = directory {
        let directory = std::env::current_dir()?.join(directory);
        if !directory.is_dir() {
            let problem = format!("cannot change directory to '{}': No such file or directory", directory.display());
            return Err(Failure::Code(125, problem));
        }
        program = program.in_directory(directory);
    }
    Err(program.exec())
}

fn assignment(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}

fn set(variables: &mut Vec<(OsString, OsString)>, name: OsString, value: OsString) {
    match variables.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => variables.push((name, value)),
    }
}

/// The words of `-S`: quotes, backslashes and `${NAME}`.
fn split(text: &str) -> Result<Vec<OsString>, Failure> {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let (mut words, mut word): (Vec<OsString>, Option<String>) = (Vec::new(), None);
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match (character, quote) {
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (character, Some(open)) if character == open => quote = None,
            (' ' | '\t' | '\n', None) => words.extend(word.take().map(OsString::from)),
            ('\\', None | Some('"')) => {
                let escaped = match rest.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('_') => ' ',
                    Some(other) => other,
                    None => return Err(Failure::usage("invalid backslash at end of string in -S")),
                };
                word.get_or_insert_default().push(escaped);
            }
            ('$', None | Some('"')) => {
                let rest_text = rest.as_str();
                let name = rest_text.strip_prefix('{').and_then(|name| name.split_once('}'));
                let Some((name, behind)) = name else {
                    return Err(Failure::usage("only ${VARNAME} expansion is supported"));
                };
                word.get_or_insert_default().push_str(environment.get(name).map_or("", String::as_str));
                rest = behind.chars();
            }
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(Failure::usage("no terminating quote in -S string"));
    }
    words.extend(word.map(OsString::from));
    Ok(words)
}
