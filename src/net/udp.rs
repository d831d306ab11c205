//! UDP on the switch: bounded queues of datagrams, and a socket of the host's for what goes outside.
//!
//! What a socket sends to a virtual address goes to one backend for as long as it keeps sending, and what that backend
//! answers shows the virtual address, as connection tracking has it on Linux.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::net::UdpSocket as HostSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use super::addr::{self, Family};
use super::dns::Server;
use super::flow::Flows;
use super::kernel::{KernelSide, KernelSocket, Slot};
use super::pod::{PodCore, PortLease};
use super::switch::{self, Route};
use super::{NetError, Protocol, Switch, egress};
use crate::base::pipe::Wakers;

/// The longest datagram: what fits in IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

/// Bytes a socket queues for its reader, [`DATAGRAM_OVERHEAD`] for each datagram included (Linux's `rmem_default`);
/// what comes on top is dropped.
const MAX_QUEUED: usize = 212_992;

/// What a queued datagram costs besides its bytes.
const DATAGRAM_OVERHEAD: usize = 256;

/// Outside peers whose answers a socket lets in; the one it has not written to for longest is forgotten first.
const MAX_OUTSIDE_PEERS: usize = 64;

/// A datagram and where it came from or goes to.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// The content.
    pub bytes: Bytes,
    /// The other end.
    pub peer: SocketAddr,
}

/// A bound UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    switch: Arc<Switch>,
    queue: Arc<DatagramQueue>,
    lease: PortLease,
    local_ip: IpAddr,
    outside: Mutex<Outside>,
}

impl UdpSocket {
    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        SocketAddr::new(self.local_ip, self.lease.port())
    }

    /// Where what it receives waits.
    pub(super) fn queue(&self) -> &Arc<DatagramQueue> {
        &self.queue
    }

    /// The address it is connected to.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let peer = self.queue.lock().peer?;
        Some(self.queue.family.show(peer.ip(), peer.port()))
    }

    /// From now on sends to `peer` by default and receives from nobody else.
    pub fn connect(&self, peer: SocketAddr) -> Result<(), NetError> {
        let target = self.target(peer)?;
        let core = self.lease.core();
        self.switch.check_reachable(core, target)?;
        self.lease.scope().source(target.ip(), core.ip)?;
        let mut state = self.queue.lock();
        state.peer = Some(target);
        state.error = None;
        drop(state);
        if let Some(kernel) = self.queue.kernel() {
            // Of what leaves the pod the kernel knows nothing.
            if target.ip().is_loopback() || target.ip() == core.ip {
                kernel.connect(target);
            } else {
                kernel.disconnect();
            }
        }
        Ok(())
    }

    /// Receives from everybody again.
    pub fn disconnect(&self) {
        let mut state = self.queue.lock();
        state.peer = None;
        state.error = None;
        drop(state);
        if let Some(kernel) = self.queue.kernel() {
            kernel.disconnect();
        }
    }

    /// Sends a datagram, to the connected peer unless told otherwise; never waits. As with UDP anywhere, `Ok` does not
    /// mean that it arrives. Fails with [`NetError::NotConnected`] without a destination,
    /// [`NetError::MessageTooLong`] beyond [`MAX_DATAGRAM`], [`NetError::ConnectionRefused`] when an earlier datagram
    /// to the connected peer found nobody there.
    pub fn try_send(&self, bytes: Bytes, peer: Option<SocketAddr>) -> Result<(), NetError> {
        let connected = {
            let mut state = self.queue.lock();
            if let Some(error) = state.take_error() {
                return Err(error);
            }
            state.peer
        };
        let target = match peer {
            Some(peer) => self.target(peer)?,
            None => connected.ok_or(NetError::NotConnected)?,
        };
        if bytes.len() > MAX_DATAGRAM {
            return Err(NetError::MessageTooLong);
        }
        let core = self.lease.core();
        let lead = match self.lead(target) {
            Ok(lead) => Some(lead),
            Err(NetError::ConnectionRefused) => None,
            Err(error) => return Err(error),
        };
        let source = SocketAddr::new(self.lease.scope().source(target.ip(), core.ip)?, self.lease.port());
        let delivered = match lead {
            Some((Route::Pod(pod), leads_to)) => match pod.find_datagram_queue(leads_to) {
                Some(queue) => queue.deliver(bytes, source),
                None => match pod.kernel() {
                    Some(kernel) if Arc::ptr_eq(&pod, core) => {
                        self.open_in_kernel(&kernel)?;
                        return self.queue.send_by_kernel(&bytes, leads_to);
                    }
                    Some(kernel) => kernel.send_datagram(source, leads_to, &bytes),
                    None => false,
                },
            },
            Some((Route::Outside, leads_to)) => return self.send_outside(&bytes, leads_to),
            Some((Route::Dns, _)) => {
                self.ask(&bytes, target);
                true
            }
            None => false,
        };
        if !delivered && connected == Some(target) {
            self.queue.fail(NetError::ConnectionRefused);
        }
        Ok(())
    }

    /// Makes sure that there is a socket in the pod's network namespace to send by. One that stands for a port of the
    /// kernel's has none of its own, and needs one for what a virtual address leads back to the pod: the kernel would
    /// take an answer to the port itself for somebody else's. All others get one under their own port as soon as there is
    /// a namespace; what they send until then is lost.
    fn open_in_kernel(&self, kernel: &KernelSide) -> Result<(), NetError> {
        if !self.lease.is_of_kernel() || self.queue.in_kernel().is_of(kernel) {
            return Ok(());
        }
        let (socket, _port) = kernel.bind_udp(SocketAddr::new(self.local_ip, 0))?;
        kernel.receive(&self.queue, socket)
    }

    /// Where a datagram to `target` leads, and to which address.
    fn lead(&self, target: SocketAddr) -> Result<(Route, SocketAddr), NetError> {
        let core = self.lease.core();
        let services = self.switch.services();
        if let Ok(Some(balancer)) = services.find(Protocol::Udp, target)
            && !switch::is_dns(target)
        {
            let backend = self.queue.lock().flows.backend_of(target).filter(|backend| balancer.has(*backend));
            let backend = backend.map_or_else(|| balancer.choose(core.ip.into()), Ok)?;
            self.queue.lock().flows.remember(target, backend);
            return Ok((self.switch.route(core, backend.ip())?, backend));
        }
        let (route, leads_to) = self.switch.lead(core, Protocol::Udp, target)?;
        self.queue.lock().flows.forget(target);
        Ok((route, leads_to))
    }

    /// Has the switch's DNS answer a question. What it must ask outside comes later, if the socket is still there.
    fn ask(&self, question: &[u8], target: SocketAddr) {
        let queue = Arc::downgrade(&self.queue);
        let place = self.lease.core().question_place();
        Server::answer_datagram(self.switch.dns(), question, place, move |answer| {
            if let Some(queue) = queue.upgrade() {
                queue.deliver(answer, target);
            }
        });
    }

    /// Takes a received datagram, if there is one. Errors as [`UdpSocket::try_send`], and
    /// [`NetError::ConnectionAborted`] when the pod's network was closed.
    pub fn try_recv(&self) -> Result<Option<Datagram>, NetError> {
        let mut state = self.queue.lock();
        if let Some(error) = state.take_error() {
            return Err(error);
        }
        Ok(state.pop())
    }

    /// Ready once [`UdpSocket::try_recv`] has an answer.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.queue.lock();
        if state.closed || state.error.is_some() || !state.waiting.is_empty() {
            return Poll::Ready(());
        }
        let evicted = state.readers.register(context);
        drop(state);
        evicted.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Takes a datagram once one is there.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Result<Datagram, NetError>> {
        loop {
            if let Some(received) = self.try_recv().transpose() {
                return Poll::Ready(received);
            }
            ready!(self.poll_ready(context));
        }
    }

    /// Waits for a datagram.
    pub async fn recv(&self) -> Result<Datagram, NetError> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The canonical destination, if a socket of this family can send there.
    fn target(&self, peer: SocketAddr) -> Result<SocketAddr, NetError> {
        if Family::of(peer) != self.queue.family {
            return Err(NetError::FamilyNotSupported);
        }
        if peer.port() == 0 {
            return Err(NetError::Invalid);
        }
        Ok(addr::destination(peer))
    }

    fn send_outside(&self, bytes: &[u8], target: SocketAddr) -> Result<(), NetError> {
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = if target.is_ipv4() { &mut outside.v4 } else { &mut outside.v6 };
        let host = match slot {
            Some(host) => host,
            None => {
                let place = self.lease.core().outside_place()?;
                let opened = HostSide::open(&self.queue, target, place);
                slot.insert(opened.map_err(|error| egress::error_of_host(&error))?)
            }
        };
        self.queue.lock().remember_outside(target);
        match host.sender.send_to(bytes, target) {
            Ok(_) => Ok(()),
            // The host's buffer is full: the datagram is lost, as it would be on a busy wire.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(egress::error_of_host(&error)),
        }
    }
}

/// Binds a UDP socket.
pub(super) fn bind(switch: &Arc<Switch>, core: &Arc<PodCore>, address: SocketAddr) -> Result<UdpSocket, NetError> {
    let (lease, queue) = match core.kernel() {
        None => core.lease_udp(address)?,
        Some(kernel) => {
            let (socket, port) = kernel.bind_udp(address)?;
            let (lease, queue) = core.lease_udp(SocketAddr::new(address.ip(), port))?;
            kernel.receive(&queue, socket)?;
            (lease, queue)
        }
    };
    Ok(UdpSocket { switch: Arc::clone(switch), queue, lease, local_ip: address.ip(), outside: Mutex::default() })
}

/// A socket that stands for one of the pod's kernel, at an address of the pod.
pub(super) fn stand_in(switch: &Arc<Switch>, core: &Arc<PodCore>, address: SocketAddrV4) -> UdpSocket {
    UdpSocket {
        switch: Arc::clone(switch),
        queue: Arc::new(DatagramQueue::new(address.into())),
        lease: PortLease::of_kernel(core, Protocol::Udp, address.port()),
        local_ip: (*address.ip()).into(),
        outside: Mutex::default(),
    }
}

/// Sockets of the host's that carry what a socket sends outside; made when first needed.
#[derive(Debug, Default)]
struct Outside {
    v4: Option<HostSide>,
    v6: Option<HostSide>,
}

#[derive(Debug)]
struct HostSide {
    /// Not tokio's, which knows only after a while that a new socket can be written to.
    sender: std::net::UdpSocket,
    _receiving: AbortOnDropHandle<()>,
    _place: OwnedSemaphorePermit,
}

impl HostSide {
    fn open(queue: &Arc<DatagramQueue>, target: SocketAddr, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let sender = std::net::UdpSocket::bind((any, 0))?;
        sender.set_nonblocking(true)?;
        let receiver = HostSocket::from_std(sender.try_clone()?)?;
        let receiving = tokio::spawn(receive_outside(receiver, Arc::downgrade(queue)));
        Ok(Self { sender, _receiving: AbortOnDropHandle::new(receiving), _place: place })
    }
}

/// Takes in what the host's socket gets from peers that were written to.
async fn receive_outside(socket: HostSocket, queue: Weak<DatagramQueue>) {
    while socket.readable().await.is_ok() {
        let mut buffer = BytesMut::with_capacity(MAX_DATAGRAM);
        loop {
            buffer.clear();
            match socket.try_recv_buf_from(&mut buffer) {
                Ok((_, source)) => {
                    let Some(queue) = queue.upgrade() else { return };
                    queue.deliver_outside(&buffer, source);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Such as the rejection of something sent before: it concerns no datagram still to come.
                Err(_error) => {}
            }
        }
    }
}

/// What arrived at a socket and was not taken yet.
#[derive(Debug)]
pub(super) struct DatagramQueue {
    family: Family,
    /// The address that is bound.
    local: SocketAddr,
    /// In a pod with a kernel: where native containers send to.
    kernel: Slot<KernelSocket>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Datagram>,
    cost: usize,
    /// The connected peer, canonical.
    peer: Option<SocketAddr>,
    /// Outside peers written to, the latest last.
    outside: VecDeque<SocketAddr>,
    flows: Flows,
    error: Option<NetError>,
    closed: bool,
    readers: Wakers,
}

impl DatagramQueue {
    pub(super) fn new(local: SocketAddr) -> Self {
        Self { family: Family::of(local), local, kernel: Slot::default(), state: Mutex::default() }
    }

    /// The address that is bound.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The socket in the pod's network namespace.
    pub(super) fn kernel(&self) -> Option<Arc<KernelSocket>> {
        self.kernel.get()
    }

    /// The place for it.
    pub(super) fn in_kernel(&self) -> &Slot<KernelSocket> {
        &self.kernel
    }

    /// Sends to a port of the pod's network namespace.
    fn send_by_kernel(&self, bytes: &[u8], target: SocketAddr) -> Result<(), NetError> {
        match self.kernel().map_or(Ok(()), |kernel| kernel.send(bytes, target)) {
            Err(NetError::ConnectionRefused) => {
                self.refuse(target);
                Ok(())
            }
            result => result,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a datagram or, for want of room, drops it; says whether the sender found somebody here.
    pub(super) fn deliver(&self, bytes: Bytes, source: SocketAddr) -> bool {
        let mut state = self.lock();
        let source = state.flows.shown(source);
        if state.closed || state.peer.is_some_and(|peer| peer != source) {
            return false;
        }
        let cost = bytes.len() + DATAGRAM_OVERHEAD;
        if state.cost + cost > MAX_QUEUED {
            return true;
        }
        state.cost += cost;
        state.waiting.push_back(Datagram { bytes, peer: self.family.show(source.ip(), source.port()) });
        let readers = state.readers.take();
        drop(state);
        readers.wake();
        true
    }

    /// Only who was written to may answer: else every process of the host could pose as anybody.
    fn deliver_outside(&self, bytes: &[u8], source: SocketAddr) {
        if self.lock().outside.contains(&source) {
            self.deliver(Bytes::copy_from_slice(bytes), source);
        }
    }

    /// Nobody was at `receiver`.
    pub(super) fn refuse(&self, receiver: SocketAddr) {
        if self.lock().peer == Some(receiver) {
            self.fail(NetError::ConnectionRefused);
        }
    }

    fn fail(&self, error: NetError) {
        let mut state = self.lock();
        state.error = Some(error);
        let readers = state.readers.take();
        drop(state);
        readers.wake();
    }

    /// Fails the socket for good.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.waiting.clear();
        state.cost = 0;
        let readers = state.readers.take();
        drop(state);
        readers.wake();
    }
}

impl State {
    fn take_error(&mut self) -> Option<NetError> {
        if self.closed { Some(NetError::ConnectionAborted) } else { self.error.take() }
    }

    fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.waiting.pop_front()?;
        self.cost -= datagram.bytes.len() + DATAGRAM_OVERHEAD;
        Some(datagram)
    }

    fn remember_outside(&mut self, peer: SocketAddr) {
        if self.outside.back() == Some(&peer) {
            return;
        }
        self.outside.retain(|known| *known != peer);
        if self.outside.len() == MAX_OUTSIDE_PEERS {
            self.outside.pop_front();
        }
        self.outside.push_back(peer);
    }
}
