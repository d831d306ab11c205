//! The quality-of-service class of a pod, computed once when it is created.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};

use super::quantity::Quantity;

/// `status.qosClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has cpu and memory limits, and requests as much.
    Guaranteed,
    /// Something in between.
    Burstable,
    /// Nothing requested and nothing limited.
    BestEffort,
}

impl fmt::Display for QosClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        })
    }
}

/// The resources that count, and how many they are.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

#[derive(Default)]
struct Sums {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
    all_limited: bool,
}

impl Sums {
    fn add(&mut self, resources: Option<&ResourceRequirements>) {
        let positive = |list: Option<&BTreeMap<String, _>>| -> Vec<(String, Quantity)> {
            let counted = list.into_iter().flatten().filter(|(name, _)| RESOURCES.contains(&name.as_str()));
            let amounts = counted.filter_map(|(name, amount)| Some((name.clone(), Quantity::of(amount).ok()?)));
            amounts.filter(|(_, amount)| amount.is_positive()).collect()
        };
        let requests = positive(resources.and_then(|resources| resources.requests.as_ref()));
        let limits = positive(resources.and_then(|resources| resources.limits.as_ref()));
        self.all_limited &= limits.len() == RESOURCES.len();
        for (sum, amounts) in [(&mut self.requests, requests), (&mut self.limits, limits)] {
            for (name, amount) in amounts {
                let total = sum.entry(name).or_insert(Quantity::ZERO);
                *total = total.plus(&amount);
            }
        }
    }
}

/// The class of a defaulted pod: `pkg/apis/core/v1/helper/qos ComputePodQOS` v1.36. Resources of the pod as a whole,
/// where set, decide alone; otherwise app and init containers count alike.
pub fn qos_class(spec: &PodSpec) -> QosClass {
    let mut sums = Sums { all_limited: true, ..Sums::default() };
    match spec.resources.as_ref().filter(|resources| states_any(resources)) {
        Some(resources) => sums.add(Some(resources)),
        None => {
            let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            containers.for_each(|container| sums.add(container.resources.as_ref()));
        }
    }
    if sums.requests.is_empty() && sums.limits.is_empty() {
        QosClass::BestEffort
    } else if sums.all_limited && sums.requests == sums.limits {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

fn states_any(resources: &ResourceRequirements) -> bool {
    let states = |list: &Option<BTreeMap<String, _>>| list.as_ref().is_some_and(|list| !list.is_empty());
    states(&resources.requests) || states(&resources.limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(spec: &str) -> QosClass {
        let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n");
        let mut decoded = crate::api::decode_documents("-", &text).unwrap();
        crate::api::defaults::apply_defaults(&mut decoded[0].object, "default");
        match &decoded[0].object {
            crate::api::Object::Pod(pod) => qos_class(pod.spec.as_ref().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        use QosClass::{BestEffort, Burstable, Guaranteed};
        for (spec, expected) in [
            ("{containers: [{name: a}]}", BestEffort),
            ("{containers: [{name: a, resources: {limits: {cpu: 0}}}]}", BestEffort),
            ("{containers: [{name: a, resources: {requests: {ephemeral-storage: 1Gi}}}]}", BestEffort),
            ("{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}", Guaranteed),
            ("{containers: [{name: a, resources: {limits: {cpu: 1}}}]}", Burstable),
            ("{containers: [{name: a, resources: {requests: {cpu: 1}}}]}", Burstable),
            ("{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}}]}", Burstable),
            ("{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}, {name: b}]}", Burstable),
            (
                "{containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}], initContainers: [{name: i}]}",
                Burstable,
            ),
            ("{containers: [{name: a}], resources: {limits: {cpu: 1, memory: 1Gi}}}", Guaranteed),
            ("{containers: [{name: a}], resources: {requests: {cpu: 1}}}", Burstable),
            ("{containers: [{name: a, resources: {requests: {cpu: 1}}}], resources: {}}", Burstable),
            ("{containers: [{name: a, resources: {limits: {example.com/x: 1}}}]}", BestEffort),
        ] {
            assert_eq!(class(spec), expected, "{spec}");
        }
    }
}
