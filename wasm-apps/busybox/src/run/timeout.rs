//! `timeout`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use husk_process::{Action, Group, Pid, Signal, SignalSet, Status, Target};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::duration;
use crate::failure::Failure;
use crate::options::text;
use crate::process::Program;

pub(crate) const USAGE: &str =
    "timeout [-s SIGNAL] [-k DURATION] [--preserve-status] [--foreground] [-v] DURATION PROGRAM [ARGUMENT]...

Run PROGRAM, and send it SIGNAL (TERM) after DURATION

  -k DURATION  Send KILL if it still runs that much later

Exit code: PROGRAM's; 124: it took too long; 125: trouble; 126, 127: PROGRAM cannot be run, or found";

const TIMED_OUT: u8 = 124;
const TROUBLE: u8 = 125;

struct Limits {
    signal: Signal,
    kill_after: Option<Duration>,
    preserve_status: bool,
    foreground: bool,
    verbose: bool,
}

pub(crate) fn timeout(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let trouble = |failure: Failure| Failure::Code(TROUBLE, failure.to_string());
    let mut limits =
        Limits { signal: Signal::TERM, kill_after: None, preserve_status: false, foreground: false, verbose: false };
    let operands = super::program(arguments, |name, line| {
        match name {
            "s" | "signal" => {
                let name = line.text()?;
                limits.signal =
                    Signal::parse(&name).ok_or_else(|| Failure::Usage(format!("{name}: invalid signal")))?;
            }
            "k" | "kill-after" => limits.kill_after = Some(duration::parse(&line.text()?)?),
            "preserve-status" => limits.preserve_status = true,
            "foreground" => limits.foreground = true,
            "v" | "verbose" => limits.verbose = true,
            _ => return Ok(false),
        }
        Ok(true)
    });
    let mut operands = operands.map_err(trouble)?.into_iter();
    let (Some(limit), Some(name)) = (operands.next(), operands.next()) else {
        return Err(Failure::Code(TROUBLE, "missing operand".to_owned()));
    };
    let limit = text(limit).and_then(|limit| duration::parse(&limit)).map_err(trouble)?;
    let mut program = Program::new([name].into_iter().chain(operands).collect());
    program.group = if limits.foreground { Group::Inherit } else { Group::New };
    let caught = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::CHLD];
    let signals = husk_process::open_signals(SignalSet::from_iter(caught))?;
    let pid = program.launch()?;
    limits.watch(pid, limit, signals)
}

impl Limits {
    fn watch(&self, pid: Pid, limit: Duration, signals: OwnedFd) -> Result<u8, Failure> {
        let mut signals = File::from(signals);
        let mut deadline = deadline(limit);
        let mut sent = None;
        loop {
            match husk_process::try_wait(Some(pid)) {
                Ok((_, status)) => return Ok(self.exit_code(status, sent.is_some())),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
            if wait_readable(&signals, deadline)? {
                let mut number = [0; 4];
                signals.read_exact(&mut number)?;
                let signal = Signal((u32::from_le_bytes(number) & 0xff) as u8);
                if signal != Signal::CHLD {
                    self.send(pid, signal);
                }
                continue;
            }
            let signal = if sent.is_some() { Signal::KILL } else { self.signal };
            if self.verbose {
                eprintln!("timeout: sending signal {} to process {pid}", signal.name());
            }
            self.send(pid, signal);
            deadline = self.kill_after.filter(|_| sent.is_none()).and_then(self::deadline);
            sent = Some(signal);
        }
    }

    fn send(&self, pid: Pid, signal: Signal) {
        let target = if self.foreground { Target::Process(pid) } else { Target::Group(pid) };
        // It may have ended by now.
        let _no_such_process = husk_process::kill(target, Some(signal));
    }

    fn exit_code(&self, status: Status, timed_out: bool) -> u8 {
        match status {
            Status::Signaled(Signal::KILL) if timed_out => status.code(),
            _ if timed_out && !self.preserve_status => TIMED_OUT,
            _ => {
                // What the programs of the group have done about the signals is no concern of this one's end.
                let _stays_caught = husk_process::set_action(Signal::CHLD, Action::Default);
                status.code()
            }
        }
    }
}

/// 0, and what is too far away to be reckoned with, is no deadline.
fn deadline(limit: Duration) -> Option<Instant> {
    Some(limit).filter(|limit| !limit.is_zero()).and_then(|limit| Instant::now().checked_add(limit))
}

/// Waits until there is something to read; false if the deadline came first.
fn wait_readable(signals: &File, deadline: Option<Instant>) -> Result<bool, Failure> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let left = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i32::try_from(left.subsec_nanos()).unwrap_or_default(),
    });
    let mut watched = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    let ready = poll(&mut watched, left.as_ref()).map_err(io::Error::from)?;
    Ok(ready > 0)
}
