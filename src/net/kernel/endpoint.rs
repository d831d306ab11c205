//! The switch's end of one TCP connection with a pod's kernel: a user-space TCP on one side, two pipes on the other.
//!
//! ```text
//!   the pod's kernel ══ packets ══ device ── Endpoint ══ two pipes ══ whatever the connection leads to
//! ```
//!
//! Every endpoint is a stack of its own with one socket, so a packet costs the same however many connections there
//! are. Nothing here waits: `advance` does what can be done now and says what to wait for.

use std::fmt;
use std::net::SocketAddrV4;

use bytes::{Buf, Bytes};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{self, RecvError, State};
use smoltcp::time::{Duration as StackDuration, Instant as StackInstant};
use smoltcp::wire::{HardwareAddress, IPV4_HEADER_LEN, IpAddress, IpCidr, TcpPacket};
use tokio::time::{Duration, Instant};

use super::device::{Device, MTU};
use super::packet;
use crate::base::pipe::{DuplexEnd, PipeReader, PipeWriter, ReadError, WriteError};

/// The widest window that is not scaled.
const UNSCALED_WINDOW: usize = 65_535;

/// How often a silent kernel is asked whether it still knows the connection, and after how long it has forgotten it.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const FORGOTTEN: Duration = Duration::from_secs(300);

/// How long a pod may take to end a connection that leads nowhere any more (Linux's `tcp_fin_timeout`).
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);

/// One end of a connection.
pub(super) struct Endpoint {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    started: Instant,
    reader: PipeReader,
    writer: PipeWriter,
    /// What the pod had sent when the connection ended, and the pipe had no room for yet.
    leftover: Bytes,
    /// The pod has said that it will send nothing more.
    is_finished: bool,
    /// And everything is in the pipe, which knows.
    received_all: bool,
    /// Whatever the pipe had is in the socket, which knows that this is all.
    sent_all: bool,
    /// Nobody wants what the pod sends.
    unwanted: bool,
    /// Since when nobody is left whom the connection leads to.
    orphaned: Option<Instant>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("state", &self.socket().state()).finish_non_exhaustive()
    }
}

/// What an endpoint waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Bytes to send.
    pub(super) to_read: bool,
    /// Room for what was received.
    pub(super) to_write: bool,
    /// News that nobody wants what the pod sends.
    pub(super) to_be_unwanted: bool,
    /// The time.
    pub(super) until: Option<Instant>,
}

/// How an endpoint is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting(Wanted),
    /// There is nothing left of the connection.
    Over,
}

impl Endpoint {
    /// An end that answers a connection to `local`. The first packet it is given must be the one that asks for it.
    pub(super) fn listen(local: SocketAddrV4, end: DuplexEnd, buffer: usize) -> Option<Self> {
        let mut endpoint = Self::new(local, end, buffer)?;
        endpoint.sockets.get_mut::<tcp::Socket<'_>>(endpoint.handle).listen(local).ok()?;
        Some(endpoint)
    }

    /// An end that connects from `local` to the pod's `target`.
    pub(super) fn connect(local: SocketAddrV4, target: SocketAddrV4, end: DuplexEnd, buffer: usize) -> Option<Self> {
        let mut endpoint = Self::new(local, end, buffer)?;
        let Self { interface, sockets, handle, .. } = &mut endpoint;
        sockets.get_mut::<tcp::Socket<'_>>(*handle).connect(interface.context(), target, local).ok()?;
        Some(endpoint)
    }

    fn new(local: SocketAddrV4, end: DuplexEnd, buffer: usize) -> Option<Self> {
        let mut config = Config::new(HardwareAddress::Ip);
        // Sequence numbers start anywhere.
        config.random_seed = getrandom::u64().ok()?;
        let mut interface = Interface::new(config, &mut Port { packet: None, out: None }, StackInstant::ZERO);
        // Everything is its neighbour.
        let address = IpCidr::new(IpAddress::Ipv4(*local.ip()), 0);
        let mut added = Ok(());
        interface.update_ip_addrs(|addresses| added = addresses.push(address));
        added.ok()?;
        let room = || tcp::SocketBuffer::new(vec![0; buffer]);
        let mut socket = tcp::Socket::new(room(), room());
        // Both ends say when something should travel, and neither makes the other wait.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_keep_alive(Some(StackDuration::from_millis(KEEP_ALIVE.as_millis() as u64)));
        socket.set_timeout(Some(StackDuration::from_millis(FORGOTTEN.as_millis() as u64)));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let DuplexEnd { reader, writer } = end;
        let started = Instant::now();
        Some(Self {
            interface,
            sockets,
            handle,
            started,
            reader,
            writer,
            leftover: Bytes::new(),
            is_finished: false,
            received_all: false,
            sent_all: false,
            unwanted: false,
            orphaned: None,
        })
    }

    /// Whether the pod's kernel has agreed to the connection; it may be over already.
    pub(super) fn is_established(&self) -> bool {
        !matches!(self.socket().state(), State::Listen | State::SynSent | State::SynReceived | State::Closed)
    }

    /// Whether a new connection between the same addresses may take this one's place.
    pub(super) fn is_ending(&self) -> bool {
        self.leftover.is_empty() && matches!(self.socket().state(), State::Closed | State::TimeWait | State::LastAck)
    }

    /// Takes in a packet of the pod's, if there is one, and goes on as far as possible.
    pub(super) fn advance(&mut self, device: &Device, packet: Option<&[u8]>) -> Progress {
        self.poll(device, packet);
        while self.receive() | self.send() {
            self.poll(device, None);
        }
        // In both of these states nothing more comes or goes. A segment that comes late finds nobody, which is harmless:
        // the kernel waits at its own end.
        if !matches!(self.socket().state(), State::TimeWait | State::Closed) {
            return Progress::Waiting(self.wanted());
        }
        if !(self.is_finished && self.sent_all) {
            self.reader.reset();
            self.writer.reset();
            return Progress::Over;
        }
        if self.is_delivered() { Progress::Over } else { Progress::Waiting(self.wanted()) }
    }

    /// Delivers what the pod had sent before it ended the connection; says whether that is all in the pipe.
    fn is_delivered(&mut self) -> bool {
        while self.socket().can_recv() {
            // Once its time is over, the socket forgets what it has.
            let taken = self.socket_mut().recv(|bytes| (bytes.len(), Bytes::copy_from_slice(bytes)));
            self.leftover = [&self.leftover[..], &taken.unwrap_or_default()[..]].concat().into();
        }
        while !self.leftover.is_empty() {
            match self.writer.try_write(&self.leftover) {
                Ok(written) => self.leftover.advance(written),
                Err(WriteError::Full) => return false,
                Err(WriteError::Broken | WriteError::Reset) => return true,
            }
        }
        true
    }

    /// Breaks the connection off, for both sides to know.
    pub(super) fn abort(&mut self, device: &Device) {
        self.socket_mut().abort();
        self.poll(device, None);
        self.reader.reset();
        self.writer.reset();
    }

    fn socket(&self) -> &tcp::Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn now(&self) -> StackInstant {
        StackInstant::from_micros(i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    fn poll(&mut self, device: &Device, packet: Option<&[u8]>) {
        let now = self.now();
        let is_scaled = self.socket().recv_capacity() > UNSCALED_WINDOW;
        let mut port = Port { packet, out: Some(Outbound { device, is_scaled }) };
        self.interface.poll(now, &mut port, &mut self.sockets);
        self.is_finished |=
            matches!(self.socket().state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait);
    }

    /// Moves what was received into the pipe; says whether the pod may have to hear of it.
    fn receive(&mut self) -> bool {
        let mut moved = false;
        while !self.received_all && !self.unwanted && self.leftover.is_empty() {
            let room = match self.writer.room() {
                Ok(room) => room,
                Err(WriteError::Reset) => return self.give_up(),
                Err(WriteError::Broken | WriteError::Full) => {
                    self.unwanted = true;
                    break;
                }
            };
            if !self.socket().can_recv() {
                self.notice_end();
                break;
            }
            if room == 0 {
                break;
            }
            let taken = self.socket_mut().recv(|bytes| {
                let length = bytes.len().min(room);
                (length, Bytes::copy_from_slice(&bytes[..length]))
            });
            match taken.map(|bytes| self.writer.try_write(&bytes)) {
                Ok(Ok(_)) => moved = true,
                Ok(Err(WriteError::Reset)) => return self.give_up(),
                Ok(Err(WriteError::Broken | WriteError::Full)) => self.unwanted = true,
                Err(_ended) => break,
            }
        }
        // Whoever is gone altogether, and is still sent something, resets; so does TCP.
        if self.unwanted && self.sent_all {
            let orphaned = *self.orphaned.get_or_insert_with(Instant::now);
            if self.socket().can_recv() || orphaned.elapsed() >= ORPHAN_TIMEOUT {
                return self.give_up();
            }
        }
        moved
    }

    /// Passes on that the pod will send nothing more.
    fn notice_end(&mut self) {
        let end = self.socket_mut().recv(|_bytes| (0, ()));
        if end == Err(RecvError::Finished) {
            self.received_all = true;
            self.writer.close();
        }
    }

    /// Moves bytes from the pipe into the socket; says whether there are any to be sent.
    fn send(&mut self) -> bool {
        let mut moved = false;
        while !self.sent_all && self.socket().may_send() {
            let room = self.socket().send_capacity() - self.socket().send_queue();
            if room == 0 {
                break;
            }
            match self.reader.try_read(room) {
                Ok(bytes) => {
                    let _ = self.socket_mut().send_slice(&bytes);
                    moved = true;
                }
                Err(ReadError::Empty) => break,
                Err(ReadError::End) => {
                    self.socket_mut().close();
                    self.sent_all = true;
                    moved = true;
                }
                Err(ReadError::Reset) => return self.give_up(),
            }
        }
        moved
    }

    /// Breaks the connection off: somebody reset the pipes.
    fn give_up(&mut self) -> bool {
        let is_open = self.socket().is_open();
        self.socket_mut().abort();
        is_open
    }

    fn wanted(&mut self) -> Wanted {
        let now = self.now();
        let delay = self.interface.poll_delay(now, &self.sockets);
        let due = delay.map(|delay| Instant::now() + Duration::from_micros(delay.total_micros()));
        let until = due.into_iter().chain(self.orphaned.map(|since| since + ORPHAN_TIMEOUT)).min();
        let socket = self.socket();
        Wanted {
            to_read: !self.sent_all && socket.may_send() && socket.can_send(),
            to_write: !self.received_all && !self.unwanted && (socket.can_recv() || !self.leftover.is_empty()),
            to_be_unwanted: !self.received_all && !self.unwanted,
            until,
        }
    }
}

/// The stack's way to the device, with the one packet that has come.
struct Port<'a> {
    packet: Option<&'a [u8]>,
    /// Without it nothing can be sent: so it is while an interface is being made.
    out: Option<Outbound<'a>>,
}

impl phy::Device for Port<'_> {
    type RxToken<'a>
        = Inbound<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outbound<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: StackInstant) -> Option<(Inbound<'_>, Outbound<'_>)> {
        Some((Inbound(self.packet.take()?), self.out?))
    }

    fn transmit(&mut self, _now: StackInstant) -> Option<Outbound<'_>> {
        self.out
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = packet::checksums();
        capabilities
    }
}

struct Inbound<'a>(&'a [u8]);

impl phy::RxToken for Inbound<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

#[derive(Clone, Copy)]
struct Outbound<'a> {
    device: &'a Device,
    is_scaled: bool,
}

impl phy::TxToken for Outbound<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, build: F) -> R {
        self.device.write_with(length, |bytes| {
            let built = build(bytes);
            if self.is_scaled {
                narrow_window(bytes);
            }
            built
        })
    }
}

/// Takes one unit off the window that a segment offers. A scaled window is rounded down, so its end may move back by
/// less than a unit, which TCP mustn't do: what the kernel has sent up to there by then, the stack takes badly. It heeds
/// no acknowledgement that comes with it, and believes a FIN whose data it has cut off. Of a unit less, all is welcome.
fn narrow_window(packet: &mut [u8]) {
    let Some(segment) = packet.get_mut(IPV4_HEADER_LEN..) else { return };
    let Ok(mut tcp) = TcpPacket::new_checked(segment) else { return };
    let window = tcp.window_len();
    // That of a SYN is never scaled.
    if tcp.syn() || window == 0 {
        return;
    }
    tcp.set_window_len(window - 1);
    // RFC 1624: the sum of the rest stays.
    let sum = u32::from(!tcp.checksum()) + u32::from(!window) + u32::from(window - 1);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    tcp.set_checksum(!(folded as u16));
}
