//! What a node refuses although the pod was given to it: a pod whose `spec.nodeName` was written by hand, or that has come
//! at the same time as another. Pure. Source of the rules: kubelet v1.36 `lifecycle.predicate` and `rejectPod`, scheduler
//! `AdmissionCheck`.

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::occupancy::{Insufficient, Occupancy, allocatable, requested};
use super::placement;
use crate::api::requests::host_ports;
use crate::base::sysctl::namespace_of;

/// Why a node does not run a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// `status.reason` of the pod, and the reason of the event.
    pub reason: &'static str,
    /// The message of the event.
    pub message: String,
}

impl Rejection {
    /// `status.message` of the pod.
    pub fn status_message(&self) -> String {
        format!("Pod was rejected: {}", self.message)
    }

    fn predicate(name: &'static str, why: &str) -> Self {
        Self { reason: name, message: format!("Predicate {name} failed: {why}") }
    }
}

/// The reason for a resource that there is too little of.
fn out_of(resource: &str) -> &'static str {
    match resource {
        "cpu" => "OutOfcpu",
        "memory" => "OutOfmemory",
        "ephemeral-storage" => "OutOfephemeral-storage",
        "pods" => "OutOfpods",
        // There are no others on this node, and pods that ask for them are refused before.
        _ => "UnexpectedAdmissionError",
    }
}

/// Whether a sysctl is one of a pod's own: of its network, IPC or hostname. Differs from Kubernetes: those that a kubelet
/// has to be told to allow (`--allowed-unsafe-sysctls`) are allowed.
fn is_namespaced(sysctl: &str) -> bool {
    namespace_of(&sysctl.replace('/', ".")).is_some()
}

/// Whether a node takes a pod beside those it has; the first reason if not.
pub fn admit(pod: &Pod, node: &Node, occupancy: &Occupancy) -> Result<(), Rejection> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let mut sysctls = spec.security_context.iter().flat_map(|security| security.sysctls.iter().flatten());
    if let Some(forbidden) = sysctls.find(|sysctl| !is_namespaced(&sysctl.name)) {
        let message = format!("forbidden sysctl: \"{}\" not allowlisted", forbidden.name);
        return Err(Rejection { reason: "SysctlForbidden", message });
    }
    if let Some(short) = occupancy.insufficient(&requested(pod), &allocatable(node)).into_iter().next() {
        let Insufficient { resource, requested, used, capacity } = short;
        return Err(Rejection {
            reason: out_of(&resource),
            message: format!(
                "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
            ),
        });
    }
    if !placement::selects_node(spec, node) {
        return Err(Rejection::predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    if occupancy.has_conflict(&host_ports(pod)) {
        let why = "node(s) didn't have free ports for the requested pod ports";
        return Err(Rejection::predicate("NodePorts", why));
    }
    // Whoever wrote the node's name has passed by taints that concern scheduling alone.
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let evicts = |taint: &&Taint| taint.effect == "NoExecute" && !placement::tolerates(spec, taint);
    match taints.find(evicts) {
        Some(_) => Err(Rejection::predicate("TaintToleration", "node(s) had untolerated taint(s)")),
        None => Ok(()),
    }
}
