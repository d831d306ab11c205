//! Virtual services: addresses that no pod has, each port of which leads to one of several backends. Which one is
//! decided when a connection is made or a datagram sent, so a change is in force from the next one on.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::addr;
use super::{NetError, Protocol};

/// Clients remembered before those whose time is over are forgotten.
const TIDY_CLIENTS: usize = 256;

/// One port of a virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualPort {
    /// The virtual address.
    pub ip: Ipv4Addr,
    /// Which port space it is in.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Where it leads; without any, connections are refused.
    pub backends: Vec<SocketAddr>,
    /// For how long a client stays with the backend it had last.
    pub affinity: Option<Duration>,
}

type Key = (Ipv4Addr, Protocol, u16);

/// All virtual ports.
#[derive(Debug, Default)]
pub(super) struct Services {
    ports: HashMap<Key, Balancer>,
    addresses: HashSet<Ipv4Addr>,
}

impl Services {
    /// The services that follow on `before`: ports that were there go on with their turns and their clients.
    pub(super) fn new(ports: Vec<VirtualPort>, before: &Self) -> Self {
        let addresses = ports.iter().map(|port| port.ip).collect();
        let ports = ports.into_iter().map(|port| {
            let key = (port.ip, port.protocol, port.port);
            let memory = before.ports.get(&key).map(|balancer| Arc::clone(&balancer.memory)).unwrap_or_default();
            (key, Balancer { backends: port.backends, affinity: port.affinity, memory })
        });
        Self { ports: ports.collect(), addresses }
    }

    /// What stands behind `target`; `None` if it is not a virtual address. Fails with [`NetError::ConnectionRefused`]
    /// for a port the service does not have, [`NetError::Unreachable`] for an address that no service has.
    pub(super) fn find(&self, protocol: Protocol, target: SocketAddr) -> Result<Option<&Balancer>, NetError> {
        let IpAddr::V4(ip) = target.ip() else { return Ok(None) };
        match self.ports.get(&(ip, protocol, target.port())) {
            Some(balancer) => Ok(Some(balancer)),
            None if self.addresses.contains(&ip) => Err(NetError::ConnectionRefused),
            None if addr::in_virtual_range(ip) => Err(NetError::Unreachable),
            None => Ok(None),
        }
    }
}

/// Chooses among the backends of a port.
#[derive(Debug)]
pub(super) struct Balancer {
    backends: Vec<SocketAddr>,
    affinity: Option<Duration>,
    memory: Arc<Memory>,
}

/// What a port remembers when its backends change.
#[derive(Debug, Default)]
struct Memory {
    turn: AtomicUsize,
    /// The backend each client had last, and when.
    clients: Mutex<HashMap<IpAddr, (SocketAddr, Instant)>>,
}

impl Balancer {
    /// The backend for a connection of `client`'s: the one it had, with affinity, else the next in turn.
    pub(super) fn choose(&self, client: IpAddr) -> Result<SocketAddr, NetError> {
        let Some(affinity) = self.affinity else { return self.next() };
        let now = Instant::now();
        let mut clients = self.memory.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = clients.get(&client).filter(|(backend, used)| now - *used < affinity && self.has(*backend));
        let backend = match kept {
            Some((backend, _)) => *backend,
            None => self.next()?,
        };
        if clients.len() >= TIDY_CLIENTS {
            clients.retain(|_, (_, used)| now - *used < affinity);
        }
        clients.insert(client, (backend, now));
        Ok(backend)
    }

    /// Whether `backend` is one of them.
    pub(super) fn has(&self, backend: SocketAddr) -> bool {
        self.backends.contains(&backend)
    }

    fn next(&self) -> Result<SocketAddr, NetError> {
        let turn = self.memory.turn.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.backends.len()).ok_or(NetError::ConnectionRefused)?;
        Ok(self.backends[index])
    }
}
