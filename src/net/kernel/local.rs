//! Sockets in the pod's namespace that stand for those of wasm guests: where native containers of the pod meet them,
//! and what makes a port that one kind has taken a port that is taken.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, Socket};
use tokio::net::UdpSocket as HostUdpSocket;
use tokio::net::{TcpListener as HostListener, TcpSocket as HostTcpSocket, TcpStream as HostStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::namespace::SocketKind;
use super::{KernelSide, PodCore};
use crate::net::addr::Family;
use crate::net::tcp::{AcceptQueue, CONNECT_TIMEOUT};
use crate::net::udp::{DatagramQueue, MAX_DATAGRAM};
use crate::net::{NetError, egress};

/// The pause after the kernel refused to accept, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl KernelSide {
    /// Takes a TCP port in the namespace; 0 lets the kernel choose.
    pub(in crate::net) fn bind_tcp(&self, address: SocketAddr) -> Result<(Socket, u16), NetError> {
        let (socket, address) = self.socket_for(address, SocketKind::tcp)?;
        self.allow_any_address(&socket);
        // As with ports of the switch, connections that have ended leave nothing behind.
        socket.set_reuse_address(true).map_err(|error| error_of_bind(&error))?;
        bind(socket, address)
    }

    /// The same for UDP.
    pub(in crate::net) fn bind_udp(&self, address: SocketAddr) -> Result<(Socket, u16), NetError> {
        let (socket, address) = self.socket_for(address, SocketKind::udp)?;
        self.allow_any_address(&socket);
        bind(socket, address)
    }

    /// Where the pod's address is nowhere in the namespace, guests may bind it all the same.
    fn allow_any_address(&self, socket: &Socket) {
        if !self.has_address && !self.is_host {
            // Sockets of the IPv6 family refuse it; it is only for mapped addresses that they would need it.
            #[cfg(target_os = "linux")]
            let _ = socket.set_freebind_v4(true);
            #[cfg(not(target_os = "linux"))]
            let _ = socket;
        }
    }

    /// A socket for an address; where the kernel has no IPv6, one for the IPv4 address that it means.
    fn socket_for(
        &self,
        address: SocketAddr,
        kind: impl Fn(IpAddr) -> SocketKind,
    ) -> Result<(Socket, SocketAddr), NetError> {
        match self.stock.take(kind(address.ip())) {
            Ok(socket) => Ok((socket, address)),
            Err(NetError::FamilyNotSupported) => {
                let ip = match address.ip().to_canonical() {
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::UNSPECIFIED,
                    IpAddr::V4(ip) => ip,
                    IpAddr::V6(_) => return Err(NetError::AddressNotAvailable),
                };
                Ok((self.stock.take(kind(ip.into()))?, SocketAddr::new(ip.into(), address.port())))
            }
            Err(error) => Err(error),
        }
    }

    /// Has native containers' connections to a bound port accepted into `queue`.
    pub(in crate::net) fn listen(&self, queue: &Arc<AcceptQueue>, socket: Socket) -> Result<(), NetError> {
        let backlog = i32::try_from(queue.backlog()).unwrap_or(i32::MAX);
        socket.listen(backlog).map_err(|error| error_of_bind(&error))?;
        let listener = HostListener::from_std(socket.into()).map_err(|error| egress::error_of_host(&error))?;
        let listener = Arc::new(listener);
        let accepting =
            accept(Arc::downgrade(&listener), Arc::downgrade(queue), queue.room(), Arc::clone(&self.places));
        let accepting = AbortOnDropHandle::new(tokio::spawn(accepting));
        queue.set_kernel(self, KernelListener { _listener: listener, _accepting: accepting });
        Ok(())
    }

    /// Connects to a native container's port, from within the namespace: by the socket that holds the port the guest
    /// has bound, if it has.
    pub(in crate::net) async fn connect_inside(
        &self,
        bound: Option<Socket>,
        target: SocketAddr,
    ) -> Result<(HostStream, OwnedSemaphorePermit), NetError> {
        let place = self.place()?;
        let failed = |error: io::Error| egress::error_of_host(&error);
        let socket = match bound {
            Some(socket) => socket,
            None => self.stock.open(SocketKind::tcp(target.ip())).await.map_err(failed)?,
        };
        // On the host the pod's address is nowhere but on the switch.
        let is_here = self.has_address || target.ip().is_loopback();
        let ip = if is_here { target.ip() } else { Ipv4Addr::LOCALHOST.into() };
        let target = family_of(&socket).show(ip, target.port());
        let connecting = HostTcpSocket::from_std_stream(socket.into()).connect(target);
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                Ok((stream, place))
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_elapsed) => Err(NetError::TimedOut),
        }
    }

    /// Has native containers' datagrams to a bound port put into `queue`, and lets it send to them.
    pub(in crate::net) fn receive(&self, queue: &Arc<DatagramQueue>, socket: Socket) -> Result<(), NetError> {
        let family = family_of(&socket);
        let socket = HostUdpSocket::from_std(socket.into()).map_err(|error| egress::error_of_host(&error))?;
        let kernel = queue.in_kernel().put(self, KernelSocket { socket, family, receiving: Mutex::new(None) });
        let receiving = tokio::spawn(receive(Arc::downgrade(queue), Arc::downgrade(&kernel)));
        *kernel.receiving.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(receiving));
        Ok(())
    }

    /// Binds in the namespace what guests bound before there was one.
    pub(super) async fn bind_what_is_bound(&self, core: &Arc<PodCore>) -> io::Result<()> {
        let failed = |error: NetError| io::Error::other(error.to_string());
        for queue in core.listening() {
            if !queue.kernel().is_of(self) {
                let socket = self.stock.open(SocketKind::tcp(queue.local().ip())).await?;
                socket.set_reuse_address(true)?;
                socket.bind(&queue.local().into())?;
                self.listen(&queue, socket).map_err(failed)?;
            }
        }
        for queue in core.receiving() {
            if !queue.in_kernel().is_of(self) {
                let socket = self.stock.open(SocketKind::udp(queue.local().ip())).await?;
                socket.bind(&queue.local().into())?;
                self.receive(&queue, socket).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn bind(socket: Socket, address: SocketAddr) -> Result<(Socket, u16), NetError> {
    socket.bind(&address.into()).map_err(|error| error_of_bind(&error))?;
    let bound = socket.local_addr().map_err(|error| error_of_bind(&error))?;
    let port = bound.as_socket().map(|bound| bound.port()).ok_or(NetError::Invalid)?;
    Ok((socket, port))
}

/// A socket has an address of its family, bound or not; but on Windows none before it is bound, and those are of IPv4.
fn family_of(socket: &Socket) -> Family {
    let is_v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
    if is_v6 { Family::V6 } else { Family::V4 }
}

fn error_of_bind(error: &io::Error) -> NetError {
    match error.kind() {
        io::ErrorKind::AddrInUse => NetError::AddressInUse,
        io::ErrorKind::AddrNotAvailable => NetError::AddressNotAvailable,
        _ => egress::error_of_host(error),
    }
}

/// A listening socket in the namespace, and the task that accepts what comes there.
#[derive(Debug)]
pub(in crate::net) struct KernelListener {
    _listener: Arc<HostListener>,
    _accepting: AbortOnDropHandle<()>,
}

/// Accepts connections as long as somebody listens. Holds neither socket nor queue while it waits, so both go when the
/// guest lets go of them.
async fn accept(listener: Weak<HostListener>, queue: Weak<AcceptQueue>, room: Arc<Semaphore>, places: Arc<Semaphore>) {
    loop {
        let accepted = poll_fn(|context| match listener.upgrade() {
            Some(listener) => listener.poll_accept(context).map(Some),
            None => Poll::Ready(None),
        });
        match accepted.await {
            Some(Ok((stream, _peer))) => {
                // Others wait in the kernel's queue meanwhile.
                let Ok(fits) = Arc::clone(&room).acquire_owned().await else { return };
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let Some(queue) = queue.upgrade() else { return };
                // Where the pod is closing, nobody is left to be told.
                let _ = queue.admit(stream, fits, place);
            }
            Some(Err(_error)) => tokio::time::sleep(ACCEPT_PAUSE).await,
            None => return,
        }
    }
}

/// A UDP socket in the namespace.
#[derive(Debug)]
pub(in crate::net) struct KernelSocket {
    socket: HostUdpSocket,
    family: Family,
    receiving: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl KernelSocket {
    /// Sends a datagram to a port of the namespace. Fails with [`NetError::ConnectionRefused`] if nobody is at the
    /// connected peer's: within a namespace the answer is there at once.
    pub(in crate::net) fn send(&self, bytes: &[u8], target: SocketAddr) -> Result<(), NetError> {
        let target = self.family.show(target.ip(), target.port());
        // Not by way of tokio, which knows only after a while that a new socket can be written to.
        match SockRef::from(&self.socket).send_to(bytes, &target.into()) {
            Ok(_) => match self.socket.take_error() {
                Ok(Some(error)) => Err(egress::error_of_host(&error)),
                _ => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(egress::error_of_host(&error)),
        }
    }

    /// Has the kernel tell when nobody is at `peer`, a port of the namespace.
    pub(in crate::net) fn connect(&self, peer: SocketAddr) {
        let peer = self.family.show(peer.ip(), peer.port());
        let _ = SockRef::from(&self.socket).connect(&peer.into());
    }

    /// Takes back [`KernelSocket::connect`].
    pub(in crate::net) fn disconnect(&self) {
        // Elsewhere the peer that it has stays until it gets another.
        #[cfg(unix)]
        let _ = rustix::net::connect_unspec(&self.socket);
    }
}

/// Takes in datagrams as long as the guest has its socket.
async fn receive(queue: Weak<DatagramQueue>, kernel: Weak<KernelSocket>) {
    loop {
        let readable = poll_fn(|context| match kernel.upgrade() {
            Some(kernel) => kernel.socket.poll_recv_ready(context).map(|ready| ready.is_ok()),
            None => Poll::Ready(false),
        });
        if !readable.await {
            return;
        }
        let mut buffer = BytesMut::with_capacity(MAX_DATAGRAM);
        while let Some(queue) = queue.upgrade()
            && let Some(kernel) = kernel.upgrade()
        {
            buffer.clear();
            match kernel.socket.try_recv_buf_from(&mut buffer) {
                Ok((_, source)) => {
                    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
                    queue.deliver(Bytes::copy_from_slice(&buffer), source);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Such as the refusal of something sent before, of which the sender has heard.
                Err(_error) => {}
            }
        }
    }
}
