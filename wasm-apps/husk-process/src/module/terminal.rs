//! The terminal behind a descriptor. All calls fail with errno `ENOTTY` where there is none.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Pid, check, raw};

/// What the terminal does to what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Whole lines arrive, and can be corrected until Enter (termios' `ICANON`).
    pub lines: bool,
    /// What is typed is shown (`ECHO`).
    pub echo: bool,
    /// Ctrl-C and Ctrl-\ send INT and QUIT to the foreground group (`ISIG`).
    pub signals: bool,
}

impl Mode {
    /// How a terminal starts.
    pub const COOKED: Self = Self { lines: true, echo: true, signals: true };
    /// Every key arrives as it is.
    pub const RAW: Self = Self { lines: false, echo: false, signals: false };

    fn bits(self) -> u32 {
        u32::from(self.lines) | u32::from(self.echo) << 1 | u32::from(self.signals) << 2
    }
}

/// A terminal's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub rows: u16,
    pub columns: u16,
    pub mode: Mode,
    /// The process group that Ctrl-C is for.
    pub foreground: Pid,
}

/// The state of the terminal behind `fd`.
pub fn state(fd: BorrowedFd<'_>) -> io::Result<State> {
    let mut record = [0; 4];
    // SAFETY: the array outlives the call, which stores four u32 there.
    check(unsafe { raw::terminal_get(fd.as_raw_fd(), record.as_mut_ptr()) })?;
    let [rows, columns, mode, foreground] = record;
    let size = |value| u16::try_from(value).unwrap_or(u16::MAX);
    let mode = Mode { lines: mode & 1 != 0, echo: mode & 2 != 0, signals: mode & 4 != 0 };
    Ok(State { rows: size(rows), columns: size(columns), mode, foreground })
}

pub fn set_mode(fd: BorrowedFd<'_>, mode: Mode) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { raw::terminal_set_mode(fd.as_raw_fd(), mode.bits()) })
}

pub fn set_foreground(fd: BorrowedFd<'_>, group: Pid) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { raw::terminal_set_foreground(fd.as_raw_fd(), group) })
}
