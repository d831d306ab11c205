//! Address arithmetic: the switch's range, what a bound address covers, and how addresses look to sockets of either
//! family. No state lives here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::NetError;

/// Pods get their addresses from `10.88.0.0/16`. The whole range is the switch's: none of it is ever reached outside.
const RANGE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 0);
pub(super) const RANGE_PREFIX: u8 = 16;

/// Virtual services get theirs from this range, given as its first address and the bits all of them share. It is the
/// switch's too.
pub const VIRTUAL_RANGE: (Ipv4Addr, u32) = (Ipv4Addr::new(10, 96, 0, 0), 16);

/// The virtual address at which names are resolved, at `DNS_PORT`.
pub const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The port of DNS, over UDP and TCP.
pub(super) const DNS_PORT: u16 = 53;

/// The node's own address, the peer that pods see behind published ports and probes.
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

/// Offsets in the range that pods can have: all but the network's, the node's and the broadcast address.
pub(super) const POD_OFFSETS: std::ops::RangeInclusive<u32> = 2..=(1 << (32 - RANGE_PREFIX as u32)) - 2;

/// The pod address at an offset.
pub(super) fn pod_address(offset: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(RANGE.to_bits() + offset)
}

/// The offset of an address that a pod can have.
pub(super) fn pod_offset(address: Ipv4Addr) -> Option<u32> {
    let offset = address.to_bits().checked_sub(RANGE.to_bits())?;
    POD_OFFSETS.contains(&offset).then_some(offset)
}

/// Whether a pod can have this address.
pub(super) fn is_pod_address(address: Ipv4Addr) -> bool {
    pod_offset(address).is_some()
}

/// Whether pods have addresses like this.
pub(super) fn in_range(address: Ipv4Addr) -> bool {
    is_within(address, (RANGE, RANGE_PREFIX.into()))
}

/// Whether virtual services have addresses like this.
pub(super) fn in_virtual_range(address: Ipv4Addr) -> bool {
    is_within(address, VIRTUAL_RANGE)
}

fn is_within(address: Ipv4Addr, (first, prefix): (Ipv4Addr, u32)) -> bool {
    (address.to_bits() ^ first.to_bits()) >> (32 - prefix) == 0
}

/// A socket's address family. As on Linux, sockets of the IPv6 family also carry IPv4, with mapped addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// An address as sockets of this family show it.
    pub(super) fn show(self, ip: IpAddr, port: u16) -> SocketAddr {
        match (self, ip) {
            (Self::V6, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), port),
            (_, ip) => SocketAddr::new(ip, port),
        }
    }
}

/// Where a datagram or connection goes: a mapped address is its IPv4 address, the unspecified one means loopback.
pub(super) fn destination(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The destinations a bound socket receives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `0.0.0.0`.
    AnyV4,
    /// `::`, which takes IPv4 too.
    Any,
    /// One address.
    One(IpAddr),
}

impl Scope {
    /// The scope of a socket bound to `ip`, which must be one of the pod's.
    pub(super) fn of(ip: IpAddr, pod: Ipv4Addr) -> Result<Self, NetError> {
        match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ok(Self::AnyV4),
            IpAddr::V6(ip) if ip.is_unspecified() => Ok(Self::Any),
            ip if ip.is_loopback() || ip == pod => Ok(Self::One(ip)),
            _ => Err(NetError::AddressNotAvailable),
        }
    }

    /// Whether what is sent to `ip` arrives here.
    pub(super) fn accepts(self, ip: IpAddr) -> bool {
        match self {
            Self::AnyV4 => ip.is_ipv4(),
            Self::Any => true,
            Self::One(own) => own == ip,
        }
    }

    /// Whether two sockets with the same port would be in each other's way.
    pub(super) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) | (Self::AnyV4, Self::AnyV4) => true,
            (Self::AnyV4, Self::One(ip)) | (Self::One(ip), Self::AnyV4) => ip.is_ipv4(),
            (Self::One(a), Self::One(b)) => a == b,
        }
    }

    /// The source address of what a socket bound like this sends to `target`, as routing on Linux would choose it.
    pub(super) fn source(self, target: IpAddr, pod: Ipv4Addr) -> Result<IpAddr, NetError> {
        let local = target.is_loopback() || target == pod;
        match (self, target) {
            (Self::One(own), _) if own.is_ipv4() != target.is_ipv4() => Err(NetError::Unreachable),
            (Self::One(own), _) if own.is_loopback() && !local => Err(NetError::Invalid),
            (Self::One(own), _) => Ok(own),
            (Self::AnyV4, IpAddr::V6(_)) => Err(NetError::FamilyNotSupported),
            (_, IpAddr::V4(ip)) if ip.is_loopback() => Ok(Ipv4Addr::LOCALHOST.into()),
            (_, IpAddr::V6(ip)) if ip.is_loopback() => Ok(ip.into()),
            _ => Ok(pod.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

    #[test]
    fn scopes_overlap_as_on_linux() {
        let scope = |text: &str| Scope::of(text.parse().unwrap(), POD).unwrap();
        for (a, b, expected) in [
            ("0.0.0.0", "0.0.0.0", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "10.88.0.2", true),
            ("0.0.0.0", "::", true),
            ("0.0.0.0", "::1", false),
            ("0.0.0.0", "::ffff:127.0.0.1", true),
            ("::", "127.0.0.1", true),
            ("::", "::1", true),
            ("::", "::", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "10.88.0.2", false),
            ("127.0.0.1", "::1", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
        ] {
            assert_eq!(scope(a).overlaps(scope(b)), expected, "{a} and {b}");
            assert_eq!(scope(b).overlaps(scope(a)), expected, "{b} and {a}");
        }
    }

    #[test]
    fn only_the_pods_addresses_can_be_bound() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("10.88.0.2", true),
            ("::1", true),
            ("::ffff:10.88.0.2", true),
            ("10.88.0.3", false),
            ("10.88.0.1", false),
            ("8.8.8.8", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(Scope::of(text.parse().unwrap(), POD).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn mapped_and_unspecified_destinations_mean_what_linux_means() {
        for (given, meant) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("[::ffff:0.0.0.0]:80", "127.0.0.1:80"),
            ("1.2.3.4:80", "1.2.3.4:80"),
        ] {
            assert_eq!(destination(given.parse().unwrap()), meant.parse().unwrap(), "{given}");
        }
    }
}
