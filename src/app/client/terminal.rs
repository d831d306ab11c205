//! The terminal while a process elsewhere has it: keys go there as they are, and it learns of every change of size.

use std::io;

/// The terminal, raw until this is dropped.
pub(super) struct RawTerminal {
    #[cfg(unix)]
    before: rustix::termios::Termios,
}

impl RawTerminal {
    /// Makes the terminal on standard input raw, if there is one.
    #[cfg(unix)]
    pub(super) fn enter() -> io::Result<Option<Self>> {
        use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }

    /// There is no such terminal here.
    #[cfg(not(unix))]
    pub(super) fn enter() -> io::Result<Option<Self>> {
        Ok(None)
    }
}

#[cfg(unix)]
impl Drop for RawTerminal {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Columns and rows.
pub(super) fn size() -> Option<(u16, u16)> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some((size.ws_col, size.ws_row)).filter(|(columns, rows)| *columns > 0 && *rows > 0)
    }
    #[cfg(not(unix))]
    None
}

/// Tells when the size has changed.
pub(super) struct SizeChanges {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

/// Begins to listen for changes.
pub(super) fn size_changes() -> io::Result<SizeChanges> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(SizeChanges { signal: signal(SignalKind::window_change())? })
    }
    #[cfg(not(unix))]
    Ok(SizeChanges {})
}

impl SizeChanges {
    /// Resolves when it has.
    pub(super) async fn changed(&mut self) {
        #[cfg(unix)]
        self.signal.recv().await;
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    }
}
