//! `kill` and `killall`.

use std::ffi::OsString;

use husk_process::{SIGNALS, Signal, Target};

use crate::failure::{Failure, reason};
use crate::options::text;
use crate::procfs::{self, Process};

pub(crate) const KILL_USAGE: &str = "kill [-SIGNAL | -s SIGNAL] PID...
       kill -l [SIGNAL]...

Send SIGNAL (TERM) to processes; -PID stands for a process group, -1 for everything. -0 only asks for them";

pub(crate) const KILLALL_USAGE: &str = "killall [-SIGNAL | -s SIGNAL] [-q] NAME...
       killall -l

Send SIGNAL (TERM) to all processes called NAME";

/// What the options before the operands say.
struct Request {
    /// `None` only asks whether there are such processes.
    signal: Option<Signal>,
    list: bool,
    quiet: bool,
    operands: Vec<String>,
}

impl Request {
    fn parse(arguments: Vec<OsString>) -> Result<Self, Failure> {
        let mut arguments = arguments.into_iter().map(text).collect::<Result<Vec<_>, _>>()?.into_iter().peekable();
        let mut request = Self { signal: Some(Signal::TERM), list: false, quiet: false, operands: Vec::new() };
        while let Some(option) = arguments.next_if(|argument| argument.starts_with('-') && argument.len() > 1) {
            match option.as_str() {
                "--" => break,
                "-l" | "-L" | "--list" => request.list = true,
                "-q" | "--quiet" => request.quiet = true,
                "-s" | "-n" | "--signal" => {
                    let name = arguments.next().ok_or_else(|| Failure::usage("option requires an argument -- 's'"))?;
                    request.signal = signal(&name)?;
                }
                other => {
                    request.signal = signal(&other[1..])?;
                    // What follows a signal may begin with a hyphen: it is a group.
                    break;
                }
            }
        }
        arguments.next_if(|argument| argument == "--");
        request.operands = arguments.collect();
        Ok(request)
    }
}

/// The signal of a name or a number; 0 is none.
pub(super) fn signal(name: &str) -> Result<Option<Signal>, Failure> {
    if name == "0" || name == "EXIT" {
        return Ok(None);
    }
    Signal::parse(name).map(Some).ok_or_else(|| Failure::Usage(format!("{name}: invalid signal specification")))
}

pub(crate) fn kill(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let request = Request::parse(arguments)?;
    if request.list {
        return list(&request.operands);
    }
    if request.operands.is_empty() {
        return Err(Failure::usage("you need to specify whom to kill"));
    }
    let mut code = 0;
    for operand in &request.operands {
        let target = match operand.parse::<i64>() {
            Ok(-1) => Target::All,
            Ok(0) => Target::Group(husk_process::identity().group),
            Ok(number) => {
                let pid = u32::try_from(number.unsigned_abs()).map_err(|_| invalid_pid(operand))?;
                if number < 0 { Target::Group(pid) } else { Target::Process(pid) }
            }
            Err(_) => return Err(invalid_pid(operand)),
        };
        if let Err(error) = husk_process::kill(target, request.signal) {
            eprintln!("kill: can't kill pid {operand}: {}", no_such_process(&error));
            code = 1;
        }
    }
    Ok(code)
}

fn invalid_pid(operand: &str) -> Failure {
    Failure::Usage(format!("invalid number '{operand}'"))
}

/// WASI's `ESRCH` has no words of its own in Rust's library.
fn no_such_process(error: &std::io::Error) -> String {
    if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) {
        "No such process".to_owned()
    } else {
        reason(error)
    }
}

fn list(names: &[String]) -> Result<u8, Failure> {
    if names.is_empty() {
        for (signal, name) in SIGNALS {
            println!("{:2}) {name}", signal.0);
        }
    }
    for name in names {
        // The exit code of a program that a signal has ended stands for the signal.
        let name = match name.parse::<u8>() {
            Ok(code) if code > 128 => (code - 128).to_string(),
            _ => name.clone(),
        };
        let signal = Signal::parse(&name).ok_or_else(|| Failure::Usage(format!("unknown signal '{name}'")))?;
        if name.parse::<u8>().is_ok() { println!("{}", signal.name()) } else { println!("{}", signal.0) }
    }
    Ok(0)
}

pub(crate) fn killall(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let request = Request::parse(arguments)?;
    if request.list {
        return list(&request.operands);
    }
    if request.operands.is_empty() {
        return Err(Failure::missing_operand());
    }
    let own = husk_process::identity().pid;
    let processes = procfs::processes()?;
    let mut code = 0;
    for name in &request.operands {
        let mut found = false;
        for process in processes.iter().filter(|process| process.pid != own && is_called(process, name)) {
            found |= husk_process::kill(Target::Process(process.pid), request.signal).is_ok();
        }
        if !found {
            code = 1;
            if !request.quiet {
                eprintln!("killall: {name}: no process killed");
            }
        }
    }
    Ok(code)
}

/// Whether a process has this name: its program's, or that of the file it was called as.
pub(super) fn is_called(process: &Process, name: &str) -> bool {
    let called = process.arguments.first().map_or("", |first| first.rsplit('/').next().unwrap_or_default());
    process.name == name || called == name || process.arguments.first().is_some_and(|first| first == name)
}
