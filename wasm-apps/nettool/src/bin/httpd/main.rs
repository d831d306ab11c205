//! A static file server: `httpd` of the `builtin/busybox` image, and what stands in for nginx in `builtin/nginx`.
//!
//! One loop waits for everything at once: new connections, readable and writable ones, signals and idle time-outs.
//! TERM, INT and QUIT end it with 0. Each answered request is one line on standard output.
//!
//! `httpd [-f] [-p [ADDRESS:]PORT] [-h DIRECTORY] [-n COUNT]`: `-n`, husk's own, ends it after COUNT requests.
//! Called as `nginx` it serves /usr/share/nginx/html on port 80 and accepts `-g DIRECTIVES`.

mod connection;
mod content;
mod request;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use husk_process::signals::{self, Signal};
use lexopt::prelude::*;
use nettool::{accept, explain, listen};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::{Pollable, poll};
use wasip2::sockets::tcp::TcpSocket;

use connection::{ServedConnection, Step};

/// Connections open at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// How often idle connections are looked for, in nanoseconds.
const IDLE_CHECK: u64 = 5_000_000_000;

/// What to serve, and where.
struct Options {
    address: SocketAddr,
    root: PathBuf,
    /// Ends after this many requests.
    limit: Option<u64>,
}

/// What connections need to know of the whole.
pub(crate) struct Service {
    pub(crate) root: PathBuf,
    /// Requests answered.
    pub(crate) served: u64,
    limit: Option<u64>,
}

impl Service {
    /// Whether the next request is the last one.
    pub(crate) fn is_last(&self) -> bool {
        self.limit.is_some_and(|limit| self.served + 1 >= limit)
    }

    fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| self.served >= limit)
    }
}

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    match parse(&name).and_then(|options| options.map_or(Ok(()), serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{name}: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// `None` when there is nothing left to do.
fn parse(name: &str) -> Result<Option<Options>, String> {
    let result = if name == "nginx" { parse_nginx() } else { parse_httpd() };
    result.map_err(|error| error.to_string())
}

fn parse_httpd() -> Result<Option<Options>, lexopt::Error> {
    let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
    let mut options = Options { address: anywhere, root: ".".into(), limit: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            // It always stays in the foreground: there is no background to go to.
            Short('f' | 'v') => {}
            Short('p') => {
                let text = parser.value()?.string()?;
                let address = text.parse().ok().or_else(|| Some((Ipv4Addr::UNSPECIFIED, text.parse().ok()?).into()));
                options.address = address.ok_or_else(|| format!("bad port '{text}'"))?;
            }
            Short('h') => options.root = parser.value()?.into(),
            Short('n') => options.limit = Some(parser.value()?.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(options))
}

fn parse_nginx() -> Result<Option<Options>, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('g') => {
                let directives = parser.value()?.string()?;
                for directive in directives.split(';').map(str::trim).filter(|directive| !directive.is_empty()) {
                    if directive != "daemon off" {
                        eprintln!("nginx: directive ignored by husk's built-in server: {directive}");
                    }
                }
            }
            Short('q') => {}
            Short('v' | 'V') => {
                eprintln!("nginx version: husk's built-in server");
                return Ok(None);
            }
            Short('c' | 's' | 't' | 'T') => {
                return Err("only -g is understood by husk's built-in server, which has no configuration file".into());
            }
            _ => return Err(argument.unexpected()),
        }
    }
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
    Ok(Some(Options { address, root: "/usr/share/nginx/html".into(), limit: None }))
}

fn serve(options: Options) -> Result<(), String> {
    signals::catch(&[Signal::Term, Signal::Int, Signal::Quit]);
    let listener = listen(options.address).map_err(|error| format!("{}: {}", options.address, explain(error)))?;
    let (stop, incoming) = (signals::subscribe(), listener.subscribe());
    let mut connections: Vec<ServedConnection> = Vec::new();
    let mut timer = None;
    let mut service = Service { root: options.root, served: 0, limit: options.limit };
    loop {
        let timer_now =
            (!connections.is_empty()).then(|| timer.take().unwrap_or_else(|| subscribe_duration(IDLE_CHECK)));
        let incoming = (connections.len() < MAX_CONNECTIONS && !service.is_done()).then_some(&incoming);
        let ready = wait(&stop, incoming, timer_now.as_ref(), &connections);
        if ready.stop && signals::take().is_some() {
            return Ok(());
        }
        timer = if ready.timer { None } else { timer_now };
        let mut index = 0;
        connections.retain_mut(|connection| {
            let (is_ready, expired) = (ready.connections.contains(&index), ready.timer && connection.is_idle());
            index += 1;
            match is_ready.then(|| connection.advance(&mut service)) {
                Some(Step::Closed) => false,
                Some(Step::Open) => true,
                None => !expired,
            }
        });
        if service.is_done() && connections.is_empty() {
            return Ok(());
        }
        if ready.incoming {
            accept_waiting(&listener, &mut connections);
        }
    }
}

/// What there is to do.
#[derive(Default)]
struct Ready {
    stop: bool,
    incoming: bool,
    timer: bool,
    /// Indices, ascending.
    connections: Vec<usize>,
}

fn wait(stop: &Pollable, incoming: Option<&Pollable>, timer: Option<&Pollable>, served: &[ServedConnection]) -> Ready {
    let mut sources = vec![stop];
    sources.extend(incoming);
    sources.extend(timer);
    let first_connection = sources.len();
    sources.extend(served.iter().map(ServedConnection::waits_for));
    let mut ready = Ready::default();
    for index in poll(&sources) {
        match usize::try_from(index).unwrap_or(usize::MAX) {
            0 => ready.stop = true,
            1 if incoming.is_some() => ready.incoming = true,
            index if index < first_connection => ready.timer = true,
            index => ready.connections.push(index - first_connection),
        }
    }
    ready
}

fn accept_waiting(listener: &TcpSocket, connections: &mut Vec<ServedConnection>) {
    while connections.len() < MAX_CONNECTIONS {
        match accept(listener) {
            Ok(Some(connection)) => connections.push(ServedConnection::new(connection)),
            Ok(None) => return,
            Err(error) => {
                eprintln!("accept: {}", explain(error));
                return;
            }
        }
    }
}
