//! What husk does not do with a Service. Fields that are not named here have their effect, or none that one machine could
//! show.

use k8s_openapi::api::core::v1::Service;

use super::{FieldNote, SupportReport};
use crate::api::node_port::{has_node_ports, node_ports};

const NO_LOAD_BALANCER: &str =
    "no load balancer gives it an address: it is reached at its cluster IP and, on this machine, at its node ports";
const ONLY_LOAD_BALANCERS: &str = "ignored: it is for load balancers, and there are none";
const NO_EXTERNAL: &str = "ignored: a Service is reached at its cluster IP only";
const NO_NODE_PORT: &str = "no port of this machine leads to it: name one as nodePort, or publish a pod's port with -p";
const NO_SCTP: &str = "ignored: pods have TCP and UDP";

/// Looks at the fields that `service` sets.
pub fn check_service(service: &Service) -> SupportReport {
    let mut report = SupportReport::default();
    let Some(spec) = &service.spec else { return report };
    let mut warn = |path: String, text| report.warnings.push(FieldNote { path, text, runtime: None });
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    for (set, field, text) in [
        (spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()), "externalIPs", NO_EXTERNAL),
        (is_set(&spec.load_balancer_class), "loadBalancerClass", ONLY_LOAD_BALANCERS),
        (is_set(&spec.load_balancer_ip), "loadBalancerIP", ONLY_LOAD_BALANCERS),
        (
            spec.load_balancer_source_ranges.as_ref().is_some_and(|ranges| !ranges.is_empty()),
            "loadBalancerSourceRanges",
            ONLY_LOAD_BALANCERS,
        ),
        (spec.type_.as_deref() == Some("LoadBalancer"), "type", NO_LOAD_BALANCER),
    ] {
        if set {
            warn(format!("spec.{field}"), text);
        }
    }
    if has_node_ports(service) && node_ports(service).next().is_none() {
        warn("spec.ports".to_owned(), NO_NODE_PORT);
    }
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        if port.protocol.as_deref() == Some("SCTP") {
            warn(format!("spec.ports[{index}].protocol"), NO_SCTP);
        }
    }
    report
}
