//! What pods ask of their node: the resources they request, and the ports of the host they take.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::quantity::Quantity;
use super::validate::aggregate_requests;

/// The resources of a pod as a whole that stand for the sum of its containers' (component-helpers `resource`
/// `IsSupportedPodLevelResource`).
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];

/// What a pod requests: what its containers need together, or what is requested for the pod as a whole, and its overhead
/// (component-helpers `resource.PodRequests`).
pub fn pod_requests(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut requests = aggregate_requests(spec);
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, amount) in whole.into_iter().flatten().filter(|(name, _)| POD_LEVEL.contains(&name.as_str())) {
        if let Ok(amount) = Quantity::of(amount) {
            requests.insert(name.clone(), amount);
        }
    }
    for (name, amount) in spec.overhead.iter().flatten() {
        if let Ok(amount) = Quantity::of(amount) {
            let total = requests.entry(name.clone()).or_insert(Quantity::ZERO);
            *total = total.plus(&amount);
        }
    }
    requests
}

/// What a pod is limited to, counted like what it requests (component-helpers `resource.PodLimits`).
pub fn pod_limits(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut spec = spec.clone();
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    let all = containers.filter_map(|container| container.resources.as_mut()).chain(&mut spec.resources);
    all.for_each(|resources| resources.requests = resources.limits.take());
    // What is not limited does not become so by the overhead.
    let limited = PodSpec { overhead: None, ..spec.clone() };
    let mut limits = pod_requests(&limited);
    for (name, amount) in spec.overhead.iter().flatten() {
        if let (Some(total), Ok(amount)) = (limits.get_mut(name), Quantity::of(amount)) {
            *total = total.plus(&amount);
        }
    }
    limits
}

/// A port of the host that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The address; `None` for all.
    pub ip: Option<IpAddr>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be had at the same time: an address conflicts with itself and with all of them.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let same_address = self.ip.is_none() || other.ip.is_none() || self.ip == other.ip;
        (self.port, &self.protocol) == (other.port, &other.protocol) && same_address
    }
}

/// The ports of the host that a pod takes: those of its app containers and sidecars (scheduler `GetHostPorts`).
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let containers = pod.spec.iter().flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
        sidecars.chain(&spec.containers)
    });
    let ports = containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let ip = port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()).filter(|ip| !ip.is_unspecified());
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some(HostPort { ip, protocol, port: number })
    });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counted_like_requests() {
        let spec = "overhead: {cpu: 1, memory: 1Gi}, containers: [{name: a, resources: {limits: {cpu: 2}, \
            requests: {cpu: 1, memory: 1Mi}}}, {name: b}], initContainers: [{name: i, resources: {limits: {cpu: 5}}}]";
        let limits = pod_limits(pod(spec).spec.as_ref().unwrap());
        let shown: Vec<_> = limits.iter().map(|(name, amount)| format!("{name} {amount}")).collect();
        assert_eq!(shown, ["cpu 6"]);
    }

    fn pod(spec: &str) -> Pod {
        serde_yaml::from_str(&format!("{{metadata: {{name: p}}, spec: {{{spec}}}}}")).unwrap()
    }

    #[test]
    fn a_pod_requests_what_its_containers_need_at_any_moment() {
        for (spec, cpu, memory) in [
            ("containers: [{name: a}]", "", ""),
            (
                "containers: [{name: a, resources: {requests: {cpu: 500m}}}, {name: b, resources: {requests: {cpu: 1}}}]",
                "1500m",
                "",
            ),
            (
                "initContainers: [{name: i, resources: {requests: {cpu: 2, memory: 1Mi}}}], \
                 containers: [{name: a, resources: {requests: {cpu: 1, memory: 2Mi}}}]",
                "2",
                "2Mi",
            ),
            (
                "initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}, \
                 {name: i, resources: {requests: {cpu: 2}}}], containers: [{name: a, resources: {requests: {cpu: 1}}}]",
                "3",
                "",
            ),
            (
                "overhead: {cpu: 250m, memory: 1Mi}, resources: {requests: {cpu: 3}}, \
                 containers: [{name: a, resources: {requests: {cpu: 1, memory: 2Mi}}}]",
                "3250m",
                "3Mi",
            ),
        ] {
            let requests = pod_requests(pod(spec).spec.as_ref().unwrap());
            let shown = |name: &str| requests.get(name).map(ToString::to_string).unwrap_or_default();
            assert_eq!((shown("cpu").as_str(), shown("memory").as_str()), (cpu, memory), "{spec}");
        }
    }

    #[test]
    fn ports_of_the_host_conflict_where_they_overlap() {
        let port = |text: &str| {
            let pod = pod(&format!("containers: [{{name: a, ports: [{{containerPort: 1, {text}}}]}}]"));
            host_ports(&pod).remove(0)
        };
        let all = port("hostPort: 80");
        assert_eq!(all, port("hostPort: 80, hostIP: 0.0.0.0, protocol: TCP"));
        for (other, conflicts) in [
            ("hostPort: 80", true),
            ("hostPort: 80, hostIP: 127.0.0.1", true),
            ("hostPort: 80, protocol: UDP", false),
            ("hostPort: 81", false),
        ] {
            assert_eq!(all.conflicts_with(&port(other)), conflicts, "{other}");
        }
        let one = port("hostPort: 80, hostIP: 127.0.0.1");
        assert!(!one.conflicts_with(&port("hostPort: 80, hostIP: 127.0.0.2")));
        assert!(
            host_ports(&pod("initContainers: [{name: i, ports: [{containerPort: 1, hostPort: 80}]}], \
            containers: [{name: a, ports: [{containerPort: 1}]}]"))
            .is_empty()
        );
    }
}
