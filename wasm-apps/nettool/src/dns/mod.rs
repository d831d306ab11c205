//! A DNS client: questions over UDP, over TCP where the answer is too long, to the name servers of `/etc/resolv.conf`.

mod config;
mod message;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nettool::blocking::Stream;
use nettool::datagrams::Datagrams;
use nettool::{connect, explain};
use wasip2::random::random::get_random_u64;
use wasip2::sockets::network::ErrorCode;

pub(crate) use config::Config;
pub(crate) use message::{Answer, Kind, Outcome, Record, reverse};

/// Why a name server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing came in time.
    TimedOut,
    /// There is nobody, or what came is not an answer.
    Broken(String),
    /// The name is none that can be asked for.
    BadName,
}

/// Asks the servers in turn, as many rounds as the configuration says, until one answers.
pub(crate) fn ask(
    config: &Config,
    servers: &[SocketAddr],
    name: &str,
    kind: Kind,
) -> Result<(SocketAddr, Answer), Failure> {
    let mut failure = Failure::TimedOut;
    for _ in 0..config.attempts {
        for server in servers {
            match ask_one(config, *server, name, kind) {
                Ok(answer) => return Ok((*server, answer)),
                Err(Failure::BadName) => return Err(Failure::BadName),
                Err(error) => failure = error,
            }
        }
    }
    Err(failure)
}

fn ask_one(config: &Config, server: SocketAddr, name: &str, kind: Kind) -> Result<Answer, Failure> {
    let id = get_random_u64() as u16;
    let question = message::question(id, name, kind).ok_or(Failure::BadName)?;
    let answer = over_udp(config.timeout, server, id, &question)?;
    if answer.truncated { over_tcp(config.timeout, server, id, &question) } else { Ok(answer) }
}

fn over_udp(limit: Duration, server: SocketAddr, id: u16, question: &[u8]) -> Result<Answer, Failure> {
    let socket = Datagrams::connect(server).map_err(failure)?;
    socket.send(question).map_err(failure)?;
    let asked = Instant::now();
    loop {
        let left = limit.saturating_sub(asked.elapsed());
        // What is no answer to this question may be a late one to an earlier one, or somebody's guess.
        if let Some(answer) = message::answer(id, &socket.receive(left).map_err(failure)?) {
            return Ok(answer);
        }
    }
}

fn over_tcp(limit: Duration, server: SocketAddr, id: u16, question: &[u8]) -> Result<Answer, Failure> {
    let mut stream = Stream::new(connect(server, Some(limit)).map_err(failure)?, Some(limit));
    let mut exchange = || {
        let length = u16::try_from(question.len()).map_err(|_| ErrorKind::InvalidInput)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error: std::io::Error| match error.kind() {
        ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Broken(error.to_string()),
    })?;
    message::answer(id, &answer).ok_or_else(|| Failure::Broken("the answer is to another question".to_owned()))
}

fn failure(error: ErrorCode) -> Failure {
    if error == ErrorCode::Timeout { Failure::TimedOut } else { Failure::Broken(explain(error)) }
}
