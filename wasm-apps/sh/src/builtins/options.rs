//! `set`, and the options on the command line of the shell itself.

use bstr::ByteSlice;

use super::Outcome;
use crate::exec::Shell;
use crate::state::{Flag, Options};
use crate::text::quote;

/// Sets what words such as `-eu`, `+x`, `-o` and `pipefail` say, and gives the words after them. `Err`: one that says
/// nothing.
pub(crate) fn set_options<'a>(options: &mut Options, mut words: &'a [Vec<u8>]) -> Result<&'a [Vec<u8>], String> {
    while let Some((word, rest)) = words.split_first() {
        let on = match word.as_slice() {
            b"--" | b"-" | b"+" => return Ok(words),
            [b'-', ..] => true,
            [b'+', ..] => false,
            _ => return Ok(words),
        };
        words = rest;
        for letter in word[1..].chars() {
            if letter == 'o' {
                let Some((name, rest)) = words.split_first() else { return Err("-o: name expected".to_owned()) };
                let flag = Flag::of_name(name).ok_or_else(|| format!("illegal option -o {}", name.as_bstr()))?;
                options.set(flag, on);
                words = rest;
            } else {
                let sign = if on { '-' } else { '+' };
                let flag = Flag::of_letter(letter).ok_or_else(|| format!("illegal option {sign}{letter}"))?;
                options.set(flag, on);
            }
        }
    }
    Ok(words)
}

pub(super) fn set(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    match &arguments[1..] {
        [] => return shell.print(all_variables(shell)),
        [option] if option == b"-o" || option == b"+o" => {
            let listing = shell.state.options.listing(option == b"+o");
            return shell.print(listing);
        }
        _ => {}
    }
    let mut options = shell.state.options;
    let rest = match set_options(&mut options, &arguments[1..]) {
        Ok(rest) => rest,
        Err(message) => return shell.refuse(b"set", message),
    };
    shell.state.options = options;
    match rest.split_first() {
        None => {}
        Some((dashes, parameters)) if dashes == b"--" => shell.set_parameters(parameters.to_vec()),
        Some((dash, parameters)) if dash == b"-" => {
            shell.state.options.set(Flag::XTrace, false);
            shell.state.options.set(Flag::Verbose, false);
            if !parameters.is_empty() {
                shell.set_parameters(parameters.to_vec());
            }
        }
        Some(_) => shell.set_parameters(rest.to_vec()),
    }
    Ok(0)
}

fn all_variables(shell: &Shell) -> Vec<u8> {
    let lines = shell.state.variables.iter().filter_map(|(name, variable)| {
        let value = variable.value.as_ref()?;
        Some([name.as_bytes(), b"=", &quote(value), b"\n"].concat())
    });
    lines.flatten().collect()
}
