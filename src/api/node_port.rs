//! Node ports: those that Services ask for, each given once. Source of the rules: kube-apiserver v1.36
//! `registry/core/service/portallocator`.
//!
//! In a cluster, ports that ask for none get one; `husk run` has only those that are asked for.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::validate::{BadValue, ErrorKind, FieldError};

/// Ports that can be node ports (kube-apiserver `--service-node-port-range`).
const RANGE: RangeInclusive<i32> = 30_000..=32_767;

/// The ports of a Service that ask for a node port, with it.
pub fn node_ports(service: &Service) -> impl Iterator<Item = (&ServicePort, u16)> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.filter_map(|port| Some((port, u16::try_from(port.node_port?).ok().filter(|port| *port != 0)?)))
}

/// Whether a Service is of a type that has node ports.
pub fn has_node_ports(service: &Service) -> bool {
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    matches!(kind, Some("NodePort" | "LoadBalancer"))
}

/// The node ports that are taken.
#[derive(Debug, Default)]
pub struct NodePorts {
    taken: BTreeSet<(String, i32)>,
}

impl NodePorts {
    /// Takes the node ports that a new Service asks for.
    ///
    /// # Errors
    /// Those it cannot have.
    pub fn take(&mut self, service: &Service) -> Vec<FieldError> {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).enumerate();
        let refused = ports.filter_map(|(index, port)| {
            let number = port.node_port.filter(|number| *number != 0)?;
            let protocol = port.protocol.clone().unwrap_or_default();
            let detail = if !RANGE.contains(&number) {
                let (first, last) = (RANGE.start(), RANGE.end());
                format!("provided port is not in the valid range. The range of valid ports is {first}-{last}")
            } else if !self.taken.insert((protocol, number)) {
                "provided port is already allocated".to_owned()
            } else {
                return None;
            };
            let path = format!("spec.ports[{index}].nodePort");
            Some(FieldError { path, kind: ErrorKind::Invalid, value: Some(BadValue::from(number)), detail })
        });
        refused.collect()
    }

    /// Keeps the node ports that a Service has already from being given to another.
    pub fn reserve(&mut self, service: &Service) {
        for (port, number) in node_ports(service) {
            self.taken.insert((port.protocol.clone().unwrap_or_default(), i32::from(number)));
        }
    }

    /// Gives a Service of a type that has node ports one for each port that asks for none; those that ask must have been
    /// [taken](Self::take).
    ///
    /// # Errors
    /// That all are taken.
    pub fn complete(&mut self, service: &mut Service) -> Result<(), FieldError> {
        if !has_node_ports(service) {
            return Ok(());
        }
        let start = search_start(service);
        let ports = service.spec.iter_mut().flat_map(|spec| spec.ports.iter_mut().flatten());
        let mut ports: Vec<_> = ports.collect();
        for index in 0..ports.len() {
            if ports[index].node_port.unwrap_or_default() != 0 {
                continue;
            }
            let number = self.number_for(&ports, index, start).ok_or_else(|| {
                let path = format!("spec.ports[{index}].nodePort");
                let detail = "failed to allocate a nodePort: range is full".to_owned();
                FieldError { path, kind: ErrorKind::Invalid, value: Some(BadValue::from(0)), detail }
            })?;
            self.taken.insert((protocol(ports[index]), number));
            ports[index].node_port = Some(number);
        }
        Ok(())
    }

    /// The node port for one of a Service's ports: that which the same port has with another protocol, if it can be, else
    /// the first from `start` on that is free with all protocols with which the port is waiting for one.
    fn number_for(&self, ports: &[&mut ServicePort], index: usize, start: i32) -> Option<i32> {
        let wanted = &ports[index];
        let of_same = || ports.iter().filter(|port| port.port == wanted.port);
        let is_free = |protocol: String, number: i32| !self.taken.contains(&(protocol, number));
        let has = of_same().filter_map(|port| port.node_port.filter(|number| *number != 0));
        if let Some(number) = has.into_iter().find(|number| is_free(protocol(wanted), *number)) {
            return Some(number);
        }
        let waiting: Vec<String> =
            of_same().filter(|port| port.node_port.unwrap_or_default() == 0).map(|port| protocol(port)).collect();
        let mut candidates = (start..=*RANGE.end()).chain(*RANGE.start()..start);
        let for_all =
            candidates.clone().find(|number| waiting.iter().all(|protocol| is_free(protocol.clone(), *number)));
        for_all.or_else(|| candidates.find(|number| is_free(protocol(wanted), *number)))
    }
}

/// Where the search for a Service's node ports begins: at a place that its UID chooses, so that several servers of one
/// machine seldom choose the same. (Kubernetes chooses at random.)
fn search_start(service: &Service) -> i32 {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    // Bernstein's hash spreads them well enough.
    let hash = uid.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
    let length = RANGE.end() - RANGE.start() + 1;
    RANGE.start() + i32::try_from(hash % length.unsigned_abs()).unwrap_or_default()
}

fn protocol(port: &ServicePort) -> String {
    port.protocol.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_with_two_protocols_gets_one_node_port() {
        let mut ports = NodePorts::default();
        // The first is taken with one protocol.
        ports.taken.insert(("UDP".to_owned(), 30_000));
        let text = "{metadata: {}, spec: {type: NodePort, ports: [{port: 53, protocol: TCP}, {port: 53, protocol: UDP}, \
            {port: 80, protocol: TCP, nodePort: 30080}, {port: 80, protocol: UDP}, {port: 81, protocol: TCP}]}}";
        let mut service: Service = serde_yaml::from_str(text).unwrap();
        assert!(ports.take(&service).is_empty());
        ports.complete(&mut service).unwrap();
        let given: Vec<_> = node_ports(&service).map(|(_, number)| number).collect();
        assert_eq!(given, [30_001, 30_001, 30_080, 30_080, 30_000]);
    }

    #[test]
    fn a_node_port_is_given_once_and_within_the_range() {
        let mut ports = NodePorts::default();
        for (list, expected) in [
            ("{port: 80, protocol: TCP, nodePort: 30080}, {port: 80, protocol: UDP, nodePort: 30080}", &[][..]),
            ("{port: 80, protocol: TCP}, {port: 81, protocol: TCP, nodePort: 0}", &[]),
            (
                "{port: 1, protocol: TCP, nodePort: 80}, {port: 80, protocol: TCP, nodePort: 30080}",
                &[
                    "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of \
                     valid ports is 30000-32767",
                    "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated",
                ],
            ),
        ] {
            let service: Service =
                serde_yaml::from_str(&format!("{{metadata: {{}}, spec: {{ports: [{list}]}}}}")).unwrap();
            let errors: Vec<_> = ports.take(&service).iter().map(ToString::to_string).collect();
            assert_eq!(errors, expected, "{list}");
        }
    }
}
