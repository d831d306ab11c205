//! Sockets of 0.1: the listeners a container's declared TCP ports become, and the four `sock_*` calls.
//! `fd_read` and `fd_write` on connections are in `io`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use wasmtime::{Caller, Linker};

use super::abi::{Errno, fdflags};
use super::descriptors::{Connection, Descriptor, Listener, descriptors};
use super::io::{ReadMode, Source, Step, read_stream, run_steps, write_stream};
use super::memory::{GuestMemory, Transfer, exported_memory};
use super::{Context, MODULE, errno, inline};
use crate::base::pipe::{DEFAULT_CAPACITY, ReadError};
use crate::net::NetError;
use crate::runtime::wasm::state::GuestState;
use crate::runtime::wasm::stdio::InputSource;

/// Connections that may wait to be accepted on one listener (Linux's default `somaxconn` of old).
const BACKLOG: usize = 128;

/// Bits of `riflags`.
const RECV_PEEK: u32 = 1;
const RECV_WAITALL: u32 = 1 << 1;

/// Bits of `sdflags`.
const SHUT_RD: u32 = 1;
const SHUT_WR: u32 = 1 << 1;

type Guest<'a> = Caller<'a, GuestState>;

/// A declared port that could not be listened on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on containerPort {port}: {source}")]
pub(in super::super) struct ListenError {
    /// The port.
    pub(in super::super) port: u16,
    /// Why.
    pub(in super::super) source: NetError,
}

/// Opens a listening socket for each declared TCP port, in order, at the lowest numbers that are free: 4, 5, … for a
/// program that got nothing but its standard streams. Ports that another process of the container listens on are left out,
/// but for the main program, to which none may be taken.
///
/// # Errors
/// The first port that cannot be bound or listened on; nothing stays open then but what this process may drop.
pub(in super::super) fn listen(state: &mut GuestState) -> Result<(), ListenError> {
    let network = Arc::clone(&state.process.network);
    let is_main = state.process.is_main;
    let mut ports: Vec<u16> = Vec::new();
    for port in state.process.ports.iter().filter(|port| !port.udp) {
        // A port may be declared twice under two names.
        if !ports.contains(&port.port) {
            ports.push(port.port);
        }
    }
    for port in ports {
        let failed = |source| ListenError { port, source };
        let binding = match network.bind_tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))) {
            // Another process of the container serves it already.
            Err(NetError::AddressInUse) if !is_main => continue,
            bound => bound.map_err(failed)?,
        };
        let listener = Arc::new(network.listen(binding, BACKLOG).map_err(failed)?);
        let inserted = descriptors(state).insert(Descriptor::Listener(Listener { listener, flags: 0 }));
        inserted.map_err(|_| failed(NetError::TooManySockets))?;
    }
    Ok(())
}

/// Adds these functions.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap_async(MODULE, "sock_accept", |mut guest: Guest<'_>, (fd, flags, out): (u32, u32, u32)| {
        Box::new(async move {
            let memory = exported_memory(&mut guest)?;
            let accepted = accept(&mut guest, fd, flags).await;
            let written = accepted.and_then(|fd| GuestMemory::new(memory.data_mut(&mut guest)).write_u32(out, fd));
            Ok::<_, wasmtime::Error>(errno(written))
        })
    })?;
    linker.func_wrap_async(
        MODULE,
        "sock_recv",
        |mut guest: Guest<'_>, (fd, list, count, flags, length, out): (u32, u32, u32, u32, u32, u32)| {
            Box::new(async move {
                let memory = exported_memory(&mut guest)?;
                let step =
                    move |context: &mut Context<'_>, transfer: &mut Transfer| receive(context, fd, flags, transfer);
                let received = run_steps(&mut guest, (list, count), step).await.and_then(|bytes| {
                    let mut memory = GuestMemory::new(memory.data_mut(&mut guest));
                    memory.write_u32(length, bytes)?;
                    // A stream never truncates.
                    memory.write_u16(out, 0)
                });
                Ok::<_, wasmtime::Error>(errno(received))
            })
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "sock_send",
        |mut guest: Guest<'_>, (fd, list, count, flags, out): (u32, u32, u32, u32, u32)| {
            Box::new(async move {
                let memory = exported_memory(&mut guest)?;
                let step = move |context: &mut Context<'_>, transfer: &mut Transfer| send(context, fd, flags, transfer);
                let sent = run_steps(&mut guest, (list, count), step).await;
                let written =
                    sent.and_then(|bytes| GuestMemory::new(memory.data_mut(&mut guest)).write_u32(out, bytes));
                Ok::<_, wasmtime::Error>(errno(written))
            })
        },
    )?;
    linker.func_wrap(MODULE, "sock_shutdown", |mut guest: Guest<'_>, fd: u32, how: u32| {
        inline(&mut guest, |context| shutdown(context, fd, how))
    })?;
    Ok(())
}

async fn accept(guest: &mut Guest<'_>, fd: u32, flags: u32) -> Result<u32, Errno> {
    let flags = u16::try_from(flags).ok().filter(|flags| flags & !fdflags::NONBLOCK == 0).ok_or(Errno::Inval)?;
    let (listener, nonblock) = match descriptors(guest.data_mut()).get(fd)? {
        Descriptor::Listener(listener) => (Arc::clone(&listener.listener), listener.flags & fdflags::NONBLOCK != 0),
        Descriptor::Connection(_) => return Err(Errno::Inval),
        Descriptor::Input(_)
        | Descriptor::Output(_)
        | Descriptor::File(_)
        | Descriptor::Directory(_)
        | Descriptor::Signals(_) => return Err(Errno::NotSock),
    };
    // Checked first: a connection that was taken from the queue cannot be put back.
    if !descriptors(guest.data_mut()).has_room() {
        return Err(Errno::MFile);
    }
    let stream = match listener.try_accept()? {
        Some(stream) => stream,
        None if nonblock => return Err(Errno::Again),
        None => listener.accept().await?,
    };
    let connection = Connection { reader: stream.reader, writer: stream.writer, peeked: BytesMut::new(), flags };
    descriptors(guest.data_mut()).insert(Descriptor::Connection(connection))
}

/// The connection behind a descriptor.
fn connection(state: &mut GuestState, fd: u32) -> Result<&mut Connection, Errno> {
    match descriptors(state).get_mut(fd)? {
        Descriptor::Connection(connection) => Ok(connection),
        Descriptor::Listener(_) => Err(Errno::NotConn),
        Descriptor::Input(_)
        | Descriptor::Output(_)
        | Descriptor::File(_)
        | Descriptor::Directory(_)
        | Descriptor::Signals(_) => Err(Errno::NotSock),
    }
}

fn receive(context: &mut Context<'_>, fd: u32, flags: u32, transfer: &mut Transfer) -> Result<Step, Errno> {
    if flags & !(RECV_PEEK | RECV_WAITALL) != 0 {
        return Err(Errno::Inval);
    }
    let Context { memory, state } = context;
    let connection = connection(state, fd)?;
    let nonblock = connection.flags & fdflags::NONBLOCK != 0;
    let mode = ReadMode { nonblock, wait_all: flags & RECV_WAITALL != 0 };
    if flags & RECV_PEEK != 0 {
        peek(connection, memory, transfer, mode)
    } else {
        let source = InputSource::Pipe(connection.reader.clone());
        read_stream(&source, &mut connection.peeked, memory, transfer, mode)
    }
}

/// One step of peeking: what was read ahead grows to the size of the buffers, at most a pipe's worth, and is copied.
fn peek(
    connection: &mut Connection,
    memory: &mut GuestMemory<'_>,
    transfer: &mut Transfer,
    mode: ReadMode,
) -> Result<Step, Errno> {
    let wanted = transfer.capacity(memory)?.min(DEFAULT_CAPACITY);
    let mut ended = false;
    while connection.peeked.len() < wanted && !ended {
        match connection.reader.try_read(wanted - connection.peeked.len()) {
            Ok(bytes) => connection.peeked.extend_from_slice(&bytes),
            Err(ReadError::Reset) => return Err(Errno::ConnReset),
            Err(ReadError::End) => ended = true,
            Err(ReadError::Empty) if !connection.peeked.is_empty() && !mode.wait_all => break,
            Err(ReadError::Empty) if mode.nonblock && connection.peeked.is_empty() => return Err(Errno::Again),
            Err(ReadError::Empty) if mode.nonblock => break,
            Err(ReadError::Empty) => {
                return Ok(Step::Wait(Source::Reader(InputSource::Pipe(connection.reader.clone()))));
            }
        }
    }
    let mut left = connection.peeked.as_ref();
    while let Some((pointer, length)) = transfer.next(memory, u32::try_from(left.len()).unwrap_or(u32::MAX))? {
        if left.is_empty() {
            break;
        }
        let (piece, rest) = left.split_at(length as usize);
        memory.write(pointer, piece)?;
        transfer.advance(piece.len());
        left = rest;
    }
    Ok(Step::Done)
}

fn send(context: &mut Context<'_>, fd: u32, flags: u32, transfer: &mut Transfer) -> Result<Step, Errno> {
    if flags != 0 {
        return Err(Errno::Inval);
    }
    let Context { memory, state } = context;
    let connection = connection(state, fd)?;
    write_stream(&connection.writer, memory, transfer, connection.flags)
}

fn shutdown(context: &mut Context<'_>, fd: u32, how: u32) -> Result<(), Errno> {
    let connection = connection(context.state, fd)?;
    if how == 0 || how & !(SHUT_RD | SHUT_WR) != 0 {
        return Err(Errno::Inval);
    }
    if how & SHUT_RD != 0 {
        connection.peeked.clear();
        connection.reader.close();
    }
    if how & SHUT_WR != 0 {
        connection.writer.close();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::pipe::{PipeWriter, pipe};

    fn connected() -> (Connection, PipeWriter) {
        let (theirs, reader) = pipe(64);
        let (writer, _) = pipe(64);
        (Connection { reader, writer, peeked: BytesMut::new(), flags: 0 }, theirs)
    }

    /// Two buffers of 3 and 2 bytes at 16 and 20, listed at 0.
    fn two_buffers() -> Vec<u8> {
        let mut bytes = vec![0; 24];
        (bytes[0], bytes[4], bytes[8], bytes[12]) = (16, 3, 20, 2);
        bytes
    }

    fn check(mode: ReadMode, sent: &'static [u8], ended: bool, expected: Option<&[u8]>) {
        let (mut connection, theirs) = connected();
        theirs.try_write(&Bytes::from_static(sent)).unwrap();
        let _open = (!ended).then_some(theirs);
        let mut bytes = two_buffers();
        let mut transfer = Transfer::new(0, 2).unwrap();
        let step = peek(&mut connection, &mut GuestMemory::new(&mut bytes), &mut transfer, mode);
        let seen = matches!(step, Ok(Step::Done)).then(|| [&bytes[16..19], &bytes[20..22]].concat());
        let seen = seen.map(|seen| seen[..transfer.done as usize].to_vec());
        assert_eq!(seen.as_deref(), expected, "{sent:?} {mode:?}");
        assert_eq!(connection.peeked.len() + connection.reader.available(), sent.len(), "nothing was consumed");
    }

    #[test]
    fn peeking_shows_bytes_and_leaves_them() {
        let plain = ReadMode { nonblock: false, wait_all: false };
        let all = ReadMode { wait_all: true, ..plain };
        check(plain, b"abcd", false, Some(b"abcd"));
        check(plain, b"abcdefgh", false, Some(b"abcde"));
        check(plain, b"", false, None);
        check(plain, b"", true, Some(b""));
        check(all, b"abcd", false, None);
        check(all, b"abcde", false, Some(b"abcde"));
        check(all, b"abcd", true, Some(b"abcd"));
        check(ReadMode { nonblock: true, ..all }, b"abcd", false, Some(b"abcd"));
    }
}
