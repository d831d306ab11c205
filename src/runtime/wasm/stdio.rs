//! Standard streams of guests over [`base::pipe`](crate::base::pipe) ends, for WASI 0.2 and 0.3. A full pipe makes the guest wait.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::base::pipe::{PipeReader, PipeWriter, ReadError, WriteError};

/// The most bytes one read or write call of a guest moves.
const MAX_CHUNK: usize = 64 * 1024;

/// A guest's standard input; without a pipe it reads as end of file.
#[derive(Debug, Clone)]
pub(super) struct GuestStdin {
    /// Where bytes come from.
    pub(super) reader: Option<PipeReader>,
    /// Whether the guest is told that it is a terminal.
    pub(super) tty: bool,
}

/// A guest's standard output or error.
#[derive(Debug, Clone)]
pub(super) struct GuestStdout {
    /// Where bytes go.
    pub(super) writer: PipeWriter,
    /// Whether the guest is told that it is a terminal.
    pub(super) tty: bool,
}

impl IsTerminal for GuestStdin {
    fn is_terminal(&self) -> bool {
        self.tty
    }
}

impl StdinStream for GuestStdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(PipeBytes::reader(self.reader.clone()))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(PipeInput(self.reader.clone()))
    }
}

impl IsTerminal for GuestStdout {
    fn is_terminal(&self) -> bool {
        self.tty
    }
}

impl StdoutStream for GuestStdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(PipeBytes::writer(self.writer.clone()))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(PipeOutput { writer: self.writer.clone(), pending: Bytes::new() })
    }
}

/// A `wasi:io` input stream that reads a pipe.
#[derive(Debug)]
struct PipeInput(Option<PipeReader>);

#[async_trait]
impl Pollable for PipeInput {
    async fn ready(&mut self) {
        if let Some(reader) = &self.0 {
            reader.ready().await;
        }
    }
}

#[async_trait]
impl InputStream for PipeInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let reader = self.0.as_ref().ok_or(StreamError::Closed)?;
        match reader.try_read(size.min(MAX_CHUNK)) {
            Ok(bytes) => Ok(bytes),
            Err(ReadError::Empty) => Ok(Bytes::new()),
            Err(ReadError::End) => Err(StreamError::Closed),
            Err(ReadError::Reset) => Err(StreamError::LastOperationFailed(wasmtime::Error::msg("connection reset"))),
        }
    }

    // Readers of one pipe race, so readiness may be gone by the time of the read: wait again, however often.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        loop {
            self.ready().await;
            let bytes = self.read(size)?;
            if size == 0 || !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }
}

/// A `wasi:io` output stream that writes a pipe. What a write could not place at once, because another writer of the
/// same pipe was faster, is kept and goes first.
#[derive(Debug)]
struct PipeOutput {
    writer: PipeWriter,
    pending: Bytes,
}

impl PipeOutput {
    /// Places what is pending as far as there is room.
    fn place(&mut self) -> StreamResult<()> {
        while !self.pending.is_empty() {
            match self.writer.try_write(&self.pending) {
                Ok(written) => drop(self.pending.split_to(written)),
                Err(WriteError::Full) => return Ok(()),
                Err(WriteError::Broken | WriteError::Reset) => return Err(StreamError::Closed),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for PipeOutput {
    async fn ready(&mut self) {
        loop {
            self.writer.ready().await;
            if self.place().is_err() || self.pending.is_empty() {
                return;
            }
        }
    }
}

#[async_trait]
impl OutputStream for PipeOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_CHUNK || !self.pending.is_empty() {
            return Err(StreamError::trap("write exceeds what check-write permitted"));
        }
        self.pending = bytes;
        self.place()
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.place()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.place()?;
        if !self.pending.is_empty() {
            return Ok(0);
        }
        self.writer.room().map(|room| room.min(MAX_CHUNK)).map_err(|_| StreamError::Closed)
    }

    // As for reads: another writer may have been faster.
    async fn write_ready(&mut self) -> StreamResult<usize> {
        loop {
            self.ready().await;
            let room = self.check_write()?;
            if room > 0 {
                return Ok(room);
            }
        }
    }
}

/// A pipe end as tokio's byte stream.
#[derive(Debug)]
pub(super) struct PipeBytes {
    reader: Option<PipeReader>,
    writer: Option<PipeWriter>,
}

impl PipeBytes {
    /// A stream to read; without a pipe at its end.
    pub(super) fn reader(reader: Option<PipeReader>) -> Self {
        Self { reader, writer: None }
    }

    /// A stream to write.
    pub(super) fn writer(writer: PipeWriter) -> Self {
        Self { reader: None, writer: Some(writer) }
    }
}

impl AsyncRead for PipeBytes {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(reader) = &self.reader else { return Poll::Ready(Ok(())) };
        loop {
            match reader.try_read(buffer.remaining()) {
                Ok(bytes) => {
                    buffer.put_slice(&bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(ReadError::Empty) => std::task::ready!(reader.poll_ready(context)),
                Err(ReadError::End) => return Poll::Ready(Ok(())),
                Err(ReadError::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }
}

impl AsyncWrite for PipeBytes {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(writer) = &self.writer else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        loop {
            let room = match writer.room() {
                Ok(room) => room,
                Err(error) => return Poll::Ready(Err(write_error(error))),
            };
            if room == 0 && !bytes.is_empty() {
                std::task::ready!(writer.poll_ready(context));
                continue;
            }
            match writer.try_write(&Bytes::copy_from_slice(&bytes[..bytes.len().min(room).min(MAX_CHUNK)])) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(WriteError::Full) => std::task::ready!(writer.poll_ready(context)),
                Err(error) => return Poll::Ready(Err(write_error(error))),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(writer) = &self.writer {
            writer.close();
        }
        Poll::Ready(Ok(()))
    }
}

fn write_error(error: WriteError) -> io::Error {
    match error {
        WriteError::Full => io::ErrorKind::WouldBlock.into(),
        WriteError::Broken => io::ErrorKind::BrokenPipe.into(),
        WriteError::Reset => io::ErrorKind::ConnectionReset.into(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::base::pipe::pipe;

    #[tokio::test]
    async fn output_waits_for_the_reader() {
        let (writer, reader) = pipe(4);
        let mut output = GuestStdout { writer, tty: false }.p2_stream();
        let writing =
            tokio::spawn(async move { output.blocking_write_and_flush(Bytes::from_static(b"hello world")).await });
        let mut seen = Vec::new();
        while let Some(bytes) = reader.read(64).await.unwrap() {
            seen.extend_from_slice(&bytes);
        }
        writing.await.unwrap().unwrap();
        assert_eq!(seen, b"hello world");
    }

    #[tokio::test]
    async fn a_slower_writer_keeps_what_did_not_fit() {
        let (writer, reader) = pipe(4);
        let mut output = GuestStdout { writer: writer.clone(), tty: false }.p2_stream();
        assert_eq!(output.check_write().unwrap(), 4);
        writer.try_write(&Bytes::from_static(b"ab")).unwrap();
        output.write(Bytes::from_static(b"wxyz")).unwrap();
        assert_eq!(output.check_write().unwrap(), 0);
        assert_eq!(reader.read(9).await.unwrap().unwrap(), "ab");
        output.ready().await;
        assert_eq!(reader.try_read_all().unwrap().concat(), b"wxyz");
    }

    #[tokio::test]
    async fn a_broken_pipe_closes_the_output() {
        let (writer, reader) = pipe(4);
        drop(reader);
        let mut output = GuestStdout { writer, tty: false }.p2_stream();
        assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn no_standard_input_is_end_of_file() {
        let stdin = GuestStdin { reader: None, tty: false };
        assert!(matches!(stdin.p2_stream().read(1), Err(StreamError::Closed)));
        let mut bytes = Vec::new();
        Box::into_pin(stdin.async_stream()).read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.is_empty());
    }
}
