//! `jobs`, `wait`, `fg` and `bg`.

use bstr::ByteSlice;

use super::{Outcome, number};
use crate::exec::{Flow, Job, Shell, Waited};
use crate::process::{Pid, Status};

/// Status of what is no child of this shell.
const UNKNOWN: u8 = 127;

pub(super) fn jobs(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    shell.reap();
    let only_pids = arguments[1..].iter().any(|option| option == b"-p");
    let with_pids = arguments[1..].iter().any(|option| option == b"-l");
    let last = shell.jobs.len();
    let lines: String = (1..)
        .zip(&shell.jobs)
        .map(|(place, job)| {
            if only_pids {
                return format!("{}\n", job.pid);
            }
            let mark = match last - place {
                0 => '+',
                1 => '-',
                _ => ' ',
            };
            let pid = if with_pids { format!("{} ", job.pid) } else { String::new() };
            format!("[{}] {mark} {pid}{:<20} {}\n", job.number, describe(job), job.text)
        })
        .collect();
    forget_ended(shell);
    shell.print(lines)
}

fn describe(job: &Job) -> String {
    match job.ended {
        None => "Running".to_owned(),
        Some(Status::Exited(0)) => "Done".to_owned(),
        Some(Status::Exited(code)) => format!("Done({code})"),
        Some(Status::Signaled(signal)) => format!("Terminated ({})", signal.name()),
    }
}

fn forget_ended(shell: &mut Shell) {
    while let Some(index) = shell.jobs.iter().position(|job| job.ended.is_some()) {
        shell.forget_job(index);
    }
}

/// Says which jobs have ended, before a prompt.
pub(crate) fn announce_ended(shell: &mut Shell) {
    shell.reap();
    let ended = shell.jobs.iter().filter(|job| job.ended.is_some());
    let lines: String = ended.map(|job| format!("[{}] {:<20} {}\n", job.number, describe(job), job.text)).collect();
    if !lines.is_empty() {
        // A terminal that is gone ends the shell when it is read from.
        let _ = shell.write(2, lines.as_bytes());
    }
    forget_ended(shell);
}

pub(super) fn wait(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    if arguments.len() < 2 {
        let pids: Vec<Pid> = shell.jobs.iter().map(|job| job.pid).collect();
        for pid in pids {
            if let Waited::Interrupted(signal) = shell.wait_or_signal(pid) {
                return Ok(128 + signal.0);
            }
            shell.jobs.retain(|job| job.pid != pid);
        }
        return Ok(0);
    }
    let mut status = 0;
    for argument in &arguments[1..] {
        let pid = match argument.to_str() {
            Ok(text) if text.starts_with('%') => shell.find_job(text).map(|index| shell.jobs[index].pid),
            _ => match number(argument) {
                Some(pid) => Pid::try_from(pid).ok(),
                None => return shell.complain(b"wait", format!("Illegal number: {}", argument.as_bstr())),
            },
        };
        status = match pid.map(|pid| (pid, wait_for_job(shell, pid))) {
            Some((_, Waited::Interrupted(signal))) => return Ok(128 + signal.0),
            Some((_, Waited::Ended(status))) => status.code(),
            _ => UNKNOWN,
        };
    }
    Ok(status)
}

fn wait_for_job(shell: &mut Shell, pid: Pid) -> Waited {
    if !shell.jobs.iter().any(|job| job.pid == pid) {
        return Waited::Unknown;
    }
    let waited = shell.wait_or_signal(pid);
    if !matches!(waited, Waited::Interrupted(_)) {
        shell.jobs.retain(|job| job.pid != pid);
    }
    waited
}

/// The job an argument means, or the last one.
fn chosen(shell: &mut Shell, arguments: &[Vec<u8>]) -> Result<Option<usize>, Flow> {
    let text = arguments.get(1).map_or("%%".into(), |text| text.to_str_lossy());
    let index = shell.find_job(&text);
    if index.is_none() {
        shell.complain(&arguments[0], format!("{text}: no such job"))?;
    }
    Ok(index)
}

pub(super) fn foreground(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let Some(index) = chosen(shell, arguments)? else { return Ok(2) };
    let (pid, group, text) = (shell.jobs[index].pid, shell.jobs[index].group, shell.jobs[index].text.clone());
    shell.print(format!("{text}\n"))?;
    shell.give_terminal(group);
    let status = shell.wait_for(pid);
    let own_group = shell.own_group;
    shell.give_terminal(own_group);
    shell.jobs.retain(|job| job.pid != pid);
    Ok(status.map_or(UNKNOWN, Status::code))
}

/// Jobs cannot be stopped here, so one that is in the background already goes on.
pub(super) fn background(shell: &mut Shell, arguments: &[Vec<u8>]) -> Outcome {
    let Some(index) = chosen(shell, arguments)? else { return Ok(2) };
    let line = format!("[{}] {}\n", shell.jobs[index].number, shell.jobs[index].text);
    shell.print(line)
}
