//! Bounded in-memory byte pipes: guests' standard streams and both directions of a virtual TCP connection.
//!
//! Chunks travel as [`Bytes`] and are not copied here, except that small writes queued behind others are gathered into
//! larger chunks, so that the memory a full pipe takes stays close to its capacity. A full pipe makes its writer wait
//! (back-pressure), a dropped or closed writer gives the reader the rest and then end of stream, a dropped or closed
//! reader breaks the pipe for the writer, and a reset fails both ends at once. Handles are cheap to clone; each end
//! closes when its last clone is dropped.
//!
//! A [`duplex`] ties two pipes together as a connection: it knows when one side has dropped both its handles, and
//! resets the connection if that side left something unread, as TCP does.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};

/// Bytes a pipe holds before its writer has to wait, unless its creator asks for another bound.
pub const DEFAULT_CAPACITY: usize = 256 * 1024;

/// Writes below this many bytes are gathered when others are queued already.
const GATHER_BELOW: usize = 1024;

/// Gathered writes are handed on once they are this large.
const GATHERED_CHUNK: usize = 16 * 1024;

/// Tasks that may wait on one end; the oldest is woken early when there are more. Wakers left behind by abandoned
/// waits count too, which is what makes a bound necessary.
const MAX_WAITERS: usize = 64;

/// Creates a pipe that holds at most `capacity` bytes (at least one).
pub fn pipe(capacity: usize) -> (PipeWriter, PipeReader) {
    let shared = Shared::new(capacity);
    (PipeWriter::new(Arc::clone(&shared), None), PipeReader::new(shared, None))
}

/// Creates a connection: two pipes of `capacity` bytes, one in each direction.
///
/// Once a side has dropped its reader and its writer, its guard is dropped; and if the side had left something unread,
/// the other one finds the connection reset: at once when writing, after what is buffered when reading.
pub fn duplex(capacity: usize, guard_a: Option<Guard>, guard_b: Option<Guard>) -> (DuplexEnd, DuplexEnd) {
    let (a_to_b, b_to_a) = (Shared::new(capacity), Shared::new(capacity));
    (DuplexEnd::new(&b_to_a, &a_to_b, guard_a), DuplexEnd::new(&a_to_b, &b_to_a, guard_b))
}

/// Something to drop when a side of a connection is gone.
pub type Guard = Box<dyn Any + Send + Sync>;

/// One side of a connection.
#[derive(Debug, Clone)]
pub struct DuplexEnd {
    /// What the other side sends.
    pub reader: PipeReader,
    /// What this side sends.
    pub writer: PipeWriter,
}

impl DuplexEnd {
    fn new(inbound: &Arc<Shared>, outbound: &Arc<Shared>, guard: Option<Guard>) -> Self {
        let link = Arc::new(Link { inbound: Arc::clone(inbound), outbound: Arc::clone(outbound), _guard: guard });
        Self {
            reader: PipeReader::new(Arc::clone(inbound), Some(Arc::clone(&link))),
            writer: PipeWriter::new(Arc::clone(outbound), Some(link)),
        }
    }

    /// A handle that can reset the connection without keeping it open.
    pub fn control(&self) -> DuplexControl {
        DuplexControl {
            inbound: Arc::downgrade(&self.reader.0.shared),
            outbound: Arc::downgrade(&self.writer.0.shared),
        }
    }
}

/// Resets a connection from elsewhere; does not keep it open.
#[derive(Debug, Clone)]
pub struct DuplexControl {
    inbound: Weak<Shared>,
    outbound: Weak<Shared>,
}

impl DuplexControl {
    /// Fails both directions at both sides at once.
    pub fn reset(&self) {
        for shared in [&self.inbound, &self.outbound] {
            if let Some(shared) = shared.upgrade() {
                shared.reset();
            }
        }
    }
}

/// What the two handles of one side of a connection have in common.
struct Link {
    inbound: Arc<Shared>,
    outbound: Arc<Shared>,
    _guard: Option<Guard>,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Called by a handle that is going: if it was the last one, resets the connection where something is unread.
    fn leave(link: &mut Option<Arc<Self>>) {
        if let Some(link) = link.take().and_then(Arc::into_inner)
            && link.inbound.lock().left_unread
        {
            link.inbound.reset();
            link.outbound.reset_at_end();
        }
    }
}

/// Tasks waiting for a change. The first one needs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    first: Option<Waker>,
    rest: VecDeque<Waker>,
}

impl Wakers {
    /// Adds the task, unless it is there; returns one that has to give way and must be woken, without a lock held.
    #[must_use]
    pub(crate) fn register(&mut self, context: &Context<'_>) -> Option<Waker> {
        let waker = context.waker();
        match &self.first {
            None => {
                self.first = Some(waker.clone());
                return None;
            }
            Some(first) if first.will_wake(waker) => return None,
            Some(_) => {}
        }
        if self.rest.iter().any(|other| other.will_wake(waker)) {
            return None;
        }
        self.rest.push_back(waker.clone());
        if self.rest.len() < MAX_WAITERS {
            return None;
        }
        let next = self.rest.pop_front();
        std::mem::replace(&mut self.first, next)
    }

    /// Takes all tasks, to be woken without a lock held.
    #[must_use]
    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Wakes all tasks.
    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.rest).for_each(Waker::wake);
    }
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
struct WriteEnd {
    shared: Arc<Shared>,
    link: Option<Arc<Link>>,
}

#[derive(Debug)]
struct ReadEnd {
    shared: Arc<Shared>,
    link: Option<Arc<Link>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// Small writes, behind `chunks`.
    gathered: BytesMut,
    buffered: usize,
    writer_closed: bool,
    reader_closed: bool,
    /// The reader wants no more, but the writer must not notice.
    discarding: bool,
    /// The reader closed with bytes buffered.
    left_unread: bool,
    reset: bool,
    /// The reader finds a reset instead of the end of the stream.
    reset_at_end: bool,
    readers: Wakers,
    writers: Wakers,
    /// Tasks waiting until nobody reads.
    broken: Wakers,
}

impl State {
    fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.gathered = BytesMut::new();
        self.buffered = 0;
    }

    fn close_reader(&mut self) {
        self.left_unread |= self.buffered > 0;
        self.reader_closed = true;
        self.clear();
    }

    fn push(&mut self, bytes: Bytes) {
        let behind_others = self.buffered > 0;
        self.buffered += bytes.len();
        if behind_others && bytes.len() < GATHER_BELOW {
            self.gathered.extend_from_slice(&bytes);
            if self.gathered.len() >= GATHERED_CHUNK {
                self.chunks.push_back(self.gathered.split().freeze());
            }
        } else {
            if !self.gathered.is_empty() {
                self.chunks.push_back(self.gathered.split().freeze());
            }
            self.chunks.push_back(bytes);
        }
    }

    fn pop(&mut self, limit: usize) -> Option<Bytes> {
        if self.chunks.is_empty() && !self.gathered.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.gathered).freeze());
        }
        let front = self.chunks.front_mut()?;
        let bytes = if front.len() <= limit { self.chunks.pop_front()? } else { front.split_to(limit) };
        self.buffered -= bytes.len();
        Some(bytes)
    }

    fn check_writable(&self) -> Result<(), WriteError> {
        if self.reset {
            Err(WriteError::Reset)
        } else if self.writer_closed || self.reader_closed {
            Err(WriteError::Broken)
        } else {
            Ok(())
        }
    }

    /// Whether a read has something to say: bytes, the end, or a reset.
    fn is_readable(&self) -> bool {
        self.buffered > 0 || self.writer_closed || self.reader_closed || self.discarding || self.reset
    }
}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::default()), capacity: capacity.max(1) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state for good, then wakes everybody, outside the lock.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let (readers, writers, broken) = (state.readers.take(), state.writers.take(), state.broken.take());
        drop(state);
        readers.wake();
        writers.wake();
        broken.wake();
    }

    fn reset(&self) {
        self.change(|state| {
            state.reset = true;
            state.clear();
        });
    }

    fn reset_at_end(&self) {
        self.change(|state| {
            state.writer_closed = true;
            state.reset_at_end = true;
        });
    }
}

impl PipeWriter {
    fn new(shared: Arc<Shared>, link: Option<Arc<Link>>) -> Self {
        Self(Arc::new(WriteEnd { shared, link }))
    }

    /// Hands over as much of `bytes` as fits and returns how many bytes that was (the caller keeps the rest).
    pub fn try_write(&self, bytes: &Bytes) -> Result<usize, WriteError> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let shared = &self.0.shared;
        let mut state = shared.lock();
        state.check_writable()?;
        if state.discarding {
            return Ok(bytes.len());
        }
        let room = shared.capacity - state.buffered;
        if room == 0 {
            return Err(WriteError::Full);
        }
        let taken = bytes.len().min(room);
        state.push(bytes.slice(..taken));
        let readers = state.readers.take();
        drop(state);
        readers.wake();
        Ok(taken)
    }

    /// Writes as [`PipeWriter::try_write`] does, once there is room.
    pub fn poll_write(&self, context: &mut Context<'_>, bytes: &Bytes) -> Poll<Result<usize, WriteError>> {
        loop {
            match self.try_write(bytes) {
                Err(WriteError::Full) => ready!(self.poll_ready(context)),
                result => return Poll::Ready(result),
            }
        }
    }

    /// How many bytes can be written now without waiting.
    pub fn room(&self) -> Result<usize, WriteError> {
        let state = self.0.shared.lock();
        state.check_writable()?;
        Ok(self.0.shared.capacity - state.buffered)
    }

    /// Ready once a write would not return [`WriteError::Full`]. A writer that waits is woken when half of the pipe is
    /// empty, so that the two ends don't take turns over every chunk.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.shared.lock();
        if state.check_writable().is_err() || state.buffered < self.0.shared.capacity {
            return Poll::Ready(());
        }
        let evicted = state.writers.register(context);
        drop(state);
        evicted.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Waits until a write would not return [`WriteError::Full`].
    pub async fn ready(&self) {
        poll_fn(|context| self.poll_ready(context)).await;
    }

    /// Ready once nothing can be written any more: the pipe is closed, broken or reset.
    pub fn poll_broken(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.shared.lock();
        if state.check_writable().is_err() {
            return Poll::Ready(());
        }
        let evicted = state.broken.register(context);
        drop(state);
        evicted.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Waits until nothing can be written any more.
    pub async fn broken(&self) {
        poll_fn(|context| self.poll_broken(context)).await;
    }

    /// Writes all of `bytes`, waiting for room as needed.
    pub async fn write_all(&self, mut bytes: Bytes) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let written = poll_fn(|context| self.poll_write(context, &bytes)).await?;
            let _ = bytes.split_to(written);
        }
        Ok(())
    }

    /// Ends the stream: the reader gets what is buffered, then [`ReadError::End`].
    pub fn close(&self) {
        self.0.shared.change(|state| state.writer_closed = true);
    }

    /// Fails both ends at once and drops what is buffered.
    pub fn reset(&self) {
        self.0.shared.reset();
    }

    /// Whether nobody can read what would be written.
    pub fn is_broken(&self) -> bool {
        self.0.shared.lock().check_writable().is_err()
    }
}

impl PipeReader {
    fn new(shared: Arc<Shared>, link: Option<Arc<Link>>) -> Self {
        Self(Arc::new(ReadEnd { shared, link }))
    }

    /// Takes at most `limit` bytes: the front chunk or a slice of it, never empty unless `limit` is 0.
    pub fn try_read(&self, limit: usize) -> Result<Bytes, ReadError> {
        let mut state = self.0.shared.lock();
        if state.reset {
            return Err(ReadError::Reset);
        }
        let Some(bytes) = state.pop(limit) else {
            return Err(if state.reset_at_end && !state.reader_closed {
                ReadError::Reset
            } else if state.is_readable() {
                ReadError::End
            } else {
                ReadError::Empty
            });
        };
        let has_room = state.buffered <= self.0.shared.capacity / 2;
        let writers = if has_room { state.writers.take() } else { Wakers::default() };
        drop(state);
        writers.wake();
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
        self.0.shared.lock().buffered
    }

    /// Ready once a read would not return [`ReadError::Empty`].
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.shared.lock();
        if state.is_readable() {
            return Poll::Ready(());
        }
        let evicted = state.readers.register(context);
        drop(state);
        evicted.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Waits until a read would not return [`ReadError::Empty`].
    pub async fn ready(&self) {
        poll_fn(|context| self.poll_ready(context)).await;
    }

    /// Reads at most `limit` bytes once some are there; `None` at the end of the stream.
    pub fn poll_read(&self, context: &mut Context<'_>, limit: usize) -> Poll<Result<Option<Bytes>, ReadError>> {
        loop {
            match self.try_read(limit) {
                Ok(bytes) => return Poll::Ready(Ok(Some(bytes))),
                Err(ReadError::Empty) => ready!(self.poll_ready(context)),
                Err(ReadError::End) => return Poll::Ready(Ok(None)),
                Err(ReadError::Reset) => return Poll::Ready(Err(ReadError::Reset)),
            }
        }
    }

    /// Reads at most `limit` bytes, waiting for some; `None` at the end of the stream.
    pub async fn read(&self, limit: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|context| self.poll_read(context, limit)).await
    }

    /// Stops reading: buffered bytes are dropped and the writer finds the pipe broken.
    pub fn close(&self) {
        self.0.shared.change(State::close_reader);
    }

    /// Stops reading without telling the writer: whatever is buffered or comes is dropped, as after `shutdown(SHUT_RD)`.
    pub fn discard(&self) {
        self.0.shared.change(|state| {
            state.discarding = true;
            state.clear();
        });
    }

    /// Fails both ends at once and drops what is buffered.
    pub fn reset(&self) {
        self.0.shared.reset();
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        // First the link: where this closes a connection with something unread, the peer must see the reset, never an
        // orderly end before it.
        Link::leave(&mut self.link);
        self.shared.change(|state| state.writer_closed = true);
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.shared.change(State::close_reader);
        Link::leave(&mut self.link);
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

    #[test]
    fn small_writes_are_gathered_and_keep_their_order() {
        let (writer, reader) = pipe(1 << 20);
        let mut expected = Vec::new();
        for index in 0..5_000_u32 {
            let size = if index % 97 == 0 { 2_000 } else { 3 };
            let chunk = Bytes::from(vec![index as u8; size]);
            expected.extend_from_slice(&chunk);
            assert_eq!(writer.try_write(&chunk), Ok(size));
        }
        assert_eq!(reader.available(), expected.len());
        let chunks = reader.try_read_all().unwrap();
        assert_eq!(chunks.concat(), expected);
        assert!(chunks.len() < 200, "{} chunks", chunks.len());
        assert_eq!(reader.available(), 0);
    }

    #[test]
    fn a_discarding_reader_is_at_its_end_and_its_writer_goes_on() {
        let (writer, reader) = pipe(4);
        writer.try_write(&Bytes::from_static(b"abcd")).unwrap();
        reader.discard();
        assert_eq!(reader.try_read(9), Err(ReadError::End));
        assert_eq!(writer.try_write(&Bytes::from_static(b"efghijk")), Ok(7));
        assert_eq!(writer.room(), Ok(4));
    }

    #[test]
    fn abandoned_waits_do_not_accumulate() {
        let (_writer, reader) = pipe(4);
        let counts: Vec<_> = (0..10 * MAX_WAITERS).map(|_| Arc::new(Flag::default())).collect();
        for flag in &counts {
            let waker = Waker::from(Arc::clone(flag));
            assert!(reader.poll_ready(&mut Context::from_waker(&waker)).is_pending());
        }
        let woken = counts.iter().filter(|flag| flag.0.load(std::sync::atomic::Ordering::Relaxed)).count();
        assert!(woken >= 8 * MAX_WAITERS, "{woken}");
    }

    #[derive(Default)]
    struct Flag(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_side_that_leaves_with_something_unread_resets_the_connection() {
        for drop_reader_first in [false, true] {
            let (a, b) = duplex(16, None, None);
            a.writer.try_write(&Bytes::from_static(b"question")).unwrap();
            b.writer.try_write(&Bytes::from_static(b"answer")).unwrap();
            let DuplexEnd { reader, writer } = b;
            if drop_reader_first {
                drop(reader);
                drop(writer);
            } else {
                drop(writer);
                drop(reader);
            }
            assert_eq!(a.writer.try_write(&Bytes::from_static(b"x")), Err(WriteError::Reset));
            assert_eq!(a.reader.try_read(99), Ok(Bytes::from_static(b"answer")));
            assert_eq!(a.reader.try_read(99), Err(ReadError::Reset));
        }
    }

    #[test]
    fn a_side_that_read_everything_leaves_in_order() {
        let (a, b) = duplex(16, None, None);
        a.writer.try_write(&Bytes::from_static(b"question")).unwrap();
        b.reader.try_read(99).unwrap();
        drop(b);
        assert_eq!(a.reader.try_read(99), Err(ReadError::End));
        assert_eq!(a.writer.try_write(&Bytes::from_static(b"x")), Err(WriteError::Broken));
    }

    #[test]
    fn a_guard_goes_with_the_last_handle_of_its_side() {
        let guard = Arc::new(());
        let (a, b) = duplex(16, Some(Box::new(Arc::clone(&guard))), None);
        drop(b);
        let DuplexEnd { reader, writer } = a;
        drop(reader);
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(writer);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[tokio::test]
    async fn waiting_for_a_broken_pipe_ends_when_the_reader_goes() {
        let (writer, reader) = pipe(2);
        let waiting = tokio::spawn(async move { writer.broken().await });
        tokio::task::yield_now().await;
        drop(reader);
        waiting.await.unwrap();
    }
}
