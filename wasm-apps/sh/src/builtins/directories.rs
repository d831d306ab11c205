//! `cd` and `pwd`.

use std::rc::Rc;

use bstr::ByteSlice;

use super::Outcome;
use crate::exec::{Shell, join};
use crate::os;

pub(super) fn pwd(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut directory = shell.state.directory.to_vec();
    if arguments[1..].iter().any(|option| option == b"-P")
        && let Ok(physical) = std::fs::canonicalize(os::os_str(&directory))
    {
        directory = os::bytes_of(physical.as_os_str()).to_vec();
    }
    directory.push(b'\n');
    shell.print(directory)
}

pub(super) fn cd(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut physical = false;
    let mut operands = &arguments[1..];
    while let Some((option, rest)) = operands.split_first().filter(|(option, _)| option.len() > 1 && option[0] == b'-')
    {
        match option.as_slice() {
            b"-P" => physical = true,
            b"-L" => physical = false,
            b"--" => {
                operands = rest;
                break;
            }
            _ => return shell.complain(b"cd", format!("Illegal option {}", option.as_bstr())),
        }
        operands = rest;
    }
    let variable = |name| shell.state.variables.get(name).map(<[u8]>::to_vec);
    let (target, mut shown) = match operands.first().map(Vec::as_slice) {
        None => (variable("HOME").unwrap_or_default(), false),
        Some(b"-") => (variable("OLDPWD").unwrap_or_default(), true),
        Some(target) => (target.to_vec(), false),
    };
    if target.is_empty() {
        return Ok(0);
    }
    let candidates = match (operands.first(), variable("CDPATH")) {
        (Some(_), Some(path)) if !target.starts_with(b"/") && !is_dotted(&target) => {
            path.split(|byte| *byte == b':').map(|prefix| (join(prefix, &target), !prefix.is_empty())).collect()
        }
        _ => Vec::new(),
    };
    for (candidate, from_path) in candidates.into_iter().chain([(target.clone(), false)]) {
        let whole = join(&shell.state.directory, &candidate);
        let Some(directory) = existing(&whole, physical) else { continue };
        shown |= from_path;
        change(shell, directory.clone())?;
        return if shown { shell.print([&directory, &b"\n"[..]].concat()) } else { Ok(0) };
    }
    shell.complain(b"cd", format!("can't cd to {}", target.as_bstr()))
}

fn is_dotted(path: &[u8]) -> bool {
    matches!(path.split(|byte| *byte == b'/').next(), Some(b"." | b".."))
}

/// The directory's own path, if there is one.
fn existing(path: &[u8], physical: bool) -> Option<Vec<u8>> {
    let path = if physical {
        os::bytes_of(std::fs::canonicalize(os::os_str(path)).ok()?.as_os_str()).to_vec()
    } else {
        normalize(path)
    };
    std::fs::metadata(os::os_str(&path)).is_ok_and(|metadata| metadata.is_dir()).then_some(path)
}

fn change(shell: &mut Shell, directory: Vec<u8>) -> Result<(), crate::exec::Flow> {
    let before = shell.state.directory.to_vec();
    shell.state.directory = Rc::new(directory.clone());
    shell.assign("OLDPWD", before)?;
    shell.assign("PWD", directory)
}

/// An absolute path without `.` and `..`, which take the name before away.
fn normalize(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            _ => names.push(name),
        }
    }
    [b"/", names.join(&b'/').as_slice()].concat()
}
