//! Names: a pod's own (what its `/etc/hosts` says) and, where egress allows it, the host's resolver.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::NetError;
use super::switch::Egress;

/// Look-ups the host does for all pods at a time; further ones wait.
const MAX_LOOKUPS: usize = 16;

/// How long a look-up may take, waiting included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// Addresses kept of one answer.
const MAX_ADDRESSES: usize = 64;

/// The longest name DNS allows, without the final dot.
const MAX_NAME: usize = 253;

/// Names that one pod knows without asking anybody.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RwLock<HashMap<String, Vec<IpAddr>>>,
}

impl Names {
    /// `hostname` and `hostname.domain` as names of `ip`.
    pub(super) fn of_pod(ip: Ipv4Addr, hostname: &str, domain: Option<&str>) -> Self {
        let names = Self::default();
        names.add(ip.into(), &[hostname.to_owned()]);
        if let Some(domain) = domain {
            names.add(ip.into(), &[format!("{hostname}.{domain}")]);
        }
        names
    }

    /// Adds an address to each of `names`.
    pub(super) fn add(&self, ip: IpAddr, names: &[String]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let addresses = known.entry(normal_form(name)).or_default();
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
    }

    fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let added = known.get(name).cloned();
        if name != "localhost" && !name.ends_with(".localhost") {
            return added;
        }
        // IPv4 first: programs that try one address only are more often met by servers on 0.0.0.0 than on ::1.
        let mut addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        addresses.extend(added.unwrap_or_default());
        Some(addresses)
    }
}

/// Asks the host.
#[derive(Debug)]
pub(super) struct Resolver {
    egress: Egress,
    lookups: Arc<Semaphore>,
}

impl Resolver {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// Resolves a name as the pod with these `names` sees it. Fails with [`NetError::Invalid`] for what cannot be a
    /// name at all.
    pub(super) async fn resolve(&self, names: &Names, name: &str) -> Result<Vec<IpAddr>, NetError> {
        if let Ok(ip) = name.parse() {
            return Ok(vec![ip]);
        }
        let name = normal_form(name);
        let printable = name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | ':' | '@'));
        if name.is_empty() || name.len() > MAX_NAME || !printable {
            return Err(NetError::Invalid);
        }
        match names.find(&name) {
            Some(addresses) => Ok(addresses),
            None if self.egress == Egress::Deny => Err(NetError::NameNotFound),
            None => self.ask_host(name).await,
        }
    }

    async fn ask_host(&self, name: String) -> Result<Vec<IpAddr>, NetError> {
        let lookup = async {
            let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(|_closed| NetError::NameTemporary)?;
            // The thread cannot be interrupted: it keeps its permit even where nobody waits for the answer any more.
            let found = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0_u16).to_socket_addrs();
                drop(permit);
                found
            });
            found.await.map_err(|_stopped| NetError::NameTemporary)?.map_err(|error| error_of_lookup(&error))
        };
        let found =
            tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await.map_err(|_elapsed| NetError::NameTemporary)??;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address.ip()) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address.ip());
            }
        }
        if addresses.is_empty() { Err(NetError::NameNotFound) } else { Ok(addresses) }
    }
}

/// The C library's reasons arrive only as text.
fn error_of_lookup(error: &io::Error) -> NetError {
    if error.to_string().contains("Temporary failure") { NetError::NameTemporary } else { NetError::NameNotFound }
}

fn normal_form(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
