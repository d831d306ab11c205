//! Datagrams of a pod's kernel to what only the switch's sockets can reach: virtual addresses, and the outside. For each
//! port of the pod that sends there, a socket of the switch's stands in, which knows of backends and of whose answers
//! may come in.

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::device::Device;
use super::packet;
use crate::net::pod::PodCore;
use crate::net::udp::{self, DatagramQueue};
use crate::net::{NetError, Switch, UdpSocket};

/// Ports that are stood in for; the one silent for longest gives way.
const MAX_STAND_INS: usize = 512;

/// How long one is stood in for without traffic in either direction.
const IDLE: Duration = Duration::from_secs(60);

/// The ports of one pod that are stood in for.
#[derive(Debug)]
pub(super) struct Datagrams {
    switch: Arc<Switch>,
    core: Weak<PodCore>,
    device: Arc<Device>,
    table: Mutex<Table>,
}

/// By port, each with the task that hands on answers.
type Table = HashMap<u16, (Arc<StandIn>, AbortOnDropHandle<()>)>;

#[derive(Debug)]
struct StandIn {
    socket: UdpSocket,
    last_used: Mutex<Instant>,
}

impl StandIn {
    fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Datagrams {
    pub(super) fn new(switch: &Arc<Switch>, core: &Arc<PodCore>, device: &Arc<Device>) -> Self {
        Self {
            switch: Arc::clone(switch),
            core: Arc::downgrade(core),
            device: Arc::clone(device),
            table: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where answers to one of these ports go.
    pub(super) fn queue(&self, port: u16) -> Option<Arc<DatagramQueue>> {
        self.lock().get(&port).map(|(stand_in, _)| Arc::clone(stand_in.socket.queue()))
    }

    /// Sends what the pod's port sends.
    pub(super) fn send(&self, port: u16, target: SocketAddrV4, payload: &[u8]) -> Result<(), NetError> {
        let live = self.lock().get(&port).filter(|(_, task)| !task.is_finished()).map(|(one, _)| Arc::clone(one));
        let stand_in = match live {
            Some(stand_in) => stand_in,
            None => self.admit(port)?,
        };
        stand_in.touch();
        stand_in.socket.try_send(Bytes::copy_from_slice(payload), Some(target.into()))
    }

    fn admit(&self, port: u16) -> Result<Arc<StandIn>, NetError> {
        let core = self.core.upgrade().ok_or(NetError::Unreachable)?;
        let local = SocketAddrV4::new(core.ip, port);
        let socket = udp::stand_in(&self.switch, &core, local);
        let stand_in = Arc::new(StandIn { socket, last_used: Mutex::new(Instant::now()) });
        let answering = tokio::spawn(answer(Arc::clone(&self.device), local, Arc::clone(&stand_in)));
        let mut table = self.lock();
        let mut gone = Vec::new();
        if table.len() >= MAX_STAND_INS {
            gone.extend(table.extract_if(|_, (_, task)| task.is_finished()));
        }
        if table.len() >= MAX_STAND_INS
            && let Some(oldest) = table.iter().min_by_key(|(_, (one, _))| one.last_used()).map(|(port, _)| *port)
        {
            gone.extend(table.remove_entry(&oldest));
        }
        let before = table.insert(port, (Arc::clone(&stand_in), AbortOnDropHandle::new(answering)));
        drop(table);
        drop((gone, before));
        Ok(stand_in)
    }

    pub(super) fn close(&self) {
        let gone = std::mem::take(&mut *self.lock());
        drop(gone);
    }
}

/// Hands answers to the pod until there was no traffic for long.
async fn answer(device: Arc<Device>, local: SocketAddrV4, stand_in: Arc<StandIn>) {
    loop {
        match tokio::time::timeout_at(stand_in.last_used() + IDLE, stand_in.socket.recv()).await {
            Ok(Ok(datagram)) => {
                stand_in.touch();
                if let SocketAddr::V4(peer) = datagram.peer {
                    packet::send_datagram(&device, peer, local, &datagram.bytes);
                }
            }
            Ok(Err(NetError::ConnectionAborted)) => return,
            Ok(Err(_refused)) => {}
            Err(_elapsed) if stand_in.last_used().elapsed() >= IDLE => return,
            Err(_elapsed) => {}
        }
    }
}
