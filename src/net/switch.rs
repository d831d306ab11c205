//! The switch: which pod has which address, and where an address leads.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use super::addr::{self, DNS_ADDRESS, DNS_PORT, NODE, POD_OFFSETS};
use super::dns::{Server, Zone};
use super::kernel;
use super::pod::PodCore;
use super::publish::Target;
use super::resolve::Names;
use super::service::{Services, VirtualPort};
use super::{NetError, PodNetwork, Protocol, PublishedPort, TcpListener, publish, tcp};

/// Whether pods may reach what lies outside the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// Connections and DNS go out through the host.
    Allow,
    /// Nothing leaves the switch.
    Deny,
}

/// All pods of this process and the edges to the outside.
#[derive(Debug)]
pub struct Switch {
    egress: Egress,
    node: Arc<PodCore>,
    dns: Arc<Server>,
    services: RwLock<Arc<Services>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pods: HashMap<Ipv4Addr, Weak<PodCore>>,
    next_offset: u32,
    /// Ports of the host's, by the pods with the host's network that serve them.
    host_ports: HashMap<u16, Weak<PodCore>>,
}

/// Where an address leads, seen from a pod.
#[derive(Debug)]
pub(super) enum Route {
    /// To a pod (the one that asks included) or the node.
    Pod(Arc<PodCore>),
    /// Out through the host.
    Outside,
    /// To the switch's own DNS.
    Dns,
}

impl Switch {
    /// A switch without pods.
    pub fn new(egress: Egress) -> Arc<Self> {
        Arc::new(Self {
            egress,
            node: PodCore::new(NODE, Names::default()),
            dns: Arc::new(Server::new(egress)),
            services: RwLock::default(),
            state: Mutex::new(State {
                pods: HashMap::new(),
                next_offset: *POD_OFFSETS.start(),
                host_ports: HashMap::new(),
            }),
        })
    }

    /// Gives a pod its address and names. `hostname` and, with a domain, `hostname.domain` resolve inside the pod to
    /// its own address. Fails with [`NetError::AddressNotAvailable`] when every address is taken.
    pub fn attach(self: &Arc<Self>, hostname: &str, domain: Option<&str>) -> Result<Arc<PodNetwork>, NetError> {
        let mut state = self.lock();
        let ip = state.free_address()?;
        let core = PodCore::new(ip, Names::of_pod(ip, hostname, domain));
        state.pods.insert(ip, Arc::downgrade(&core));
        drop(state);
        Ok(Arc::new(PodNetwork { core, switch: Arc::clone(self) }))
    }

    /// Gives a pod back the address it had, with which its network namespace has outlived the agent. Otherwise as
    /// [`Switch::attach`]; fails with [`NetError::AddressInUse`] if another pod has it,
    /// [`NetError::AddressNotAvailable`] if it's not one of a pod's.
    pub fn attach_again(
        self: &Arc<Self>,
        hostname: &str,
        domain: Option<&str>,
        ip: IpAddr,
    ) -> Result<Arc<PodNetwork>, NetError> {
        let IpAddr::V4(ip) = ip else { return Err(NetError::AddressNotAvailable) };
        if !addr::is_pod_address(ip) {
            return Err(NetError::AddressNotAvailable);
        }
        let mut state = self.lock();
        if state.pods.contains_key(&ip) {
            return Err(NetError::AddressInUse);
        }
        let core = PodCore::new(ip, Names::of_pod(ip, hostname, domain));
        state.pods.insert(ip, Arc::downgrade(&core));
        drop(state);
        Ok(Arc::new(PodNetwork { core, switch: Arc::clone(self) }))
    }

    /// Gives new pods no address up to the last of these, for as long as there are others: pods have had them, and may want
    /// them back.
    pub fn begin_after(&self, taken: impl IntoIterator<Item = IpAddr>) {
        let offsets = taken.into_iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => addr::pod_offset(ip),
            IpAddr::V6(_) => None,
        });
        if let Some(last) = offsets.max() {
            let mut state = self.lock();
            state.next_offset = state.next_offset.max(last.saturating_add(1).min(*POD_OFFSETS.end()));
        }
    }

    /// The network of a pod that has the host's: its address is the node's, its localhost the host's.
    pub async fn attach_host_network(
        self: &Arc<Self>,
        hostname: &str,
        domain: Option<&str>,
    ) -> std::io::Result<Arc<PodNetwork>> {
        if self.egress == Egress::Deny {
            return Err(std::io::Error::other(
                "it reaches all that the host reaches, and pods are to reach nothing outside",
            ));
        }
        let core = PodCore::new(NODE, Names::of_pod(NODE, hostname, domain));
        kernel::attach_host(&core).await?;
        Ok(Arc::new(PodNetwork { core, switch: Arc::clone(self) }))
    }

    pub(super) fn set_host_ports(&self, core: &Arc<PodCore>, ports: &[u16]) {
        let mut state = self.lock();
        state.host_ports.retain(|_, pod| pod.upgrade().is_some_and(|pod| !Arc::ptr_eq(&pod, core)));
        state.host_ports.extend(ports.iter().map(|port| (*port, Arc::downgrade(core))));
    }

    /// Whether a port of the node's is the host's, being served by a pod that has the host's network.
    fn is_host_port(&self, port: u16) -> bool {
        self.lock().host_ports.get(&port).is_some_and(|pod| pod.upgrade().is_some_and(|pod| !pod.is_closed()))
    }

    /// The node's own address on the switch, the peer pods see behind published ports and probes.
    pub fn node_ip(&self) -> IpAddr {
        self.node.ip.into()
    }

    /// Publishes `pod_port` of `pod` on the host's `host` address (port 0: any), TCP. Errors name address and cause.
    pub async fn publish_tcp(
        &self,
        pod: &Arc<PodNetwork>,
        host: SocketAddr,
        pod_port: u16,
    ) -> std::io::Result<PublishedPort> {
        publish::tcp(Target::of_pod(pod, pod_port), host).await
    }

    /// The same for UDP.
    pub async fn publish_udp(
        &self,
        pod: &Arc<PodNetwork>,
        host: SocketAddr,
        pod_port: u16,
    ) -> std::io::Result<PublishedPort> {
        publish::udp(Target::of_pod(pod, pod_port), host).await
    }

    /// Publishes a virtual port on the host's `host` address. Errors name address and cause.
    pub async fn publish_virtual(
        self: &Arc<Self>,
        protocol: Protocol,
        port: SocketAddr,
        host: SocketAddr,
    ) -> std::io::Result<PublishedPort> {
        let target = Target::new(self, port);
        match protocol {
            Protocol::Tcp => publish::tcp(target, host).await,
            Protocol::Udp => publish::udp(target, host).await,
        }
    }

    /// Listens on a port of the node, as pods see it: what they connect to there is accepted by the agent, in this
    /// process and without a socket of the host's. Services lead there through ordinary endpoints.
    ///
    /// # Errors
    /// [`NetError::AddressInUse`] if somebody listens there already.
    pub fn listen_on_node(&self, port: u16, backlog: usize) -> Result<TcpListener, NetError> {
        let binding = tcp::bind(&self.node, SocketAddr::new(self.node_ip(), port))?;
        tcp::listen(&self.node, binding, backlog)
    }

    pub(super) fn node(&self) -> &Arc<PodCore> {
        &self.node
    }

    /// From now on these are the virtual services, and no others. Connections that were made stay.
    pub fn set_services(&self, ports: Vec<VirtualPort>) {
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        *services = Arc::new(Services::new(ports, &services));
    }

    /// From now on the switch's DNS knows these names.
    pub fn set_zone(&self, zone: Zone) {
        self.dns.set_zone(zone);
    }

    pub(super) fn dns(&self) -> &Arc<Server> {
        &self.dns
    }

    pub(super) fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn detach(&self, ip: Ipv4Addr) {
        self.lock().pods.remove(&ip);
    }

    /// Where a connection from `pod` to `target` leads, and to which address: behind a virtual one, that of a backend.
    pub(super) fn lead(
        &self,
        pod: &Arc<PodCore>,
        protocol: Protocol,
        target: SocketAddr,
    ) -> Result<(Route, SocketAddr), NetError> {
        let leads_to = match self.services().find(protocol, target) {
            _ if is_dns(target) => return Ok((Route::Dns, target)),
            Ok(Some(balancer)) => balancer.choose(pod.ip.into())?,
            Ok(None) => target,
            Err(error) => return Err(error),
        };
        if leads_to.ip() == IpAddr::V4(NODE) && protocol == Protocol::Tcp && self.is_host_port(leads_to.port()) {
            return Ok((Route::Outside, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), leads_to.port())));
        }
        Ok((self.route(pod, leads_to.ip())?, leads_to))
    }

    /// Whether datagrams to `target` can be on their way; whether somebody is there is another matter.
    pub(super) fn check_reachable(&self, pod: &Arc<PodCore>, target: SocketAddr) -> Result<(), NetError> {
        match self.services().find(Protocol::Udp, target) {
            _ if is_dns(target) => Ok(()),
            Ok(Some(_)) | Err(NetError::ConnectionRefused) => Ok(()),
            Ok(None) => self.route(pod, target.ip()).map(|_route| ()),
            Err(error) => Err(error),
        }
    }

    /// Where `ip`, a destination that is not virtual, leads from `pod`. Loopback is always the pod's own, never the
    /// host's.
    pub(super) fn route(&self, pod: &Arc<PodCore>, ip: IpAddr) -> Result<Route, NetError> {
        match ip {
            ip if ip.is_loopback() || ip == pod.ip => Ok(Route::Pod(Arc::clone(pod))),
            IpAddr::V4(NODE) => Ok(Route::Pod(Arc::clone(&self.node))),
            IpAddr::V4(ip) if addr::in_range(ip) => {
                let target = self.lock().pods.get(&ip).and_then(Weak::upgrade);
                target.map(Route::Pod).ok_or(NetError::Unreachable)
            }
            IpAddr::V4(ip) if addr::in_virtual_range(ip) => Err(NetError::Unreachable),
            IpAddr::V4(ip) if ip.is_broadcast() => Err(NetError::Unreachable),
            ip if ip.is_multicast() || ip.is_unspecified() => Err(NetError::Unreachable),
            _ if self.egress == Egress::Deny => Err(NetError::AccessDenied),
            _ => Ok(Route::Outside),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the switch's DNS is at this address: that of its Service, or the node's, where the Service leads.
pub(super) fn is_dns(target: SocketAddr) -> bool {
    target.port() == DNS_PORT && (target.ip() == IpAddr::V4(DNS_ADDRESS) || target.ip() == IpAddr::V4(NODE))
}

impl State {
    /// Goes round the whole range before it gives an address again, so that peers don't take a new pod for an old one.
    fn free_address(&mut self) -> Result<Ipv4Addr, NetError> {
        for _ in POD_OFFSETS {
            let ip = addr::pod_address(self.next_offset);
            self.next_offset =
                if self.next_offset == *POD_OFFSETS.end() { *POD_OFFSETS.start() } else { self.next_offset + 1 };
            if !self.pods.contains_key(&ip) {
                return Ok(ip);
            }
        }
        Err(NetError::AddressNotAvailable)
    }
}
