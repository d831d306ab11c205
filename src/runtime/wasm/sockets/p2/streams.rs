//! A connection's pipes as `wasi:io` streams.

use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::base::pipe::{PipeReader, PipeWriter, ReadError, WriteError};

/// Most bytes one read hands to a guest.
const MAX_READ: usize = 256 * 1024;

/// What the peer sends.
pub(super) struct Receiving {
    reader: PipeReader,
    failed: bool,
}

impl Receiving {
    pub(super) fn new(reader: PipeReader) -> Self {
        Self { reader, failed: false }
    }
}

#[async_trait]
impl Pollable for Receiving {
    async fn ready(&mut self) {
        self.reader.ready().await;
    }
}

#[async_trait]
impl InputStream for Receiving {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        match self.reader.try_read(size.min(MAX_READ)) {
            Ok(bytes) => Ok(bytes),
            Err(ReadError::Empty) => Ok(Bytes::new()),
            Err(ReadError::End) => Err(StreamError::Closed),
            Err(ReadError::Reset) => Err(reset(&mut self.failed)),
        }
    }
}

/// What goes to the peer.
pub(super) struct Sending {
    writer: PipeWriter,
    failed: bool,
}

impl Sending {
    pub(super) fn new(writer: PipeWriter) -> Self {
        Self { writer, failed: false }
    }

    fn failure(&mut self, error: WriteError) -> StreamError {
        match error {
            WriteError::Reset => reset(&mut self.failed),
            WriteError::Broken => StreamError::Closed,
            WriteError::Full => StreamError::trap("write beyond what check-write permitted"),
        }
    }
}

#[async_trait]
impl Pollable for Sending {
    async fn ready(&mut self) {
        poll_fn(|context| self.writer.poll_ready(context)).await;
    }
}

#[async_trait]
impl OutputStream for Sending {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.writer.try_write(&bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(self.failure(WriteError::Full)),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// What is written is on its way already.
    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(|_room| ())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.writer.room().map_err(|error| self.failure(error))
    }
}

/// A reset is told once; after that the stream is closed.
fn reset(failed: &mut bool) -> StreamError {
    if std::mem::replace(failed, true) {
        return StreamError::Closed;
    }
    StreamError::LastOperationFailed(io::Error::from(io::ErrorKind::ConnectionReset).into())
}
