//! What the pods of a node take of it: resources, ports, and their claims to be alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::api::quantity::Quantity;
use crate::api::requests::{HostPort, host_ports, pod_requests};

/// Amounts of the resources that a node has: thousandths of a core of `cpu`, whole units of everything else.
pub type Amounts = BTreeMap<String, i64>;

/// The resource of which every pod takes one.
const PODS: &str = "pods";

/// The amounts that quantities stand for.
fn amounts<'q>(quantities: impl Iterator<Item = (&'q String, Quantity)>) -> Amounts {
    let amount = |name: &str, quantity: Quantity| match name {
        "cpu" => quantity.milli_value(),
        _ => quantity.value(),
    };
    quantities.map(|(name, quantity)| (name.clone(), amount(name, quantity))).collect()
}

/// What a node has for pods.
pub fn allocatable(node: &Node) -> Amounts {
    let status = node.status.as_ref();
    let listed = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
    amounts(listed.into_iter().flatten().filter_map(|(name, amount)| Some((name, Quantity::of(amount).ok()?))))
}

/// What a pod requests.
pub fn requested(pod: &Pod) -> Amounts {
    let requests = pod.spec.as_ref().map(pod_requests).unwrap_or_default();
    amounts(requests.iter().map(|(name, amount)| (name, *amount)))
}

/// The pods of a node, each with what it takes.
#[derive(Debug, Clone, Default)]
pub struct Occupancy {
    pods: BTreeMap<String, Occupant>,
    used: Amounts,
    /// How many of the pods want to be apart from others.
    loners: usize,
}

#[derive(Debug, Clone)]
struct Occupant {
    pod: Arc<Pod>,
    requests: Amounts,
    ports: Vec<HostPort>,
}

/// A resource of which a node has too little for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insufficient {
    /// The resource.
    pub resource: String,
    /// What the pod asks for.
    pub requested: i64,
    /// What the pods before it take.
    pub used: i64,
    /// What the node has in all.
    pub capacity: i64,
}

impl Insufficient {
    /// Whether it would not be enough either if the pod were alone there.
    pub fn is_hopeless(&self) -> bool {
        self.requested > self.capacity
    }
}

impl Occupancy {
    /// Adds a pod, or what has become of one that is there.
    pub fn put(&mut self, pod: &Arc<Pod>) {
        let Some(uid) = pod.metadata.uid.as_deref() else { return };
        self.remove(uid);
        let occupant = Occupant { pod: Arc::clone(pod), requests: requested(pod), ports: host_ports(pod) };
        for (name, amount) in &occupant.requests {
            let total = self.used.entry(name.clone()).or_default();
            *total = total.saturating_add(*amount);
        }
        self.loners += usize::from(is_loner(pod));
        self.pods.insert(uid.to_owned(), occupant);
    }

    /// Takes a pod out, if it is there.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<Pod>> {
        let occupant = self.pods.remove(uid)?;
        for (name, amount) in &occupant.requests {
            let total = self.used.entry(name.clone()).or_default();
            *total = total.saturating_sub(*amount);
        }
        self.loners -= usize::from(is_loner(&occupant.pod));
        Some(occupant.pod)
    }

    /// The pod with this UID, if it is there.
    pub fn get(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.get(uid).map(|occupant| &occupant.pod)
    }

    /// All pods, by UID.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values().map(|occupant| &occupant.pod)
    }

    /// Whether some of the pods want to be apart from others.
    pub(super) fn has_loners(&self) -> bool {
        self.loners > 0
    }

    /// The resources that a pod with these requests would find too little of (scheduler v1.36 `fitsRequest`).
    pub fn insufficient(&self, requests: &Amounts, allocatable: &Amounts) -> Vec<Insufficient> {
        let mut found = Vec::new();
        let count = i64::try_from(self.pods.len()).unwrap_or(i64::MAX);
        let places = allocatable.get(PODS).copied().unwrap_or_default();
        if count >= places {
            found.push(Insufficient { resource: PODS.to_owned(), requested: 1, used: count, capacity: places });
        }
        for (name, requested) in requests.iter().filter(|(_, requested)| **requested > 0) {
            let capacity = allocatable.get(name).copied().unwrap_or_default();
            let used = self.used.get(name).copied().unwrap_or_default();
            if *requested > capacity.saturating_sub(used) {
                found.push(Insufficient { resource: name.clone(), requested: *requested, used, capacity });
            }
        }
        found
    }

    /// Whether one of these ports is taken.
    pub fn has_conflict(&self, ports: &[HostPort]) -> bool {
        if ports.is_empty() {
            return false;
        }
        let mut taken = self.pods.values().flat_map(|occupant| &occupant.ports);
        taken.any(|taken| ports.iter().any(|port| port.conflicts_with(taken)))
    }
}

fn is_loner(pod: &Pod) -> bool {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    terms.is_some_and(|terms| {
        terms.required_during_scheduling_ignored_during_execution.as_ref().is_some_and(|terms| !terms.is_empty())
    })
}
