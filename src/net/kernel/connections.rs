//! The TCP connections between a pod's kernel and the switch: which there are, and the task that goes on with each when
//! it isn't a packet that lets it go on.
//!
//! ```text
//!   from the pod:  SYN ─▶ Leading ── the switch has connected ─▶ Open ─▶ over      else: RST, or an ICMP message
//!   to the pod:    connect ─▶ Open: SYN ─▶ … established ─▶ … ─▶ over              else: refused
//! ```

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::device::Device;
use super::endpoint::{Endpoint, Progress, Wanted};
use crate::base::pipe::{DuplexEnd, PipeReader, PipeWriter};
use crate::net::NetError;
use crate::net::tcp::CONNECT_TIMEOUT;

/// Connections between one pod's kernel and the switch; further ones find nobody.
const MAX_CONNECTIONS: usize = 4096;

/// A connection, seen from the pod: who the other end is there, and the pod's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) peer: SocketAddrV4,
    pub(super) port: u16,
}

/// All connections of one pod's kernel with the switch.
#[derive(Debug)]
pub(super) struct Connections {
    device: Arc<Device>,
    table: Mutex<HashMap<Key, Arc<Connection>>>,
}

#[derive(Debug)]
pub(super) struct Connection {
    state: Mutex<State>,
    /// Something has happened that the connection's task must look at.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// What the task is waiting for.
    watched: Option<Wanted>,
    /// Who waits for the pod to agree.
    opening: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Phase {
    /// The switch is connecting to where it leads.
    Leading,
    Open(Box<Endpoint>),
    Over,
}

impl Connection {
    fn new(phase: Phase, opening: Option<oneshot::Sender<()>>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { phase, watched: None, opening }), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a packet.
    pub(super) fn take(&self, device: &Device, packet: &[u8]) {
        let mut state = self.lock();
        let watched = state.watched;
        let needs_task = match state.advance(device, Some(packet)) {
            Some(wanted) => !watched.is_some_and(|watched| watched.covers(&wanted)),
            None => true,
        };
        drop(state);
        if needs_task {
            self.changed.notify_one();
        }
    }

    /// Goes on without a packet; says what to wait for then, or that it is over.
    fn go_on(&self, device: &Device) -> Option<Wanted> {
        let mut state = self.lock();
        let wanted = state.advance(device, None);
        state.watched = wanted;
        wanted
    }

    /// Now that it leads somewhere, has `endpoint` see to the packet that asked for it.
    fn open(&self, device: &Device, mut endpoint: Endpoint, syn: &[u8]) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Leading) {
            endpoint.advance(device, Some(syn));
            state.phase = Phase::Open(Box::new(endpoint));
        }
    }

    /// Whether a new connection between the same addresses may take its place.
    pub(super) fn is_ending(&self) -> bool {
        match &self.lock().phase {
            Phase::Leading => false,
            Phase::Open(endpoint) => endpoint.is_ending(),
            Phase::Over => true,
        }
    }

    /// Breaks it off.
    fn abort(&self, device: &Device) {
        let mut state = self.lock();
        if let Phase::Open(endpoint) = &mut state.phase {
            endpoint.abort(device);
        }
        state.phase = Phase::Over;
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets it, now that nothing of it matters.
    fn retire(&self) {
        self.lock().phase = Phase::Over;
        self.changed.notify_one();
    }

    /// Waits until it was broken off. Only while it is being led somewhere.
    pub(super) async fn aborted(&self) {
        loop {
            self.changed.notified().await;
            if matches!(self.lock().phase, Phase::Over) {
                return;
            }
        }
    }
}

impl State {
    /// Goes on as far as possible; `None` once nothing is left.
    fn advance(&mut self, device: &Device, packet: Option<&[u8]>) -> Option<Wanted> {
        let endpoint = match &mut self.phase {
            Phase::Open(endpoint) => endpoint,
            // A request that comes again; it is being seen to.
            Phase::Leading => return self.watched,
            Phase::Over => return None,
        };
        let progress = endpoint.advance(device, packet);
        if endpoint.is_established()
            && let Some(opening) = self.opening.take()
        {
            let _ = opening.send(());
        }
        match progress {
            Progress::Waiting(wanted) => Some(wanted),
            Progress::Over => {
                self.phase = Phase::Over;
                self.opening = None;
                None
            }
        }
    }
}

impl Wanted {
    /// Whether who waits for this will not miss `other`.
    fn covers(&self, other: &Self) -> bool {
        self.to_read >= other.to_read
            && self.to_write >= other.to_write
            && self.to_be_unwanted >= other.to_be_unwanted
            && other.until.is_none_or(|due| self.until.is_some_and(|until| until <= due))
    }
}

impl Connections {
    pub(super) fn new(device: Arc<Device>) -> Arc<Self> {
        Arc::new(Self { device, table: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Connection>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: Key) -> Option<Arc<Connection>> {
        self.lock().get(&key).cloned()
    }

    /// Enters a connection that the pod asks for, while it is being led somewhere. `None` if there are too many.
    pub(super) fn enter(&self, key: Key) -> Option<Arc<Connection>> {
        let connection = Connection::new(Phase::Leading, None);
        self.insert(key, &connection).then_some(connection)
    }

    /// Enters it, in place of one between the same addresses that is ending.
    fn insert(&self, key: Key, connection: &Arc<Connection>) -> bool {
        let mut table = self.lock();
        let is_taken = table.get(&key).is_some_and(|other| !other.is_ending());
        if is_taken || table.len() >= MAX_CONNECTIONS {
            return false;
        }
        let before = table.insert(key, Arc::clone(connection));
        drop(table);
        if let Some(before) = before {
            before.retire();
        }
        true
    }

    pub(super) fn remove(&self, key: Key, connection: &Arc<Connection>) {
        let mut table = self.lock();
        if table.get(&key).is_some_and(|entered| Arc::ptr_eq(entered, connection)) {
            table.remove(&key);
        }
    }

    /// Answers the pod's request, `syn`, for the connection that leads to `end`, and sees to it until it is over.
    pub(super) async fn answer(&self, key: Key, connection: &Arc<Connection>, end: DuplexEnd, syn: &[u8]) {
        let pipes = end.clone();
        if let Some(endpoint) = Endpoint::listen(key.peer, end, self.buffer()) {
            connection.open(&self.device, endpoint, syn);
            self.drive(connection, pipes).await;
        }
        self.remove(key, connection);
    }

    /// Connects to a port of the pod, which sees `peer` do it; the connection leads to `end`. Dropping the future gives
    /// up.
    pub(super) async fn connect(self: &Arc<Self>, key: Key, pod: SocketAddrV4, end: DuplexEnd) -> Result<(), NetError> {
        let pipes = end.clone();
        let endpoint = Endpoint::connect(key.peer, pod, end, self.buffer()).ok_or(NetError::Unreachable)?;
        let (opening, opened) = oneshot::channel();
        let connection = Connection::new(Phase::Open(Box::new(endpoint)), Some(opening));
        if !self.insert(key, &connection) {
            return Err(NetError::AddressNotAvailable);
        }
        let unless_opened = AbortOnDrop { connections: Arc::clone(self), connection: Some(Arc::clone(&connection)) };
        tokio::spawn({
            let connections = Arc::clone(self);
            async move {
                connections.drive(&connection, pipes).await;
                connections.remove(key, &connection);
            }
        });
        match tokio::time::timeout(CONNECT_TIMEOUT, opened).await {
            Ok(Ok(())) => {
                unless_opened.disarm();
                Ok(())
            }
            Ok(Err(_refused)) => Err(NetError::ConnectionRefused),
            Err(_elapsed) => Err(NetError::TimedOut),
        }
    }

    /// Goes on with a connection whenever it can, until it is over.
    async fn drive(&self, connection: &Arc<Connection>, pipes: DuplexEnd) {
        let DuplexEnd { reader, writer } = pipes;
        loop {
            let Some(wanted) = connection.go_on(&self.device) else { return };
            wait(connection, &reader, &writer, wanted).await;
        }
    }

    /// Bytes each direction buffers in the stack: less where there are many connections, as with pipes.
    fn buffer(&self) -> usize {
        match self.lock().len() {
            0..128 => 256 * 1024,
            128..512 => 64 * 1024,
            _ => 16 * 1024,
        }
    }

    /// Breaks everything off.
    pub(super) fn close(&self) {
        let connections = std::mem::take(&mut *self.lock());
        connections.values().for_each(|connection| connection.abort(&self.device));
    }
}

async fn wait(connection: &Connection, reader: &PipeReader, writer: &PipeWriter, wanted: Wanted) {
    let due = async {
        match wanted.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = connection.changed.notified() => {}
        () = reader.ready(), if wanted.to_read => {}
        () = writer.ready(), if wanted.to_write => {}
        () = writer.broken(), if wanted.to_be_unwanted => {}
        () = due => {}
    }
}

/// Breaks a connection off that nobody waits for any more.
struct AbortOnDrop {
    connections: Arc<Connections>,
    connection: Option<Arc<Connection>>,
}

impl AbortOnDrop {
    fn disarm(mut self) {
        self.connection = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.abort(&self.connections.device);
        }
    }
}
