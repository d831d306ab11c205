//! The names of Services and pods. Source of the rules: Kubernetes DNS-based service discovery 1.1.0, and what CoreDNS's
//! `kubernetes` plugin does beyond it.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{address, ready};
use crate::api::cluster_ip::{cluster_ip, is_headless};
use crate::net::{Record, Zone};

/// The version of the specification, at `dns-version`.
const VERSION: &str = "1.1.0";

/// The weights of all records of a service together.
const FULL_WEIGHT: usize = 100;

/// Fills a zone.
pub(super) struct Names<'z> {
    zone: &'z mut Zone,
    domain: &'z str,
}

impl<'z> Names<'z> {
    pub(super) fn new(zone: &'z mut Zone, domain: &'z str) -> Self {
        zone.add(&format!("dns-version.{domain}"), Record::Text(VERSION.to_owned()));
        Self { zone, domain }
    }

    pub(super) fn add_service(&mut self, service: &Service, slices: &[&EndpointSlice]) {
        let (Some(name), Some(spec)) = (service.metadata.name.as_deref(), &service.spec) else { return };
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let full = format!("{name}.{namespace}.svc.{}", self.domain);
        if spec.type_.as_deref() == Some("ExternalName") {
            let target = spec.external_name.as_deref().unwrap_or_default();
            self.zone.add(&full, Record::Alias(target.trim_end_matches('.').to_owned()));
            return;
        }
        if let Some(ip) = cluster_ip(service) {
            self.zone.add(&full, Record::Address(ip));
            self.zone.add_pointer(ip, &full);
            for port in spec.ports.iter().flatten() {
                self.add_port(&full, (&port.name, &port.protocol), port.port, FULL_WEIGHT, &full);
            }
        }
        self.add_endpoints(&full, slices, is_headless(service));
    }

    /// The endpoints under names of their own and, for a headless Service, under its name.
    fn add_endpoints(&mut self, full: &str, slices: &[&EndpointSlice], headless: bool) {
        let usable = |slice: &&EndpointSlice| {
            let endpoints = slice.endpoints.iter().flatten().filter(|endpoint| ready(endpoint));
            endpoints.cloned().filter_map(|endpoint| Some((address(&endpoint)?, endpoint))).collect::<Vec<_>>()
        };
        let count = slices.iter().map(|slice| usable(slice).len()).sum::<usize>().max(1);
        for slice in slices {
            for (ip, endpoint) in usable(slice) {
                let own = format!("{}.{full}", endpoint_name(&endpoint, ip));
                self.zone.add(&own, Record::Address(ip));
                if !headless {
                    continue;
                }
                self.zone.add(full, Record::Address(ip));
                self.zone.add_pointer(ip, &own);
                for port in slice.ports.iter().flatten() {
                    let Some(number) = port.port else { continue };
                    self.add_port(full, (&port.name, &port.protocol), number, (FULL_WEIGHT / count).max(1), &own);
                }
            }
        }
    }

    fn add_port(
        &mut self,
        full: &str,
        (name, protocol): (&Option<String>, &Option<String>),
        number: i32,
        weight: usize,
        target: &str,
    ) {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { return };
        let (Ok(port), Ok(weight)) = (u16::try_from(number), u16::try_from(weight)) else { return };
        let protocol = protocol.as_deref().unwrap_or("TCP").to_lowercase();
        let record = Record::Service { weight, port, target: target.to_owned() };
        self.zone.add(&format!("_{name}._{protocol}.{full}"), record);
    }

    /// The name made of a pod's address. It is the address's name too, unless a headless Service gave it another.
    pub(super) fn add_pod(&mut self, pod: &Pod) {
        let status = pod.status.as_ref();
        let over = matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
        let ip = status.and_then(|status| status.pod_ip.as_deref()).and_then(|ip| ip.parse::<Ipv4Addr>().ok());
        let Some(ip) = ip.filter(|_| !over) else { return };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = format!("{}.{namespace}.pod.{}", dashed(ip), self.domain);
        self.zone.add(&name, Record::Address(ip));
        if !self.zone.has_pointer(ip) {
            self.zone.add_pointer(ip, &name);
        }
    }
}

fn endpoint_name(endpoint: &Endpoint, ip: Ipv4Addr) -> String {
    endpoint.hostname.clone().filter(|hostname| !hostname.is_empty()).unwrap_or_else(|| dashed(ip))
}

fn dashed(ip: Ipv4Addr) -> String {
    ip.to_string().replace('.', "-")
}
