//! A guest's TCP socket: its states, and which call is allowed in which.
//!
//! ```text
//!  Unbound ──▶ Bound ──▶ Listening
//!     │          │
//!     └──────────┴──▶ Connecting ──▶ Connected        a failed attempt: Closed
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;

use super::address::Family;
use super::fault::Fault;
use super::options::Options;
use crate::base::pipe::{PipeReader, PipeWriter};
use crate::net::{MAX_BACKLOG, NetError, PodNetwork, TcpBinding, TcpListener, TcpStream};

/// The accept queue of listeners that don't ask for another (as Rust's std).
const DEFAULT_BACKLOG: usize = 128;

/// One TCP socket.
#[allow(unreachable_pub, reason = "the generated glue re-exports it")]
pub struct TcpSocket {
    network: Arc<PodNetwork>,
    family: Family,
    backlog: usize,
    pub(super) options: Options,
    state: State,
}

enum State {
    Unbound,
    Bound(TcpBinding),
    Connecting(BoxFuture<'static, Result<TcpStream, NetError>>),
    Connected(Connection),
    Listening(Arc<TcpListener>),
    Closed,
}

/// An established connection. The handles are there until somebody takes them.
struct Connection {
    local: SocketAddr,
    peer: SocketAddr,
    reader: Option<PipeReader>,
    writer: Option<PipeWriter>,
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Unbound => "unbound",
            State::Bound(_) => "bound",
            State::Connecting(_) => "connecting",
            State::Connected(_) => "connected",
            State::Listening(_) => "listening",
            State::Closed => "closed",
        };
        formatter.debug_struct("TcpSocket").field("family", &self.family).field("state", &state).finish()
    }
}

impl TcpSocket {
    pub(super) fn new(network: &Arc<PodNetwork>, family: Family) -> Self {
        Self {
            network: Arc::clone(network),
            family,
            backlog: DEFAULT_BACKLOG,
            options: Options::default(),
            state: State::Unbound,
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn bind(&mut self, local: SocketAddr) -> Result<(), Fault> {
        let State::Unbound = self.state else { return Err(Fault::InvalidState) };
        let binding = self.network.bind_tcp(self.family.check_local(local)?)?;
        self.state = State::Bound(binding);
        Ok(())
    }

    pub(super) fn is_bound(&self) -> bool {
        matches!(self.state, State::Bound(_))
    }

    /// Starts listening, on an ephemeral port if the socket was not bound.
    pub(super) fn listen(&mut self) -> Result<Arc<TcpListener>, Fault> {
        if let State::Unbound = self.state {
            self.bind(self.family.unspecified())?;
        }
        if !self.is_bound() {
            return Err(Fault::InvalidState);
        }
        let State::Bound(binding) = std::mem::replace(&mut self.state, State::Closed) else {
            return Err(Fault::InvalidState);
        };
        let listener = Arc::new(self.network.listen(binding, self.backlog)?);
        self.state = State::Listening(Arc::clone(&listener));
        Ok(listener)
    }

    pub(super) fn listener(&self) -> Option<&Arc<TcpListener>> {
        match &self.state {
            State::Listening(listener) => Some(listener),
            _ => None,
        }
    }

    /// What is needed to make sockets of accepted connections elsewhere.
    pub(super) fn acceptor(&self) -> Acceptor {
        Acceptor { network: Arc::clone(&self.network), family: self.family, options: self.options.clone() }
    }

    /// Begins to connect; [`TcpSocket::poll_connected`] goes on.
    pub(super) fn start_connect(&mut self, peer: SocketAddr) -> Result<(), Fault> {
        let (State::Unbound | State::Bound(_)) = self.state else { return Err(Fault::InvalidState) };
        let peer = self.family.check_remote(peer)?;
        let binding = match std::mem::replace(&mut self.state, State::Closed) {
            State::Bound(binding) => Some(binding),
            _ => None,
        };
        let network = Arc::clone(&self.network);
        self.state = State::Connecting(Box::pin(async move { network.connect(binding, peer).await }));
        Ok(())
    }

    /// Ready once the attempt to connect has ended; says how. After a failure the socket is of no more use.
    pub(super) fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let State::Connecting(attempt) = &mut self.state else { return Poll::Ready(Err(Fault::NotInProgress)) };
        let result = ready!(attempt.as_mut().poll(context));
        Poll::Ready(match result {
            Ok(stream) => {
                self.state = State::Connected(Connection::new(stream));
                Ok(())
            }
            Err(error) => {
                self.state = State::Closed;
                Err(error.into())
            }
        })
    }

    /// The handles of the connection, shared with the socket.
    pub(super) fn handles(&self) -> Result<(PipeReader, PipeWriter), Fault> {
        match &self.state {
            State::Connected(Connection { reader: Some(reader), writer: Some(writer), .. }) => {
                Ok((reader.clone(), writer.clone()))
            }
            _ => Err(Fault::InvalidState),
        }
    }

    /// The receiving handle, once.
    #[cfg(feature = "wasi-p3")]
    pub(super) fn take_reader(&mut self) -> Result<PipeReader, Fault> {
        match &mut self.state {
            State::Connected(connection) => connection.reader.take().ok_or(Fault::InvalidState),
            _ => Err(Fault::InvalidState),
        }
    }

    /// The sending handle, once.
    #[cfg(feature = "wasi-p3")]
    pub(super) fn take_writer(&mut self) -> Result<PipeWriter, Fault> {
        match &mut self.state {
            State::Connected(connection) => connection.writer.take().ok_or(Fault::InvalidState),
            _ => Err(Fault::InvalidState),
        }
    }

    pub(super) fn local_addr(&self) -> Result<SocketAddr, Fault> {
        match &self.state {
            State::Bound(binding) => Ok(binding.local_addr()),
            State::Connected(connection) => Ok(connection.local),
            State::Listening(listener) => Ok(listener.local_addr()),
            State::Unbound | State::Connecting(_) | State::Closed => Err(Fault::InvalidState),
        }
    }

    pub(super) fn peer_addr(&self) -> Result<SocketAddr, Fault> {
        match &self.state {
            State::Connected(connection) => Ok(connection.peer),
            _ => Err(Fault::InvalidState),
        }
    }

    /// Sets the length of the accept queue of a socket that does not listen yet.
    pub(super) fn set_backlog(&mut self, value: u64) -> Result<(), Fault> {
        match self.state {
            _ if value == 0 => Err(Fault::InvalidArgument),
            State::Unbound | State::Bound(_) => {
                self.backlog = usize::try_from(value).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG);
                Ok(())
            }
            State::Listening(_) => Err(Fault::NotSupported),
            State::Connecting(_) | State::Connected(_) | State::Closed => Err(Fault::InvalidState),
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self { local: stream.local, peer: stream.peer, reader: Some(stream.reader), writer: Some(stream.writer) }
    }
}

/// Makes sockets of accepted connections.
#[derive(Debug)]
pub(super) struct Acceptor {
    network: Arc<PodNetwork>,
    family: Family,
    options: Options,
}

impl Acceptor {
    /// The socket of an accepted connection, with its listener's options.
    pub(super) fn accepted(&self, stream: TcpStream) -> TcpSocket {
        TcpSocket {
            network: Arc::clone(&self.network),
            family: self.family,
            backlog: DEFAULT_BACKLOG,
            options: self.options.clone(),
            state: State::Connected(Connection::new(stream)),
        }
    }
}
