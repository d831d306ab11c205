//! Processes, signals, terminals and permissions of files for 0.1 modules.

pub mod files;
mod raw;
pub mod terminal;

use std::ffi::OsStr;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::wasi::ffi::OsStrExt;

/// A process's number.
pub type Pid = u32;

/// A signal by Linux's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub u8);

/// Every signal husk delivers, with its name.
pub const SIGNALS: &[(Signal, &str)] = &[
    (Signal::HUP, "HUP"),
    (Signal::INT, "INT"),
    (Signal::QUIT, "QUIT"),
    (Signal::KILL, "KILL"),
    (Signal::USR1, "USR1"),
    (Signal::USR2, "USR2"),
    (Signal::PIPE, "PIPE"),
    (Signal::TERM, "TERM"),
    (Signal::CHLD, "CHLD"),
    (Signal::WINCH, "WINCH"),
];

impl Signal {
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const QUIT: Self = Self(3);
    /// Cannot be caught or ignored.
    pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10);
    pub const USR2: Self = Self(12);
    /// A write to a pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    pub const TERM: Self = Self(15);
    /// A child ended; ignored unless caught.
    pub const CHLD: Self = Self(17);
    /// The terminal's size changed; ignored unless caught.
    pub const WINCH: Self = Self(28);

    /// The signal of a name such as `TERM` or `SIGTERM`, or a number, in whatever case.
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = |(signal, known): &&(Self, &str)| *known == name || upper.parse() == Ok(signal.0);
        SIGNALS.iter().find(known).map(|(signal, _)| *signal)
    }

    /// The name without `SIG`.
    pub fn name(self) -> &'static str {
        SIGNALS.iter().find(|(signal, _)| *signal == self).map_or("?", |(_, name)| name)
    }
}

/// A set of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalSet(u64);

impl SignalSet {
    pub const EMPTY: Self = Self(0);

    pub fn contains(self, signal: Signal) -> bool {
        self.0 & 1 << signal.0 != 0
    }
}

impl BitOr<Signal> for SignalSet {
    type Output = Self;

    fn bitor(self, signal: Signal) -> Self {
        Self(self.0 | 1 << signal.0)
    }
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::EMPTY, Self::bitor)
    }
}

/// What a process does about a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Ends the process; CHLD and WINCH are ignored.
    Default = 0,
    Ignore = 1,
    /// Queues the signal for [`take_signal`]. Calls that wait for children end with `Interrupted`.
    Catch = 2,
}

/// Sets what this process does about `signal`, and returns what it did before.
pub fn set_action(signal: Signal, action: Action) -> io::Result<Action> {
    let mut before = 0;
    // SAFETY: `before` outlives the call, which stores one u32 there.
    check(unsafe { raw::signal_action(signal.0.into(), action as u32, &raw mut before) })?;
    Ok(match before {
        1 => Action::Ignore,
        2 => Action::Catch,
        _ => Action::Default,
    })
}

/// Takes the oldest caught signal that has arrived, if any.
pub fn take_signal() -> Option<Signal> {
    let mut number = 0;
    // SAFETY: `number` outlives the call, which stores one u32 there.
    check(unsafe { raw::signal_take(&raw mut number) }).ok()?;
    u8::try_from(number).ok().map(Signal)
}

/// A descriptor that can be polled, and reads as a little-endian u32 for each caught signal. Those of `signals` are
/// caught from now on.
pub fn open_signals(signals: SignalSet) -> io::Result<OwnedFd> {
    // SAFETY: `signal_open` stores one i32 and, if it succeeds, nothing else owns that descriptor.
    unsafe { opened(|fd| raw::signal_open(signals.0.cast_signed(), fd)) }
}

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub pid: Pid,
    /// 0 for the container's first process and for those executed in it from outside.
    pub parent: Pid,
    /// The process group.
    pub group: Pid,
}

/// Who this process is.
pub fn identity() -> Identity {
    let mut record = [0; 3];
    // SAFETY: the array outlives the call, which stores three u32 there. It cannot fail.
    unsafe { raw::identity(record.as_mut_ptr()) };
    Identity { pid: record[0], parent: record[1], group: record[2] }
}

/// A pipe, its end to read first. It holds 64 KiB.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut reading, mut writing) = (-1, -1);
    // SAFETY: both outlive the call, which stores an i32 in each; nothing else owns these new descriptors.
    unsafe {
        check(raw::pipe(&raw mut reading, &raw mut writing))?;
        Ok((OwnedFd::from_raw_fd(reading), OwnedFd::from_raw_fd(writing)))
    }
}

/// A file without a name, to read, write and seek in, gone with its last descriptor. The sizes of a container's are
/// bounded together; a write beyond fails with `StorageFull`.
pub fn memory_file() -> io::Result<OwnedFd> {
    // SAFETY: `memory_file` stores one i32 and, if it succeeds, nothing else owns that descriptor.
    unsafe { opened(|fd| raw::memory_file(fd)) }
}

/// Another descriptor of the same open file, pipe or socket: position and flags are shared.
pub fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: `dup` stores one i32 and, if it succeeds, nothing else owns that descriptor.
    unsafe { opened(|new| raw::dup(fd.as_raw_fd(), new)) }
}

/// Makes the number `to` stand for what `fd` stands for; what it stood for is closed.
pub fn duplicate_to(fd: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    // SAFETY: no memory is involved. That nobody relies on `to` meaning something else is for the caller to know, as
    // it is with `dup2`; I/O safety of this process is not memory safety of the host's.
    check(unsafe { raw::dup_to(fd.as_raw_fd(), to) })
}

/// The process group of a new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Its parent's.
    Inherit,
    /// A new one, which has the number of the process.
    New,
    /// An existing one.
    Join(Pid),
}

/// A program to start.
pub struct Spawn<'a> {
    /// A path, or a name to be looked for on `PATH` of `env`. `None`: the program of this process.
    pub program: Option<&'a OsStr>,
    /// All arguments, the name the program is called by first.
    pub argv: &'a [&'a OsStr],
    /// The environment: `NAME=value` each.
    pub env: &'a [&'a OsStr],
    /// The working directory, absolute. 0.1 programs have none of their own and learn it from `PWD`.
    pub working_directory: &'a OsStr,
    /// Descriptors the program gets: its number, then this process's. Everything else is closed to it.
    pub descriptors: &'a [(u32, BorrowedFd<'a>)],
    /// Signals the program ignores at its start; it does the default about all others.
    pub ignored: SignalSet,
    pub group: Group,
}

impl Spawn<'_> {
    /// Starts it. Fails with `NotFound`, `PermissionDenied` (it may not be executed), errno `ENOEXEC` (it is no program;
    /// scripts that begin with `#!` are run by their interpreter), `EAGAIN` (too many processes) and what opening
    /// a file fails with.
    pub fn spawn(&self) -> io::Result<Pid> {
        let mut pid = 0;
        // SAFETY: everything the options point to, and `pid`, outlives the call.
        self.with_options(|options| check(unsafe { raw::spawn(options, &raw mut pid) }))?;
        Ok(pid)
    }

    /// Runs it in this process, instead of this program, and in its group. Returns only if that fails.
    pub fn exec(&self) -> io::Error {
        // SAFETY: everything the options point to outlives the call.
        match self.with_options(|options| check(unsafe { raw::exec(options) })) {
            Err(error) => error,
            Ok(()) => io::Error::other("the program was not replaced"),
        }
    }

    fn with_options<T>(&self, call: impl FnOnce(*const raw::SpawnOptions) -> T) -> T {
        let strings = |list: &[&OsStr]| list.iter().map(|text| raw::Bytes::of(text.as_bytes())).collect::<Vec<_>>();
        let (argv, env) = (strings(self.argv), strings(self.env));
        let descriptors: Vec<_> =
            self.descriptors.iter().map(|(to, fd)| [*to, fd.as_raw_fd().cast_unsigned()]).collect();
        let options = raw::SpawnOptions {
            program: raw::Bytes::of(self.program.unwrap_or_default().as_bytes()),
            argv: argv.as_ptr(),
            argv_count: argv.len(),
            env: env.as_ptr(),
            env_count: env.len(),
            working_directory: raw::Bytes::of(self.working_directory.as_bytes()),
            descriptors: descriptors.as_ptr(),
            descriptors_count: descriptors.len(),
            ignored: self.ignored.0,
            group: match self.group {
                Group::Inherit => u32::MAX,
                Group::New => 0,
                Group::Join(group) => group,
            },
        };
        call(&raw const options)
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Exited(u8),
    Signaled(Signal),
}

impl Status {
    /// What a shell makes of it: the exit code, or 128 + the signal's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => signal.0 + 128,
        }
    }
}

/// Waits for a child (`None`: any) to end and forgets it. Fails with errno `ECHILD` if there is none, and with
/// `Interrupted` while a caught signal other than CHLD waits to be taken.
pub fn wait(child: Option<Pid>) -> io::Result<(Pid, Status)> {
    wait_with(child, 0)
}

/// As [`wait`], but fails with `WouldBlock` rather than wait.
pub fn try_wait(child: Option<Pid>) -> io::Result<(Pid, Status)> {
    wait_with(child, raw::WAIT_NO_HANG)
}

fn wait_with(child: Option<Pid>, flags: u32) -> io::Result<(Pid, Status)> {
    let mut record = [0; 3];
    // SAFETY: the array outlives the call, which stores three u32 there.
    check(unsafe { raw::wait(child.unwrap_or_default(), flags, record.as_mut_ptr()) })?;
    let [pid, signaled, value] = record;
    let value = (value & 0xff) as u8;
    Ok((pid, if signaled == 1 { Status::Signaled(Signal(value)) } else { Status::Exited(value) }))
}

/// Who a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Process(Pid),
    Group(Pid),
    /// All of the container but this one.
    All,
}

/// Sends a signal; `None` only asks whether there is such a process.
pub fn kill(target: Target, signal: Option<Signal>) -> io::Result<()> {
    let target = match target {
        Target::Process(pid) => i64::from(pid),
        Target::Group(group) => -i64::from(group),
        Target::All => i64::MIN,
    };
    // SAFETY: no memory is involved.
    check(unsafe { raw::kill(target, signal.map_or(0, |signal| signal.0.into())) })
}

fn check(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

/// The descriptor that `open` stores.
///
/// # Safety
///
/// `open` must store a new descriptor whenever it returns 0.
unsafe fn opened(open: impl FnOnce(*mut i32) -> i32) -> io::Result<OwnedFd> {
    let mut fd = -1;
    check(open(&raw mut fd))?;
    // SAFETY: by this function's contract.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
