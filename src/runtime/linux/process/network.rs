//! What the agent needs of a pod's network namespace: sockets in it, a TUN device, sysctls. Packets are none of the
//! sandbox process's business.

use std::fs;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};

use super::super::protocol::{Context, Failure, TunConfig};
use super::super::sys;
use super::netlink::Netlink;
use crate::base::sysctl::{SysctlNamespace, namespace_of};
use crate::runtime::LinuxPodSandboxConfig;

/// Where TUN devices are made.
const TUN: &str = "/dev/net/tun";

/// The network device every network namespace has.
const LOOPBACK: &str = "lo";

/// A socket of the pod's network.
pub(super) fn socket(domain: u16, kind: u32, protocol: u32) -> Result<OwnedFd, Failure> {
    let domain = AddressFamily::from_raw(domain);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = std::num::NonZeroU32::new(protocol).map(Protocol::from_raw);
    rustix::net::socket_with(domain, SocketType::from_raw(kind), flags, protocol)
        .context(|| "cannot make a socket in the pod's network")
}

/// Sets the loopback device up.
pub(super) fn loopback_up() -> Result<(), Failure> {
    let mut netlink = Netlink::open()?;
    let index = netlink.index_of(LOOPBACK)?;
    netlink.set_up(index, None)
}

/// Makes a TUN device, gives it its addresses and routes, and sets it up.
pub(super) fn tun(config: &TunConfig) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::open(TUN, flags, Mode::empty()).context(|| format!("cannot open {TUN}"));
    let made = opened.and_then(|tun| {
        sys::make_tun(tun.as_fd(), &config.name, config.offload)
            .context(|| format!("cannot make the network device {}", config.name))?;
        Ok(tun)
    });
    let tun = match made {
        Ok(tun) => tun,
        Err(failure) => {
            // What is there already stays as it is.
            let _ = put_on_loopback(&config.addresses);
            return Err(failure);
        }
    };
    let mut netlink = Netlink::open()?;
    let index = netlink.index_of(&config.name)?;
    for (address, prefix) in &config.addresses {
        netlink.add_address(index, *address, *prefix)?;
    }
    netlink.set_up(index, Some(config.mtu).filter(|mtu| *mtu > 0))?;
    for route in &config.routes {
        netlink.add_route(index, route)?;
    }
    Ok(tun)
}

/// Has the pod's own addresses somewhere where there is no device for them: programs listen on them, and look their own
/// names up.
fn put_on_loopback(addresses: &[(IpAddr, u8)]) -> Result<(), Failure> {
    let mut netlink = Netlink::open()?;
    let index = netlink.index_of(LOOPBACK)?;
    addresses.iter().try_for_each(|(address, _prefix)| {
        netlink.add_address(index, *address, if address.is_ipv4() { 32 } else { 128 })
    })
}

/// Lets everybody in the pod listen on low ports and send pings, as container engines do (containerd's
/// `enable_unprivileged_ports` and `enable_unprivileged_icmp`): the ports are the pod's own.
pub(super) fn let_all_bind_low_ports() {
    // Where `/proc/sys` cannot be written to, only root can.
    let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let everybody = ["0 2147483647", "0 0"];
    let _ = everybody.into_iter().find(|range| fs::write("/proc/sys/net/ipv4/ping_group_range", range).is_ok());
}

/// Writes a sysctl of one of the pod's namespaces, and none of the host's.
pub(super) fn write_sysctl(pod: &LinuxPodSandboxConfig, name: &str, value: &str) -> Result<(), Failure> {
    let namespace = namespace_of(name);
    let is_the_hosts = match namespace {
        Some(SysctlNamespace::Network) => pod.host_network,
        Some(SysctlNamespace::Ipc) => pod.host_ipc,
        Some(SysctlNamespace::Uts) | None => false,
    };
    if is_the_hosts {
        let what = format!("sysctl {name:?} is the host's in a pod with hostNetwork or hostIPC: it cannot be set");
        return Err(Failure::failed(what));
    }
    let path = name.replace('.', "/");
    if namespace.is_none() || path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err(Failure::failed(format!("sysctl {name:?} is not namespaced: it cannot be set for a pod")));
    }
    fs::write(format!("/proc/sys/{path}"), value).context(|| format!("cannot set the sysctl {name}"))
}
