//! Bounded in-memory byte pipes: guests' standard streams and both directions of a virtual TCP connection.
//!
//! Chunks travel as [`Bytes`] and are never copied here. A full pipe makes its writer wait (back-pressure), a dropped
//! or closed writer gives the reader the rest and then end of stream, a dropped or closed reader breaks the pipe for
//! the writer, and a reset fails both ends at once. Handles are cheap to clone; each end closes when its last clone
//! is dropped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

/// Bytes a pipe holds before its writer has to wait, unless its creator asks for another bound.
pub const DEFAULT_CAPACITY: usize = 256 * 1024;

/// Creates a pipe that holds at most `capacity` bytes (at least one).
pub fn pipe(capacity: usize) -> (PipeWriter, PipeReader) {
    let shared = Arc::new(Shared { state: Mutex::new(State::default()), capacity: capacity.max(1) });
    (PipeWriter(Arc::new(WriteEnd(Arc::clone(&shared)))), PipeReader(Arc::new(ReadEnd(shared))))
}

/// Why nothing could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The pipe is full; wait with [`PipeWriter::poll_ready`].
    #[error("the pipe is full")]
    Full,
    /// This end was closed, or nobody reads any more.
    #[error("the pipe is broken")]
    Broken,
    /// The pipe was reset.
    #[error("the pipe was reset")]
    Reset,
}

/// Why nothing could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing is there yet; wait with [`PipeReader::poll_ready`].
    #[error("the pipe is empty")]
    Empty,
    /// The writer has closed and everything was read.
    #[error("end of stream")]
    End,
    /// The pipe was reset; unread bytes are gone.
    #[error("the pipe was reset")]
    Reset,
}

/// The writing end.
#[derive(Debug, Clone)]
pub struct PipeWriter(Arc<WriteEnd>);

/// The reading end.
#[derive(Debug, Clone)]
pub struct PipeReader(Arc<ReadEnd>);

#[derive(Debug)]
struct WriteEnd(Arc<Shared>);

#[derive(Debug)]
struct ReadEnd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    buffered: usize,
    writer_closed: bool,
    reader_closed: bool,
    reset: bool,
    readers_waiting: Vec<Waker>,
    writers_waiting: Vec<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes whom the change concerns, outside the lock.
    fn change(&self, wake_readers: bool, wake_writers: bool, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let readers = if wake_readers { std::mem::take(&mut state.readers_waiting) } else { Vec::new() };
        let writers = if wake_writers { std::mem::take(&mut state.writers_waiting) } else { Vec::new() };
        drop(state);
        readers.into_iter().chain(writers).for_each(Waker::wake);
    }

    fn reset(&self) {
        self.change(true, true, |state| {
            state.reset = true;
            state.chunks.clear();
            state.buffered = 0;
        });
    }
}

fn register(waiting: &mut Vec<Waker>, context: &Context<'_>) {
    if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
        waiting.push(context.waker().clone());
    }
}

impl PipeWriter {
    /// Hands over as much of `bytes` as fits and returns how many bytes that was (the caller keeps the rest).
    pub fn try_write(&self, bytes: &Bytes) -> Result<usize, WriteError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let shared = &self.0.0;
        let mut state = shared.lock();
        check_writable(&state)?;
        let room = shared.capacity - state.buffered;
        if room == 0 {
            return Err(WriteError::Full);
        }
        let taken = bytes.len().min(room);
        state.chunks.push_back(bytes.slice(..taken));
        state.buffered += taken;
        let waiting = std::mem::take(&mut state.readers_waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Ok(taken)
    }

    /// How many bytes can be written now without waiting.
    pub fn room(&self) -> Result<usize, WriteError> {
        let state = self.0.0.lock();
        check_writable(&state)?;
        Ok(self.0.0.capacity - state.buffered)
    }

    /// Ready once a write would not return [`WriteError::Full`].
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.lock();
        if check_writable(&state).is_err() || state.buffered < self.0.0.capacity {
            return Poll::Ready(());
        }
        register(&mut state.writers_waiting, context);
        Poll::Pending
    }

    /// Waits until a write would not return [`WriteError::Full`].
    pub async fn ready(&self) {
        poll_fn(|context| self.poll_ready(context)).await;
    }

    /// Writes all of `bytes`, waiting for room as needed.
    pub async fn write_all(&self, mut bytes: Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            match self.try_write(&bytes) {
                Ok(written) => {
                    let _ = bytes.split_to(written);
                }
                Err(WriteError::Full) => self.ready().await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the stream: the reader gets what is buffered, then [`ReadError::End`].
    pub fn close(&self) {
        self.0.0.change(true, true, |state| state.writer_closed = true);
    }

    /// Fails both ends at once and drops what is buffered.
    pub fn reset(&self) {
        self.0.0.reset();
    }

    /// Whether nobody can read what would be written.
    pub fn is_broken(&self) -> bool {
        check_writable(&self.0.0.lock()).is_err()
    }
}

fn check_writable(state: &State) -> Result<(), WriteError> {
    if state.reset {
        Err(WriteError::Reset)
    } else if state.writer_closed || state.reader_closed {
        Err(WriteError::Broken)
    } else {
        Ok(())
    }
}

impl PipeReader {
    /// Takes at most `limit` bytes: the front chunk or a slice of it, never empty unless `limit` is 0.
    pub fn try_read(&self, limit: usize) -> Result<Bytes, ReadError> {
        let mut state = self.0.0.lock();
        if state.reset {
            return Err(ReadError::Reset);
        }
        let Some(front) = state.chunks.front_mut() else {
            let ended = state.writer_closed || state.reader_closed;
            return Err(if ended { ReadError::End } else { ReadError::Empty });
        };
        let bytes =
            if front.len() <= limit { state.chunks.pop_front().unwrap_or_default() } else { front.split_to(limit) };
        state.buffered -= bytes.len();
        let waiting = std::mem::take(&mut state.writers_waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        Ok(bytes)
    }

    /// Takes everything that is buffered now, as the chunks it was written in; `End` and `Reset` as `try_read`.
    pub fn try_read_all(&self) -> Result<Vec<Bytes>, ReadError> {
        let mut chunks = vec![self.try_read(usize::MAX)?];
        while let Ok(chunk) = self.try_read(usize::MAX) {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// How many bytes are buffered.
    pub fn available(&self) -> usize {
        self.0.0.lock().buffered
    }

    /// Ready once a read would not return [`ReadError::Empty`].
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.0.lock();
        if !state.chunks.is_empty() || state.writer_closed || state.reader_closed || state.reset {
            return Poll::Ready(());
        }
        register(&mut state.readers_waiting, context);
        Poll::Pending
    }

    /// Waits until a read would not return [`ReadError::Empty`].
    pub async fn ready(&self) {
        poll_fn(|context| self.poll_ready(context)).await;
    }

    /// Reads at most `limit` bytes, waiting for some; `None` at the end of the stream.
    pub async fn read(&self, limit: usize) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.try_read(limit) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(ReadError::Empty) => self.ready().await,
                Err(ReadError::End) => return Ok(None),
                Err(ReadError::Reset) => return Err(ReadError::Reset),
            }
        }
    }

    /// Stops reading: buffered bytes are dropped and the writer finds the pipe broken.
    pub fn close(&self) {
        self.0.0.change(true, true, |state| {
            state.reader_closed = true;
            state.chunks.clear();
            state.buffered = 0;
        });
    }

    /// Fails both ends at once and drops what is buffered.
    pub fn reset(&self) {
        self.0.0.reset();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.0.change(true, false, |state| state.writer_closed = true);
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.0.change(false, true, |state| state.reader_closed = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_takes_what_fits_and_then_refuses() {
        let (writer, reader) = pipe(4);
        assert_eq!(writer.try_write(&Bytes::from_static(b"abcdef")), Ok(4));
        assert_eq!(writer.try_write(&Bytes::from_static(b"ef")), Err(WriteError::Full));
        assert_eq!(reader.try_read(3), Ok(Bytes::from_static(b"abc")));
        assert_eq!(writer.room(), Ok(3));
    }

    #[test]
    fn dropping_the_writer_ends_the_stream_after_the_rest() {
        let (writer, reader) = pipe(4);
        writer.try_write(&Bytes::from_static(b"ab")).unwrap();
        drop(writer);
        assert_eq!(reader.try_read(9), Ok(Bytes::from_static(b"ab")));
        assert_eq!(reader.try_read(9), Err(ReadError::End));
    }

    #[test]
    fn dropping_the_reader_breaks_the_pipe() {
        let (writer, reader) = pipe(4);
        drop(reader);
        assert_eq!(writer.try_write(&Bytes::from_static(b"ab")), Err(WriteError::Broken));
    }

    #[tokio::test]
    async fn a_waiting_writer_goes_on_when_there_is_room() {
        let (writer, reader) = pipe(2);
        let writing = tokio::spawn(async move { writer.write_all(Bytes::from_static(b"abcdefg")).await });
        let mut seen = Vec::new();
        while let Some(bytes) = reader.read(10).await.unwrap() {
            seen.extend_from_slice(&bytes);
        }
        writing.await.unwrap().unwrap();
        assert_eq!(seen, b"abcdefg");
    }

    #[tokio::test]
    async fn a_reset_wakes_and_fails_both_ends() {
        let (writer, reader) = pipe(2);
        let reading = tokio::spawn({
            let reader = reader.clone();
            async move { reader.read(10).await }
        });
        tokio::task::yield_now().await;
        writer.reset();
        assert_eq!(reading.await.unwrap(), Err(ReadError::Reset));
        assert_eq!(writer.try_write(&Bytes::from_static(b"x")), Err(WriteError::Reset));
    }
}
