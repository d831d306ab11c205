//! Serving: listening, accepting, and everything that lasts longer than a connection.

mod body;
mod clock;
mod connection;
mod disk;
mod listing;
mod log;
mod proxy;
mod respond;
mod upstream;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use husk_process::signals::{self, Signal};
use net_tasks::{Flag, Listener, Readiness, explain, sleep, spawn, within};
use nginx::config::{Config, ConfigError, Level, Listening};
use wasip2::sockets::network::ErrorCode;

use clock::Clock;
use connection::Connection;
use disk::Files;
use log::Logs;

/// Connections open at once; further ones wait to be accepted.
const MAX_CONNECTIONS: u64 = 4096;
/// The pause before accepting again when there are too many.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How long the last lines of the logs may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What all connections share.
pub(crate) struct Service {
    config: RefCell<Rc<Config>>,
    /// Grows with every configuration.
    generation: Cell<u64>,
    pub(crate) files: Files,
    pub(crate) logs: Logs,
    pub(crate) clock: Clock,
    pub(crate) numbers: Numbers,
    /// Raised when requests are finished but no new ones taken.
    pub(crate) quit: Flag,
    /// Raised when the last connection has ended after that.
    drained: Flag,
    /// Addresses listened on, each with what ends it.
    listening: RefCell<HashMap<SocketAddr, Flag>>,
}

/// What `stub_status` shows.
#[derive(Default)]
pub(crate) struct Numbers {
    pub(crate) active: Cell<u64>,
    pub(crate) accepted: Cell<u64>,
    pub(crate) requests: Cell<u64>,
    /// Requests being answered.
    pub(crate) writing: Cell<u64>,
}

/// Why the server cannot start.
#[derive(Debug)]
pub(crate) struct BindError {
    address: SocketAddr,
    error: ErrorCode,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, text) = explain(self.error);
        write!(formatter, "bind() to {} failed ({number}: {text})", self.address)
    }
}

/// From now on signals are for [`run`].
pub(crate) fn catch_signals() {
    signals::catch(&[Signal::Term, Signal::Int, Signal::Quit, Signal::Hup, Signal::Usr1]);
}

/// Serves until it is told to stop. `load` reads the configuration anew.
pub(crate) async fn run(config: Config, load: impl Fn() -> Result<Config, ConfigError>) -> Result<(), BindError> {
    let service = Rc::new(Service {
        config: RefCell::new(Rc::new(config)),
        generation: Cell::new(0),
        files: Files::new(),
        logs: Logs::default(),
        clock: Clock::default(),
        numbers: Numbers::default(),
        quit: Flag::default(),
        drained: Flag::default(),
        listening: RefCell::default(),
    });
    service.listen()?;
    service.note(Level::Notice, "start worker processes");
    let arrived = Readiness::new(signals::subscribe());
    let quit = service.quit.watch();
    loop {
        match signals::take() {
            // The last of a number of requests ends it like a signal.
            None => either(|context| arrived.poll(context), |context| quit.poll(context)).await,
            Some(Signal::Hup) => service.reload(&load),
            Some(Signal::Usr1) => service.logs.reopen(),
            Some(Signal::Quit) => service.stop_accepting(),
            Some(Signal::Term | Signal::Int) => break,
            // Nothing else is caught.
            Some(_) => {}
        }
        if service.quit.is_raised() {
            service.note(Level::Notice, "gracefully shutting down");
            service.drain(&arrived).await;
            break;
        }
    }
    service.note(Level::Notice, "exiting");
    within(LAST_LINES, service.logs.flush()).await;
    Ok(())
}

impl Service {
    pub(crate) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.config.borrow())
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    fn note(&self, level: Level, message: &str) {
        self.logs.error(&self.config().error_log, level, self.clock.unix_ms() / 1000, message);
    }

    /// Listens where the configuration says and has not been listened yet, and no longer elsewhere.
    fn listen(self: &Rc<Self>) -> Result<(), BindError> {
        let config = self.config();
        let wanted: Vec<&Rc<Listening>> = config.listeners.iter().filter(|one| !is_covered(one, &config)).collect();
        let mut listening = self.listening.borrow_mut();
        let mut bound = Vec::new();
        for one in wanted.iter().filter(|one| !listening.contains_key(&one.address)) {
            match Listener::bind(one.address, one.backlog) {
                Ok(listener) => bound.push((one.address, listener)),
                // An IPv6 socket of the same port may well serve both families.
                Err(ErrorCode::AddressInUse) if has_sibling(one.address, &config) => {}
                Err(error) => return Err(BindError { address: one.address, error }),
            }
        }
        listening.retain(|address, ended| {
            let kept = wanted.iter().any(|one| one.address == *address);
            if !kept {
                ended.raise();
            }
            kept
        });
        for (address, listener) in bound {
            let ended = Flag::default();
            listening.insert(address, ended.clone());
            spawn(Rc::clone(self).accept(address, listener, ended));
        }
        Ok(())
    }

    async fn accept(self: Rc<Self>, address: SocketAddr, listener: Listener, ended: Flag) {
        let watch = ended.watch();
        loop {
            while self.numbers.active.get() >= MAX_CONNECTIONS {
                sleep(ACCEPT_PAUSE).await;
            }
            let accepted = {
                let mut accepting = pin!(listener.accept());
                either(
                    |context| watch.poll(context).map(|()| None),
                    |context| accepting.as_mut().poll(context).map(Some),
                )
                .await
            };
            match accepted {
                None => return,
                Some(Ok(stream)) => {
                    let number = self.numbers.accepted.get() + 1;
                    self.numbers.accepted.set(number);
                    self.numbers.active.set(self.numbers.active.get() + 1);
                    let connection = Connection::new(Rc::clone(&self), stream, number, address);
                    spawn(connection.serve());
                }
                Some(Err(error)) => {
                    let (number, text) = explain(error);
                    self.note(Level::Alert, &format!("accept() failed ({number}: {text})"));
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn reload(self: &Rc<Self>, load: impl Fn() -> Result<Config, ConfigError>) {
        self.note(Level::Notice, "signal 1 (SIGHUP) received, reconfiguring");
        let config = match load() {
            Ok(config) => config,
            Err(error) => {
                self.note(Level::Emerg, &error.to_string());
                return;
            }
        };
        let former = self.config.replace(Rc::new(config));
        if let Err(error) = self.listen() {
            self.config.replace(former);
            self.note(Level::Emerg, &error.to_string());
            return;
        }
        self.generation.set(self.generation.get() + 1);
        self.logs.reopen();
        for warning in &self.config().warnings {
            self.note(Level::Warn, warning);
        }
        self.note(Level::Notice, "reconfigured");
    }

    /// Takes no more connections, and no more requests of those there are.
    pub(crate) fn stop_accepting(&self) {
        self.listening.borrow_mut().drain().for_each(|(_, ended)| ended.raise());
        self.quit.raise();
        if self.numbers.active.get() == 0 {
            self.drained.raise();
        }
    }

    /// Waits until the last connection has ended, or somebody has no more patience.
    async fn drain(&self, arrived: &Readiness) {
        let watch = self.drained.watch();
        poll_fn(|context| {
            if matches!(signals::take(), Some(Signal::Term | Signal::Int)) || watch.poll(context).is_ready() {
                return Poll::Ready(());
            }
            if arrived.poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    /// A connection has ended.
    pub(crate) fn ended(&self) {
        self.numbers.active.set(self.numbers.active.get() - 1);
        if self.quit.is_raised() && self.numbers.active.get() == 0 {
            self.drained.raise();
        }
    }

    /// The servers of a connection that was accepted at `address` and leads to `local`.
    pub(crate) fn listening(&self, address: SocketAddr, local: SocketAddr) -> Option<Rc<Listening>> {
        let config = self.config();
        let find = |address| config.listeners.iter().find(|one| one.address == address);
        let canonical = SocketAddr::new(local.ip().to_canonical(), local.port());
        find(canonical).or_else(|| find(address)).map(Rc::clone)
    }

    /// Counts an answered request; the last one of a server that was given a number of them ends it.
    pub(crate) fn answered(&self) {
        let answered = self.numbers.requests.get() + 1;
        self.numbers.requests.set(answered);
        if self.config.borrow().request_limit.is_some_and(|limit| answered >= limit) && !self.quit.is_raised() {
            self.stop_accepting();
        }
    }
}

/// What the first of two gives that is ready; the first one goes first.
async fn either<T>(
    mut first: impl FnMut(&mut Context<'_>) -> Poll<T>,
    mut second: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    poll_fn(|context| match first(context) {
        Poll::Pending => second(context),
        ready => ready,
    })
    .await
}

/// Whether another address of the configuration takes this one's connections.
fn is_covered(one: &Listening, config: &Config) -> bool {
    let any = match one.address {
        SocketAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], one.address.port())),
        SocketAddr::V6(_) => SocketAddr::from(([0; 16], one.address.port())),
    };
    any != one.address && config.listeners.iter().any(|other| other.address == any)
}

/// Whether the same port of the other family is listened on too.
fn has_sibling(address: SocketAddr, config: &Config) -> bool {
    let mut others = config.listeners.iter().map(|one| one.address).filter(|other| other.port() == address.port());
    address.ip().is_unspecified()
        && others.any(|other| other.is_ipv4() != address.is_ipv4() && other.ip().is_unspecified())
}
