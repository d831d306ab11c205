//! Development stand-in for husk_process.
#![allow(warnings)]
use std::ffi::{CString, OsStr};
use std::io;
use std::ops::BitOr;
use std::os::fd::*;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::*;
pub type Pid = u32;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub u8);
pub const SIGNALS: &[(Signal, &str)] = &[
    (Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::QUIT, "QUIT"), (Signal::KILL, "KILL"), (Signal::USR1, "USR1"), (Signal::USR2, "USR2"),
    (Signal::PIPE, "PIPE"), (Signal::TERM, "TERM"), (Signal::CHLD, "CHLD"), (Signal::WINCH, "WINCH"),
];
impl Signal {
    pub const HUP: Self = Self(1); pub const INT: Self = Self(2); pub const QUIT: Self = Self(3); pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10); pub const USR2: Self = Self(12); pub const PIPE: Self = Self(13); pub const TERM: Self = Self(15);
    pub const CHLD: Self = Self(17); pub const WINCH: Self = Self(28);
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let known = |(signal, known): &&(Self, &str)| *known == name || upper.parse() == Ok(signal.0);
        SIGNALS.iter().find(known).map(|(signal, _)| *signal)
    }
    pub fn name(self) -> &'static str { SIGNALS.iter().find(|(signal, _)| *signal == self).map_or("?", |(_, name)| name) }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SignalSet(u64);
impl SignalSet { pub const EMPTY: Self = Self(0); pub fn contains(self, signal: Signal) -> bool { self.0 & 1 << signal.0 != 0 } }
impl BitOr<Signal> for SignalSet { type Output = Self; fn bitor(self, signal: Signal) -> Self { Self(self.0 | 1 << signal.0) } }
impl FromIterator<Signal> for SignalSet { fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self { signals.into_iter().fold(Self::EMPTY, Self::bitor) } }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action { Default = 0, Ignore = 1, Catch = 2 }
static PENDING: AtomicU64 = AtomicU64::new(0);
extern "C" fn on_signal(n: libc::c_int) { PENDING.fetch_or(1 << n, Ordering::SeqCst); }
static FIRST: AtomicBool = AtomicBool::new(true);
pub fn set_action(signal: Signal, action: Action) -> io::Result<Action> {
    if signal == Signal::PIPE && FIRST.swap(false, Ordering::SeqCst) { return Ok(Action::Default); }
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut old: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = match action { Action::Default => libc::SIG_DFL, Action::Ignore => libc::SIG_IGN, Action::Catch => on_signal as *const () as usize };
        if libc::sigaction(signal.0 as i32, &new, &mut old) < 0 { return Err(io::Error::last_os_error()); }
        Ok(match old.sa_sigaction { libc::SIG_DFL => Action::Default, libc::SIG_IGN => Action::Ignore, _ => Action::Catch })
    }
}
pub fn take_signal() -> Option<Signal> {
    let pending = PENDING.load(Ordering::SeqCst);
    if pending == 0 { return None; }
    let n = pending.trailing_zeros() as u8;
    PENDING.fetch_and(!(1 << n), Ordering::SeqCst);
    Some(Signal(n))
}
pub fn open_signals(_: SignalSet) -> io::Result<OwnedFd> { Err(io::ErrorKind::Unsupported.into()) }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity { pub pid: Pid, pub parent: Pid, pub group: Pid }
pub fn identity() -> Identity { unsafe { Identity { pid: libc::getpid() as u32, parent: libc::getppid() as u32, group: libc::getpgrp() as u32 } } }
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    unsafe { if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) < 0 { return Err(io::Error::last_os_error()); } Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))) }
}
pub fn memory_file() -> io::Result<OwnedFd> {
    unsafe { let fd = libc::memfd_create(c"m".as_ptr(), libc::MFD_CLOEXEC); if fd < 0 { return Err(io::Error::last_os_error()); } Ok(OwnedFd::from_raw_fd(fd)) }
}
pub fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> { fd.try_clone_to_owned() }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group { Inherit, New, Join(Pid) }
pub struct Spawn<'a> {
    pub program: Option<&'a OsStr>, pub argv: &'a [&'a OsStr], pub env: &'a [&'a OsStr], pub working_directory: &'a OsStr,
    pub descriptors: &'a [(u32, BorrowedFd<'a>)], pub ignored: SignalSet, pub group: Group,
}
impl Spawn<'_> {
    pub fn spawn(&self) -> io::Result<Pid> {
        let c = |s: &OsStr| CString::new(s.as_bytes()).map_err(io::Error::other);
        let program = match self.program { Some(p) => c(p)?, None => c"/proc/self/exe".to_owned() };
        let argv: Vec<_> = self.argv.iter().map(|s| c(s)).collect::<Result<_, _>>()?;
        let env: Vec<_> = self.env.iter().map(|s| c(s)).collect::<Result<_, _>>()?;
        let dir = c(self.working_directory)?;
        let mut a: Vec<_> = argv.iter().map(|s| s.as_ptr()).collect(); a.push(std::ptr::null());
        let mut e: Vec<_> = env.iter().map(|s| s.as_ptr()).collect(); e.push(std::ptr::null());
        let (r, w) = pipe()?;
        unsafe {
            let pid = libc::fork();
            if pid < 0 { return Err(io::Error::last_os_error()); }
            if pid == 0 {
                let mut high = Vec::new();
                for (to, fd) in self.descriptors { high.push((*to, libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100))); }
                let w2 = libc::fcntl(w.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100);
                for n in 0..3 { if !self.descriptors.iter().any(|(to, _)| *to == n) { libc::close(n as i32); if n == 0 { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY); } } }
                for (to, fd) in high { libc::dup2(fd, to as i32); }
                libc::chdir(dir.as_ptr());
                match self.group { Group::Inherit => {}, Group::New => { libc::setpgid(0, 0); }, Group::Join(g) => { libc::setpgid(0, g as i32); } }
                for n in 1..32 { if n != 9 && n != 19 { libc::signal(n, if self.ignored.contains(Signal(n as u8)) { libc::SIG_IGN } else { libc::SIG_DFL }); } }
                libc::execve(program.as_ptr(), a.as_ptr(), e.as_ptr());
                let errno = *libc::__errno_location();
                libc::write(w2, &errno as *const _ as *const _, 4);
                libc::_exit(127);
            }
            drop(w);
            let mut errno = 0i32;
            let n = libc::read(r.as_raw_fd(), &mut errno as *mut _ as *mut _, 4);
            if n == 4 { libc::waitpid(pid, std::ptr::null_mut(), 0); return Err(io::Error::from_raw_os_error(errno)); }
            Ok(pid as u32)
        }
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status { Exited(u8), Signaled(Signal) }
impl Status { pub fn code(self) -> u8 { match self { Self::Exited(code) => code, Self::Signaled(signal) => signal.0 + 128 } } }
pub fn wait(child: Option<Pid>) -> io::Result<(Pid, Status)> { wait_with(child, 0) }
pub fn try_wait(child: Option<Pid>) -> io::Result<(Pid, Status)> { wait_with(child, libc::WNOHANG) }
fn wait_with(child: Option<Pid>, flags: i32) -> io::Result<(Pid, Status)> {
    if flags == 0 && PENDING.load(Ordering::SeqCst) != 0 { return Err(io::ErrorKind::Interrupted.into()); }
    let mut status = 0;
    let pid = unsafe { libc::waitpid(child.map_or(-1, |p| p as i32), &mut status, flags) };
    if pid < 0 { return Err(io::Error::last_os_error()); }
    if pid == 0 { return Err(io::ErrorKind::WouldBlock.into()); }
    Ok((pid as u32, if libc::WIFSIGNALED(status) { Status::Signaled(Signal(libc::WTERMSIG(status) as u8)) } else { Status::Exited(libc::WEXITSTATUS(status) as u8) }))
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target { Process(Pid), Group(Pid), All }
pub fn kill(target: Target, signal: Option<Signal>) -> io::Result<()> {
    let t = match target { Target::Process(p) => p as i32, Target::Group(g) => -(g as i32), Target::All => -1 };
    if unsafe { libc::kill(t, signal.map_or(0, |s| s.0 as i32)) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
pub mod terminal {
    use super::*;
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Mode { pub lines: bool, pub echo: bool, pub signals: bool }
    impl Mode { pub const COOKED: Self = Self { lines: true, echo: true, signals: true }; pub const RAW: Self = Self { lines: false, echo: false, signals: false }; }
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct State { pub rows: u16, pub columns: u16, pub mode: Mode, pub foreground: Pid }
    pub fn state(fd: BorrowedFd<'_>) -> io::Result<State> {
        unsafe { let mut t: libc::termios = std::mem::zeroed(); if libc::tcgetattr(fd.as_raw_fd(), &mut t) < 0 { return Err(io::Error::last_os_error()); }
        Ok(State { rows: 24, columns: 80, mode: Mode::COOKED, foreground: libc::tcgetpgrp(fd.as_raw_fd()) as u32 }) }
    }
    pub fn set_mode(fd: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
        unsafe { let mut t: libc::termios = std::mem::zeroed(); if libc::tcgetattr(fd.as_raw_fd(), &mut t) < 0 { return Err(io::Error::last_os_error()); }
        for (on, bit) in [(mode.lines, libc::ICANON), (mode.echo, libc::ECHO), (mode.signals, libc::ISIG)] { if on { t.c_lflag |= bit } else { t.c_lflag &= !bit } }
        if mode.lines { t.c_iflag |= libc::ICRNL } else { t.c_iflag &= !libc::ICRNL }
        libc::tcsetattr(fd.as_raw_fd(), libc::TCSADRAIN, &t); Ok(()) }
    }
    pub fn set_foreground(fd: BorrowedFd<'_>, group: Pid) -> io::Result<()> { unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN); libc::tcsetpgrp(fd.as_raw_fd(), group as i32); } Ok(()) }
}
