//! `trap` and `kill`.

use bstr::ByteSlice;

use super::{Outcome, number};
use crate::exec::Shell;
use crate::process::{self, Pid, SIGNALS, Signal, Target};
use crate::state::Condition;
use crate::text::quote;

pub(super) fn trap(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut words = &arguments[1..];
    if words.first().is_some_and(|word| word == b"--" || word == b"-p") {
        words = &words[1..];
    }
    if words.is_empty() {
        let lines = shell.state.traps.iter().map(|(condition, action)| {
            [b"trap -- ", quote(action).as_slice(), b" ", condition.name().as_bytes(), b"\n"].concat()
        });
        let lines = lines.collect::<Vec<_>>().concat();
        return shell.print(lines);
    }
    if words == [b"-l".to_vec()] {
        return list(shell);
    }
    // Without an action, or with a number in its place, the default is meant.
    let reset = words.len() == 1 || number(&words[0]).is_some();
    let (action, conditions) =
        if reset { (None, words) } else { (Some(&words[0]).filter(|action| *action != b"-"), &words[1..]) };
    let mut status = 0;
    for word in conditions {
        match Condition::parse(&word.to_str_lossy()) {
            Some(condition) => shell.set_trap(condition, action.cloned()),
            None => {
                shell.report(format!("trap: {}: bad trap", word.as_bstr()));
                status = 1;
            }
        }
    }
    Ok(status)
}

fn list(shell: &mut Shell) -> Outcome {
    let lines: String = SIGNALS.iter().map(|(signal, name)| format!("{:>2}) {name}\n", signal.0)).collect();
    shell.print(lines)
}

pub(super) fn kill(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let mut words = &arguments[1..];
    let mut signal = Some(Condition::of(Signal::TERM));
    if let Some((option, rest)) = words.split_first() {
        match option.as_slice() {
            b"-l" | b"-L" => return names(shell, rest),
            b"-s" | b"-n" => {
                let name = rest.first().cloned().unwrap_or_default();
                signal = Condition::parse(&name.to_str_lossy());
                words = rest.get(1..).unwrap_or_default();
                if signal.is_none() {
                    return shell.complain(b"kill", format!("invalid signal number or name: {}", name.as_bstr()));
                }
            }
            b"--" => words = rest,
            [b'-', name @ ..] if !name.is_empty() => {
                signal = Condition::parse(&name.to_str_lossy());
                words = rest;
                if signal.is_none() {
                    return shell.complain(b"kill", format!("invalid signal number or name: {}", name.as_bstr()));
                }
            }
            _ => {}
        }
    }
    if words.first().is_some_and(|word| word == b"--") {
        words = &words[1..];
    }
    if words.is_empty() {
        return shell.complain(b"kill", "usage: kill [-s sigspec | -signum | -sigspec] [pid | job]...");
    }
    let signal = signal.unwrap_or(Condition::EXIT);
    let mut status = 0;
    for word in words {
        if let Err(problem) = send(shell, word, signal) {
            shell.report(format!("kill: {problem}"));
            status = 1;
        }
    }
    Ok(status)
}

fn send(shell: &Shell, word: &[u8], condition: Condition) -> Result<(), String> {
    let text = word.to_str_lossy();
    let target = if text.starts_with('%') {
        let index = shell.find_job(&text).ok_or_else(|| format!("{text}: no such job"))?;
        let job = &shell.jobs[index];
        job.group.map_or(Target::Process(job.pid), Target::Group)
    } else {
        let number = number(word).ok_or_else(|| format!("Illegal number: {text}"))?;
        let pid = Pid::try_from(number.unsigned_abs()).map_err(|_| format!("{text}: No such process"))?;
        match number {
            -1 => Target::All,
            0 => Target::Group(process::identity().group),
            1.. => Target::Process(pid),
            _ => Target::Group(pid),
        }
    };
    let signal = condition.signal();
    if signal.is_none() && condition != Condition::EXIT {
        return Err(format!("{}: not supported here", condition.name()));
    }
    process::kill(target, signal).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => format!("{text}: Operation not permitted"),
        _ => format!("{text}: No such process"),
    })
}

/// Names of signals, or of those that exit statuses stand for.
fn names(shell: &mut Shell, words: &[Vec<u8>]) -> Outcome {
    if words.is_empty() {
        return list(shell);
    }
    for word in words {
        let line = match number(word) {
            Some(number) => {
                let number = if number > 128 { number - 128 } else { number };
                Condition::parse(&number.to_string()).map(|condition| condition.name().to_owned())
            }
            None => Signal::parse(&word.to_str_lossy()).map(|signal| signal.0.to_string()),
        };
        match line {
            Some(line) => shell.print(format!("{line}\n"))?,
            None => return shell.complain(b"kill", format!("invalid signal number or name: {}", word.as_bstr())),
        };
    }
    Ok(0)
}
