//! The `builtin/grpc-health` image: a server that answers `grpc.health.v1.Health`, for trying out gRPC probes.
//!
//! `grpc-health [--port N] [--service NAME]... [--serving-after SECONDS] [--not-serving-after SECONDS]`: the server as
//! a whole, which clients ask for as "", and each named service are SERVING from the first time on, counted from its
//! start, and NOT_SERVING again from the second. Other services are NOT_FOUND. TERM, INT and QUIT end it with 0.

mod calls;
mod health;
mod transport;

use std::net::{Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use husk_process::signals::{self, Signal};
use lexopt::prelude::*;
use nettool::explain;
use nettool::tasks::{Listener, Readiness, block_on, spawn};

use health::Health;

/// Where etcd, the usual example of a gRPC probe, serves its clients and its health.
const DEFAULT_PORT: u16 = 2379;

struct Options {
    port: u16,
    health: Health,
}

fn main() -> ExitCode {
    let result = parse().map_err(|error| error.to_string()).and_then(|options| block_on(serve(options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("grpc-health: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut port = DEFAULT_PORT;
    let mut health = Health {
        started: Instant::now(),
        services: vec![String::new()],
        serving_after: Duration::ZERO,
        not_serving_after: Duration::MAX,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => port = parser.value()?.parse()?,
            Long("service") => health.services.push(parser.value()?.string()?),
            Long("serving-after") => health.serving_after = Duration::from_secs(parser.value()?.parse()?),
            Long("not-serving-after") => health.not_serving_after = Duration::from_secs(parser.value()?.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Options { port, health })
}

async fn serve(options: Options) -> Result<(), String> {
    signals::catch(&[Signal::Term, Signal::Int, Signal::Quit]);
    // The unspecified IPv6 address takes IPv4 as well.
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, options.port));
    let listener = Listener::bind(address).map_err(|error| format!("port {}: {}", options.port, explain(error)))?;
    println!("serving grpc.health.v1.Health on port {}", options.port);
    let health = Rc::new(options.health);
    spawn(async move {
        loop {
            match listener.accept().await {
                Ok(stream) => spawn(calls::serve(stream, Rc::clone(&health))),
                Err(error) => eprintln!("accept: {}", explain(error)),
            }
        }
    });
    Readiness::new(signals::subscribe()).wait().await;
    Ok(())
}
