//! `umask`, `ulimit` and `times`.

use bstr::ByteSlice;

use super::Outcome;
use crate::exec::Shell;

/// WASI has no permission bits: the mask is remembered, and has no effect.
pub(super) fn umask(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mask = shell.state.umask;
    match arguments.get(1).map(Vec::as_slice) {
        None => shell.print(format!("{mask:04o}\n")),
        Some(b"-S") => {
            let rights = |shift: u32| {
                let allowed = !mask >> shift;
                [(4, 'r'), (2, 'w'), (1, 'x')].iter().filter(|(bit, _)| allowed & bit != 0).map(|(_, c)| *c).collect()
            };
            let [user, group, others]: [String; 3] = [rights(6), rights(3), rights(0)];
            shell.print(format!("u={user},g={group},o={others}\n"))
        }
        Some(text) => match text.to_str().ok().and_then(|text| u32::from_str_radix(text, 8).ok()) {
            Some(mask @ 0..=0o777) => {
                shell.state.umask = mask;
                Ok(0)
            }
            _ => shell.complain(b"umask", format!("Illegal number: {}", text.as_bstr())),
        },
    }
}

/// Limits are the container's, and not set from within.
pub(super) fn ulimit(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    match arguments.get(1).map(Vec::as_slice) {
        Some(b"-a") => {
            let lines = ["core file size (blocks)", "data seg size (kb)", "open files", "stack size (kb)", "processes"];
            shell.print(lines.map(|line| format!("{line:<30}unlimited\n")).concat())
        }
        Some(option) if !option.starts_with(b"-") && option != b"unlimited" => {
            shell.complain(b"ulimit", "limits are the container's and cannot be changed here")
        }
        _ if arguments.len() > 2 && arguments.last().is_some_and(|value| value != b"unlimited") => {
            shell.complain(b"ulimit", "limits are the container's and cannot be changed here")
        }
        _ if arguments.len() > 2 => Ok(0),
        _ => shell.print("unlimited\n"),
    }
}

/// WASI tells no processor times.
pub(super) fn times(shell: &mut Shell, _: &[Vec<u8>]) -> Outcome {
    shell.print("0m0.000s 0m0.000s\n0m0.000s 0m0.000s\n")
}
