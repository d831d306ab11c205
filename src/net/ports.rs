//! A port space: which sockets of one pod hold which ports of one protocol.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::NetError;
use super::addr::Scope;

/// The ports given to sockets that do not ask for one (Linux's `ip_local_port_range`).
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

/// Ports and their holders; `T` is what a port leads to.
#[derive(Debug)]
pub(super) struct PortTable<T> {
    ports: HashMap<u16, Vec<Holder<T>>>,
    len: usize,
    next_id: u64,
    ephemeral: RangeInclusive<u16>,
    next_ephemeral: u16,
}

#[derive(Debug)]
struct Holder<T> {
    id: u64,
    scope: Scope,
    socket: T,
}

/// Which holder of which port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PortKey {
    pub(super) port: u16,
    id: u64,
}

impl<T> Default for PortTable<T> {
    fn default() -> Self {
        Self { ports: HashMap::new(), len: 0, next_id: 0, ephemeral: EPHEMERAL, next_ephemeral: *EPHEMERAL.start() }
    }
}

impl<T> PortTable<T> {
    /// Takes `port`, or a free ephemeral one for 0; `socket` is told which.
    pub(super) fn take(&mut self, scope: Scope, port: u16, socket: impl FnOnce(u16) -> T) -> Result<PortKey, NetError> {
        let port = match port {
            0 => self.free_ephemeral(scope)?,
            port if self.is_free(scope, port) => port,
            _ => return Err(NetError::AddressInUse),
        };
        let id = self.next_id;
        self.next_id += 1;
        self.len += 1;
        self.ports.entry(port).or_default().push(Holder { id, scope, socket: socket(port) });
        Ok(PortKey { port, id })
    }

    /// Gives a port back, and what it led to.
    pub(super) fn release(&mut self, key: PortKey) -> Option<T> {
        let holders = self.ports.get_mut(&key.port)?;
        let index = holders.iter().position(|holder| holder.id == key.id)?;
        let holder = holders.swap_remove(index);
        if holders.is_empty() {
            self.ports.remove(&key.port);
        }
        self.len -= 1;
        Some(holder.socket)
    }

    /// What a held port leads to.
    pub(super) fn get_mut(&mut self, key: PortKey) -> Option<&mut T> {
        self.ports.get_mut(&key.port)?.iter_mut().find(|holder| holder.id == key.id).map(|holder| &mut holder.socket)
    }

    /// What receives at an address. Scopes of one port never overlap, so there is at most one.
    pub(super) fn find(&self, ip: IpAddr, port: u16) -> Option<&T> {
        self.ports.get(&port)?.iter().find(|holder| holder.scope.accepts(ip)).map(|holder| &holder.socket)
    }

    /// Everything that ports lead to.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &T> {
        self.ports.values().flatten().map(|holder| &holder.socket)
    }

    /// The same, to be changed.
    pub(super) fn sockets_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.ports.values_mut().flatten().map(|holder| &mut holder.socket)
    }

    /// From now on sockets that do not ask for a port get one of these.
    pub(super) fn set_ephemeral(&mut self, ports: RangeInclusive<u16>) {
        self.next_ephemeral = *ports.start();
        self.ephemeral = ports;
    }

    /// How many holders there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn is_free(&self, scope: Scope, port: u16) -> bool {
        self.ports.get(&port).is_none_or(|holders| !holders.iter().any(|holder| holder.scope.overlaps(scope)))
    }

    fn free_ephemeral(&mut self, scope: Scope) -> Result<u16, NetError> {
        for _ in self.ephemeral.clone() {
            let port = self.next_ephemeral;
            self.next_ephemeral = if port == *self.ephemeral.end() { *self.ephemeral.start() } else { port + 1 };
            if self.is_free(scope, port) {
                return Ok(port);
            }
        }
        Err(NetError::AddressInUse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ephemeral_ports_rotate_within_their_range_and_run_out() {
        let mut table = PortTable::default();
        let keys: Vec<_> = EPHEMERAL.map(|_| table.take(Scope::AnyV4, 0, |_| ()).unwrap()).collect();
        assert!(keys.iter().all(|key| EPHEMERAL.contains(&key.port)));
        assert_eq!(table.take(Scope::AnyV4, 0, |_| ()), Err(NetError::AddressInUse));
        assert_eq!(table.release(keys[7]), Some(()));
        assert_eq!(table.take(Scope::AnyV4, 0, |_| ()).map(|key| key.port), Ok(keys[7].port));
        assert_eq!(table.release(keys[7]), None, "a key works once");
    }
}
