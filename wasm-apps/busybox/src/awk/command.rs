//! `awk`'s command line, and running a program.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::wasi::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::interpreter::{Interpreter, Interrupt};
use super::parser;
use crate::failure::Failure;
use crate::options::{CommandLine, Item, unknown};

pub(crate) const USAGE: &str = "awk [-F SEPARATOR] [-v NAME=VALUE]... [-f FILE]... [PROGRAM] [FILE | NAME=VALUE]...

Run an awk program over FILEs, or standard input

  -F SEPARATOR  What separates fields    -v NAME=VALUE  Set a variable first    -f FILE  Take the program from FILE";

pub(crate) fn awk(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut source: Option<Vec<u8>> = None;
    let mut assignments: Vec<Vec<u8>> = Vec::new();
    let mut operands = vec![b"awk".to_vec()];
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(first) => {
                let mut rest = line.program(first)?.into_iter();
                if source.is_none() {
                    source = rest.next().map(OsString::into_vec);
                }
                operands.extend(rest.map(OsString::into_vec));
                break;
            }
            Item::Option(option) => match option.as_str() {
                "F" | "field-separator" => {
                    let separator = line.value()?;
                    // A lone `t` is a tab, as it always was.
                    let separator = if separator == "t" { b"\\t" } else { separator.as_bytes() };
                    assignments.push([b"FS=", separator].concat());
                }
                "v" | "assign" => assignments.push(line.value()?.into_vec()),
                "f" | "file" => {
                    let text = read_program(Path::new(&line.value()?))?;
                    let source = source.get_or_insert_default();
                    source.extend_from_slice(&text);
                    source.push(b'\n');
                }
                "posix" | "traditional" | "re-interval" | "c" | "P" | "r" => {}
                _ => return Err(unknown(&option)),
            },
        }
    }
    let Some(source) = source else {
        return Err(Failure::usage("no program given; see awk --help"));
    };
    let program = parser::parse(&source).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut interpreter = Interpreter::new(&program, &operands);
    for assignment in assignments {
        match interpreter.assign_operand(&assignment) {
            Ok(true) => {}
            Ok(false) => {
                let text = String::from_utf8_lossy(&assignment).into_owned();
                return Err(Failure::Usage(format!("'{text}' is no assignment to a variable")));
            }
            Err(Interrupt::Failure(failure)) => return Err(failure),
            Err(_) => {}
        }
    }
    let result = interpreter.run();
    if result.is_err() {
        // What was printed before the trouble comes before what is said of it.
        let _broken_as_well = interpreter.streams.flush();
    }
    result
}

fn read_program(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text)?;
        return Ok(text);
    }
    fs::read(path).map_err(Failure::at(path))
}
