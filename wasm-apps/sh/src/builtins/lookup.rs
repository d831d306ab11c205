//! What a name means: `type`, `command`, `hash` and aliases.

use std::rc::Rc;

use bstr::ByteSlice;

use super::{Outcome, find};
use crate::exec::{Flow, Shell, may_execute};
use crate::text::quote;

const RESERVED: &[&str] = &[
    "!", "{", "}", "case", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "then", "until",
    "while", "[[", "]]",
];

/// What a name stands for.
enum Meaning {
    Reserved,
    Alias(Vec<u8>),
    Function,
    Builtin { special: bool },
    Program(Vec<u8>),
}

fn meaning(shell: &mut Shell, name: &[u8]) -> Option<Meaning> {
    let text = name.to_str().unwrap_or_default();
    if RESERVED.contains(&text) {
        return Some(Meaning::Reserved);
    }
    if let Some(value) = shell.state.aliases.get(text) {
        return Some(Meaning::Alias(value.clone()));
    }
    let builtin = find(name);
    if let Some(builtin) = builtin.filter(|builtin| builtin.special) {
        return Some(Meaning::Builtin { special: builtin.special });
    }
    if shell.state.functions.contains_key(text) {
        return Some(Meaning::Function);
    }
    if let Some(builtin) = builtin {
        return Some(Meaning::Builtin { special: builtin.special });
    }
    let path = shell.find_program(name)?;
    let is_file = std::fs::metadata(crate::os::os_str(&path)).is_ok_and(|metadata| metadata.is_file());
    (is_file && may_execute(&path)).then_some(Meaning::Program(path))
}

pub(super) fn type_(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut status = 0;
    for name in &arguments[1..] {
        status |= describe(shell, name)?;
    }
    Ok(status)
}

fn describe(shell: &mut Shell, name: &[u8]) -> Outcome {
    let shown = name.as_bstr();
    let text = match meaning(shell, name) {
        None => {
            shell.print(format!("{shown}: not found\n"))?;
            return Ok(127);
        }
        Some(Meaning::Reserved) => format!("{shown} is a shell keyword"),
        Some(Meaning::Alias(value)) => format!("{shown} is an alias for {}", value.as_bstr()),
        Some(Meaning::Function) => format!("{shown} is a shell function"),
        Some(Meaning::Builtin { special: true }) => format!("{shown} is a special shell builtin"),
        Some(Meaning::Builtin { special: false }) => format!("{shown} is a shell builtin"),
        Some(Meaning::Program(path)) => format!("{shown} is {}", path.as_bstr()),
    };
    shell.print(format!("{text}\n"))
}

pub(super) fn command(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut words = &arguments[1..];
    let (mut brief, mut verbose) = (false, false);
    while let Some((option, rest)) =
        words.split_first().filter(|(option, _)| option.starts_with(b"-") && option.len() > 1)
    {
        match option.as_slice() {
            b"-v" => brief = true,
            b"-V" => verbose = true,
            b"-p" => {}
            b"--" => {
                words = rest;
                break;
            }
            _ => return shell.complain(b"command", format!("Illegal option {}", option.as_bstr())),
        }
        words = rest;
    }
    let Some(name) = words.first() else { return Ok(0) };
    if verbose {
        return describe(shell, name);
    }
    if brief {
        let line = match meaning(shell, name) {
            None => return Ok(127),
            Some(Meaning::Alias(value)) => [b"alias ", name.as_slice(), b"=", &quote(&value)].concat(),
            Some(Meaning::Program(path)) => path,
            Some(_) => name.clone(),
        };
        return shell.print([line, b"\n".to_vec()].concat());
    }
    match find(name) {
        // Called in this way, an error of a special one ends nothing.
        Some(builtin) => match (builtin.run)(shell, words) {
            Err(Flow::Abort) if builtin.special => Ok(shell.state.status),
            other => other,
        },
        None => {
            shell.external(words)?;
            Ok(shell.state.status)
        }
    }
}

pub(super) fn hash(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    if arguments.len() == 1 {
        let lines: Vec<u8> = shell.hashed.values().flat_map(|path| [path.as_slice(), b"\n"].concat()).collect();
        return shell.print(lines);
    }
    let mut status = 0;
    for name in &arguments[1..] {
        if name == b"-r" {
            shell.hashed.clear();
        } else if find(name).is_none() && shell.find_program(name).is_none() {
            shell.report(format!("hash: {}: not found", name.as_bstr()));
            status = 1;
        }
    }
    Ok(status)
}

pub(super) fn alias(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let line = |name: &str, value: &[u8]| [name.as_bytes(), b"=", &quote(value), b"\n"].concat();
    if arguments.len() == 1 {
        let lines: Vec<u8> = shell.state.aliases.iter().flat_map(|(name, value)| line(name, value)).collect();
        return shell.print(lines);
    }
    let mut status = 0;
    for argument in &arguments[1..] {
        match argument.split_once_str(b"=") {
            Some((name, value)) if !name.is_empty() => {
                let name = name.to_str_lossy().into_owned();
                Rc::make_mut(&mut shell.state.aliases).insert(name, value.to_vec());
            }
            _ => {
                let name = argument.to_str_lossy();
                match shell.state.aliases.get(&*name).map(|value| line(&name, value)) {
                    Some(line) => status |= shell.print(line)?,
                    None => {
                        shell.report(format!("alias: {name}: not found"));
                        status = 1;
                    }
                }
            }
        }
    }
    Ok(status)
}

pub(super) fn unalias(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut status = 0;
    for name in &arguments[1..] {
        let aliases = Rc::make_mut(&mut shell.state.aliases);
        if name == b"-a" {
            aliases.clear();
        } else if aliases.remove(&*name.to_str_lossy()).is_none() {
            shell.report(format!("unalias: {}: not found", name.as_bstr()));
            status = 1;
        }
    }
    Ok(status)
}
