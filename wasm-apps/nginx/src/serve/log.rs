//! Logs. Lines are gathered and written when a tick's requests are answered, so that a slow reader of the log holds up
//! nobody until very much is waiting.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::future::poll_fn;
use std::io::Write;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use husk_process::processes;
use net_tasks::{Readiness, sleep, spawn};
use nginx::config::{ErrorLog, Level, LogTarget};
use nginx::exchange::Exchange;
use nginx::http::date::Parts;
use nginx::values::{evaluate, log_line};
use wasip2::cli::{stderr, stdout};
use wasip2::io::streams::OutputStream;

/// Bytes that may wait; a log that is read more slowly than it grows holds the server up from here on.
const MAX_WAITING: usize = 4 << 20;
/// The pause before looking again whether a log has been read.
const PAUSE: Duration = Duration::from_millis(10);
/// Most that is written to a stream at once.
const MAX_WRITE: usize = 64 * 1024;

/// All logs.
#[derive(Clone, Default)]
pub(crate) struct Logs(Rc<State>);

#[derive(Default)]
struct State {
    sinks: RefCell<HashMap<Key, Rc<Sink>>>,
}

#[derive(PartialEq, Eq, Hash, Clone)]
enum Key {
    Stdout,
    Stderr,
    File(Rc<str>),
}

/// Where lines go.
struct Sink {
    waiting: RefCell<Vec<u8>>,
    /// Whether a task is writing.
    writing: Cell<bool>,
    /// Who waits until everything is written.
    flushing: RefCell<Option<Waker>>,
    end: End,
}

enum End {
    Stream(OutputStream),
    File(RefCell<File>),
    /// It could not be opened.
    Nowhere,
}

impl Logs {
    fn sink(&self, target: &LogTarget) -> Rc<Sink> {
        let key = match target {
            LogTarget::Stdout => Key::Stdout,
            LogTarget::Stderr => Key::Stderr,
            LogTarget::File(path) => Key::File(Rc::clone(path)),
        };
        let mut sinks = self.0.sinks.borrow_mut();
        let sink = sinks.entry(key).or_insert_with_key(|key| {
            let end = match key {
                Key::Stdout => End::Stream(stdout::get_stdout()),
                Key::Stderr => End::Stream(stderr::get_stderr()),
                Key::File(path) => match OpenOptions::new().create(true).append(true).open(&**path) {
                    Ok(file) => End::File(RefCell::new(file)),
                    Err(_) => End::Nowhere,
                },
            };
            Rc::new(Sink { waiting: RefCell::default(), writing: Cell::new(false), flushing: RefCell::default(), end })
        });
        Rc::clone(sink)
    }

    /// Opens files anew at their next line.
    pub(crate) fn reopen(&self) {
        self.0.sinks.borrow_mut().retain(|key, _| !matches!(key, Key::File(_)));
    }

    /// Logs an answered request.
    pub(crate) fn access(&self, exchange: &Exchange) {
        for log in exchange.settings.access_logs.iter() {
            let skipped = log.condition.as_ref().map(|condition| evaluate(condition, exchange));
            if skipped.is_some_and(|value| matches!(value.as_str(), "" | "0")) {
                continue;
            }
            let sink = self.sink(&log.target);
            {
                let mut waiting = sink.waiting.borrow_mut();
                log_line(&log.format, exchange, &mut waiting);
                waiting.push(b'\n');
            }
            Sink::start(&sink);
        }
    }

    /// Logs what went wrong with a request.
    pub(crate) fn messages(&self, exchange: &Exchange) {
        let seconds = exchange.times.unix_ms / 1000;
        for (level, message) in &exchange.messages {
            let Exchange { client, server, request, .. } = exchange;
            let host = request.header("host").map(|host| format!(", host: \"{host}\"")).unwrap_or_default();
            let line = String::from_utf8_lossy(request.line());
            let message = format!(
                "*{} {message}, client: {}, server: {}, request: \"{line}\"{host}",
                client.number, client.address, server.name
            );
            self.error(&exchange.settings.error_log, *level, seconds, &message);
        }
    }

    /// Logs a message.
    pub(crate) fn error(&self, log: &ErrorLog, level: Level, seconds: u64, message: &str) {
        if level > log.level {
            return;
        }
        let sink = self.sink(&log.target);
        let pid = processes::pid();
        let message: String = message.chars().flat_map(printable).collect();
        let line = format!("{} [{}] {pid}#{pid}: {message}\n", Parts::new(seconds).error_log(), level.name());
        sink.waiting.borrow_mut().extend_from_slice(line.as_bytes());
        Sink::start(&sink);
    }

    /// Writes everything that waits, however long it takes.
    pub(crate) async fn flush(&self) {
        let sinks: Vec<_> = self.0.sinks.borrow().values().cloned().collect();
        for sink in sinks {
            Sink::start(&sink);
            poll_fn(|context| sink.poll_written(context)).await;
        }
    }

    /// Waits while a log has fallen so far behind that no more should be added.
    pub(crate) async fn keep_up(&self) {
        while self.0.sinks.borrow().values().any(|sink| sink.waiting.borrow().len() > MAX_WAITING) {
            sleep(PAUSE).await;
        }
    }
}

/// Control characters of a message do not reach a terminal.
fn printable(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = (!character.is_control()).then_some(character);
    plain.into_iter().chain(escaped.into_iter().flatten())
}

impl Sink {
    /// Writes after the requests of this tick.
    fn start(this: &Rc<Self>) {
        if !this.writing.replace(true) {
            let sink = Rc::clone(this);
            spawn(async move {
                sink.write().await;
                sink.writing.set(false);
                sink.flushing.take().into_iter().for_each(Waker::wake);
            });
        }
    }

    fn poll_written(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.writing.get() {
            return Poll::Ready(());
        }
        *self.flushing.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    async fn write(&self) {
        let mut ready = None;
        loop {
            let waiting = self.waiting.take();
            if waiting.is_empty() {
                return;
            }
            match &self.end {
                End::Nowhere => {}
                // A log that cannot be written must not stop the server.
                End::File(file) => drop(file.borrow_mut().write_all(&waiting)),
                End::Stream(stream) => write_all(stream, &mut ready, &waiting).await,
            }
        }
    }
}

async fn write_all(stream: &OutputStream, ready: &mut Option<Readiness>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.check_write() {
            Ok(0) => {
                let ready = ready.get_or_insert_with(|| Readiness::new(stream.subscribe()));
                ready.wait().await;
            }
            Ok(room) => {
                let count = bytes.len().min(usize::try_from(room).unwrap_or(MAX_WRITE)).min(MAX_WRITE);
                if stream.write(&bytes[..count]).is_err() {
                    return;
                }
                bytes = &bytes[count..];
            }
            Err(_) => return,
        }
    }
    let _nobody_reads = stream.flush();
}
