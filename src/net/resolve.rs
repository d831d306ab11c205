//! Names: a pod's own (what its `/etc/hosts` says), how it completes others (what its `/etc/resolv.conf` says) and,
//! where egress allows it, the host's resolver.

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
pub(super) const MAX_ADDRESSES: usize = 64;

/// The longest name DNS allows, without the final dot.
const MAX_NAME: usize = 253;

/// How a pod looks up names that it does not know itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupConfig {
    /// The servers that are asked, one after the other until one answers; without any, the host is asked.
    pub servers: Vec<IpAddr>,
    /// Domains that complete a name.
    pub searches: Vec<String>,
    /// A name with at least so many dots is tried as it is first.
    pub ndots: usize,
}

impl Default for LookupConfig {
    /// What a resolver does without a configuration: asks for the name as it is.
    fn default() -> Self {
        Self { servers: Vec::new(), searches: Vec::new(), ndots: 1 }
    }
}

impl LookupConfig {
    /// The full names that `name` may stand for, the likeliest first. `absolute` names had a dot at the end.
    pub(super) fn candidates(&self, name: &str, absolute: bool) -> Vec<String> {
        if absolute {
            return vec![name.to_owned()];
        }
        let completed = self.searches.iter().map(|domain| format!("{name}.{}", normal_form(domain)));
        let mut candidates: Vec<String> = completed.filter(|full| full.len() <= MAX_NAME).collect();
        let as_is = if name.matches('.').count() >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(as_is, name.to_owned());
        candidates
    }
}

/// Names that one pod knows without asking anybody, and how it looks up others.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: RwLock<HashMap<String, Vec<IpAddr>>>,
    lookups: RwLock<LookupConfig>,
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

    pub(super) fn set_lookups(&self, config: LookupConfig) {
        *self.lookups.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn lookups(&self) -> LookupConfig {
        self.lookups.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses of a name the pod knows. `name` is in its normal form.
    pub(super) fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
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
pub(super) struct HostResolver {
    egress: Egress,
    lookups: Arc<Semaphore>,
}

impl HostResolver {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }

    /// Whether egress allows it.
    pub(super) fn may_ask(&self) -> bool {
        self.egress == Egress::Allow
    }

    /// The addresses of a name. The host completes one without a dot at the end as it does its own.
    pub(super) async fn ask(&self, name: String) -> Result<Vec<IpAddr>, NetError> {
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

/// The normal form of what may be a name.
pub(super) fn checked(name: &str) -> Result<String, NetError> {
    let name = normal_form(name);
    let printable = name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | ':' | '@'));
    if name.is_empty() || name.len() > MAX_NAME || !printable {
        return Err(NetError::Invalid);
    }
    Ok(name)
}

fn normal_form(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
