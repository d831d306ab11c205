//! One pod's side of the switch: its address, its port spaces, its live connections and its names.
//!
//! How connections are made is `tcp`'s business, datagrams are `udp`'s.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use socket2::Socket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addr::{NODE, Scope};
use super::dns;
use super::kernel::{self, KernelNamespace, KernelReach, KernelSide};
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
        if self.core.kernel().is_some_and(|kernel| kernel.is_host()) {
            return tcp::connect(&self.switch, &self.core, None, (Ipv4Addr::LOCALHOST, port).into()).await;
        }
        tcp::connect(&self.switch, self.switch.node(), None, SocketAddr::new(self.core.ip.into(), port)).await
    }

    /// Says which TCP ports of the host's a pod with the host's network serves: at the node's address, others reach
    /// these and no other.
    pub fn serve_host_ports(&self, ports: &[u16]) {
        self.switch.set_host_ports(&self.core, ports);
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

    /// Gives the pod a kernel side: from now on its ports and its loopback are those of a network namespace, in which
    /// its Linux containers run. What wasm containers have open stays. Before the first of those containers starts, and
    /// again when that namespace has gone and they start in another.
    ///
    /// # Errors
    /// Where the namespace doesn't do what it must. That its device can't be made is none: see [`KernelReach`].
    pub async fn attach_kernel(&self, namespace: Arc<dyn KernelNamespace>) -> io::Result<KernelReach> {
        kernel::attach(&self.switch, &self.core, namespace).await
    }

    /// Takes the kernel side away because its namespace has gone: nobody is in there any more. One that the pod has got
    /// from another namespace stays.
    pub fn detach_kernel(&self, namespace: &dyn KernelNamespace) {
        kernel::detach(&self.core, namespace);
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
    kernel: RwLock<Option<Arc<KernelSide>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tcp: PortTable<TcpPort>,
    udp: PortTable<Arc<DatagramQueue>>,
    connections: HashMap<u64, DuplexControl>,
    accepted: usize,
    closed: bool,
}

/// What a TCP port leads to.
#[derive(Debug, Default)]
struct TcpPort {
    /// Who listens.
    queue: Option<Arc<AcceptQueue>>,
    /// What holds the port in the pod's network namespace, until it listens or connects there.
    socket: Option<Socket>,
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
            kernel: RwLock::default(),
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

    /// The pod's kernel side, if it has one.
    pub(super) fn kernel(&self) -> Option<Arc<KernelSide>> {
        self.kernel.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_kernel(&self) -> RwLockWriteGuard<'_, Option<Arc<KernelSide>>> {
        self.kernel.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the pod its kernel side, in place of one it may have; from now on the switch chooses ports from `ephemeral`.
    /// Fails with [`NetError::Unreachable`] if the pod is closed.
    pub(super) fn set_kernel(
        &self,
        side: KernelSide,
        ephemeral: RangeInclusive<u16>,
    ) -> Result<Arc<KernelSide>, NetError> {
        let side = Arc::new(side);
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        let before = self.change_kernel().replace(Arc::clone(&side));
        state.tcp.set_ephemeral(ephemeral);
        let held = take_sockets(&mut state.tcp);
        drop(state);
        drop(held);
        if let Some(before) = before {
            before.close();
        }
        Ok(side)
    }

    /// Takes the kernel side away, if it is the one that is meant.
    pub(super) fn take_kernel(&self, is_meant: impl FnOnce(&KernelSide) -> bool) -> Option<Arc<KernelSide>> {
        let mut state = self.lock();
        let taken = self.change_kernel().take_if(|side| is_meant(side))?;
        let held = take_sockets(&mut state.tcp);
        drop(state);
        drop(held);
        Some(taken)
    }

    /// Takes a TCP port, which `socket` holds in the pod's network namespace.
    pub(super) fn lease_tcp(
        self: &Arc<Self>,
        scope: Scope,
        port: u16,
        socket: Option<Socket>,
    ) -> Result<PortLease, NetError> {
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        if self.is_limited() && state.tcp.len() + state.accepted >= MAX_TCP_SOCKETS {
            return Err(NetError::TooManySockets);
        }
        let key = state.tcp.take(scope, port, |_| TcpPort { queue: None, socket })?;
        Ok(PortLease { core: Arc::clone(self), protocol: Protocol::Tcp, port: key.port, key: Some(key), scope })
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
        let queue = |port| Arc::new(DatagramQueue::new(SocketAddr::new(address.ip(), port)));
        let key = state.udp.take(scope, address.port(), queue)?;
        let queue = state.udp.get_mut(key).cloned().ok_or(NetError::Invalid)?;
        Ok((
            PortLease { core: Arc::clone(self), protocol: Protocol::Udp, port: key.port, key: Some(key), scope },
            queue,
        ))
    }

    /// Connections to the leased port go to `queue` from now on.
    pub(super) fn set_listener(&self, lease: &PortLease, queue: &Arc<AcceptQueue>) -> Result<(), NetError> {
        let mut state = self.lock();
        if state.closed {
            return Err(NetError::Unreachable);
        }
        match lease.key.and_then(|key| state.tcp.get_mut(key)) {
            Some(port) => port.queue = Some(Arc::clone(queue)),
            None => return Err(NetError::Invalid),
        }
        Ok(())
    }

    /// What holds the leased port in the pod's network namespace, to be used there.
    pub(super) fn take_socket(&self, lease: &PortLease) -> Option<Socket> {
        self.lock().tcp.get_mut(lease.key?)?.socket.take()
    }

    /// All who listen.
    pub(super) fn listening(&self) -> Vec<Arc<AcceptQueue>> {
        self.lock().tcp.sockets().filter_map(|port| port.queue.clone()).collect()
    }

    /// All who receive datagrams.
    pub(super) fn receiving(&self) -> Vec<Arc<DatagramQueue>> {
        self.lock().udp.sockets().cloned().collect()
    }

    /// Who listens at an address of this pod.
    pub(super) fn find_listener(&self, address: SocketAddr) -> Option<Arc<AcceptQueue>> {
        self.lock().tcp.find(address.ip(), address.port())?.queue.clone()
    }

    /// Who receives datagrams at an address of this pod.
    pub(super) fn find_datagram_queue(&self, address: SocketAddr) -> Option<Arc<DatagramQueue>> {
        let found = self.lock().udp.find(address.ip(), address.port()).cloned();
        found.or_else(|| self.kernel().filter(|_| address.ip() == self.ip)?.stand_in(address.port()))
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

    /// Whether it was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Closes listeners, resets connections and fails datagram sockets, now and for good.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let connections = std::mem::take(&mut state.connections);
        state.accepted = 0;
        let listeners: Vec<_> = state.tcp.sockets().filter_map(|port| port.queue.clone()).collect();
        let datagrams: Vec<_> = state.udp.sockets().cloned().collect();
        drop(state);
        if let Some(kernel) = self.kernel() {
            kernel.close();
        }
        listeners.iter().for_each(|queue| queue.close());
        connections.values().for_each(DuplexControl::reset);
        datagrams.iter().for_each(|queue| queue.close());
    }
}

/// What holds ports in a network namespace that is no longer the pod's.
fn take_sockets(ports: &mut PortTable<TcpPort>) -> Vec<Socket> {
    ports.sockets_mut().filter_map(|port| port.socket.take()).collect()
}

/// A port, until dropped.
#[derive(Debug)]
pub(super) struct PortLease {
    core: Arc<PodCore>,
    protocol: Protocol,
    port: u16,
    /// Without it the port is not the switch's to take.
    key: Option<PortKey>,
    scope: Scope,
}

impl PortLease {
    /// Stands for a port that a socket of the pod's kernel has.
    pub(super) fn of_kernel(core: &Arc<PodCore>, protocol: Protocol, port: u16) -> Self {
        Self { core: Arc::clone(core), protocol, port, key: None, scope: Scope::One(core.ip.into()) }
    }

    /// Whether it stands for a port that a socket of the pod's kernel has.
    pub(super) fn is_of_kernel(&self) -> bool {
        self.key.is_none()
    }

    pub(super) fn port(&self) -> u16 {
        self.port
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
        let Some(key) = self.key else { return };
        // What the port led to is dropped outside the lock.
        let mut state = self.core.lock();
        match self.protocol {
            Protocol::Tcp => {
                let port = state.tcp.release(key);
                drop(state);
                drop(port);
            }
            Protocol::Udp => {
                let queue = state.udp.release(key);
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
