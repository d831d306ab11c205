//! Moving bytes: `fd_read`, `fd_write` and their kin on files, streams and sockets, waiting where a stream is empty
//! or full. Files are read and written inline, in bounded steps; only forcing them to disk leaves the thread.

use std::sync::Arc;
use std::task;

use bytes::{Buf, Bytes, BytesMut};
use wasmtime::{Caller, Linker};

use super::abi::{Errno, fdflags};
use super::descriptors::{Descriptor, FileDescriptor, descriptors};
use super::memory::{GuestMemory, Transfer, exported_memory};
use super::{Context, MODULE, errno};
use crate::base::pipe::{PipeWriter, ReadError, WriteError};
use crate::net::TcpListener;
use crate::runtime::Signal;
use crate::runtime::wasm::open_file::after;
use crate::runtime::wasm::process::Process;
use crate::runtime::wasm::signals::{Delivery, Signals};
use crate::runtime::wasm::state::GuestState;
use crate::runtime::wasm::stdio::InputSource;
use crate::vfs::File;

/// Bytes moved to or from a file before other tasks get a turn.
const INLINE_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes copied into a stream at once.
const STREAM_CHUNK: u32 = 64 * 1024;

type Guest<'a> = Caller<'a, GuestState>;

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "fd_read",
        |mut guest: Guest<'_>, (fd, list, count, out): (u32, u32, u32, u32)| {
            Box::new(async move {
                let step = move |context: &mut Context<'_>, transfer: &mut Transfer| read(context, fd, None, transfer);
                transfer(&mut guest, (list, count), out, step).await
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_pread",
        |mut guest: Guest<'_>, (fd, list, count, offset, out): (u32, u32, u32, u64, u32)| {
            Box::new(async move {
                let step =
                    move |context: &mut Context<'_>, transfer: &mut Transfer| read(context, fd, Some(offset), transfer);
                transfer(&mut guest, (list, count), out, step).await
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_write",
        |mut guest: Guest<'_>, (fd, list, count, out): (u32, u32, u32, u32)| {
            Box::new(async move {
                let step = move |context: &mut Context<'_>, transfer: &mut Transfer| write(context, fd, None, transfer);
                transfer(&mut guest, (list, count), out, step).await
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "fd_pwrite",
        |mut guest: Guest<'_>, (fd, list, count, offset, out): (u32, u32, u32, u64, u32)| {
            Box::new(async move {
                let step = move |context: &mut Context<'_>, transfer: &mut Transfer| {
                    write(context, fd, Some(offset), transfer)
                };
                transfer(&mut guest, (list, count), out, step).await
            })
        },
    )?;
    for (name, metadata) in [("fd_sync", true), ("fd_datasync", false)] {
        linker.func_wrap_async(MODULE, name, move |mut guest: Guest<'_>, (fd,): (u32,)| {
            Box::new(async move { errno(sync(&mut guest, fd, metadata).await) })
        })?;
    }
    Ok(())
}

/// Something a call can wait for.
#[derive(Clone)]
pub(super) enum Source {
    Reader(InputSource),
    Writer(PipeWriter),
    Listener(Arc<TcpListener>),
    Signals(Arc<Signals>),
    /// The end of the process, which a signal has begun.
    End,
}

impl Source {
    /// Ready once the call would not have to wait.
    pub(super) fn poll_ready(&self, context: &mut task::Context<'_>) -> task::Poll<()> {
        match self {
            Self::Reader(reader) => reader.poll_ready(context),
            Self::Writer(writer) => writer.poll_ready(context),
            Self::Listener(listener) => listener.poll_ready(context),
            Self::Signals(signals) => signals.poll_ready(context),
            Self::End => task::Poll::Pending,
        }
    }

    async fn ready(&self) {
        std::future::poll_fn(|context| self.poll_ready(context)).await;
    }
}

/// How one step of a call ended.
pub(super) enum Step {
    /// The call is complete.
    Done,
    /// There is more to do after others had their turn.
    Yield,
    /// Nothing can be done before this is ready.
    Wait(Source),
    /// Complete once the file is on disk; the flag says whether metadata must be too.
    Sync(File, bool),
}

/// Repeats `step` until the transfer is complete and writes the byte count to `out`. An error after some bytes were
/// moved shows up at the next call, as in POSIX.
async fn transfer(
    guest: &mut Guest<'_>,
    (list, count): (u32, u32),
    out: u32,
    step: impl FnMut(&mut Context<'_>, &mut Transfer) -> Result<Step, Errno> + Send,
) -> wasmtime::Result<u32> {
    let memory = exported_memory(guest)?;
    let moved = run_steps(guest, (list, count), step).await;
    Ok(errno(moved.and_then(|bytes| GuestMemory::new(memory.data_mut(&mut *guest)).write_u32(out, bytes))))
}

/// The loop behind [`transfer`], for calls with further results.
pub(super) async fn run_steps(
    guest: &mut Guest<'_>,
    (list, count): (u32, u32),
    mut step: impl FnMut(&mut Context<'_>, &mut Transfer) -> Result<Step, Errno> + Send,
) -> Result<u32, Errno> {
    let memory = exported_memory(guest).map_err(|_| Errno::Fault)?;
    let mut transfer = Transfer::new(list, count)?;
    loop {
        let (bytes, state) = memory.data_and_store_mut(&mut *guest);
        let ended = step(&mut Context { memory: GuestMemory::new(bytes), state }, &mut transfer);
        match ended {
            Ok(Step::Done) => return Ok(transfer.done),
            Ok(Step::Yield) => tokio::task::yield_now().await,
            Ok(Step::Wait(source)) => source.ready().await,
            Ok(Step::Sync(file, metadata)) => {
                sync_file(file, metadata).await?;
                return Ok(transfer.done);
            }
            Err(_) if transfer.done > 0 => return Ok(transfer.done),
            Err(errno) => return Err(errno),
        }
    }
}

/// One step of reading; `at` is the offset of a positioned read.
fn read(context: &mut Context<'_>, fd: u32, at: Option<u64>, transfer: &mut Transfer) -> Result<Step, Errno> {
    let Context { memory, state } = context;
    match descriptors(state).get_mut(fd)? {
        Descriptor::File(file) => read_file(file, memory, at, transfer),
        Descriptor::Directory(_) => Err(Errno::IsDir),
        Descriptor::Output(_) => Err(Errno::Badf),
        Descriptor::Listener(_) => Err(Errno::NotConn),
        Descriptor::Input(_) | Descriptor::Connection(_) | Descriptor::Signals(_) if at.is_some() => Err(Errno::SPipe),
        Descriptor::Input(input) => {
            let mode = ReadMode { nonblock: input.flags & fdflags::NONBLOCK != 0, wait_all: false };
            read_stream(&input.source, &mut BytesMut::new(), memory, transfer, mode)
        }
        Descriptor::Connection(connection) => {
            let mode = ReadMode { nonblock: connection.flags & fdflags::NONBLOCK != 0, wait_all: false };
            let source = InputSource::Pipe(connection.reader.clone());
            read_stream(&source, &mut connection.peeked, memory, transfer, mode)
        }
        Descriptor::Signals(queue) => super::signal::read(queue, memory, transfer),
    }
}

fn read_file(
    file: &FileDescriptor,
    memory: &mut GuestMemory<'_>,
    at: Option<u64>,
    transfer: &mut Transfer,
) -> Result<Step, Errno> {
    if !file.open.read {
        return Err(Errno::Badf);
    }
    let mut budget = INLINE_BYTES;
    while let Some((pointer, length)) = transfer.next(memory, budget)? {
        let target = memory.bytes_mut(pointer, length)?;
        let read = match at {
            // A positioned read starts over at its offset in every step, past what it has moved already.
            Some(at) => file.open.file.read_at(target, after(at, transfer.done as usize)?)?,
            None => file.open.read(target)?,
        };
        transfer.advance(read);
        if read < length as usize {
            return Ok(Step::Done);
        }
        budget -= length;
        if budget == 0 {
            return Ok(Step::Yield);
        }
    }
    Ok(Step::Done)
}

/// How to read a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadMode {
    /// Fail with `EAGAIN` instead of waiting.
    pub(super) nonblock: bool,
    /// Wait until every buffer is full or the stream ends.
    pub(super) wait_all: bool,
}

/// One step of reading a stream: first what was peeked at, then what is buffered.
pub(super) fn read_stream(
    source: &InputSource,
    peeked: &mut BytesMut,
    memory: &mut GuestMemory<'_>,
    transfer: &mut Transfer,
    mode: ReadMode,
) -> Result<Step, Errno> {
    let mut budget = INLINE_BYTES;
    while let Some((pointer, length)) = transfer.next(memory, budget)? {
        let target = memory.bytes_mut(pointer, length)?;
        if !peeked.is_empty() {
            let taken = target.len().min(peeked.len());
            peeked.copy_to_slice(&mut target[..taken]);
            transfer.advance(taken);
            continue;
        }
        match source.try_read(target.len()) {
            Ok(bytes) => {
                target[..bytes.len()].copy_from_slice(&bytes);
                transfer.advance(bytes.len());
                budget -= u32::try_from(bytes.len()).unwrap_or(budget);
            }
            Err(ReadError::End) => return Ok(Step::Done),
            Err(ReadError::Reset) => return Err(Errno::ConnReset),
            Err(ReadError::Empty) if transfer.done > 0 && !mode.wait_all => return Ok(Step::Done),
            Err(ReadError::Empty) if mode.nonblock => return Err(Errno::Again),
            Err(ReadError::Empty) => return Ok(Step::Wait(Source::Reader(source.clone()))),
        }
        if source.is_terminal() {
            // One line, or what was typed; the end of the input is not to be taken on the way.
            return Ok(Step::Done);
        }
        if budget == 0 {
            return Ok(if mode.wait_all { Step::Yield } else { Step::Done });
        }
    }
    Ok(Step::Done)
}

/// One step of writing; `at` is the offset of a positioned write.
fn write(context: &mut Context<'_>, fd: u32, at: Option<u64>, transfer: &mut Transfer) -> Result<Step, Errno> {
    let Context { memory, state } = context;
    match descriptors(state).get_mut(fd)? {
        Descriptor::File(file) => write_file(file, memory, at, transfer),
        Descriptor::Directory(_) | Descriptor::Signals(_) => Err(Errno::Badf),
        Descriptor::Input(input) => match input.source.terminal() {
            Some(terminal) => write_stream(terminal.output(), memory, transfer, input.flags),
            None => Err(Errno::Badf),
        },
        Descriptor::Listener(_) => Err(Errno::NotConn),
        Descriptor::Output(_) | Descriptor::Connection(_) if at.is_some() => Err(Errno::SPipe),
        Descriptor::Output(output) => match output.sink.pipe() {
            Some(writer) => match write_stream(writer, memory, transfer, output.flags) {
                Err(Errno::Pipe) => broken_pipe(&state.process.process),
                step => step,
            },
            None => Err(Errno::Badf),
        },
        Descriptor::Connection(connection) => write_stream(&connection.writer, memory, transfer, connection.flags),
    }
}

/// What writing to a pipe without readers does: ends the process, unless it cares for that itself.
fn broken_pipe(process: &Process) -> Result<Step, Errno> {
    if process.signals().deliver(Signal::Pipe) == Delivery::Handled {
        return Err(Errno::Pipe);
    }
    process.signal(Signal::Pipe);
    Ok(Step::Wait(Source::End))
}

fn write_file(
    file: &FileDescriptor,
    memory: &mut GuestMemory<'_>,
    at: Option<u64>,
    transfer: &mut Transfer,
) -> Result<Step, Errno> {
    if !file.open.write {
        return Err(Errno::Badf);
    }
    let mut budget = INLINE_BYTES;
    while let Some((pointer, length)) = transfer.next(memory, budget)? {
        let bytes = memory.bytes(pointer, length)?;
        let written = match at {
            // As on Linux, a positioned write to a file opened for appending appends.
            Some(_) if file.open.append => file.open.file.append(bytes)?.0,
            Some(at) => file.open.file.write_at(bytes, after(at, transfer.done as usize)?)?,
            None => file.open.write(bytes)?,
        };
        transfer.advance(written);
        if written < length as usize {
            break;
        }
        budget -= length;
        if budget == 0 {
            return Ok(Step::Yield);
        }
    }
    Ok(match file.write_sync() {
        Some(metadata) => Step::Sync(file.open.file.clone(), metadata),
        None => Step::Done,
    })
}

/// One step of writing to a stream. A blocking write takes everything, as a pipe does on Linux; a broken one is
/// `EPIPE`, and what more that means is the caller's to say.
pub(super) fn write_stream(
    writer: &PipeWriter,
    memory: &GuestMemory<'_>,
    transfer: &mut Transfer,
    flags: u16,
) -> Result<Step, Errno> {
    let mut budget = INLINE_BYTES;
    while let Some((pointer, length)) = transfer.next(memory, STREAM_CHUNK)? {
        let written = writer.room().and_then(|room| {
            let room = u32::try_from(room).unwrap_or(u32::MAX);
            if room == 0 {
                return Err(WriteError::Full);
            }
            let bytes = memory.bytes(pointer, length.min(room)).unwrap_or_default();
            writer.try_write(&Bytes::copy_from_slice(bytes))
        });
        match written {
            Ok(written) => transfer.advance(written),
            Err(WriteError::Full) if flags & fdflags::NONBLOCK == 0 => {
                return Ok(Step::Wait(Source::Writer(writer.clone())));
            }
            // With some bytes taken already, the caller turns this into their count.
            Err(WriteError::Full) => return Err(Errno::Again),
            Err(WriteError::Broken) => return Err(Errno::Pipe),
            Err(WriteError::Reset) => return Err(Errno::ConnReset),
        }
        budget = budget.saturating_sub(length);
        if budget == 0 {
            return Ok(Step::Yield);
        }
    }
    Ok(Step::Done)
}

async fn sync(guest: &mut Guest<'_>, fd: u32, metadata: bool) -> Result<(), Errno> {
    let file = match descriptors(guest.data_mut()).get(fd)? {
        Descriptor::File(file) => file.open.file.clone(),
        Descriptor::Directory(_) => return Ok(()),
        Descriptor::Input(_)
        | Descriptor::Output(_)
        | Descriptor::Listener(_)
        | Descriptor::Connection(_)
        | Descriptor::Signals(_) => return Err(Errno::Inval),
    };
    sync_file(file, metadata).await
}

/// Forces a file to disk on a thread that may block.
async fn sync_file(file: File, metadata: bool) -> Result<(), Errno> {
    let synced = tokio::task::spawn_blocking(move || file.sync(metadata)).await;
    Ok(synced.map_err(|_| Errno::Io)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::pipe::pipe;

    /// Guest memory with one buffer of `length` bytes at 16, listed at 0.
    fn one_buffer(length: u32) -> Vec<u8> {
        let mut bytes = vec![0; 16 + length as usize];
        bytes[0] = 16;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    const BLOCK: ReadMode = ReadMode { nonblock: false, wait_all: false };

    #[test]
    fn a_read_takes_what_is_there_and_waits_only_for_the_first_byte() {
        let (writer, reader) = pipe(16);
        let source = InputSource::Pipe(reader);
        let mut bytes = one_buffer(8);
        let mut memory = GuestMemory::new(&mut bytes);
        let mut transfer = Transfer::new(0, 1).unwrap();
        let mut read =
            |transfer: &mut Transfer, mode| read_stream(&source, &mut BytesMut::new(), &mut memory, transfer, mode);
        assert!(matches!(read(&mut transfer, BLOCK), Ok(Step::Wait(_))));
        let nonblock = ReadMode { nonblock: true, ..BLOCK };
        assert!(matches!(read(&mut transfer, nonblock), Err(Errno::Again)));
        writer.try_write(&Bytes::from_static(b"abc")).unwrap();
        assert!(matches!(read(&mut transfer, ReadMode { wait_all: true, ..BLOCK }), Ok(Step::Wait(_))));
        assert!(matches!(read(&mut transfer, BLOCK), Ok(Step::Done)));
        assert_eq!(transfer.done, 3);
        drop(writer);
        let mut at_end = Transfer::new(0, 1).unwrap();
        assert!(matches!(read(&mut at_end, BLOCK), Ok(Step::Done)));
        assert_eq!(at_end.done, 0);
        assert_eq!(&bytes[16..19], b"abc");
    }

    #[test]
    fn peeked_bytes_come_first() {
        let (writer, reader) = pipe(16);
        writer.try_write(&Bytes::from_static(b"cd")).unwrap();
        let mut peeked = BytesMut::from(b"ab".as_slice());
        let mut bytes = one_buffer(3);
        let mut transfer = Transfer::new(0, 1).unwrap();
        let source = InputSource::Pipe(reader.clone());
        read_stream(&source, &mut peeked, &mut GuestMemory::new(&mut bytes), &mut transfer, BLOCK).unwrap();
        assert_eq!((&bytes[16..], peeked.len(), reader.available()), (b"abc".as_slice(), 0, 1));
    }

    #[test]
    fn a_write_to_a_full_or_broken_pipe_says_which() {
        let (writer, reader) = pipe(2);
        let mut bytes = one_buffer(4);
        let memory = GuestMemory::new(&mut bytes);
        let mut transfer = Transfer::new(0, 1).unwrap();
        assert!(matches!(write_stream(&writer, &memory, &mut transfer, 0), Ok(Step::Wait(_))));
        assert_eq!(transfer.done, 2, "what fits is taken before waiting");
        assert!(matches!(write_stream(&writer, &memory, &mut transfer, fdflags::NONBLOCK), Err(Errno::Again)));
        drop(reader);
        assert!(matches!(write_stream(&writer, &memory, &mut transfer, 0), Err(Errno::Pipe)));
    }
}
