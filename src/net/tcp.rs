//! TCP on the switch: binding, listening, connecting.
//!
//! A connection is two byte pipes. It is established when it enters the listener's accept queue, as on Linux: the
//! client may write before anybody has accepted. A full queue makes clients wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::net::TcpStream as HostStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addr::{self, Family, Scope};
use super::kernel::{KernelListener, KernelSide, Slot};
use super::pod::{PodCore, PortLease};
use super::switch::Route;
use super::{NetError, Protocol, Switch, egress};
use crate::base::pipe::{DuplexEnd, Guard, PipeReader, PipeWriter, Wakers, duplex};

/// The longest accept queue a listener can have (Linux's `net.core.somaxconn`).
pub const MAX_BACKLOG: usize = 4096;

/// How often the kernel may choose a port that the switch has in use.
const CHOICES: usize = 16;

/// How long a connection attempt lasts: as Linux with its six retries.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);

/// A local port that is taken but does not listen yet; released on drop.
#[derive(Debug)]
pub struct TcpBinding {
    lease: PortLease,
    family: Family,
    local: SocketAddr,
}

impl TcpBinding {
    /// The address that was bound, with the port that was chosen.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stands for a port from which the pod's kernel connects.
    pub(super) fn of_kernel(core: &Arc<PodCore>, port: u16) -> Self {
        let local = SocketAddr::new(core.ip.into(), port);
        Self { lease: PortLease::of_kernel(core, Protocol::Tcp, port), family: Family::V4, local }
    }
}

/// A listening TCP socket. Dropping it resets the connections that nobody has accepted.
#[derive(Debug)]
pub struct TcpListener {
    queue: Arc<AcceptQueue>,
    binding: TcpBinding,
}

/// One end of a TCP connection. Dropping both handles closes it; with something unread, it resets it.
#[derive(Debug)]
pub struct TcpStream {
    /// Our address.
    pub local: SocketAddr,
    /// The other end's address.
    pub peer: SocketAddr,
    /// What the peer sends.
    pub reader: PipeReader,
    /// What we send.
    pub writer: PipeWriter,
}

impl TcpStream {
    fn new(local: SocketAddr, peer: SocketAddr, end: DuplexEnd) -> Self {
        Self { local, peer, reader: end.reader, writer: end.writer }
    }

    /// Resets the connection: both sides find it broken at once.
    pub fn reset(&self) {
        self.reader.reset();
        self.writer.reset();
    }
}

impl TcpListener {
    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.binding.local
    }

    /// Takes a waiting connection, if there is one. Fails with [`NetError::TooManySockets`] when the pod has too many
    /// already (the connection goes on waiting) and [`NetError::ConnectionAborted`] when the pod's network was closed.
    pub fn try_accept(&self) -> Result<Option<TcpStream>, NetError> {
        let core = self.binding.lease.core();
        let mut state = self.queue.lock();
        if state.closed {
            return Err(NetError::ConnectionAborted);
        }
        if state.waiting.is_empty() {
            return Ok(None);
        }
        if core.is_over_limit() {
            return Err(NetError::TooManySockets);
        }
        Ok(state.waiting.pop_front().map(|waiting| waiting.stream))
    }

    /// Ready once [`TcpListener::try_accept`] has an answer.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.queue.lock();
        if state.closed || !state.waiting.is_empty() {
            return Poll::Ready(());
        }
        let evicted = state.wakers.register(context);
        drop(state);
        evicted.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Takes a connection once one waits; errors as [`TcpListener::try_accept`].
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<Result<TcpStream, NetError>> {
        loop {
            if let Some(accepted) = self.try_accept().transpose() {
                return Poll::Ready(accepted);
            }
            ready!(self.poll_ready(context));
        }
    }

    /// Waits for a connection; errors as [`TcpListener::try_accept`].
    pub async fn accept(&self) -> Result<TcpStream, NetError> {
        poll_fn(|context| self.poll_accept(context)).await
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Connections that wait to be accepted.
#[derive(Debug)]
pub(super) struct AcceptQueue {
    family: Family,
    core: Arc<PodCore>,
    /// The address that is listened on.
    local: SocketAddr,
    backlog: usize,
    /// One permit for each connection that fits.
    room: Arc<Semaphore>,
    /// In a pod with a kernel: where native containers connect.
    kernel: Slot<KernelListener>,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Waiting>,
    closed: bool,
    wakers: Wakers,
}

#[derive(Debug)]
struct Waiting {
    stream: TcpStream,
    _room: OwnedSemaphorePermit,
}

impl AcceptQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room in the queue.
    async fn reserve(&self) -> Result<OwnedSemaphorePermit, NetError> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Ok(permit);
        }
        match tokio::time::timeout(CONNECT_TIMEOUT, Arc::clone(&self.room).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_closed| NetError::ConnectionRefused),
            Err(_elapsed) => Err(NetError::TimedOut),
        }
    }

    fn push(&self, stream: TcpStream, room: OwnedSemaphorePermit) -> Result<(), NetError> {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return Err(NetError::ConnectionRefused);
        }
        state.waiting.push_back(Waiting { stream, _room: room });
        let wakers = state.wakers.take();
        drop(state);
        wakers.wake();
        Ok(())
    }

    /// The address that is listened on.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// How many connections fit.
    pub(super) fn backlog(&self) -> usize {
        self.backlog
    }

    /// One permit for each connection that fits.
    pub(super) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    /// Where native containers connect.
    pub(super) fn kernel(&self) -> &Slot<KernelListener> {
        &self.kernel
    }

    /// From now on native containers connect here.
    pub(super) fn set_kernel(&self, side: &KernelSide, listener: KernelListener) {
        self.kernel.put(side, listener);
        if self.lock().closed {
            self.kernel.clear();
        }
    }

    /// Queues a connection that the pod's kernel has accepted.
    pub(super) fn admit(
        &self,
        stream: HostStream,
        room: OwnedSemaphorePermit,
        place: OwnedSemaphorePermit,
    ) -> Result<(), NetError> {
        let address = |address: std::io::Result<SocketAddr>| {
            let address = address.map_err(|error| egress::error_of_host(&error))?;
            Ok(self.family.show(address.ip().to_canonical(), address.port()))
        };
        let (local, peer) = (address(stream.local_addr())?, address(stream.peer_addr())?);
        let _ = stream.set_nodelay(true);
        let slot = self.core.reserve_connection(None);
        let ticket = slot.ticket();
        let (theirs, ours) = duplex(buffer_size(self.core.connection_count()), None, Some(Box::new(slot)));
        self.core.enter_connection(ticket, ours.control())?;
        self.push(TcpStream::new(local, peer, ours), room)?;
        splice(stream, theirs, place);
        Ok(())
    }

    /// Refuses who waits for room and resets who waits to be accepted.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let wakers = state.wakers.take();
        drop(state);
        self.room.close();
        self.kernel.clear();
        waiting.iter().for_each(|waiting| waiting.stream.reset());
        wakers.wake();
    }
}

/// Takes a local port.
pub(super) fn bind(core: &Arc<PodCore>, address: SocketAddr) -> Result<TcpBinding, NetError> {
    let scope = Scope::of(address.ip(), core.ip)?;
    let lease = match core.kernel() {
        None => core.lease_tcp(scope, address.port(), None)?,
        Some(kernel) => lease_of_kernel(core, &kernel, address, scope)?,
    };
    let local = SocketAddr::new(address.ip(), lease.port());
    Ok(TcpBinding { lease, family: Family::of(address), local })
}

/// Takes a port from the pod's kernel, and then from the switch. Where the kernel may choose, it does so again if the
/// switch has that one in use for a connection.
fn lease_of_kernel(
    core: &Arc<PodCore>,
    kernel: &KernelSide,
    address: SocketAddr,
    scope: Scope,
) -> Result<PortLease, NetError> {
    let attempts = if address.port() == 0 { CHOICES } else { 1 };
    let mut refused = NetError::AddressInUse;
    for _ in 0..attempts {
        let (socket, port) = kernel.bind_tcp(address)?;
        match core.lease_tcp(scope, port, Some(socket)) {
            Err(NetError::AddressInUse) => refused = NetError::AddressInUse,
            result => return result,
        }
    }
    Err(refused)
}

/// Turns a binding into a listener.
pub(super) fn listen(core: &Arc<PodCore>, binding: TcpBinding, backlog: usize) -> Result<TcpListener, NetError> {
    if !Arc::ptr_eq(core, binding.lease.core()) {
        return Err(NetError::Invalid);
    }
    let backlog = backlog.clamp(1, MAX_BACKLOG);
    let queue = Arc::new(AcceptQueue {
        family: binding.family,
        core: Arc::clone(core),
        local: binding.local,
        backlog,
        room: Arc::new(Semaphore::new(backlog)),
        kernel: Slot::default(),
        state: Mutex::default(),
    });
    core.set_listener(&binding.lease, &queue)?;
    if let Some(kernel) = core.kernel()
        && !queue.kernel.is_of(&kernel)
    {
        let bound = core.take_socket(&binding.lease);
        let socket = bound.map_or_else(|| kernel.bind_tcp(binding.local).map(|(socket, _)| socket), Ok);
        socket.and_then(|socket| kernel.listen(&queue, socket)).inspect_err(|_error| queue.close())?;
    }
    Ok(TcpListener { queue, binding })
}

/// Connects to wherever `peer` leads.
pub(super) async fn connect(
    switch: &Switch,
    core: &Arc<PodCore>,
    binding: Option<TcpBinding>,
    peer: SocketAddr,
) -> Result<TcpStream, NetError> {
    let family = Family::of(peer);
    if binding.as_ref().is_some_and(|binding| binding.family != family) {
        return Err(NetError::FamilyNotSupported);
    }
    let target = addr::destination(peer);
    let (route, leads_to) = switch.lead(core, Protocol::Tcp, target)?;
    let scope = binding.as_ref().map_or(Scope::Any, |binding| binding.lease.scope());
    let source = scope.source(target.ip(), core.ip)?;
    let lease = match binding {
        Some(binding) => binding.lease,
        None => core.lease_tcp(Scope::One(source), 0, None)?,
    };
    let ends = Ends { family, source: SocketAddr::new(source, lease.port()), target, leads_to };
    match route {
        Route::Pod(pod) => connect_inside(core, lease, &pod, ends).await,
        Route::Outside => {
            let place = core.outside_place()?;
            let host = egress::connect(leads_to).await?;
            let (ours, theirs) = establish(core, lease, None)?;
            splice(host, theirs, place);
            Ok(TcpStream::new(show(family, ends.source), show(family, target), ours))
        }
        Route::Dns => {
            let place = core.question_place().ok_or(NetError::ConnectionRefused)?;
            let (ours, theirs) = establish(core, lease, None)?;
            let served = TcpStream::new(target, ends.source, theirs);
            let server = Arc::clone(switch.dns());
            tokio::spawn(async move {
                server.serve(served).await;
                drop(place);
            });
            Ok(TcpStream::new(show(family, ends.source), show(family, target), ours))
        }
    }
}

/// Moves bytes between a host socket and a connection, in a task of its own.
fn splice(host: HostStream, end: DuplexEnd, place: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        egress::splice(host, end).await;
        drop(place);
    });
}

/// The addresses of a connection, canonical, and the family of the socket that made it.
#[derive(Debug, Clone, Copy)]
struct Ends {
    family: Family,
    source: SocketAddr,
    /// What the client asked for.
    target: SocketAddr,
    /// Who answers, the same unless the target is virtual.
    leads_to: SocketAddr,
}

/// An address as a socket of the family shows it.
fn show(family: Family, address: SocketAddr) -> SocketAddr {
    family.show(address.ip(), address.port())
}

async fn connect_inside(
    core: &Arc<PodCore>,
    lease: PortLease,
    pod: &Arc<PodCore>,
    ends: Ends,
) -> Result<TcpStream, NetError> {
    let Some(queue) = pod.find_listener(ends.leads_to) else {
        let kernel = pod.kernel().ok_or(NetError::ConnectionRefused)?;
        return connect_to_kernel(core, lease, &kernel, Arc::ptr_eq(core, pod), ends).await;
    };
    let room = queue.reserve().await?;
    let (ours, theirs) = establish(core, lease, Some(&queue.core))?;
    let accepted = TcpStream::new(show(queue.family, ends.leads_to), show(queue.family, ends.source), theirs);
    queue.push(accepted, room)?;
    Ok(TcpStream::new(show(ends.family, ends.source), show(ends.family, ends.target), ours))
}

/// Connects to what listens in a pod's network namespace: from within it for the pod's own guests, else through its
/// device, so that the server sees who connects.
async fn connect_to_kernel(
    core: &Arc<PodCore>,
    lease: PortLease,
    kernel: &KernelSide,
    is_own: bool,
    ends: Ends,
) -> Result<TcpStream, NetError> {
    if is_own || !kernel.has_device() {
        let bound = core.take_socket(&lease);
        let (host, place) = kernel.connect_inside(bound, ends.leads_to).await?;
        let local = if is_own { host.local_addr().ok() } else { None };
        let (ours, theirs) = establish(core, lease, None)?;
        splice(host, theirs, place);
        let local = local.map_or(ends.source, |local| SocketAddr::new(local.ip().to_canonical(), local.port()));
        return Ok(TcpStream::new(show(ends.family, local), show(ends.family, ends.target), ours));
    }
    let (ours, theirs) = establish(core, lease, None)?;
    kernel.connect_through_device(ends.source, ends.leads_to, theirs).await?;
    Ok(TcpStream::new(show(ends.family, ends.source), show(ends.family, ends.target), ours))
}

/// Makes the pipes of a connection and enters it with the pods concerned.
fn establish(
    core: &Arc<PodCore>,
    lease: PortLease,
    acceptor: Option<&Arc<PodCore>>,
) -> Result<(DuplexEnd, DuplexEnd), NetError> {
    let connections = core.connection_count().max(acceptor.map_or(0, |acceptor| acceptor.connection_count()));
    let our_slot = core.reserve_connection(Some(lease));
    let our_ticket = our_slot.ticket();
    let their_slot = acceptor.map(|acceptor| acceptor.reserve_connection(None));
    let their_ticket = their_slot.as_ref().map(|slot| slot.ticket());
    let their_guard = their_slot.map(|slot| Box::new(slot) as Guard);
    let (ours, theirs) = duplex(buffer_size(connections), Some(Box::new(our_slot)), their_guard);
    core.enter_connection(our_ticket, ours.control())?;
    if let (Some(acceptor), Some(ticket)) = (acceptor, their_ticket) {
        acceptor.enter_connection(ticket, theirs.control()).map_err(|_closed| NetError::ConnectionRefused)?;
    }
    Ok((ours, theirs))
}

/// Bytes each direction of a new connection buffers. Pods with many connections get smaller buffers, so that the most
/// a pod's sockets can hold stays below half a gigabyte.
fn buffer_size(connections: usize) -> usize {
    match connections {
        0..256 => 256 * 1024,
        256..1024 => 64 * 1024,
        _ => 16 * 1024,
    }
}
