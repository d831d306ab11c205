//! Address families, and which addresses a guest may name for what.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::fault::Fault;

/// The family a socket was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// The address that stands for all of this family's.
    pub(super) fn unspecified(self) -> SocketAddr {
        match self {
            Self::Ipv4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
            Self::Ipv6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
        }
    }

    /// An address to bind: of this family, and not a group's.
    pub(super) fn check_local(self, address: SocketAddr) -> Result<SocketAddr, Fault> {
        if address.is_ipv4() != (self == Self::Ipv4) || is_group(address.ip()) {
            return Err(Fault::InvalidArgument);
        }
        Ok(address)
    }

    /// An address to send to: of this family, one host's, with a port. WASI, unlike Linux, refuses the unspecified one.
    pub(super) fn check_remote(self, address: SocketAddr) -> Result<SocketAddr, Fault> {
        if self.check_local(address)?.ip().to_canonical().is_unspecified() || address.port() == 0 {
            return Err(Fault::InvalidArgument);
        }
        Ok(address)
    }
}

fn is_group(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}
