//! `ip`, `ifconfig`, `route` and `netstat`: what a pod's network looks like, in the usual forms. Guests cannot ask for
//! it; the pod's own address is the one of `/etc/hosts` that a socket can be bound to.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use nettool::datagrams::Datagrams;

use crate::Failure;

/// Pods share a network of this prefix, whose first address is the node's (husk's `net::addr`).
const PREFIX: u32 = 16;
/// Addresses of `/etc/hosts` that are tried.
const MAX_CANDIDATES: usize = 64;

/// The pod's address, if `/etc/hosts` has it.
fn pod_address() -> Option<Ipv4Addr> {
    let hosts = fs::read_to_string("/etc/hosts").ok()?;
    candidates(&hosts).into_iter().find(|address| Datagrams::bind(SocketAddr::new((*address).into(), 0)).is_ok())
}

fn candidates(hosts: &str) -> Vec<Ipv4Addr> {
    let addresses = hosts.lines().filter_map(|line| line.split_whitespace().next()?.parse::<Ipv4Addr>().ok());
    addresses.filter(|address| !address.is_loopback() && !address.is_unspecified()).take(MAX_CANDIDATES).collect()
}

fn network(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & !(u32::MAX >> PREFIX))
}

fn broadcast(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() | (u32::MAX >> PREFIX))
}

fn gateway(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(network(address).to_bits() + 1)
}

/// As the usual network plugins derive it from the address.
fn hardware_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Which families `ip` shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Both,
    V4,
    V6,
}

/// `ip [-4|-6] addr|link|route [show] [[dev] NAME]`.
pub(crate) fn ip(arguments: Vec<OsString>) -> Result<(), Failure> {
    let text = ip_text(&words(&arguments), pod_address())?;
    print!("{text}");
    Ok(())
}

fn words(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn ip_text(words: &[String], address: Option<Ipv4Addr>) -> Result<String, String> {
    let mut family = Family::Both;
    let mut words = words.iter().map(String::as_str);
    let object = loop {
        match words.next() {
            Some("-4") => family = Family::V4,
            Some("-6") => family = Family::V6,
            Some(option) if option.starts_with('-') => return Err(format!("Option \"{option}\" is unknown")),
            Some(object) => break object,
            None => return Err("usage: ip [-4|-6] addr|link|route [show] [[dev] NAME]".to_owned()),
        }
    };
    let rest: Vec<_> = words.collect();
    let asked = match rest.as_slice() {
        [] | ["show" | "list" | "ls" | "s" | "l"] => None,
        ["show" | "list" | "ls" | "s" | "l" | "dev", device] | ["show" | "list" | "ls" | "s" | "l", "dev", device] => {
            Some(*device)
        }
        ["add" | "del" | "delete" | "set" | "flush" | "change" | "replace", ..] => {
            return Err("RTNETLINK answers: Operation not permitted".to_owned());
        }
        [word, ..] => return Err(format!("Command \"{word}\" is unknown")),
    };
    if let Some(device) = asked
        && !(device == "lo" || device == "eth0" && address.is_some())
    {
        return Err(format!("can't find device '{device}'"));
    }
    let shows = |device: &str| asked.is_none_or(|asked| asked == device);
    match object {
        "a" | "ad" | "addr" | "address" => Ok(addresses_text(address, family, shows)),
        "l" | "link" => Ok(links_text(address, shows)),
        "r" | "ro" | "route" => Ok(address.filter(|_| family != Family::V6).map(routes_text).unwrap_or_default()),
        _ => Err(format!("Object \"{object}\" is unknown, try addr, link or route")),
    }
}

const LO: &str = "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN qlen 1000\n";
const ETH0: &str = "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP qlen 1000\n";
const FOREVER: &str = "       valid_lft forever preferred_lft forever\n";

fn link_line(address: Ipv4Addr) -> String {
    format!("    link/ether {} brd ff:ff:ff:ff:ff:ff\n", hardware_address(address))
}

const LOOPBACK_LINE: &str = "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n";

fn links_text(address: Option<Ipv4Addr>, shows: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    if shows("lo") {
        text += LO;
        text += LOOPBACK_LINE;
    }
    if let Some(address) = address.filter(|_| shows("eth0")) {
        text += ETH0;
        text += &link_line(address);
    }
    text
}

fn addresses_text(address: Option<Ipv4Addr>, family: Family, shows: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    if shows("lo") {
        text += LO;
        if family == Family::Both {
            text += LOOPBACK_LINE;
        }
        if family != Family::V6 {
            text += &format!("    inet 127.0.0.1/8 scope host lo\n{FOREVER}");
        }
        if family != Family::V4 {
            text += &format!("    inet6 ::1/128 scope host \n{FOREVER}");
        }
    }
    if let Some(address) = address.filter(|_| family != Family::V6 && shows("eth0")) {
        text += ETH0;
        if family == Family::Both {
            text += &link_line(address);
        }
        let broadcast = broadcast(address);
        text += &format!("    inet {address}/{PREFIX} brd {broadcast} scope global eth0\n{FOREVER}");
    }
    text
}

fn routes_text(address: Ipv4Addr) -> String {
    let (gateway, network) = (gateway(address), network(address));
    format!("default via {gateway} dev eth0 \n{network}/{PREFIX} dev eth0 scope link  src {address} \n")
}

/// `route [-n]`.
pub(crate) fn route(arguments: Vec<OsString>) -> Result<(), Failure> {
    match words(&arguments).as_slice() {
        [] => {}
        [option] if option == "-n" => {}
        _ => return Err("SIOCADDRT: Operation not permitted".to_owned().into()),
    }
    let Some(address) = pod_address() else { return Ok(()) };
    print!("{}", route_table(address));
    Ok(())
}

fn route_table(address: Ipv4Addr) -> String {
    let mask = Ipv4Addr::from_bits(!(u32::MAX >> PREFIX));
    let zero = Ipv4Addr::UNSPECIFIED;
    let rows = [(zero, gateway(address), zero, "UG"), (network(address), zero, mask, "U")];
    let mut text = "Kernel IP routing table\n\
         Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
        .to_owned();
    for (destination, gateway, mask, flags) in rows {
        let [destination, gateway, mask] = [destination, gateway, mask].map(|address| address.to_string());
        // Writing to a string never fails.
        let _written = writeln!(text, "{destination:<15} {gateway:<15} {mask:<15} {flags:<5} 0      0        0 eth0");
    }
    text
}

/// `ifconfig [-a] [NAME]`.
pub(crate) fn ifconfig(arguments: Vec<OsString>) -> Result<(), Failure> {
    let address = pod_address();
    let asked = match words(&arguments).as_slice() {
        [] => None,
        [all] if all == "-a" => None,
        [device] => Some(device.clone()),
        [_, ..] => return Err("SIOCSIFADDR: Operation not permitted".to_owned().into()),
    };
    let shows = |device: &str| asked.as_deref().is_none_or(|asked| asked == device);
    if let Some(device) = &asked
        && !(device == "lo" || device == "eth0" && address.is_some())
    {
        return Err(format!("{device}: error fetching interface information: Device not found").into());
    }
    if let Some(address) = address.filter(|_| shows("eth0")) {
        print!("{}", ethernet(address));
    }
    if shows("lo") {
        print!("{LOOPBACK}");
    }
    Ok(())
}

const LOOPBACK: &str = "\
lo        Link encap:Local Loopback
          inet addr:127.0.0.1  Mask:255.0.0.0
          inet6 addr: ::1/128 Scope:Host
          UP LOOPBACK RUNNING  MTU:65536  Metric:1

";

fn ethernet(address: Ipv4Addr) -> String {
    let (hardware, broadcast) = (hardware_address(address).to_uppercase(), broadcast(address));
    let mask = Ipv4Addr::from_bits(!(u32::MAX >> PREFIX));
    format!(
        "eth0      Link encap:Ethernet  HWaddr {hardware}
          inet addr:{address}  Bcast:{broadcast}  Mask:{mask}
          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1

"
    )
}

/// `netstat -r` is `route`; sockets are nobody's to see but their owner's.
pub(crate) fn netstat(arguments: Vec<OsString>) -> Result<(), Failure> {
    let routes = words(&arguments).iter().any(|word| word.starts_with('-') && word.contains('r'));
    if routes {
        return route(Vec::new());
    }
    let message = "a pod's sockets cannot be listed by its programs; to see whether a port is open: nc -zv HOST PORT";
    Err(message.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 5);

    fn ip(line: &str) -> Result<String, String> {
        ip_text(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), Some(ADDRESS))
    }

    #[test]
    fn ip_addr_looks_as_iproute2s() {
        let both = format!(
            "{LO}{LOOPBACK_LINE}    inet 127.0.0.1/8 scope host lo\n{FOREVER}    inet6 ::1/128 scope host \n{FOREVER}\
             {ETH0}    link/ether 0a:58:0a:58:00:05 brd ff:ff:ff:ff:ff:ff\n    \
             inet 10.88.0.5/16 brd 10.88.255.255 scope global eth0\n{FOREVER}"
        );
        for line in ["a", "addr", "addr show", "address list"] {
            assert_eq!(ip(line).as_deref(), Ok(both.as_str()), "{line}");
        }
        let eth0 = format!("{ETH0}    inet 10.88.0.5/16 brd 10.88.255.255 scope global eth0\n{FOREVER}");
        for line in ["-4 addr show dev eth0", "-4 a s eth0"] {
            assert_eq!(ip(line).as_deref(), Ok(eth0.as_str()), "{line}");
        }
    }

    #[test]
    fn ip_route_goes_by_the_node() {
        assert_eq!(
            ip("route").as_deref(),
            Ok("default via 10.88.0.1 dev eth0 \n10.88.0.0/16 dev eth0 scope link  src 10.88.0.5 \n")
        );
        assert!(route_table(ADDRESS).ends_with(
            "0.0.0.0         10.88.0.1       0.0.0.0         UG    0      0        0 eth0\n\
             10.88.0.0       0.0.0.0         255.255.0.0     U     0      0        0 eth0\n"
        ));
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        for (line, problem) in [
            ("", "usage: ip"),
            ("addr show eth1", "can't find device 'eth1'"),
            ("addr add 10.0.0.1/8 dev eth0", "RTNETLINK answers: Operation not permitted"),
            ("neigh", "Object \"neigh\" is unknown"),
            ("-x a", "Option \"-x\" is unknown"),
            ("addr what", "Command \"what\" is unknown"),
        ] {
            let actual = ip(line).unwrap_err();
            assert!(actual.starts_with(problem), "{line}: {actual}");
        }
    }

    #[test]
    fn candidates_are_the_addresses_of_hosts_that_are_not_loopback() {
        let hosts = "# Kubernetes\n127.0.0.1\tlocalhost\n::1\tlocalhost\n10.88.0.5\tweb\n10.1.2.3 other\nx y\n";
        assert_eq!(candidates(hosts), [ADDRESS, Ipv4Addr::new(10, 1, 2, 3)]);
    }
}
