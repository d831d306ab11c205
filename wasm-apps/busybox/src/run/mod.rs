//! Applets that run other programs: env, nice, nohup, setsid, time, timeout, watch and xargs.

mod env;
mod timeout;
mod watch;
mod xargs;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use husk_process::{Group, Signal, SignalSet, Status};

use crate::failure::Failure;
use crate::options::{CommandLine, Item, unknown};
use crate::process::Program;

pub(crate) use env::{USAGE as ENV_USAGE, env};
pub(crate) use timeout::{USAGE as TIMEOUT_USAGE, timeout};
pub(crate) use watch::{USAGE as WATCH_USAGE, watch};
pub(crate) use xargs::{USAGE as XARGS_USAGE, xargs};

pub(crate) const NICE_USAGE: &str = "nice [-n ADJUSTMENT] [PROGRAM [ARGUMENT]...]

Run PROGRAM; husk gives all programs of a container the same share, so ADJUSTMENT changes nothing";

pub(crate) const NOHUP_USAGE: &str = "nohup PROGRAM [ARGUMENT]...

Run PROGRAM immune to hangups, with output to nohup.out if it would go to a terminal";

pub(crate) const SETSID_USAGE: &str = "setsid [-cw] PROGRAM [ARGUMENT]...

Run PROGRAM in a process group of its own";

pub(crate) const TIME_USAGE: &str = "time [-p] PROGRAM [ARGUMENT]...

Run PROGRAM and say how long it took";

/// The operands of an applet whose options end at the program it runs.
fn program(
    arguments: Vec<OsString>,
    mut option: impl FnMut(&str, &mut CommandLine) -> Result<bool, Failure>,
) -> Result<Vec<OsString>, Failure> {
    let mut line = CommandLine::new(arguments);
    while let Some(item) = line.next()? {
        match item {
            Item::Operand(first) => return line.program(first),
            Item::Option(name) => {
                if !option(&name, &mut line)? {
                    return Err(unknown(&name));
                }
            }
        }
    }
    Ok(Vec::new())
}

pub(crate) fn nice(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let argv = program(arguments, |name, line| {
        match name {
            "n" | "adjustment" => drop(line.number::<i64>()?),
            digit if digit.bytes().all(|byte| byte.is_ascii_digit()) => {}
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if argv.is_empty() {
        println!("0");
        return Ok(0);
    }
    Err(Program::new(argv).exec())
}

pub(crate) fn nohup(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let argv = program(arguments, |_, _| Ok(false))?;
    if argv.is_empty() {
        return Err(Failure::missing_operand());
    }
    let mut program = Program::new(argv);
    program.ignored = SignalSet::EMPTY | Signal::HUP;
    if std::io::stdout().is_terminal() {
        let path = PathBuf::from("nohup.out");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Failure::at(&path))?;
        eprintln!("nohup: ignoring input and appending output to 'nohup.out'");
        if std::io::stderr().is_terminal() {
            program.error = Some(file.try_clone()?.into());
        }
        program.output = Some(file.into());
    } else if std::io::stderr().is_terminal() {
        program.error = Some(husk_process::duplicate(std::os::fd::AsFd::as_fd(&std::io::stdout()))?);
    }
    Err(program.exec())
}

pub(crate) fn setsid(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let mut wait = false;
    let argv = program(arguments, |name, _| {
        wait |= matches!(name, "w" | "wait");
        Ok(matches!(name, "w" | "wait" | "c" | "ctty"))
    })?;
    if argv.is_empty() {
        return Err(Failure::missing_operand());
    }
    let mut program = Program::new(argv);
    program.group = Group::New;
    if wait {
        return Ok(program.run()?.code());
    }
    program.launch()?;
    Ok(0)
}

pub(crate) fn time(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let argv = program(arguments, |name, _| Ok(matches!(name, "p" | "v")))?;
    if argv.is_empty() {
        return Ok(0);
    }
    let start = Instant::now();
    let status = Program::new(argv).run()?;
    let elapsed = start.elapsed().as_secs_f64();
    if let Status::Signaled(signal) = status {
        eprintln!("Command terminated by signal {}", signal.0);
    }
    // What a program of its container has used of the CPU is nobody's to see.
    eprintln!("real\t{}m {:.2}s\nuser\t0m 0.00s\nsys\t0m 0.00s", (elapsed / 60.0) as u64, elapsed % 60.0);
    Ok(status.code())
}
