//! `nc HOST PORT` and `nc -l -p PORT`: standard input to a TCP connection, the connection to standard output.
//!
//! `-l` listens and serves one connection (`-k`: one after the other), `-w SECONDS` gives up after that long without a
//! byte, `-z` only finds out whether somebody listens.

use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use lexopt::prelude::*;
use nettool::{Connection, accept, connect, explain, listen};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::poll;
use wasip2::io::streams::{InputStream, StreamError};

/// Bytes moved at a time.
const BLOCK: u64 = 64 * 1024;

#[derive(Default)]
struct Options {
    listen: bool,
    keep_listening: bool,
    port: Option<u16>,
    /// How long to wait for a byte, in nanoseconds.
    timeout: Option<u64>,
    scan: bool,
    values: Vec<String>,
}

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), String> {
    let options = parse(arguments).map_err(|error| error.to_string())?;
    if options.listen {
        return serve(&options);
    }
    let [host, port] = options.values.as_slice() else { return Err("usage: nc HOST PORT | nc -l -p PORT".to_owned()) };
    let port: u16 = port.parse().map_err(|_| format!("bad port '{port}'"))?;
    let connection = reach(host, port)?;
    if options.scan {
        return Ok(());
    }
    relay(&connection, options.timeout)
}

fn parse(arguments: Vec<OsString>) -> Result<Options, lexopt::Error> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('l') => options.listen = true,
            Short('k') => options.keep_listening = true,
            Short('p') => options.port = Some(parser.value()?.parse()?),
            Short('w') => options.timeout = Some(parser.value()?.parse::<u64>()?.saturating_mul(1_000_000_000)),
            Short('z') => options.scan = true,
            Short('v' | 'n') => {}
            Value(value) => options.values.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

fn reach(host: &str, port: u16) -> Result<Connection, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|_| format!("bad address '{host}'"))?;
    let mut problem = format!("bad address '{host}'");
    for address in addresses {
        match connect(address) {
            Ok(connection) => return Ok(connection),
            Err(error) => problem = format!("{host} ({address}): {}", explain(error)),
        }
    }
    Err(problem)
}

fn serve(options: &Options) -> Result<(), String> {
    let port = options.port.or_else(|| options.values.last()?.parse().ok()).ok_or("-l needs a port: nc -l -p PORT")?;
    let listener = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        .map_err(|error| format!("port {port}: {}", explain(error)))?;
    let waiting = listener.subscribe();
    loop {
        waiting.block();
        let accepted = accept(&listener).map_err(|error| format!("port {port}: {}", explain(error)))?;
        let Some(connection) = accepted else { continue };
        relay(&connection, options.timeout)?;
        if !options.keep_listening {
            return Ok(());
        }
    }
}

/// Moves bytes both ways until the peer has nothing more to say. The end of standard input is passed on.
fn relay(connection: &Connection, timeout: Option<u64>) -> Result<(), String> {
    let stdin = wasip2::cli::stdin::get_stdin();
    let (typed, received) = (stdin.subscribe(), connection.input.subscribe());
    let mut stdin_open = true;
    loop {
        let timer = timeout.map(subscribe_duration);
        // The peer first, the timer second, then standard input for as long as it lasts.
        let mut sources = vec![&received];
        sources.extend(timer.as_ref());
        let stdin_index = sources.len();
        if stdin_open {
            sources.push(&typed);
        }
        let ready = poll(&sources);
        if ready.contains(&0) {
            match available(&connection.input)? {
                Some(bytes) => write_out(&bytes)?,
                None => return Ok(()),
            }
        } else if ready.contains(&(stdin_index as u32)) {
            match available(&stdin)? {
                Some(bytes) => send(connection, &bytes)?,
                None => {
                    connection.finish_sending();
                    stdin_open = false;
                }
            }
        } else if timer.is_some() {
            return Err("timed out".to_owned());
        }
    }
}

/// What can be read now; `None` at the end.
fn available(stream: &InputStream) -> Result<Option<Vec<u8>>, String> {
    match stream.read(BLOCK) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StreamError::Closed) => Ok(None),
        Err(StreamError::LastOperationFailed(error)) => Err(error.to_debug_string()),
    }
}

fn write_out(bytes: &[u8]) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| error.to_string())
}

fn send(connection: &Connection, mut bytes: &[u8]) -> Result<(), String> {
    // 4096 is the most that one call takes, by the interface's definition.
    while let Some((chunk, rest)) = bytes.split_at_checked(bytes.len().min(4096)).filter(|(chunk, _)| !chunk.is_empty())
    {
        connection.output.blocking_write_and_flush(chunk).map_err(|_| "the connection was closed".to_owned())?;
        bytes = rest;
    }
    Ok(())
}
