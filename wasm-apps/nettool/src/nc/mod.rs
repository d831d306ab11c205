//! `nc`, with busybox's options: standard input to a connection or to datagrams, what comes back to standard output.

mod link;
mod options;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use nettool::datagrams::Datagrams;
use nettool::{Connection, accept, connect, explain, listen, timer, wait};

use self::link::{Link, Side, relay};
use self::options::Options;
use crate::Failure;

const TELNET_PORT: &str = "23";

pub(crate) fn main(arguments: Vec<OsString>) -> Result<(), Failure> {
    let options = Options::parse(arguments).map_err(|error| error.to_string())?;
    Ok(match (options.listen, options.udp) {
        (true, true) => serve_udp(&options),
        (true, false) => serve_tcp(&options),
        (false, _) => call(&options),
    }?)
}

/// `telnet HOST [PORT]`: `nc`, with telnet's words. The protocol's own commands are shown as they come.
pub(crate) fn telnet(arguments: Vec<OsString>) -> Result<(), Failure> {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let (host, port) = match words.as_slice() {
        [host] => (host.as_ref(), TELNET_PORT),
        [host, port] => (host.as_ref(), port.as_ref()),
        _ => return Err("usage: telnet HOST [PORT]".to_owned().into()),
    };
    let port = port.parse().map_err(|_| format!("bad port '{port}'"))?;
    let mut problem = None;
    for address in resolve(host, port)? {
        match connect(address, None) {
            Ok(connection) => {
                eprintln!("Connected to {host}");
                return Ok(relay(&connection, Side::Caller, None)?);
            }
            Err(error) => {
                let ip = address.ip();
                problem.get_or_insert_with(|| format!("can't connect to remote host ({ip}): {}", explain(error)));
            }
        }
    }
    Err(problem.unwrap_or_default().into())
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    if found.is_empty() { Err(format!("bad address '{host}'")) } else { Ok(found) }
}

/// Connects to the ports in turn: to find out whether somebody listens, or to the first one to talk.
fn call(options: &Options) -> Result<(), String> {
    let mut problem = None;
    let mut found = false;
    for port in options.ports() {
        match call_port(options, port) {
            Ok(link) => {
                found = true;
                if !options.scan {
                    return relay(link.as_ref(), Side::Caller, options.timeout);
                }
            }
            // Of many ports, those that are closed are told of only when asked for.
            Err(error) if options.has_range() && options.verbose < 2 => problem = Some(error),
            Err(error) if options.has_range() => {
                eprintln!("nc: {error}");
                problem = Some(String::new());
            }
            Err(error) => return Err(error),
        }
    }
    match problem {
        Some(problem) if !found => Err(problem),
        _ => Ok(()),
    }
}

fn call_port(options: &Options, port: u16) -> Result<Box<dyn Link>, String> {
    let mut problem = None;
    for address in resolve(&options.host, port)? {
        let made: Result<Box<dyn Link>, _> = if options.udp {
            Datagrams::connect(address).map(|socket| Box::new(socket) as _)
        } else {
            connect(address, options.timeout).map(|connection| Box::new(connection) as _)
        };
        match made {
            Ok(link) => {
                if options.verbose > 0 {
                    eprintln!("{} ({address}) open", options.host);
                }
                return Ok(link);
            }
            Err(error) => {
                problem.get_or_insert_with(|| format!("{} ({address}): {}", options.host, explain(error)));
            }
        }
    }
    Err(problem.unwrap_or_default())
}

fn serve_tcp(options: &Options) -> Result<(), String> {
    let address = listening_address(options)?;
    let failed = |error| format!("{address}: {}", explain(error));
    let listener = listen(address).map_err(failed)?;
    if options.verbose > 0 {
        eprintln!("listening on {address} ...");
    }
    let waiting = listener.subscribe();
    loop {
        if !wait(&waiting, options.timeout.map(timer).as_ref()) {
            return Err("timeout".to_owned());
        }
        let Some(connection) = accept(&listener).map_err(failed)? else { continue };
        if options.verbose > 0 {
            tell_of(&connection);
        }
        let result = relay(&connection, Side::Listener, options.timeout);
        if !options.keep_listening {
            return result;
        }
        // The next one may fare better.
        if let Err(problem) = result {
            eprintln!("nc: {problem}");
        }
    }
}

fn tell_of(connection: &Connection) {
    if let (Ok(local), Ok(peer)) = (connection.local_address(), connection.peer_address()) {
        eprintln!("connect to {local} from {} ({peer})", peer.ip());
    }
}

/// Talks to whoever sends the first datagram.
fn serve_udp(options: &Options) -> Result<(), String> {
    let address = listening_address(options)?;
    let failed = |error| format!("{address}: {}", explain(error));
    let mut socket = Datagrams::bind(address).map_err(failed)?;
    if options.verbose > 0 {
        eprintln!("listening on {address} ...");
    }
    let limit = options.timeout.unwrap_or(Duration::MAX);
    let first = {
        let arrival = socket.arrival().ok_or("the socket is closed")?;
        let timer = timer(limit);
        loop {
            if let Some(first) = socket.try_receive().map_err(failed)? {
                break first;
            }
            if !wait(&arrival, Some(&timer)) {
                return Err("timeout".to_owned());
            }
        }
    };
    let (data, peer) = first;
    socket.set_peer(Some(peer)).map_err(failed)?;
    if options.verbose > 0 {
        eprintln!("connect to {address} from {} ({peer})", peer.ip());
    }
    link::write_out(&data)?;
    relay(&socket, Side::Listener, options.timeout)
}

fn listening_address(options: &Options) -> Result<SocketAddr, String> {
    let port = options.listening_port()?;
    match &options.source {
        None => Ok((Ipv4Addr::UNSPECIFIED, port).into()),
        Some(source) => resolve(source, port).map(|found| found[0]),
    }
}
