//! One connection: reads a request, writes the answer piece by piece as the peer takes it, and starts over.
//! It never waits itself; [`ServedConnection::waits_for`] says what the loop should wait for.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use nettool::Connection;
use wasip2::io::poll::Pollable;
use wasip2::io::streams::StreamError;

use crate::Service;
use crate::content::{Answer, Body, answer, error_page, phrase};
use crate::request::{Parsed, Request, parse};

/// How long a connection may be idle.
const IDLE_LIMIT: Duration = Duration::from_secs(65);
/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// Whether a connection goes on.
pub(crate) enum Step {
    Open,
    Closed,
}

/// Pollables are declared, and so dropped, before the streams they belong to.
pub(crate) struct ServedConnection {
    readable: Pollable,
    writable: Pollable,
    connection: Connection,
    received: Vec<u8>,
    state: State,
    last_active: Instant,
}

enum State {
    /// Waiting for a request, or the rest of one.
    Receiving,
    Sending(Sending),
    /// Everything is sent; what still comes is thrown away until the peer closes, so that it is not cut off by a reset.
    Closing,
}

/// An answer on its way.
struct Sending {
    /// Bytes ready to be written.
    block: Vec<u8>,
    written: usize,
    /// The rest of the body.
    file: Option<(File, u64)>,
    keep_alive: bool,
}

impl ServedConnection {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            readable: connection.input.subscribe(),
            writable: connection.output.subscribe(),
            connection,
            received: Vec::new(),
            state: State::Receiving,
            last_active: Instant::now(),
        }
    }

    pub(crate) fn waits_for(&self) -> &Pollable {
        if matches!(self.state, State::Sending(_)) { &self.writable } else { &self.readable }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.last_active.elapsed() > IDLE_LIMIT
    }

    /// Does what can be done without waiting.
    pub(crate) fn advance(&mut self, service: &mut Service) -> Step {
        self.last_active = Instant::now();
        loop {
            let went_on = match std::mem::replace(&mut self.state, State::Receiving) {
                State::Receiving => self.receive(service),
                State::Sending(sending) => self.send(sending, service),
                State::Closing => self.drain(),
            };
            match went_on {
                Some(true) => {}
                Some(false) => return Step::Open,
                None => return Step::Closed,
            }
        }
    }

    /// Throws away what comes. `Some(false)`: wait for more; `None`: the peer has closed.
    fn drain(&mut self) -> Option<bool> {
        self.state = State::Closing;
        self.connection.input.read(BLOCK as u64).ok().map(|bytes| !bytes.is_empty())
    }

    /// Reads until a request is whole. `Some(false)`: wait for more; `None`: close.
    fn receive(&mut self, service: &Service) -> Option<bool> {
        match parse(&self.received) {
            Parsed::Whole(request, length) => {
                self.received.drain(..length);
                self.respond(&request, service);
                return Some(true);
            }
            Parsed::Malformed => {
                self.received.clear();
                self.start("-", true, false, error_page(400, ""));
                return Some(true);
            }
            Parsed::Partial => {}
        }
        match self.connection.input.read(BLOCK as u64) {
            Ok(bytes) if bytes.is_empty() => Some(false),
            Ok(bytes) => {
                self.received.extend_from_slice(&bytes);
                Some(true)
            }
            Err(_) => None,
        }
    }

    fn respond(&mut self, request: &Request, service: &Service) {
        let keep_alive = request.keep_alive && !service.is_last();
        match request.method.as_str() {
            "GET" => self.start(&request.line, true, keep_alive, answer(&service.root, &request.target)),
            "HEAD" => self.start(&request.line, false, keep_alive, answer(&service.root, &request.target)),
            _ => self.start(&request.line, true, keep_alive, error_page(405, "Allow: GET, HEAD\r\n")),
        }
    }

    /// Begins an answer, and logs it.
    fn start(&mut self, line: &str, with_body: bool, keep_alive: bool, answer: Answer) {
        let Answer { status, length, headers, body } = answer;
        println!("{} \"{}\" {status} {length}", self.connection.peer(), line.escape_debug());
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut block = format!(
            "HTTP/1.1 {status} {}\r\nServer: husk\r\nContent-Length: {length}\r\n\
             Connection: {connection}\r\n{headers}\r\n",
            phrase(status)
        )
        .into_bytes();
        let mut file = None;
        match body {
            _ if !with_body => {}
            Body::Text(text) => block.extend_from_slice(text.as_bytes()),
            Body::File(contents) => file = Some((contents, length)),
        }
        self.state = State::Sending(Sending { block, written: 0, file, keep_alive });
    }

    /// Writes what the peer takes. `Some(true)`: done, next request; `Some(false)`: wait; `None`: close.
    fn send(&mut self, mut sending: Sending, service: &mut Service) -> Option<bool> {
        loop {
            if sending.written == sending.block.len() && !sending.refill()? {
                self.connection.output.flush().ok()?;
                service.served += 1;
                if !sending.keep_alive {
                    self.connection.finish_sending();
                    self.state = State::Closing;
                }
                return Some(true);
            }
            let room = match self.connection.output.check_write() {
                Ok(0) => {
                    self.state = State::Sending(sending);
                    return Some(false);
                }
                Ok(room) => usize::try_from(room).unwrap_or(usize::MAX),
                Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => return None,
            };
            let end = sending.block.len().min(sending.written.saturating_add(room));
            self.connection.output.write(&sending.block[sending.written..end]).ok()?;
            sending.written = end;
        }
    }
}

impl Sending {
    /// Gets the next piece of the file; false when nothing is left. `None` if the file became shorter meanwhile: the
    /// promised length cannot be kept any more.
    fn refill(&mut self) -> Option<bool> {
        let Some((file, left)) = self.file.as_mut().filter(|(_, left)| *left > 0) else { return Some(false) };
        self.block.resize(BLOCK.min(usize::try_from(*left).unwrap_or(BLOCK)), 0);
        let count = file.read(&mut self.block).ok().filter(|count| *count > 0)?;
        self.block.truncate(count);
        self.written = 0;
        *left -= count as u64;
        Some(true)
    }
}
