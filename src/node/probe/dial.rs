//! Where checks and hooks connect to, and how Go would say that it did not work.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::net::{NetError, PodNetwork, TcpStream};

/// An address to connect to; shows as `host:port`.
// Differs from Kubernetes: a `host` other than the pod is reached as the pod itself would reach it, by its names, its
// loopback and the egress that it is allowed. kubelet connects from the node, whose own services (127.0.0.1 above all)
// are not for pods to be pointed at here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// The pod, connected to from the node.
    Pod(IpAddr),
    Ip(IpAddr),
    Name(String),
}

impl Address {
    /// A port of `host`, an address or name; without one, of the pod.
    pub(super) fn new(host: Option<&str>, port: u16, network: &PodNetwork) -> Self {
        let own = network.ips();
        let host = match host.filter(|host| !host.is_empty()) {
            None => own.first().map_or_else(|| Host::Name(String::new()), |ip| Host::Pod(*ip)),
            Some(host) => match host.parse() {
                Ok(ip) if own.contains(&ip) => Host::Pod(ip),
                Ok(ip) => Host::Ip(ip),
                Err(_not_an_address) => Host::Name(host.to_owned()),
            },
        };
        Self { host, port }
    }

    /// The host, without brackets.
    pub(super) fn hostname(&self) -> String {
        match &self.host {
            Host::Pod(ip) | Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// Connects; several addresses of a name are tried in turn.
    ///
    /// # Errors
    /// What Go's `net.Dialer` says: `dial tcp 10.88.0.2:80: connect: connection refused`.
    pub(super) async fn connect(&self, network: &Arc<PodNetwork>) -> Result<TcpStream, String> {
        let name = match &self.host {
            Host::Pod(ip) => {
                let connected = network.connect_from_node(self.port).await;
                return connected.map_err(|error| failure(SocketAddr::new(*ip, self.port), error));
            }
            Host::Ip(ip) => return connect(network, SocketAddr::new(*ip, self.port)).await,
            Host::Name(name) => name,
        };
        let found = network.resolve(name).await.map_err(|error| match error {
            NetError::NameNotFound | NetError::Invalid => format!("dial tcp: lookup {name}: no such host"),
            error => format!("dial tcp: lookup {name}: {error}"),
        })?;
        let mut first_failure = None;
        for ip in found {
            match connect(network, SocketAddr::new(ip, self.port)).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => first_failure = first_failure.or(Some(failure)),
            }
        }
        Err(first_failure.unwrap_or_else(|| format!("dial tcp: lookup {name}: no such host")))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Pod(ip) | Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(formatter),
            Host::Name(name) => write!(formatter, "{name}:{}", self.port),
        }
    }
}

async fn connect(network: &Arc<PodNetwork>, peer: SocketAddr) -> Result<TcpStream, String> {
    network.connect(None, peer).await.map_err(|error| failure(peer, error))
}

fn failure(peer: SocketAddr, error: NetError) -> String {
    format!("dial tcp {peer}: connect: {error}")
}
