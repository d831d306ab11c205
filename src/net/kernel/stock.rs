//! Sockets of the pod's namespace, kept ready: guests take ports without waiting, and opening a socket in there takes a
//! message to and fro.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::Socket;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::namespace::{KernelNamespace, SocketKind};
use crate::net::NetError;

/// Sockets of each kind that are kept ready at first…
const FIRST: usize = 1;

/// …and once some were taken.
const KEPT: usize = 8;

/// How long a guest that takes sockets faster than they are opened is held up.
const PATIENCE: Duration = Duration::from_millis(100);

/// The sockets.
#[derive(Debug)]
pub(super) struct Stock {
    namespace: Arc<dyn KernelNamespace>,
    shelves: [Shelf; 4],
}

#[derive(Debug, Default)]
struct Shelf {
    state: Mutex<ShelfState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct ShelfState {
    sockets: Vec<Socket>,
    is_refilling: bool,
    /// The namespace has none of this kind.
    is_missing: bool,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, ShelfState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    /// Lays in the first ones. Kinds the namespace doesn't have (IPv6 may be off) are missing from then on.
    pub(super) async fn new(namespace: Arc<dyn KernelNamespace>) -> io::Result<Arc<Self>> {
        let stock = Arc::new(Self { namespace, shelves: Default::default() });
        for kind in SocketKind::ALL {
            match stock.fill(kind, FIRST).await {
                Err(error) if matches!(kind, SocketKind::TcpV4 | SocketKind::UdpV4) => return Err(error),
                Err(_unsupported) => stock.shelves[kind.index()].lock().is_missing = true,
                Ok(()) => {}
            }
        }
        Ok(stock)
    }

    /// Where they are from.
    pub(super) fn namespace(&self) -> &dyn KernelNamespace {
        &*self.namespace
    }

    /// Whether an address is one of the namespace's own.
    pub(super) async fn has_address(&self, ip: IpAddr) -> bool {
        let bound = self.open(SocketKind::udp(ip)).await.and_then(|socket| socket.bind(&SocketAddr::new(ip, 0).into()));
        bound.is_ok()
    }

    /// Opens a socket, which may take a moment.
    pub(super) async fn open(&self, kind: SocketKind) -> io::Result<Socket> {
        self.namespace.socket(kind).await
    }

    /// Takes one that is ready. Needs a tokio runtime.
    pub(super) fn take(self: &Arc<Self>, kind: SocketKind) -> Result<Socket, NetError> {
        let shelf = &self.shelves[kind.index()];
        let mut state = shelf.lock();
        if state.is_missing {
            return Err(NetError::FamilyNotSupported);
        }
        self.refill(kind, &mut state);
        if let Some(socket) = state.sockets.pop() {
            return Ok(socket);
        }
        drop(state);
        let wait = || {
            let is_empty = |state: &mut ShelfState| state.sockets.is_empty() && state.is_refilling;
            let waited = shelf.arrived.wait_timeout_while(shelf.lock(), PATIENCE, is_empty);
            let (mut state, _elapsed) = waited.unwrap_or_else(PoisonError::into_inner);
            self.refill(kind, &mut state);
            state.sockets.pop().ok_or(NetError::TooManySockets)
        };
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }

    /// Sees to it that there will be more.
    fn refill(self: &Arc<Self>, kind: SocketKind, state: &mut ShelfState) {
        if state.is_refilling || state.sockets.len() > KEPT / 2 {
            return;
        }
        state.is_refilling = true;
        let stock = Arc::clone(self);
        tokio::spawn(async move {
            let filled = stock.fill(kind, KEPT).await;
            let shelf = &stock.shelves[kind.index()];
            shelf.lock().is_refilling = false;
            shelf.arrived.notify_all();
            if let Err(error) = filled {
                tracing::debug!(%error, ?kind, "no socket in the pod's network namespace");
            }
        });
    }

    async fn fill(&self, kind: SocketKind, count: usize) -> io::Result<()> {
        let shelf = &self.shelves[kind.index()];
        while shelf.lock().sockets.len() < count {
            let socket = self.open(kind).await?;
            shelf.lock().sockets.push(socket);
            shelf.arrived.notify_all();
        }
        Ok(())
    }
}
