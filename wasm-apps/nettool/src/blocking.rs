//! A connection for programs that do one thing at a time: `Read` and `Write` that give up after a while.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use wasip2::io::streams::StreamError;

use crate::{Connection, timer, wait};

/// Reads and writes a connection; each waits for the peer no longer than a time limit.
pub struct Stream {
    connection: Connection,
    limit: Option<Duration>,
}

impl Stream {
    /// With no limit, it waits forever.
    pub fn new(connection: Connection, limit: Option<Duration>) -> Self {
        Self { connection, limit }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let timer = self.limit.map(timer);
        let readable = self.connection.input.subscribe();
        loop {
            match self.connection.input.read(buffer.len() as u64) {
                Ok(bytes) if bytes.is_empty() => {
                    if !wait(&readable, timer.as_ref()) {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Ok(bytes) => {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    return Ok(bytes.len());
                }
                Err(StreamError::Closed) => return Ok(0),
                Err(error) => return Err(broken(&error)),
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let timer = self.limit.map(timer);
        let writable = self.connection.output.subscribe();
        loop {
            match self.connection.output.check_write() {
                Ok(0) => {
                    if !wait(&writable, timer.as_ref()) {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Ok(room) => {
                    let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                    let written = self.connection.output.write(&bytes[..count]);
                    return written.map(|()| count).map_err(|error| broken(&error));
                }
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // The pod's network holds nothing back.
        Ok(())
    }
}

fn broken(error: &StreamError) -> io::Error {
    match error {
        StreamError::Closed => ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(_) => ErrorKind::ConnectionReset.into(),
    }
}
