//! Standard streams of guests: pipes, terminals and files, and how components see them. A full pipe makes the guest wait.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::open_file::OpenFile;
use super::process::{KilledBy, Process};
use super::signals::Delivery;
use super::terminal::Terminal;
use crate::base::pipe::{PipeReader, PipeWriter, ReadError, WriteError};
use crate::runtime::Signal;

/// The most bytes one read or write call of a guest moves.
const MAX_CHUNK: usize = 64 * 1024;

/// Where a process reads its standard input from.
#[derive(Debug, Clone)]
pub(super) enum InputSource {
    /// Nowhere: it is at its end.
    Empty,
    Pipe(PipeReader),
    Terminal(Arc<Terminal>),
    File(OpenFile),
}

impl InputSource {
    /// Takes at most `limit` bytes.
    pub(super) fn try_read(&self, limit: usize) -> Result<Bytes, ReadError> {
        match self {
            Self::Empty => Err(ReadError::End),
            Self::Pipe(reader) => reader.try_read(limit),
            Self::Terminal(terminal) => terminal.try_read(limit),
            Self::File(file) => {
                let mut buffer = vec![0; limit.min(MAX_CHUNK)];
                let read = file.read(&mut buffer).map_err(|_| ReadError::Reset)?;
                buffer.truncate(read);
                if read == 0 && limit > 0 { Err(ReadError::End) } else { Ok(buffer.into()) }
            }
        }
    }

    /// Ready once a read would not be `Empty`.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Empty | Self::File(_) => Poll::Ready(()),
            Self::Pipe(reader) => reader.poll_ready(context),
            Self::Terminal(terminal) => terminal.poll_ready(context),
        }
    }

    /// How many bytes are there to read, as far as that is known.
    pub(super) fn available(&self) -> usize {
        match self {
            Self::Empty | Self::File(_) => 0,
            Self::Pipe(reader) => reader.available(),
            Self::Terminal(terminal) => terminal.available(),
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal().is_some()
    }

    /// The terminal behind it, if it is one.
    pub(super) fn terminal(&self) -> Option<&Arc<Terminal>> {
        if let Self::Terminal(terminal) = self { Some(terminal) } else { None }
    }
}

/// Where a process prints.
#[derive(Debug, Clone)]
pub(super) enum OutputSink {
    /// Nowhere: writing fails.
    Closed,
    Pipe(PipeWriter),
    Terminal(Arc<Terminal>),
    File(OpenFile),
}

impl OutputSink {
    /// The pipe behind it, if it is one.
    pub(super) fn pipe(&self) -> Option<&PipeWriter> {
        match self {
            Self::Pipe(writer) => Some(writer),
            Self::Terminal(terminal) => Some(terminal.output()),
            Self::Closed | Self::File(_) => None,
        }
    }

    /// Hands over as much of `bytes` as fits.
    fn try_write(&self, bytes: &Bytes) -> Result<usize, WriteError> {
        match self {
            Self::Closed => Err(WriteError::Broken),
            Self::Pipe(writer) => writer.try_write(bytes),
            Self::Terminal(terminal) => terminal.output().try_write(bytes),
            Self::File(file) => file.write(bytes).map_err(|_| WriteError::Reset),
        }
    }

    /// How many bytes can be written now.
    fn room(&self) -> Result<usize, WriteError> {
        match self {
            Self::Closed => Err(WriteError::Broken),
            Self::Pipe(writer) => writer.room(),
            Self::Terminal(terminal) => terminal.output().room(),
            Self::File(_) => Ok(MAX_CHUNK),
        }
    }

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.pipe().map_or(Poll::Ready(()), |writer| writer.poll_ready(context))
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal().is_some()
    }

    /// The terminal behind it, if it is one.
    pub(super) fn terminal(&self) -> Option<&Arc<Terminal>> {
        if let Self::Terminal(terminal) = self { Some(terminal) } else { None }
    }
}

/// A component's standard input.
#[derive(Debug, Clone)]
pub(super) struct GuestStdin(pub(super) InputSource);

/// A component's standard output or error.
#[derive(Debug, Clone)]
pub(super) struct GuestStdout {
    /// Where bytes go.
    pub(super) sink: OutputSink,
    /// Who is told of a broken pipe.
    pub(super) process: Arc<Process>,
}

impl IsTerminal for GuestStdin {
    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl StdinStream for GuestStdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(SourceBytes(self.0.clone()))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(SourceInput(self.0.clone()))
    }
}

impl IsTerminal for GuestStdout {
    fn is_terminal(&self) -> bool {
        self.sink.is_terminal()
    }
}

impl StdoutStream for GuestStdout {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        match self.sink.pipe() {
            Some(writer) => Box::new(PipeBytes(writer.clone())),
            None => Box::new(SinkBytes(self.sink.clone())),
        }
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        let (sink, process) = (self.sink.clone(), Some(Arc::clone(&self.process)));
        Box::new(SinkOutput { sink, process, pending: Bytes::new() })
    }
}

/// A `wasi:io` input stream.
#[derive(Debug)]
pub(super) struct SourceInput(pub(super) InputSource);

#[async_trait]
impl Pollable for SourceInput {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_ready(context)).await;
    }
}

#[async_trait]
impl InputStream for SourceInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.try_read(size.min(MAX_CHUNK)) {
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

/// A `wasi:io` output stream. What a write could not place at once, because another writer of the same pipe was faster,
/// is kept and goes first.
#[derive(Debug)]
pub(super) struct SinkOutput {
    pub(super) sink: OutputSink,
    /// Who gets PIPE when nobody reads what is written.
    pub(super) process: Option<Arc<Process>>,
    pub(super) pending: Bytes,
}

impl SinkOutput {
    /// What a write that failed is to the guest: its end, where a broken pipe is deadly to it.
    fn failed(&self, error: WriteError) -> StreamError {
        let deadly = |process: &&Arc<Process>| process.signals().deliver(Signal::Pipe) == Delivery::Fatal;
        match error {
            WriteError::Broken if self.process.as_ref().filter(deadly).is_some() => {
                StreamError::Trap(KilledBy(Signal::Pipe).into())
            }
            WriteError::Full | WriteError::Broken | WriteError::Reset => StreamError::Closed,
        }
    }

    /// Places what is pending as far as there is room.
    fn place(&mut self) -> StreamResult<()> {
        while !self.pending.is_empty() {
            match self.sink.try_write(&self.pending) {
                Ok(written) => drop(self.pending.split_to(written)),
                Err(WriteError::Full) => return Ok(()),
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Pollable for SinkOutput {
    async fn ready(&mut self) {
        loop {
            poll_fn(|context| self.sink.poll_ready(context)).await;
            if self.place().is_err() || self.pending.is_empty() {
                return;
            }
        }
    }
}

#[async_trait]
impl OutputStream for SinkOutput {
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
        self.sink.room().map(|room| room.min(MAX_CHUNK)).map_err(|error| self.failed(error))
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

/// A source as tokio's byte stream.
#[derive(Debug)]
struct SourceBytes(InputSource);

impl AsyncRead for SourceBytes {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.0.try_read(buffer.remaining()) {
                Ok(bytes) => {
                    buffer.put_slice(&bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(ReadError::Empty) => std::task::ready!(self.0.poll_ready(context)),
                Err(ReadError::End) => return Poll::Ready(Ok(())),
                Err(ReadError::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
    }
}

/// A sink that never makes its writer wait, as tokio's byte stream.
#[derive(Debug)]
struct SinkBytes(OutputSink);

impl AsyncWrite for SinkBytes {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(MAX_CHUNK)]);
        Poll::Ready(self.0.try_write(&bytes).map_err(write_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A pipe as tokio's byte stream.
#[derive(Debug)]
struct PipeBytes(PipeWriter);

impl AsyncWrite for PipeBytes {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let writer = &self.0;
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
        self.0.close();
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
    use crate::runtime::wasm::signals::Signals;

    fn stdout(writer: PipeWriter) -> GuestStdout {
        GuestStdout { sink: OutputSink::Pipe(writer), process: Process::new(Signals::ignoring([Signal::Pipe])) }
    }

    #[tokio::test]
    async fn output_waits_for_the_reader() {
        let (writer, reader) = pipe(4);
        let mut output = stdout(writer).p2_stream();
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
        let mut output = stdout(writer.clone()).p2_stream();
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
        let mut output = stdout(writer).p2_stream();
        assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn no_standard_input_is_end_of_file() {
        let stdin = GuestStdin(InputSource::Empty);
        assert!(matches!(stdin.p2_stream().read(1), Err(StreamError::Closed)));
        let mut bytes = Vec::new();
        Box::into_pin(stdin.async_stream()).read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.is_empty());
    }
}
