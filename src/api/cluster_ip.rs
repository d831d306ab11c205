//! Cluster IPs: which addresses Services get. Whoever creates Services asks here; the objects keep what they were given.
//! Source of the rules: kube-apiserver v1.36 `registry/core/service` (`alloc.go`, `ipallocator`), with IPv4 alone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::validate::{BadValue, ErrorKind, FieldError};

/// Addresses at the beginning of the range that are given only to those who ask for them.
const STATIC: u32 = 256;

/// `clusterIP` of a Service that wants none.
pub const HEADLESS: &str = "None";

/// The cluster IP of a Service; `None` for headless ones and external names.
pub fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

/// Whether a Service stands for the addresses of its endpoints instead of one of its own.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some(HEADLESS)
}

/// Gives Services their addresses.
#[derive(Debug)]
pub struct ClusterIps {
    first: u32,
    prefix: u32,
    taken: BTreeSet<u32>,
    next: u32,
}

impl ClusterIps {
    /// Addresses from the range that is given by its first address and the number of bits all of them share.
    pub fn new((first, prefix): (Ipv4Addr, u32)) -> Self {
        Self { first: first.to_bits(), prefix, taken: BTreeSet::new(), next: STATIC + 1 }
    }

    /// Completes a new Service that has been defaulted and is valid: with the address it asks for, if that is free, or
    /// with another. Services that ask must come first.
    ///
    /// # Errors
    /// What it asks for and cannot have.
    pub fn assign(&mut self, service: &mut Service) -> Result<(), FieldError> {
        let Some(spec) = service.spec.as_mut().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
            return Ok(());
        };
        check_families(spec)?;
        let ip = match spec.cluster_ip.as_deref() {
            Some(HEADLESS) => HEADLESS.to_owned(),
            None | Some("") => {
                self.take_free().ok_or_else(|| refused(spec, "failed to allocate a serviceIP: range is full"))?
            }
            Some(asked) => {
                self.take(asked).map_err(|why| refused(spec, &format!("failed to allocate IP {asked}: {why}")))?;
                asked.to_owned()
            }
        };
        spec.cluster_ips = Some(vec![ip.clone()]);
        spec.cluster_ip = Some(ip);
        spec.ip_families = Some(vec!["IPv4".to_owned()]);
        spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
        Ok(())
    }

    /// Keeps the address that a Service has already from being given to another.
    pub fn reserve(&mut self, service: &Service) {
        if let Some(offset) = cluster_ip(service).and_then(|ip| ip.to_bits().checked_sub(self.first)) {
            self.taken.insert(offset);
        }
    }

    fn size(&self) -> u32 {
        u32::MAX.checked_shr(self.prefix).unwrap_or(0)
    }

    fn take(&mut self, asked: &str) -> Result<(), String> {
        let offset = asked.parse::<Ipv4Addr>().ok().and_then(|ip| ip.to_bits().checked_sub(self.first));
        // The first and the last address are nobody's.
        let Some(offset) = offset.filter(|offset| (1..self.size()).contains(offset)) else {
            let range = format!("{}/{}", Ipv4Addr::from_bits(self.first), self.prefix);
            return Err(format!(
                "the provided IP ({asked}) is not in the valid range. The range of valid IPs is {range}"
            ));
        };
        if self.taken.insert(offset) { Ok(()) } else { Err("provided IP is already allocated".to_owned()) }
    }

    fn take_free(&mut self) -> Option<String> {
        let free = (self.next..self.size())
            .chain(1..self.next.min(self.size()))
            .find(|offset| !self.taken.contains(offset))?;
        self.taken.insert(free);
        self.next = free + 1;
        Some(Ipv4Addr::from_bits(self.first + free).to_string())
    }
}

fn refused(spec: &ServiceSpec, detail: &str) -> FieldError {
    let asked = spec.cluster_ip.iter().filter(|ip| !ip.is_empty()).collect::<Vec<_>>();
    invalid("spec.clusterIPs", BadValue::Bare(serde_json::to_string(&asked).unwrap_or_default()), detail)
}

fn invalid(path: &str, value: BadValue, detail: &str) -> FieldError {
    FieldError { path: path.to_owned(), kind: ErrorKind::Invalid, value: Some(value), detail: detail.to_owned() }
}

fn check_families(spec: &ServiceSpec) -> Result<(), FieldError> {
    if spec.ip_family_policy.as_deref() == Some("RequireDualStack") {
        let detail = "this cluster is not configured for dual-stack services";
        return Err(invalid("spec.ipFamilyPolicy", "RequireDualStack".into(), detail));
    }
    let single = spec.ip_family_policy.as_deref() != Some("PreferDualStack");
    let mut families = spec.ip_families.iter().flatten().enumerate();
    match families.find(|(index, family)| *family != "IPv4" && (*index == 0 || single)) {
        Some((index, family)) => {
            Err(invalid(&format!("spec.ipFamilies[{index}]"), family.into(), "not configured on this cluster"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: &str) -> Service {
        serde_yaml::from_str(&format!("{{metadata: {{name: s}}, spec: {spec}}}")).unwrap()
    }

    fn ips() -> ClusterIps {
        ClusterIps::new((Ipv4Addr::new(10, 96, 0, 0), 16))
    }

    #[test]
    fn services_get_what_they_ask_for_or_something_else() {
        let mut ips = ips();
        for (spec, expected) in [
            ("{clusterIP: 10.96.0.1}", json!("10.96.0.1")),
            ("{clusterIP: 10.96.1.2}", json!("10.96.1.2")),
            ("{}", json!("10.96.1.1")),
            ("{clusterIP: ''}", json!("10.96.1.3")),
            ("{clusterIP: None}", json!("None")),
            ("{clusterIP: None}", json!("None")),
            ("{type: ExternalName}", json!(null)),
            ("{ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6]}", json!("10.96.1.4")),
        ] {
            let mut service = service(spec);
            ips.assign(&mut service).unwrap();
            let spec = serde_json::to_value(service.spec.unwrap()).unwrap();
            assert_eq!(spec.get("clusterIP").cloned().unwrap_or_default(), expected);
            if expected != json!(null) {
                assert_eq!((&spec["clusterIPs"], &spec["ipFamilies"]), (&json!([expected]), &json!(["IPv4"])));
            }
        }
    }

    #[test]
    fn what_cannot_be_had_is_told_as_kubernetes_tells_it() {
        let mut ips = ips();
        ips.assign(&mut service("{clusterIP: 10.96.0.5}")).unwrap();
        let range = "is not in the valid range. The range of valid IPs is 10.96.0.0/16";
        for (spec, expected) in [
            (
                "{clusterIP: 10.96.0.5}",
                "spec.clusterIPs: Invalid value: [\"10.96.0.5\"]: failed to allocate IP 10.96.0.5: provided IP is \
                 already allocated"
                    .to_owned(),
            ),
            (
                "{clusterIP: 10.97.0.5}",
                format!(
                    "spec.clusterIPs: Invalid value: [\"10.97.0.5\"]: failed to allocate IP 10.97.0.5: the provided IP \
                     (10.97.0.5) {range}"
                ),
            ),
            (
                "{clusterIP: 10.96.255.255}",
                format!(
                    "spec.clusterIPs: Invalid value: [\"10.96.255.255\"]: failed to allocate IP 10.96.255.255: the \
                     provided IP (10.96.255.255) {range}"
                ),
            ),
            (
                "{ipFamilies: [IPv6]}",
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster".to_owned(),
            ),
            (
                "{ipFamilyPolicy: RequireDualStack}",
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for \
                 dual-stack services"
                    .to_owned(),
            ),
        ] {
            assert_eq!(ips.assign(&mut service(spec)).unwrap_err().to_string(), expected, "{spec}");
        }
    }

    #[test]
    fn a_small_range_is_used_up() {
        let mut ips = ClusterIps::new((Ipv4Addr::new(10, 0, 0, 0), 29));
        for _ in 0..6 {
            ips.assign(&mut service("{}")).unwrap();
        }
        assert!(ips.assign(&mut service("{}")).unwrap_err().to_string().ends_with("range is full"));
    }
}
