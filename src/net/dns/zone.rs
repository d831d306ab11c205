//! The names the switch answers for itself: a table of records, and what looking one up comes to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::RecordType;

/// Aliases that are followed, one from another.
const MAX_ALIASES: usize = 8;

/// The reverse names of the addresses of pods and of virtual services.
const REVERSE: [&str; 2] = ["88.10.in-addr.arpa", "96.10.in-addr.arpa"];

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(Ipv4Addr),
    /// Another name.
    Alias(String),
    /// Where a service of a protocol is offered.
    Service {
        /// The share of it among all services of the same name.
        weight: u16,
        /// The port.
        port: u16,
        /// The name of the host.
        target: String,
    },
    /// The name of an address.
    Pointer(String),
    /// Free text.
    Text(String),
}

impl Record {
    fn record_type(&self) -> RecordType {
        match self {
            Self::Address(_) => RecordType::A,
            Self::Alias(_) => RecordType::CNAME,
            Self::Service { .. } => RecordType::SRV,
            Self::Pointer(_) => RecordType::PTR,
            Self::Text(_) => RecordType::TXT,
        }
    }

    fn answers(&self, kind: RecordType) -> bool {
        kind == RecordType::ANY || self.record_type() == kind
    }
}

/// Names under one domain, with all their records. Names are without a dot at the end, in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    domain: String,
    names: HashMap<String, Vec<Record>>,
}

/// What came of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Records of the name, or of what it is an alias of; aliases first.
    pub(super) answers: Vec<(String, Record)>,
    /// Addresses of what the answers name.
    pub(super) additionals: Vec<(String, Record)>,
    pub(super) end: End,
}

/// Where a look-up ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a name that exists, though perhaps without such records.
    Here,
    /// At a name that does not exist.
    Nowhere,
    /// At a name that others know about.
    Outside(String),
}

impl Zone {
    /// A zone without names.
    pub fn new(domain: &str) -> Self {
        let mut zone = Self { domain: domain.to_ascii_lowercase(), names: HashMap::new() };
        zone.names.insert(zone.domain.clone(), Vec::new());
        zone
    }

    /// Adds a record. The names above it exist from then on.
    pub fn add(&mut self, name: &str, record: Record) {
        let name = name.to_ascii_lowercase();
        let mut above = name.as_str();
        while let Some((_, parent)) = above.split_once('.')
            && self.holds(parent)
            && !self.names.contains_key(parent)
        {
            self.names.insert(parent.to_owned(), Vec::new());
            above = parent;
        }
        let records = self.names.entry(name).or_default();
        if !records.contains(&record) {
            records.push(record);
        }
    }

    /// Adds the name of an address.
    pub fn add_pointer(&mut self, ip: Ipv4Addr, name: &str) {
        self.add(&reverse_name(ip), Record::Pointer(name.to_owned()));
    }

    /// Whether an address has a name.
    pub fn has_pointer(&self, ip: Ipv4Addr) -> bool {
        self.names.contains_key(&reverse_name(ip))
    }

    /// The domain the zone is for.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether nobody else knows about `name`.
    pub(super) fn holds(&self, name: &str) -> bool {
        let under = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        (!self.domain.is_empty() && (under(&self.domain) || REVERSE.into_iter().any(under)))
            || self.names.contains_key(name)
    }

    /// Looks up records of one type. `name` is in lower case.
    pub(super) fn look_up(&self, name: &str, kind: RecordType) -> Found {
        let mut found = Found { answers: Vec::new(), additionals: Vec::new(), end: End::Here };
        let mut name = name.to_owned();
        loop {
            let Some(records) = self.names.get(&name) else {
                found.end = if self.holds(&name) { End::Nowhere } else { End::Outside(name) };
                break;
            };
            let alias = records.iter().find_map(|record| match record {
                Record::Alias(target) if !record.answers(kind) => Some(target),
                _ => None,
            });
            let Some(target) = alias else {
                found.answers.extend(of_type(&name, records, kind));
                break;
            };
            if found.answers.len() == MAX_ALIASES {
                break;
            }
            found.answers.push((name, Record::Alias(target.clone())));
            name = target.to_ascii_lowercase();
        }
        found.additionals = self.addresses_of_targets(&found.answers);
        found
    }

    fn addresses_of_targets(&self, answers: &[(String, Record)]) -> Vec<(String, Record)> {
        let targets = answers.iter().filter_map(|(_, record)| match record {
            Record::Service { target, .. } => Some(target),
            _ => None,
        });
        let mut additionals: Vec<(String, Record)> = Vec::new();
        for target in targets {
            let records = self.names.get(target).map(Vec::as_slice).unwrap_or_default();
            if !additionals.iter().any(|(name, _)| name == target) {
                additionals.extend(of_type(target, records, RecordType::A));
            }
        }
        additionals
    }
}

fn of_type(name: &str, records: &[Record], kind: RecordType) -> impl Iterator<Item = (String, Record)> {
    records.iter().filter(move |record| record.answers(kind)).map(move |record| (name.to_owned(), record.clone()))
}

/// The addresses among the records.
pub(super) fn addresses(records: &[(String, Record)]) -> impl Iterator<Item = IpAddr> {
    records.iter().filter_map(|(_, record)| match record {
        Record::Address(ip) => Some(IpAddr::V4(*ip)),
        _ => None,
    })
}

fn reverse_name(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let mut zone = Zone::new("cluster.local");
        zone.add("web.ns.svc.cluster.local", Record::Address(Ipv4Addr::new(10, 96, 1, 1)));
        zone.add_pointer(Ipv4Addr::new(10, 96, 1, 1), "web.ns.svc.cluster.local");
        let target = "web.ns.svc.cluster.local".to_owned();
        zone.add("_http._tcp.web.ns.svc.cluster.local", Record::Service { weight: 100, port: 80, target });
        for (name, target) in [("out", "Example.com"), ("in", "WEB.ns.svc.cluster.local"), ("a", "b"), ("b", "a")] {
            let target = if target.len() == 1 { format!("{target}.ns.svc.cluster.local") } else { target.to_owned() };
            zone.add(&format!("{name}.ns.svc.cluster.local"), Record::Alias(target));
        }
        zone
    }

    #[test]
    fn a_look_up_ends_where_the_name_does() {
        let outside = |name: &str| End::Outside(name.to_owned());
        for (name, kind, answers, end) in [
            ("web.ns.svc.cluster.local", RecordType::A, 1, End::Here),
            ("web.ns.svc.cluster.local", RecordType::AAAA, 0, End::Here),
            ("_http._tcp.web.ns.svc.cluster.local", RecordType::SRV, 1, End::Here),
            ("_tcp.web.ns.svc.cluster.local", RecordType::A, 0, End::Here),
            ("ns.svc.cluster.local", RecordType::A, 0, End::Here),
            ("cluster.local", RecordType::A, 0, End::Here),
            ("db.ns.svc.cluster.local", RecordType::A, 0, End::Nowhere),
            ("xcluster.local", RecordType::A, 0, outside("xcluster.local")),
            ("web", RecordType::A, 0, outside("web")),
            ("out.ns.svc.cluster.local", RecordType::A, 1, outside("example.com")),
            ("out.ns.svc.cluster.local", RecordType::CNAME, 1, End::Here),
            ("in.ns.svc.cluster.local", RecordType::A, 2, End::Here),
            ("a.ns.svc.cluster.local", RecordType::A, MAX_ALIASES, End::Here),
            ("1.1.96.10.in-addr.arpa", RecordType::PTR, 1, End::Here),
            ("2.1.96.10.in-addr.arpa", RecordType::PTR, 0, End::Nowhere),
            ("1.1.1.1.in-addr.arpa", RecordType::PTR, 0, outside("1.1.1.1.in-addr.arpa")),
        ] {
            let found = zone().look_up(name, kind);
            assert_eq!((found.answers.len(), found.end), (answers, end), "{name} {kind}");
        }
        let found = zone().look_up("_http._tcp.web.ns.svc.cluster.local", RecordType::SRV);
        assert_eq!(addresses(&found.additionals).collect::<Vec<_>>(), [IpAddr::from([10, 96, 1, 1])]);
    }

    #[test]
    fn a_zone_without_a_domain_holds_nothing() {
        assert!(!Zone::default().holds("cluster.local"));
        assert!(!Zone::default().holds("1.1.88.10.in-addr.arpa"));
    }
}
