//! Published ports: addresses of the host that lead into a pod, or to a virtual service.
//!
//! Clients appear to the pod as the node. A TCP client is connected through to the pod's port, and reset where nothing
//! listens there; a UDP client gets a socket of the node's of its own, so that answers find their way back.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::{TcpListener as HostListener, TcpStream as HostStream, UdpSocket as HostSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::pod::PodCore;
use super::udp::MAX_DATAGRAM;
use super::{PodNetwork, Switch, UdpSocket, egress, tcp, udp};
use crate::base::pipe::DuplexEnd;

/// Clients of one published TCP port at a time; further ones wait in the host's accept queue.
const MAX_CLIENTS: usize = 4096;

/// Clients of one published UDP port that are remembered; the one silent for longest gives way to a new one.
const MAX_FLOWS: usize = 512;

/// How long a UDP client is remembered without traffic in either direction.
const FLOW_IDLE: Duration = Duration::from_secs(60);

/// The pause after the host refused to accept, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port of the host that leads onto the switch, until dropped: then its connections end too.
#[derive(Debug)]
pub struct PublishedPort {
    host: SocketAddr,
    serving: AbortOnDropHandle<()>,
}

impl PublishedPort {
    /// The host's address, with the port that was chosen.
    pub fn host_addr(&self) -> SocketAddr {
        self.host
    }

    /// Closes the port and waits until that is done: then the address is free again.
    pub async fn close(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

/// Where a published port leads. Does not keep the pod attached.
#[derive(Debug, Clone)]
pub(super) struct Target {
    switch: Arc<Switch>,
    address: SocketAddr,
}

impl Target {
    /// A port of a pod.
    pub(super) fn of_pod(pod: &PodNetwork, port: u16) -> Self {
        Self { switch: Arc::clone(&pod.switch), address: SocketAddr::new(pod.core.ip.into(), port) }
    }

    /// An address on the switch.
    pub(super) fn new(switch: &Arc<Switch>, address: SocketAddr) -> Self {
        Self { switch: Arc::clone(switch), address }
    }

    fn node(&self) -> &Arc<PodCore> {
        self.switch.node()
    }
}

/// Names the address in an error that names only the cause.
fn explain(protocol: &str, host: SocketAddr) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot publish {protocol} port {host} of the host: {error}"))
}

pub(super) async fn tcp(target: Target, host: SocketAddr) -> io::Result<PublishedPort> {
    let listener = HostListener::bind(host).await.map_err(explain("TCP", host))?;
    let host = listener.local_addr().map_err(explain("TCP", host))?;
    let serving = tokio::spawn(serve_tcp(listener, target));
    Ok(PublishedPort { host, serving: AbortOnDropHandle::new(serving) })
}

async fn serve_tcp(listener: HostListener, target: Target) {
    let mut clients = JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = clients.join_next() => continue,
        };
        match accepted {
            Ok((client, _)) => {
                let target = target.clone();
                clients.spawn(async move {
                    serve_client(client, &target).await;
                    drop(place);
                });
            }
            Err(_error) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_client(client: HostStream, target: &Target) {
    let _ = client.set_nodelay(true);
    match tcp::connect(&target.switch, target.node(), None, target.address).await {
        Ok(stream) => egress::splice(client, DuplexEnd { reader: stream.reader, writer: stream.writer }).await,
        // Closing without more would look like a server that has nothing to say.
        Err(_error) => {
            let _ = client.set_zero_linger();
        }
    }
}

pub(super) async fn udp(target: Target, host: SocketAddr) -> io::Result<PublishedPort> {
    let socket = HostSocket::bind(host).await.map_err(explain("UDP", host))?;
    let host = socket.local_addr().map_err(explain("UDP", host))?;
    let serving = tokio::spawn(serve_udp(Arc::new(socket), target));
    Ok(PublishedPort { host, serving: AbortOnDropHandle::new(serving) })
}

/// One client of a published UDP port.
#[derive(Debug)]
struct Flow {
    socket: UdpSocket,
    last_used: Mutex<Instant>,
}

impl Flow {
    fn open(target: &Target) -> Option<Self> {
        let node = target.node();
        let socket = udp::bind(&target.switch, node, SocketAddr::new(node.ip.into(), 0)).ok()?;
        socket.connect(target.address).ok()?;
        Some(Self { socket, last_used: Mutex::new(Instant::now()) })
    }

    fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients of one published UDP port, each with the task that carries its answers.
type Flows = HashMap<SocketAddr, (Arc<Flow>, AbortOnDropHandle<()>)>;

async fn serve_udp(host: Arc<HostSocket>, target: Target) {
    let mut flows = Flows::new();
    let mut buffer = BytesMut::with_capacity(MAX_DATAGRAM);
    loop {
        buffer.clear();
        let Ok((_, client)) = host.recv_buf_from(&mut buffer).await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let live = flows.get(&client).filter(|(_, answering)| !answering.is_finished());
        let flow = match live {
            Some((flow, _)) => Arc::clone(flow),
            None => match admit(&mut flows, &host, client, &target) {
                Some(flow) => flow,
                None => continue,
            },
        };
        flow.touch();
        // An error speaks of an earlier datagram: this one gets its own chance.
        if flow.socket.try_send(Bytes::copy_from_slice(&buffer), None).is_err() {
            let _ = flow.socket.try_send(Bytes::copy_from_slice(&buffer), None);
        }
    }
}

fn admit(flows: &mut Flows, host: &Arc<HostSocket>, client: SocketAddr, target: &Target) -> Option<Arc<Flow>> {
    flows.retain(|_, (_, answering)| !answering.is_finished());
    if flows.len() >= MAX_FLOWS
        && let Some(oldest) = flows.iter().min_by_key(|(_, (flow, _))| flow.last_used()).map(|(client, _)| *client)
    {
        flows.remove(&oldest);
    }
    let flow = Arc::new(Flow::open(target)?);
    let answering = AbortOnDropHandle::new(tokio::spawn(answer(Arc::clone(host), client, Arc::clone(&flow))));
    flows.insert(client, (Arc::clone(&flow), answering));
    Some(flow)
}

/// Carries a pod's answers to a client until the flow has been idle.
async fn answer(host: Arc<HostSocket>, client: SocketAddr, flow: Arc<Flow>) {
    loop {
        match tokio::time::timeout_at(flow.last_used() + FLOW_IDLE, flow.socket.recv()).await {
            Ok(Ok(datagram)) => {
                flow.touch();
                let _ = host.send_to(&datagram.bytes, client).await;
            }
            Ok(Err(super::NetError::ConnectionAborted)) => return,
            // Nobody listens in the pod at present.
            Ok(Err(_refused)) => {}
            Err(_elapsed) if flow.last_used().elapsed() >= FLOW_IDLE => return,
            Err(_elapsed) => {}
        }
    }
}
