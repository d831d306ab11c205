//! `umask`, `ulimit` and `times`.

use bstr::ByteSlice;

use super::Outcome;
use crate::exec::Shell;
use crate::process;

/// What files that are made do not get: told, or set by a number or as `u=rwx,g=rx,o=` says what they do get.
pub(super) fn umask(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mask = shell.state.umask;
    let (symbolic, operand) = match &arguments[1..] {
        [option, rest @ ..] if option == b"-S" => (true, rest.first()),
        [option, rest @ ..] if option == b"--" => (false, rest.first()),
        words => (false, words.first()),
    };
    match operand {
        None if symbolic => {
            let rights = |shift: u32| {
                let allowed = !mask >> shift;
                [(4, 'r'), (2, 'w'), (1, 'x')].iter().filter(|(bit, _)| allowed & bit != 0).map(|(_, c)| *c).collect()
            };
            let [user, group, others]: [String; 3] = [rights(6), rights(3), rights(0)];
            shell.print(format!("u={user},g={group},o={others}\n"))
        }
        None => shell.print(format!("{mask:04o}\n")),
        Some(text) => match mask_of(&text.to_str_lossy(), mask) {
            Some(mask) => {
                shell.state.umask = mask;
                process::files::set_umask(mask);
                Ok(0)
            }
            None => {
                let what = if text.first().is_some_and(u8::is_ascii_digit) { "number" } else { "mode" };
                shell.complain(b"umask", format!("Illegal {what}: {}", text.as_bstr()))
            }
        },
    }
}

/// The mask that a number or a list of rights stands for.
fn mask_of(text: &str, mask: u32) -> Option<u32> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    }
    let mut allowed = !mask & 0o777;
    for clause in text.split(',') {
        let at = clause.find(['+', '-', '='])?;
        let who = clause[..at].chars().try_fold(0, |who, letter| {
            let bits = match letter {
                'u' => 0o700,
                'g' => 0o070,
                'o' => 0o007,
                'a' => 0o777,
                _ => return None,
            };
            Some(who | bits)
        })?;
        let who = if who == 0 { 0o777 } else { who };
        let rights = clause[at + 1..].chars().try_fold(0, |rights, letter| {
            let bits = match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' | 'X' => 0o111,
                _ => return None,
            };
            Some(rights | bits)
        })?;
        allowed = match clause.as_bytes()[at] {
            b'+' => allowed | who & rights,
            b'-' => allowed & !(who & rights),
            _ => allowed & !who | who & rights,
        };
    }
    Some(!allowed & 0o777)
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
