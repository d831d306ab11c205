//! What a UDP socket remembers of virtual addresses: which backend stands for each, and so whose answers show it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Virtual addresses a socket has a backend of; the one it has not written to for longest is forgotten first.
const MAX_FLOWS: usize = 64;

/// How long a socket stays with a backend without writing to it (Linux's `nf_conntrack_udp_timeout_stream`).
const IDLE: Duration = Duration::from_secs(120);

/// The flows of one socket, the one written to last at the end.
#[derive(Debug, Default)]
pub(super) struct Flows(VecDeque<Flow>);

#[derive(Debug)]
struct Flow {
    shown: SocketAddr,
    backend: SocketAddr,
    used: Instant,
}

impl Flows {
    /// The virtual address that `source` answers for, or itself.
    pub(super) fn shown(&self, source: SocketAddr) -> SocketAddr {
        self.0.iter().find(|flow| flow.backend == source).map_or(source, |flow| flow.shown)
    }

    /// The backend that stands for a virtual address, unless the socket was silent for long.
    pub(super) fn backend_of(&self, shown: SocketAddr) -> Option<SocketAddr> {
        let flow = self.0.iter().find(|flow| flow.shown == shown)?;
        (flow.used.elapsed() < IDLE).then_some(flow.backend)
    }

    /// Answers of `backend` show `shown` from now on.
    pub(super) fn remember(&mut self, shown: SocketAddr, backend: SocketAddr) {
        self.0.retain(|flow| flow.shown != shown && flow.backend != backend);
        if self.0.len() == MAX_FLOWS {
            self.0.pop_front();
        }
        self.0.push_back(Flow { shown, backend, used: Instant::now() });
    }

    /// Who is written to directly answers as itself.
    pub(super) fn forget(&mut self, backend: SocketAddr) {
        self.0.retain(|flow| flow.backend != backend);
    }
}
