//! One pod's side of the switch: its address, its port spaces, its live connections and its names.
//!
//! How connections are made is `tcp`'s business, datagrams are `udp`'s.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addr::{Family, NODE, Scope};
use super::dns;
use super::ports::{PortKey, PortTable};
use super::resolve::{LookupConfig, Names};
use super::tcp::{self, AcceptQueue};
use super::udp::{self, DatagramQueue};
use super::{NetError, Protocol, Switch, TcpBinding, TcpListener, TcpStream, UdpSocket};
use crate::base::pipe::DuplexControl;

/// TCP sockets a pod may have open: bound, listening, connected and accepted ones together.
pub const MAX_TCP_SOCKETS: usize = 8192;

/// UDP sockets a pod may have open.
pub const MAX_UDP_SOCKETS: usize = 1024;

/// Sockets of the host's that a pod may occupy with what it has going on outside, TCP and UDP together. They count
/// against the descriptors of the agent, which all pods share.
pub const MAX_OUTSIDE_SOCKETS: usize = 1024;

/// Questions to the switch's DNS that a pod may have under way: connections, and what is asked outside.
const MAX_QUESTIONS: usize = 128;

/// One pod's network: its addresses, port space, loopback and names. Detached from the switch by `close` or on drop.
#[derive(Debug)]
pub struct PodNetwork {
    pub(super) core: Arc<PodCore>,
    pub(super) switch: Arc<Switch>,
}

impl PodNetwork {
    /// The pod's addresses, the first one being `status.podIP`.
    pub fn ips(&self) -> &[IpAddr] {
        &self.core.ips
    }

    /// Takes a local TCP port (port 0: an ephemeral one).
    pub fn bind_tcp(self: &Arc<Self>, addr: SocketAddr) -> Result<TcpBinding, NetError> {
        tcp::bind(&self.core, addr)
    }

    /// Starts listening; at most `backlog` connections wait to be accepted. A backlog of 0 counts as 1, and one above
    /// [`tcp::MAX_BACKLOG`] as that.
    pub fn listen(&self, binding: TcpBinding, backlog: usize) -> Result<TcpListener, NetError> {
        tcp::listen(&self.core, binding, backlog)
    }

    /// Connects from this pod to `peer`: loopback, own address, another pod's, or outside by policy. Needs a tokio
    /// runtime. Cancelled by dropping the future, which releases `binding`.
    pub async fn connect(
        self: &Arc<Self>,
        binding: Option<TcpBinding>,
        peer: SocketAddr,
    ) -> Result<TcpStream, NetError> {
        tcp::connect(&self.switch, &self.core, binding, peer).await
    }

    /// Connects from the node to a port of this pod, as published ports and probes do: only listeners that are not
    /// bound to loopback are reached, and they see the node's address.
    pub async fn connect_from_node(&self, port: u16) -> Result<TcpStream, NetError> {
        tcp::connect(&self.switch, self.switch.node(), None, SocketAddr::new(self.core.ip.into(), port)).await
    }

    /// Binds a UDP socket (port 0: an ephemeral one).
    pub fn bind_udp(self: &Arc<Self>, addr: SocketAddr) -> Result<UdpSocket, NetError> {
        udp::bind(&self.switch, &self.core, addr)
    }

    /// Resolves a name as a guest would see it: literals, localhost, the pod's own names, hostAliases, then DNS with
    /// the pod's search list, the switch's and the host's. Never an empty list.
    pub async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, NetError> {
        dns::resolve(&self.switch, &self.core, name).await
    }

    /// Says how names are looked up that the pod does not know itself. Before, they are only asked of the host.
    pub fn set_lookups(&self, config: LookupConfig) {
        self.core.names.set_lookups(config);
    }

    /// Adds names that resolve inside this pod only (`spec.hostAliases`).
    pub fn add_host_alias(&self, ip: IpAddr, names: &[String]) {
        self.core.names.add(ip, names);
    }

    /// Detaches the pod: listeners close, connections are reset.
    pub fn close(&self) {
        self.switch.detach(self.core.ip);
        self.core.close();
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        self.close();
    }
}

/// What sockets of a pod hold on to; outlives the [`PodNetwork`], closed, until the last of them is dropped.
pub(super) struct PodCore {
    pub(super) ip: Ipv4Addr,
    pub(super) names: Names,
    ips: [IpAddr; 1],
    next_connection: AtomicU64,
    outside: Arc<Semaphore>,
    questions: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tcp: PortTable<Option<Arc<AcceptQueue>>>,
    udp: PortTable<Arc<DatagramQueue>>,
    connections: HashMap<u64, DuplexControl>,
    accepted: usize,
    closed: bool,
}

/// Sockets, sandboxes and the switch all lead here: the address says enough.
impl fmt::Debug for PodCore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PodCore").field("ip", &self.ip).finish_non_exhaustive()
    }
}

impl PodCore {
    pub(super) fn new(ip: Ipv4Addr, names: Names) -> Arc<Self> {
        Arc::new(Self {
            ip,
            names,
            ips: [ip.into()],
            next_connection: AtomicU64::new(0),
            outside: Arc::new(Semaphore::new(MAX_OUTSIDE_SOCKETS)),
            questions: Arc::new(Semaphore::new(MAX_QUESTIONS)),
            state: Mutex::new(State::default()),
        })
    }

    /// The node's sockets belong to published ports and probes, which have bounds of their own.
    fn is_limited(&self) -> bool {
        self.ip != NODE
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permission to occupy a socket of the host's, until dropped.
    pub(super) fn outside_place(&self) -> Result<OwnedSemaphorePermit, NetError> {
        Arc::clone(&self.outside).try_acquire_owned().map_err(|_none_left| NetError::TooManySockets)
    }

    /// Permission to have the switch's DNS at work, until dropped.
    pub(super) fn question_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.questions).try_acquire_owned().ok()
    }

    /// Takes a TCP port.
    pub(super) fn lease_tcp(self: &Arc<Self>, scope: Scope, port: u16) -> Result<PortLease, NetError> {
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        if self.is_limited() && state.tcp.len() + state.accepted >= MAX_TCP_SOCKETS {
            return Err(NetError::TooManySockets);
        }
        let key = state.tcp.take(scope, port, |_| None)?;
        Ok(PortLease { core: Arc::clone(self), protocol: Protocol::Tcp, key, scope })
    }

    /// Takes a UDP port; what arrives there goes to the queue made of its address as the socket's family shows it.
    pub(super) fn lease_udp(
        self: &Arc<Self>,
        address: SocketAddr,
    ) -> Result<(PortLease, Arc<DatagramQueue>), NetError> {
        let scope = Scope::of(address.ip(), self.ip)?;
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        if self.is_limited() && state.udp.len() >= MAX_UDP_SOCKETS {
            return Err(NetError::TooManySockets);
        }
        let queue = Arc::new(DatagramQueue::new(Family::of(address)));
        let key = state.udp.take(scope, address.port(), |_| Arc::clone(&queue))?;
        Ok((PortLease { core: Arc::clone(self), protocol: Protocol::Udp, key, scope }, queue))
    }

    /// Connections to the leased port go to `queue` from now on.
    pub(super) fn set_listener(&self, lease: &PortLease, queue: &Arc<AcceptQueue>) -> Result<(), NetError> {
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        match state.tcp.get_mut(lease.key) {
            Some(slot) => *slot = Some(Arc::clone(queue)),
            None => return Err(NetError::Invalid),
        }
        Ok(())
    }

    /// Who listens at an address of this pod.
    pub(super) fn find_listener(&self, address: SocketAddr) -> Option<Arc<AcceptQueue>> {
        self.lock().tcp.find(address.ip(), address.port())?.clone()
    }

    /// Who receives datagrams at an address of this pod.
    pub(super) fn find_datagram_queue(&self, address: SocketAddr) -> Option<Arc<DatagramQueue>> {
        self.lock().udp.find(address.ip(), address.port()).cloned()
    }

    /// How many connections the pod has, for sizing their buffers.
    pub(super) fn connection_count(&self) -> usize {
        self.lock().connections.len()
    }

    /// Whether an accepted connection more would exceed the pod's limit. Those in an accept queue count already.
    pub(super) fn is_over_limit(&self) -> bool {
        let state = self.lock();
        let own = if self.is_limited() { state.tcp.len() } else { 0 };
        own + state.accepted > MAX_TCP_SOCKETS
    }

    /// A place in the list of connections; `lease` is the local port of one that was made here.
    pub(super) fn reserve_connection(self: &Arc<Self>, lease: Option<PortLease>) -> ConnectionSlot {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        ConnectionSlot { core: Arc::clone(self), id, lease }
    }

    /// Enters a connection in its place, so that it is reset when the pod closes.
    pub(super) fn enter_connection(&self, ticket: ConnectionTicket, control: DuplexControl) -> Result<(), NetError> {
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        state.connections.insert(ticket.id, control);
        state.accepted += usize::from(ticket.accepted);
        Ok(())
    }

    /// Closes listeners, resets connections and fails datagram sockets, now and for good.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let connections = std::mem::take(&mut state.connections);
        state.accepted = 0;
        let listeners: Vec<_> = state.tcp.sockets().flatten().cloned().collect();
        let datagrams: Vec<_> = state.udp.sockets().cloned().collect();
        drop(state);
        listeners.iter().for_each(|queue| queue.close());
        connections.values().for_each(DuplexControl::reset);
        datagrams.iter().for_each(|queue| queue.close());
    }
}

/// A port, until dropped.
#[derive(Debug)]
pub(super) struct PortLease {
    core: Arc<PodCore>,
    protocol: Protocol,
    key: PortKey,
    scope: Scope,
}

impl PortLease {
    pub(super) fn port(&self) -> u16 {
        self.key.port
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    pub(super) fn core(&self) -> &Arc<PodCore> {
        &self.core
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        // What the port led to is dropped outside the lock.
        let mut state = self.core.lock();
        match self.protocol {
            Protocol::Tcp => {
                let queue = state.tcp.release(self.key);
                drop(state);
                drop(queue);
            }
            Protocol::Udp => {
                let queue = state.udp.release(self.key);
                drop(state);
                drop(queue);
            }
        }
    }
}

/// A connection's place in its pod's list, until dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    core: Arc<PodCore>,
    id: u64,
    /// The port it holds; accepted connections share their listener's and hold none.
    lease: Option<PortLease>,
}

/// Names a [`ConnectionSlot`] that has become a connection's guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionTicket {
    id: u64,
    accepted: bool,
}

impl ConnectionSlot {
    pub(super) fn ticket(&self) -> ConnectionTicket {
        ConnectionTicket { id: self.id, accepted: self.lease.is_none() }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut state = self.core.lock();
        if state.connections.remove(&self.id).is_some() && self.lease.is_none() {
            state.accepted -= 1;
        }
    }
}
