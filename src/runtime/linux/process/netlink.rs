//! Network devices, addresses and routes: the few rtnetlink messages a pod's network takes.
//!
//! ```text
//!  nlmsghdr { length u32, type u16, flags u16, sequence u32, port u32 }, a header of the type's, attributes
//!  attribute: { length u16, type u16, value }, padded to four bytes
//! ```

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::super::protocol::{Context, Failure, Route};

const HEADER: usize = 16;

/// A connection to the kernel's routing tables.
pub(super) struct Netlink(OwnedFd);

/// A message under construction.
struct Builder(Vec<u8>);

impl Builder {
    fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags).unwrap_or_default();
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(header);
        Self(bytes)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).unwrap_or_default()
}

impl Netlink {
    pub(super) fn open() -> Result<Self, Failure> {
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
        socket.map(Self).context(|| "cannot reach the kernel's routing tables")
    }

    /// Sends a request and returns the answer to it, which is empty if it is just a success.
    fn request(&mut self, message: &[u8]) -> io::Result<Vec<u8>> {
        rustix::net::send(&self.0, message, SendFlags::empty())?;
        let mut buffer = vec![0; 16 * 1024];
        let (length, _) = rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
        buffer.truncate(length);
        let garbled = || io::Error::other("the kernel's answer is garbled");
        let kind = u16::from_ne_bytes(buffer.get(4..6).and_then(|bytes| bytes.try_into().ok()).ok_or_else(garbled)?);
        if i32::from(kind) != libc::NLMSG_ERROR {
            return Ok(buffer);
        }
        let code = buffer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(garbled)?;
        match i32::from_ne_bytes(code) {
            0 => Ok(Vec::new()),
            code => Err(io::Error::from_raw_os_error(-code)),
        }
    }

    /// The number of a device.
    pub(super) fn index_of(&mut self, name: &str) -> Result<i32, Failure> {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        let message = Builder::new(libc::RTM_GETLINK, 0, &link_header(0, 0, 0)).attribute(libc::IFLA_IFNAME, &value);
        let answer = self.request(&message.finish()).context(|| format!("there is no network device {name}"))?;
        let index = answer.get(HEADER + 4..HEADER + 8).and_then(|bytes| bytes.try_into().ok());
        // An acknowledgement follows the answer, which has to go before the next one comes.
        let _ = rustix::net::recv(&self.0, &mut [0_u8; 1024][..], RecvFlags::DONTWAIT);
        index.map(i32::from_ne_bytes).ok_or_else(|| Failure::failed(format!("there is no network device {name}")))
    }

    /// Sets a device up.
    pub(super) fn set_up(&mut self, index: i32, mtu: Option<u32>) -> Result<(), Failure> {
        let up = libc::IFF_UP.cast_unsigned();
        let mut message = Builder::new(libc::RTM_NEWLINK, 0, &link_header(index, up, up));
        if let Some(mtu) = mtu {
            message = message.attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
        }
        self.request(&message.finish()).context(|| "cannot set the network device up").map(drop)
    }

    /// Gives a device an address.
    pub(super) fn add_address(&mut self, index: i32, address: IpAddr, prefix: u8) -> Result<(), Failure> {
        // struct ifaddrmsg: family, prefix, flags (an IPv6 address is usable at once: nobody else has it), scope, index.
        let flags = if address.is_ipv6() { u8::try_from(libc::IFA_F_NODAD).unwrap_or_default() } else { 0 };
        let mut header = vec![family(address), prefix, flags, 0];
        header.extend(index.to_ne_bytes());
        let message = Builder::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header)
            .attribute(libc::IFA_LOCAL, &octets(address))
            .attribute(libc::IFA_ADDRESS, &octets(address));
        self.request(&message.finish()).context(|| format!("cannot add the address {address}/{prefix}")).map(drop)
    }

    /// Adds a route through a device.
    pub(super) fn add_route(&mut self, index: i32, route: &Route) -> Result<(), Failure> {
        let (destination, prefix) = route.destination;
        let scope = if route.gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
        // struct rtmsg: family, lengths of prefixes (destination, source), type of service, table, protocol, scope, type,
        // flags.
        let mut header = vec![
            family(destination),
            prefix,
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_BOOT,
            if destination.is_ipv4() { scope } else { libc::RT_SCOPE_UNIVERSE },
            libc::RTN_UNICAST,
        ];
        header.extend([0; 4]);
        let mut message = Builder::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header)
            .attribute(libc::RTA_OIF, &index.to_ne_bytes());
        if prefix > 0 {
            message = message.attribute(libc::RTA_DST, &octets(destination));
        }
        if let Some(gateway) = route.gateway {
            message = message.attribute(libc::RTA_GATEWAY, &octets(gateway));
        }
        if let Some(source) = route.source {
            message = message.attribute(libc::RTA_PREFSRC, &octets(source));
        }
        self.request(&message.finish()).context(|| format!("cannot add the route to {destination}/{prefix}")).map(drop)
    }
}

/// `struct ifinfomsg`: family, type, index, flags, which flags to change.
fn link_header(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}
