//! The `builtin/httpbin` image: a server of HTTP answers for trying things out, with the paths of httpbin.org, and some
//! for probes: health that can be switched, delays, an end with any exit code. `/` lists them all.
//!
//! `httpbin [--port N] [--quiet]`; without `--port` it is `$PORT`, else 80. TERM, INT and QUIT end it with 0.

mod auth;
mod connection;
mod echo;
mod health;
mod range;
mod reply;
mod request;
mod routes;

use std::cell::Cell;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;

use husk_process::signals::{self, Signal};
use lexopt::prelude::*;
use nettool::explain;
use nettool::tasks::{Listener, Readiness, block_on, spawn};

use health::Health;

const DEFAULT_PORT: u16 = 80;
/// Connections served at a time; further ones are told to come back.
const MAX_CONNECTIONS: usize = 512;

/// What all connections share.
struct Server {
    health: Health,
    /// Whether requests are logged.
    logs: bool,
    connections: Cell<usize>,
}

fn main() {
    let result = parse().map_err(|error| error.to_string()).and_then(|(port, logs)| block_on(serve(port, logs)));
    if let Err(problem) = result {
        eprintln!("httpbin: {problem}");
        wasip2::cli::exit::exit_with_code(1);
    }
}

fn parse() -> Result<(u16, bool), lexopt::Error> {
    let mut port = None;
    let mut logs = true;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('p') | Long("port") => port = Some(parser.value()?.parse()?),
            Short('q') | Long("quiet") => logs = false,
            _ => return Err(argument.unexpected()),
        }
    }
    let port = match (port, std::env::var("PORT")) {
        (Some(port), _) => port,
        (None, Ok(text)) if !text.is_empty() => text.parse().map_err(|_| format!("$PORT is not a port: '{text}'"))?,
        (None, _) => DEFAULT_PORT,
    };
    Ok((port, logs))
}

async fn serve(port: u16, logs: bool) -> Result<(), String> {
    signals::catch(&[Signal::Term, Signal::Int, Signal::Quit]);
    // The unspecified IPv6 address takes IPv4 as well.
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = Listener::bind(address).map_err(|error| format!("port {port}: {}", explain(error)))?;
    println!("listening on port {port}");
    let server = Rc::new(Server { health: Health::default(), logs, connections: Cell::new(0) });
    spawn(async move {
        loop {
            match listener.accept().await {
                Ok(stream) if server.connections.get() >= MAX_CONNECTIONS => connection::refuse(stream),
                Ok(stream) => {
                    server.connections.set(server.connections.get() + 1);
                    let server = Rc::clone(&server);
                    spawn(async move {
                        connection::serve(stream, &server).await;
                        server.connections.set(server.connections.get() - 1);
                    });
                }
                Err(error) => eprintln!("accept: {}", explain(error)),
            }
        }
    });
    Readiness::new(signals::subscribe()).wait().await;
    Ok(())
}
