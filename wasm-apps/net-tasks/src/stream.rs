//! A connection that tasks read and write.

use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::ErrorCode;
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use crate::address::{family, from_wasi, to_wasi};
use crate::reactor::{OnReady, Readiness};

/// Bytes read at a time.
const READ_BLOCK: u64 = 64 * 1024;

/// A TCP connection. What depends on another is declared, and so dropped, before it.
pub struct Stream {
    readable: Readiness,
    writable: OnceCell<Readiness>,
    input: Rc<Input>,
    output: OutputStream,
    socket: TcpSocket,
}

/// What the peer sends. Read as soon as something is there, if somebody waits for it.
struct Input {
    stream: InputStream,
    received: RefCell<Option<Result<Vec<u8>, StreamError>>>,
}

impl OnReady for Input {
    fn on_ready(&self) {
        let result = self.stream.read(READ_BLOCK);
        let nothing_yet = matches!(&result, Ok(bytes) if bytes.is_empty());
        *self.received.borrow_mut() = (!nothing_yet).then_some(result);
    }
}

impl Stream {
    pub(crate) fn new(socket: TcpSocket, input: InputStream, output: OutputStream) -> Self {
        let pollable = input.subscribe();
        let input = Rc::new(Input { stream: input, received: RefCell::default() });
        let readable = Readiness::with(pollable, Some(Rc::clone(&input) as Rc<dyn OnReady>));
        Self { readable, writable: OnceCell::new(), input, output, socket }
    }

    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> Result<Self, ErrorCode> {
        let socket = create_tcp_socket(family(address))?;
        socket.start_connect(&instance_network(), to_wasi(address))?;
        let connected = Readiness::new(socket.subscribe());
        let (input, output) = loop {
            match socket.finish_connect() {
                Err(ErrorCode::WouldBlock) => connected.wait().await,
                result => break result?,
            }
        };
        drop(connected);
        Ok(Self::new(socket, input, output))
    }

    /// The peer's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.remote_address().ok().map(from_wasi)
    }

    /// Our address.
    pub fn local(&self) -> Option<SocketAddr> {
        self.socket.local_address().ok().map(from_wasi)
    }

    /// Some bytes; [`StreamError::Closed`] when the peer has sent everything.
    pub fn poll_read(&self, context: &mut Context<'_>) -> Poll<Result<Vec<u8>, StreamError>> {
        loop {
            if let Some(result) = self.input.received.borrow_mut().take() {
                self.readable.forget();
                return Poll::Ready(result);
            }
            ready!(self.readable.poll(context));
        }
    }

    /// Some bytes; [`StreamError::Closed`] when the peer has sent everything.
    pub async fn read(&self) -> Result<Vec<u8>, StreamError> {
        poll_fn(|context| self.poll_read(context)).await
    }

    /// Writes as many of the bytes as the peer takes now, at least one, and says how many.
    pub fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, StreamError>> {
        loop {
            match self.output.check_write() {
                Ok(0) => {
                    let writable = self.writable.get_or_init(|| Readiness::new(self.output.subscribe()));
                    ready!(writable.poll(context));
                }
                Ok(room) => {
                    let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
                    return Poll::Ready(self.output.write(&bytes[..count]).map(|()| count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes all of the bytes.
    pub async fn write_all(&self, mut bytes: &[u8]) -> Result<(), StreamError> {
        while !bytes.is_empty() {
            bytes = &bytes[poll_fn(|context| self.poll_write(context, bytes)).await?..];
        }
        Ok(())
    }

    /// Tells the peer that nothing more will be sent.
    pub fn finish_sending(&self) {
        let _already_gone = self.socket.shutdown(ShutdownType::Send);
    }
}
