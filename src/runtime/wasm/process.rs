//! One guest process: a task with a `wasmtime::Store`, from its start to its exit status.
//!
//! ```text
//!  Process::new ─▶ start(body) ─▶ running ──body ends──────────────▶ ended(status)
//!       │                           └──── kill, container gone ──▶ ended(128 + signal)
//!       └── signal before start ──────────────────────────────────▶ ended(128 + signal)
//! ```
//! What the body is, a command or a server, is decided in `command` and `http`.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wasmtime::{Trap, WasmBacktrace};

use super::limits::OutOfMemory;
use super::process_table::{Pid, ProcessTable};
use super::signals::{Delivery, Signals};
use super::state::GuestExit;
use crate::runtime::{ExitReason, ExitStatus, Signal};

/// Bytes of an exit message, as Kubernetes bounds termination messages.
const MAX_MESSAGE_BYTES: usize = 4096;

/// Exit code of a trap: what a native program that aborts exits with (128 + SIGABRT).
const TRAP_EXIT_CODE: i32 = 134;

/// Added to a signal's number for the exit code of a process that died of it.
const SIGNAL_EXIT_BASE: i32 = 128;

/// The file mode creation mask of a process that has not set one, as everywhere.
const DEFAULT_UMASK: u32 = 0o022;

/// The error with which a host function ends the guest as a signal would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ended by signal {}", .0.number())]
pub(super) struct KilledBy(pub(super) Signal);

/// A guest process, as those outside see it.
#[derive(Debug)]
pub(super) struct Process {
    signals: Arc<Signals>,
    /// Its number and the table it is in.
    entry: OnceLock<(Pid, Weak<ProcessTable>)>,
    /// Permission bits that files and directories it makes do not get.
    umask: AtomicU32,
    /// Told when a child of it ended.
    child_ended: Notify,
    /// Cancelled with the signal in `killed_by` when the process must die.
    kill: CancellationToken,
    killed_by: Mutex<Option<Signal>>,
    status: watch::Sender<Option<ExitStatus>>,
    started: Mutex<bool>,
}

impl Process {
    /// A process that has not started.
    pub(super) fn new(signals: Signals) -> Arc<Self> {
        Arc::new(Self {
            signals: Arc::new(signals),
            entry: OnceLock::new(),
            umask: AtomicU32::new(DEFAULT_UMASK),
            child_ended: Notify::new(),
            kill: CancellationToken::new(),
            killed_by: Mutex::new(None),
            status: watch::Sender::new(None),
            started: Mutex::new(false),
        })
    }

    /// Where its signals arrive.
    pub(super) fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Its file mode creation mask.
    pub(super) fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Sets its file mode creation mask, and returns what it was.
    pub(super) fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Ordering::Relaxed)
    }

    /// The permission bits of a file it makes.
    pub(super) fn file_mode(&self) -> u32 {
        0o666 & !self.umask()
    }

    /// The permission bits of a directory it makes.
    pub(super) fn directory_mode(&self) -> u32 {
        0o777 & !self.umask()
    }

    /// Its number; 0 while it is in no table.
    pub(super) fn pid(&self) -> Pid {
        self.entry.get().map_or(0, |(pid, _)| *pid)
    }

    /// The table it is in.
    pub(super) fn table(&self) -> Option<Arc<ProcessTable>> {
        self.entry.get()?.1.upgrade()
    }

    /// Tells it where it is listed, once.
    pub(super) fn set_entry(&self, pid: Pid, table: &Arc<ProcessTable>) {
        let _listed_already = self.entry.set((pid, Arc::downgrade(table)));
    }

    /// Told when a child ended.
    pub(super) fn child_ended(&self) -> &Notify {
        &self.child_ended
    }

    /// How it ended, once it has.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        self.status.borrow().clone()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.status.borrow().is_some()
    }

    /// Starts `body`, which gives the exit status unless the process is killed first. `with_container` is cancelled when
    /// the container is gone. Returns false if it was started, or killed, before.
    pub(super) fn start<F>(self: &Arc<Self>, with_container: CancellationToken, body: F) -> bool
    where
        F: Future<Output = ExitStatus> + Send + 'static,
    {
        {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if *started || self.has_ended() {
                return false;
            }
            *started = true;
        }
        let end = EndOnDrop(Arc::clone(self));
        // The cooperative budget of tokio, which a guest's many small waits use up, makes it livelock under load; guests
        // yield by epochs instead.
        tokio::spawn(tokio::task::unconstrained(async move {
            let process = &end.0;
            let status = tokio::select! {
                biased;
                () = process.kill.cancelled() => signaled(process.fatal_signal()),
                () = with_container.cancelled() => signaled(Signal::Kill),
                status = body => status,
            };
            process.end(status);
        }));
        true
    }

    /// Delivers a signal: the guest takes it, or dies of it.
    pub(super) fn signal(&self, signal: Signal) {
        if self.has_ended() {
            return;
        }
        if self.signals.deliver(signal) == Delivery::Handled {
            return;
        }
        self.killed_by.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(signal);
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if *started {
            self.kill.cancel();
        } else {
            self.end(signaled(signal));
        }
    }

    /// Waits for the exit status.
    pub(super) async fn wait(&self) -> ExitStatus {
        let mut receiver = self.status.subscribe();
        let ended = receiver.wait_for(Option::is_some).await;
        ended.ok().and_then(|status| status.clone()).unwrap_or_else(|| signaled(Signal::Kill))
    }

    fn fatal_signal(&self) -> Signal {
        self.killed_by.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Signal::Kill)
    }

    fn end(&self, status: ExitStatus) {
        let first = self.status.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(status);
            }
            first
        });
        if let Some(table) = self.table().filter(|_| first) {
            table.ended(self.pid());
        }
    }
}

/// Gives the process an end even if its task is dropped with the executor, or panics.
struct EndOnDrop(Arc<Process>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(signaled(Signal::Kill));
    }
}

/// The status of a process that a signal ended.
pub(super) fn signaled(signal: Signal) -> ExitStatus {
    ExitStatus { code: SIGNAL_EXIT_BASE + signal.number(), reason: ExitReason::Signaled(signal), message: None }
}

/// The status of a process that ended by itself; only the low eight bits of the code count, as on Linux.
pub(super) fn exited(code: i32) -> ExitStatus {
    ExitStatus { code: code & 0xff, reason: ExitReason::Exited, message: None }
}

/// The status of a process whose guest ended with an error: an exit in disguise, a limit, or a trap.
pub(super) fn failed(error: &wasmtime::Error) -> ExitStatus {
    if let Some(GuestExit(code)) = error.downcast_ref::<GuestExit>() {
        return exited(*code);
    }
    if let Some(wasmtime_wasi::I32Exit(code)) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return exited(*code);
    }
    if let Some(KilledBy(signal)) = error.downcast_ref::<KilledBy>() {
        return signaled(*signal);
    }
    if error.is::<OutOfMemory>() {
        return ExitStatus { message: Some(message(error)), reason: ExitReason::OomKilled, ..signaled(Signal::Kill) };
    }
    ExitStatus { code: TRAP_EXIT_CODE, reason: ExitReason::Trapped, message: Some(message(error)) }
}

/// What went wrong, then where: the root cause before the backtrace, since the end is what gets cut off.
pub(super) fn message(error: &wasmtime::Error) -> String {
    let mut text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        text.push('\n');
        text.push_str(&backtrace.to_string());
    }
    text.truncate(text.floor_char_boundary(MAX_MESSAGE_BYTES));
    text.truncate(text.trim_end().len());
    text
}
