//! Standard input and output on one side, a connection or datagrams on the other.

use std::io::Write;
use std::time::Duration;

use nettool::datagrams::Datagrams;
use nettool::{Connection, explain, timer};
use wasip2::cli::stdin::get_stdin;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, StreamError};

/// Bytes read at a time; a datagram has no more.
const BLOCK: u64 = 64 * 1024;
/// The most of standard input that goes into one datagram.
const DATAGRAM: usize = 8 * 1024;

/// What can be talked to.
pub(super) trait Link {
    /// Ready while something can be received.
    fn readable(&self) -> Result<Pollable, String>;
    /// What can be received now; `None` at the end.
    fn receive(&self) -> Result<Option<Vec<u8>>, String>;
    fn send(&self, bytes: &[u8]) -> Result<(), String>;
    /// Nothing more will be sent.
    fn finish_sending(&self);
}

impl Link for Connection {
    fn readable(&self) -> Result<Pollable, String> {
        Ok(self.input.subscribe())
    }

    fn receive(&self) -> Result<Option<Vec<u8>>, String> {
        available(&self.input)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), String> {
        // 4096 is the most that one call takes, by the interface's definition.
        for chunk in bytes.chunks(4096) {
            self.output.blocking_write_and_flush(chunk).map_err(|_| "Broken pipe".to_owned())?;
        }
        Ok(())
    }

    fn finish_sending(&self) {
        Connection::finish_sending(self);
    }
}

impl Link for Datagrams {
    fn readable(&self) -> Result<Pollable, String> {
        self.arrival().ok_or_else(|| "the socket is closed".to_owned())
    }

    fn receive(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(Some(self.try_receive().map_err(explain)?.map(|(data, _)| data).unwrap_or_default()))
    }

    fn send(&self, bytes: &[u8]) -> Result<(), String> {
        bytes.chunks(DATAGRAM).try_for_each(|datagram| Datagrams::send(self, datagram).map_err(explain))
    }

    /// Datagrams have no end.
    fn finish_sending(&self) {}
}

/// Which side of a connection this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Listener,
}

/// Moves bytes both ways until the peer has nothing more to say, or says nothing for `timeout` after the end of
/// standard input. That end is passed on; but a listener that was started without anything to say leaves the word to
/// its caller, which would take it for the end of all.
pub(super) fn relay(link: &dyn Link, side: Side, timeout: Option<Duration>) -> Result<(), String> {
    let mut passes_on_the_end = side == Side::Caller;
    let stdin = get_stdin();
    let (typed, received) = (stdin.subscribe(), link.readable()?);
    let mut stdin_open = true;
    loop {
        let patience = timeout.filter(|_| !stdin_open).map(timer);
        // The peer first; then standard input, or how long to wait after its end.
        let mut sources = vec![&received];
        sources.extend(if stdin_open { Some(&typed) } else { patience.as_ref() });
        if poll(&sources).contains(&0) {
            match link.receive()? {
                Some(bytes) => write_out(&bytes)?,
                None => return Ok(()),
            }
        } else if !stdin_open {
            return Ok(());
        } else if let Some(bytes) = available(&stdin)? {
            link.send(&bytes)?;
            passes_on_the_end = true;
        } else {
            if passes_on_the_end {
                link.finish_sending();
            }
            stdin_open = false;
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

pub(super) fn write_out(bytes: &[u8]) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| error.to_string())
}
