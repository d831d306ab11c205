//! `export`, `readonly`, `unset`, `local`, `let` and `getopts`.

use std::rc::Rc;

use bstr::ByteSlice;

use super::{Outcome, number};
use crate::exec::Shell;
use crate::state::{ReadOnly, Variable};
use crate::syntax::is_name;
use crate::text::quote;

/// `name` and `name=value`, if the name may be one.
fn declaration(word: &[u8]) -> Option<(&str, Option<&[u8]>)> {
    let (name, value) = match word.split_once_str(b"=") {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    is_name(name).then(|| name.to_str().ok())?.map(|name| (name, value))
}

/// `export` and `readonly`.
pub(super) fn export(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let exports = arguments[0] == b"export";
    let mut words = &arguments[1..];
    let mut on = true;
    while let Some((option, rest)) = words.split_first().filter(|(word, _)| word.starts_with(b"-")) {
        match option.as_slice() {
            b"-p" | b"--" => {}
            b"-n" if exports => on = false,
            _ => return shell.refuse(&arguments[0], format!("Illegal option {}", option.as_bstr())),
        }
        words = rest;
    }
    if words.is_empty() {
        let has = |variable: &Variable| if exports { variable.exported } else { variable.read_only };
        let lines = shell.state.variables.iter().filter(|(_, variable)| has(variable)).map(|(name, variable)| {
            let value = variable.value.as_ref().map(|value| [&b"="[..], &quote(value)].concat()).unwrap_or_default();
            [&arguments[0][..], b" ", name.as_bytes(), &value, b"\n"].concat()
        });
        let lines = lines.collect::<Vec<_>>().concat();
        return shell.print(lines);
    }
    for word in words {
        let Some((name, value)) = declaration(word) else {
            return shell.refuse(&arguments[0], format!("{}: bad variable name", word.as_bstr()));
        };
        if let Some(value) = value {
            shell.assign(name, value.to_vec())?;
        }
        let variable = Rc::make_mut(&mut shell.state.variables).entry(name);
        if exports {
            variable.exported = on;
        } else {
            variable.read_only = true;
        }
    }
    Ok(0)
}

pub(super) fn unset(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut functions = false;
    let mut words = &arguments[1..];
    while let Some((option, rest)) = words.split_first().filter(|(word, _)| word.starts_with(b"-")) {
        match option.as_slice() {
            b"-f" => functions = true,
            b"-v" => functions = false,
            b"--" => {}
            _ => return shell.refuse(b"unset", format!("Illegal option {}", option.as_bstr())),
        }
        words = rest;
    }
    for word in words {
        let name = word.to_str_lossy();
        if functions {
            Rc::make_mut(&mut shell.state.functions).remove(&*name);
        } else if !is_name(word) {
            return shell.refuse(b"unset", format!("{name}: bad variable name"));
        } else if Rc::make_mut(&mut shell.state.variables).unset(&name) == Err(ReadOnly) {
            return shell.refuse(b"unset", format!("{name}: is read only"));
        }
    }
    shell.hashed.clear();
    Ok(0)
}

pub(super) fn local(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    for word in &arguments[1..] {
        let Some((name, value)) = declaration(word) else {
            return shell.refuse(b"local", format!("{}: bad variable name", word.as_bstr()));
        };
        if !shell.make_local(name) {
            return shell.refuse(b"local", "not in a function");
        }
        if let Some(value) = value {
            shell.assign(name, value.to_vec())?;
        }
    }
    Ok(0)
}

pub(super) fn let_(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut value = 0;
    for expression in &arguments[1..] {
        value = shell.arithmetic_text(expression)?;
    }
    Ok(u8::from(value == 0))
}

pub(super) fn getopts(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let [_, letters, name, words @ ..] = arguments else {
        return shell.complain(b"getopts", "usage: getopts optstring var [arg]");
    };
    let words = if words.is_empty() { shell.state.positional.to_vec() } else { words.to_vec() };
    let name = name.to_str_lossy().into_owned();
    let silent = letters.starts_with(b":");
    let option_index = shell.state.variables.get("OPTIND").and_then(number);
    let mut index = option_index.and_then(|index| usize::try_from(index).ok()).unwrap_or(1).max(1);
    let mut offset = shell.state.option_offset;
    let word = words.get(index - 1).map(Vec::as_slice).unwrap_or_default();
    if offset == 0 {
        if word.len() < 2 || word[0] != b'-' || word == b"--" {
            if word == b"--" {
                index += 1;
            }
            shell.assign("OPTIND", index.to_string().into_bytes())?;
            shell.assign(&name, b"?".to_vec())?;
            return Ok(1);
        }
        offset = 1;
    }
    let letter = word.get(offset).copied().unwrap_or_default();
    offset += 1;
    let place = letters.iter().skip(usize::from(silent)).position(|known| *known == letter && letter != b':');
    let takes_value = place.is_some_and(|place| letters.get(place + usize::from(silent) + 1) == Some(&b':'));
    let mut value = None;
    let mut shown = vec![letter];
    let mut missing = false;
    if takes_value {
        if offset < word.len() {
            value = Some(word[offset..].to_vec());
        } else {
            index += 1;
            value = words.get(index - 1).cloned();
            missing = value.is_none();
        }
        offset = usize::MAX;
    }
    if offset >= word.len() {
        index += 1;
        offset = 0;
    }
    if place.is_none() || missing {
        let what = if missing { "No arg for" } else { "Illegal option" };
        shown = if silent && missing { b":".to_vec() } else { b"?".to_vec() };
        if silent {
            value = Some(vec![letter]);
        } else {
            shell.report(format!("{what} -{}{}", char::from(letter), if missing { " option" } else { "" }));
        }
    }
    shell.assign("OPTARG", value.unwrap_or_default())?;
    shell.assign("OPTIND", index.min(words.len() + 1).to_string().into_bytes())?;
    shell.state.option_offset = offset;
    shell.assign(&name, shown)?;
    Ok(0)
}
