//! A server's side of a SPDY/3.1 connection: accepts the streams that the peer opens, and moves their bytes both ways.
//!
//! ```text
//!  peer ─▶ read frames ─▶ one bounded pipe per stream ─▶ Stream::reader
//!  peer ◀─ write frames ◀─ one bounded queue ◀─ Stream::write, replies, resets, pings
//! ```
//! Kubernetes' clients announce no windows and heed none, so there is no flow control but that of the connection: while
//! the reader of one stream does not take its bytes, nothing is read of the others either.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::frame::{
    Control, FrameError, MAX_CONTROL, MAX_DATA, Outgoing, PREFIX, Prefix, ResetStatus, StreamId, What, check_control,
};
use super::headers::{HeaderError, HeaderReader, HeaderWriter, Headers};
use crate::base::pipe::{self, PipeReader, PipeWriter};

/// Streams a peer may have open.
pub(super) const MAX_STREAMS: usize = 512;
/// Bytes of one stream that wait to be taken.
const STREAM_BUFFER: usize = 64 * 1024;
/// Streams that wait to be accepted.
const ACCEPT_QUEUE: usize = 16;
/// Frames that wait to be sent.
const SEND_QUEUE: usize = 16;
/// Bytes taken of a data frame at once.
const CHUNK: usize = 16 * 1024;
/// How often the peer is asked whether it is there: nothing else tells that it is not while it has nothing to say.
const PING_PERIOD: Duration = Duration::from_secs(30);
/// How long a peer that broke the rules is waited for to take the word of it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection ended, other than by its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::apiserver::streams) enum ConnectionError {
    /// It broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// What the peer sends is no SPDY/3.1.
    #[error(transparent)]
    Frame(FrameError),
    /// The peer used this number for a stream, which it must not.
    #[error("stream {0} cannot be opened by this peer now")]
    Number(StreamId),
}

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<HeaderError> for ConnectionError {
    fn from(error: HeaderError) -> Self {
        Self::Frame(FrameError::Headers(error))
    }
}

/// The connection is over, or the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::apiserver::streams) struct Gone;

/// Where the streams come from that the peer opens.
pub(in crate::apiserver::streams) struct Connection {
    accepted: mpsc::Receiver<Stream>,
    sender: mpsc::Sender<Command>,
}

/// Moves the connection's bytes, for as long as it is polled.
pub(in crate::apiserver::streams) struct Driver<Io> {
    reader: FrameReader<Io>,
    writer: FrameWriter<Io>,
    commands: mpsc::Receiver<Command>,
}

/// A stream that the peer has opened.
#[derive(Debug)]
pub(in crate::apiserver::streams) struct Stream {
    id: StreamId,
    headers: Headers,
    reader: PipeReader,
    reset: CancellationToken,
    shared: Arc<Shared>,
    sender: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Send(Outgoing),
    Close,
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    streams: HashMap<StreamId, Entry>,
    /// The stream that was opened last.
    last: StreamId,
}

/// A stream that one side at least may still send on.
#[derive(Debug)]
struct Entry {
    /// Where its bytes go; none come after its end.
    inbound: Option<PipeWriter>,
    /// Whether this side may still send.
    outbound: bool,
    reset: CancellationToken,
}

/// Speaks SPDY/3.1 over `io`, once the driver is polled.
pub(in crate::apiserver::streams) fn connection<Io: AsyncRead + AsyncWrite>(io: Io) -> (Connection, Driver<Io>) {
    let (read, write) = tokio::io::split(io);
    let (accept, accepted) = mpsc::channel(ACCEPT_QUEUE);
    let (sender, commands) = mpsc::channel(SEND_QUEUE);
    let reader = FrameReader {
        io: BufReader::new(read),
        headers: HeaderReader::new(),
        shared: Arc::default(),
        accept,
        sender: sender.clone(),
    };
    let writer = FrameWriter { io: write, headers: HeaderWriter::new(), buffer: BytesMut::new() };
    (Connection { accepted, sender }, Driver { reader, writer, commands })
}

impl Connection {
    /// The next stream that the peer opens; `None` once the connection is over.
    pub(in crate::apiserver::streams) async fn accept(&mut self) -> Option<Stream> {
        self.accepted.recv().await
    }

    /// Ends the connection once what is to be sent was sent.
    pub(in crate::apiserver::streams) async fn close(&self) {
        let _ = self.sender.send(Command::Close).await;
    }
}

impl Stream {
    /// Its number.
    pub(in crate::apiserver::streams) fn id(&self) -> StreamId {
        self.id
    }

    /// What it was opened with.
    pub(in crate::apiserver::streams) fn headers(&self) -> &Headers {
        &self.headers
    }

    /// What the peer sends on it: to its end, or until it is reset.
    pub(in crate::apiserver::streams) fn reader(&self) -> &PipeReader {
        &self.reader
    }

    /// Resolves when the peer has given the stream up.
    pub(in crate::apiserver::streams) async fn was_reset(&self) {
        self.reset.cancelled().await;
    }

    /// Accepts it; clients wait for that before they send.
    ///
    /// # Errors
    /// The connection is over.
    pub(in crate::apiserver::streams) async fn reply(&self) -> Result<(), Gone> {
        self.send(Outgoing::Reply { stream: self.id }).await
    }

    /// Sends bytes, waiting until there is room for them.
    ///
    /// # Errors
    /// The peer has given the stream up, or the connection is over.
    pub(in crate::apiserver::streams) async fn write(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            if self.reset.is_cancelled() {
                return Err(Gone);
            }
            let piece = bytes.split_to(bytes.len().min(MAX_DATA));
            self.send(Outgoing::Data { stream: self.id, bytes: piece, fin: false }).await?;
        }
        Ok(())
    }

    /// Tells that nothing more is sent on it. What the peer sends goes on to be read.
    ///
    /// # Errors
    /// The connection is over.
    pub(in crate::apiserver::streams) async fn finish(&self) -> Result<(), Gone> {
        if self.shared.end_outbound(self.id) {
            self.send(Outgoing::Data { stream: self.id, bytes: Bytes::new(), fin: true }).await?;
        }
        Ok(())
    }

    /// Gives it up.
    ///
    /// # Errors
    /// The connection is over.
    pub(in crate::apiserver::streams) async fn reset(&self, status: ResetStatus) -> Result<(), Gone> {
        if self.shared.remove(self.id) {
            self.send(Outgoing::Reset { stream: self.id, status }).await?;
        }
        Ok(())
    }

    async fn send(&self, frame: Outgoing) -> Result<(), Gone> {
        self.sender.send(Command::Send(frame)).await.map_err(|_closed| Gone)
    }
}

/// What is to be done about a stream that the peer wants to open.
enum Opening {
    Accept(PipeReader, CancellationToken),
    Refuse,
    Forbidden,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, id: StreamId, fin: bool) -> Opening {
        let mut state = self.lock();
        // Clients' numbers are odd and never fall.
        if id.is_multiple_of(2) || id <= state.last {
            return Opening::Forbidden;
        }
        state.last = id;
        if state.streams.len() >= MAX_STREAMS {
            return Opening::Refuse;
        }
        let (writer, reader) = pipe::pipe(STREAM_BUFFER);
        let reset = CancellationToken::new();
        let inbound = (!fin).then_some(writer);
        state.streams.insert(id, Entry { inbound, outbound: true, reset: reset.clone() });
        Opening::Accept(reader, reset)
    }

    fn last(&self) -> StreamId {
        self.lock().last
    }

    /// Where the bytes of a stream go. The error: there never was such a stream.
    fn inbound(&self, id: StreamId) -> Result<Option<PipeWriter>, Gone> {
        let state = self.lock();
        match state.streams.get(&id) {
            Some(entry) => Ok(entry.inbound.clone()),
            // What was sent before the peer knew of the end.
            None if !id.is_multiple_of(2) && id <= state.last => Ok(None),
            None => Err(Gone),
        }
    }

    /// The peer sends nothing more on a stream.
    fn end_inbound(&self, id: StreamId) {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&id) else { return };
        entry.inbound = None;
        if !entry.outbound {
            state.streams.remove(&id);
        }
    }

    /// This side sends nothing more; whether that is news.
    fn end_outbound(&self, id: StreamId) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&id) else { return false };
        let news = std::mem::take(&mut entry.outbound);
        if entry.inbound.is_none() {
            state.streams.remove(&id);
        }
        news
    }

    /// The peer gives a stream up.
    fn was_reset(&self, id: StreamId) {
        let entry = self.lock().streams.remove(&id);
        if let Some(entry) = entry {
            entry.reset.cancel();
            if let Some(inbound) = entry.inbound {
                inbound.reset();
            }
        }
    }

    fn remove(&self, id: StreamId) -> bool {
        self.lock().streams.remove(&id).is_some()
    }
}

impl<Io: AsyncRead + AsyncWrite> Driver<Io> {
    /// Runs until the peer ends the connection, or [`Connection::close`] does.
    ///
    /// # Errors
    /// The connection breaks, or the peer breaks the rules, of which it is told.
    pub(in crate::apiserver::streams) async fn run(self) -> Result<(), ConnectionError> {
        let Self { mut reader, mut writer, mut commands } = self;
        let result = tokio::select! {
            result = reader.run() => result,
            result = writer.run(&mut commands) => result,
        };
        if let Err(ConnectionError::Frame(_) | ConnectionError::Number(_)) = result {
            let last = reader.shared.last();
            // It is over either way.
            let _ = timeout(FAREWELL, writer.farewell(last)).await;
        }
        result
    }
}

struct FrameReader<Io> {
    io: BufReader<ReadHalf<Io>>,
    headers: HeaderReader,
    shared: Arc<Shared>,
    accept: mpsc::Sender<Stream>,
    sender: mpsc::Sender<Command>,
}

impl<Io: AsyncRead> FrameReader<Io> {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        while let Some(prefix) = self.prefix().await? {
            match prefix.what {
                What::Data(stream) => self.data(stream, prefix).await?,
                What::Control { version, kind } => {
                    check_control(version, prefix.length)?;
                    let mut payload = vec![0; prefix.length.min(MAX_CONTROL)];
                    self.io.read_exact(&mut payload).await?;
                    let control = Control::parse(prefix, kind, &payload, &mut self.headers)?;
                    self.control(control).await?;
                }
            }
        }
        Ok(())
    }

    /// The beginning of the next frame; `None` at the end of the connection, which may come between frames only.
    async fn prefix(&mut self) -> Result<Option<Prefix>, ConnectionError> {
        let mut bytes = [0; PREFIX];
        let read = self.io.read(&mut bytes).await?;
        if read == 0 {
            return Ok(None);
        }
        self.io.read_exact(&mut bytes[read..]).await?;
        Ok(Some(Prefix::parse(bytes)))
    }

    /// Moves the bytes of a data frame to their stream, however many they are.
    async fn data(&mut self, stream: StreamId, prefix: Prefix) -> Result<(), ConnectionError> {
        let mut inbound = match self.shared.inbound(stream) {
            Ok(inbound) => inbound,
            Err(Gone) => {
                self.send(Outgoing::Reset { stream, status: ResetStatus::InvalidStream }).await;
                None
            }
        };
        let mut left = prefix.length;
        while left > 0 {
            let mut piece = BytesMut::with_capacity(left.min(CHUNK));
            let limit = u64::try_from(left.min(CHUNK)).unwrap_or(u64::MAX);
            let read = (&mut self.io).take(limit).read_buf(&mut piece).await?;
            if read == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            left -= read;
            if let Some(writer) = &inbound
                && writer.write_all(piece.freeze()).await.is_err()
            {
                inbound = None;
            }
        }
        if prefix.fin {
            self.shared.end_inbound(stream);
        }
        Ok(())
    }

    async fn control(&mut self, control: Control) -> Result<(), ConnectionError> {
        match control {
            Control::Open { stream, fin, headers } => self.open(stream, fin, headers).await?,
            Control::Headers { stream, fin: true } => self.shared.end_inbound(stream),
            Control::Reset { stream } => self.shared.was_reset(stream),
            // An even one is the answer to a ping of this side.
            Control::Ping { id } if !id.is_multiple_of(2) => self.send(Outgoing::Ping { id }).await,
            // What it has opened goes on.
            Control::GoAway | Control::Ping { .. } | Control::Headers { .. } | Control::Ignored => {}
        }
        Ok(())
    }

    async fn open(&mut self, id: StreamId, fin: bool, headers: Headers) -> Result<(), ConnectionError> {
        let (reader, reset) = match self.shared.open(id, fin) {
            Opening::Accept(reader, reset) => (reader, reset),
            Opening::Forbidden => return Err(ConnectionError::Number(id)),
            Opening::Refuse => {
                self.send(Outgoing::Reset { stream: id, status: ResetStatus::Refused }).await;
                return Ok(());
            }
        };
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let stream = Stream { id, headers, reader, reset, shared, sender };
        if let Err(unwanted) = self.accept.send(stream).await {
            // Whoever accepts has all that it wanted.
            let _ = unwanted.0.reset(ResetStatus::Refused).await;
        }
        Ok(())
    }

    async fn send(&mut self, frame: Outgoing) {
        // The driver holds the other end.
        let _ = self.sender.send(Command::Send(frame)).await;
    }
}

struct FrameWriter<Io> {
    io: WriteHalf<Io>,
    headers: HeaderWriter,
    buffer: BytesMut,
}

impl<Io: AsyncWrite> FrameWriter<Io> {
    async fn run(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), ConnectionError> {
        let mut pings = interval_at(Instant::now() + PING_PERIOD, PING_PERIOD);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping: u32 = 0;
        loop {
            let command = tokio::select! {
                biased;
                command = commands.recv() => command,
                _ = pings.tick() => {
                    ping = ping.wrapping_add(2);
                    Some(Command::Send(Outgoing::Ping { id: ping }))
                }
            };
            let Some(Command::Send(frame)) = command else {
                self.io.shutdown().await?;
                return Ok(());
            };
            self.write(frame).await?;
            if commands.is_empty() {
                self.io.flush().await?;
            }
        }
    }

    async fn write(&mut self, frame: Outgoing) -> Result<(), ConnectionError> {
        frame.encode(&mut self.buffer, &mut self.headers)?;
        if let Outgoing::Data { bytes, .. } = &frame {
            // One write per frame: behind a WebSocket each is a message.
            self.buffer.extend_from_slice(bytes);
        }
        self.io.write_all_buf(&mut self.buffer).await?;
        Ok(())
    }

    /// Tells the peer that nothing comes any more.
    async fn farewell(&mut self, last: StreamId) -> Result<(), ConnectionError> {
        self.write(Outgoing::GoAway { last }).await?;
        self.io.shutdown().await?;
        Ok(())
    }
}
