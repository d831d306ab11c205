//! The quality-of-service class of a pod (apiserver v1.36 `qos.ComputePodQOS`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::{self, Nanos};

/// The resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`, by the CPU and memory of app and init containers, or of the pod as a
/// whole where it states its own.
pub fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    if let Some(resources) = spec.resources.as_ref().filter(|resources| states_any(resources)) {
        return class(&[Some(resources)]);
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    class(&containers.map(|container| container.resources.as_ref()).collect::<Vec<_>>())
}

fn states_any(resources: &ResourceRequirements) -> bool {
    let states = |list: &Option<BTreeMap<String, Quantity>>| list.as_ref().is_some_and(|list| !list.is_empty());
    states(&resources.requests) || states(&resources.limits)
}

fn class(all: &[Option<&ResourceRequirements>]) -> &'static str {
    let (mut requests, mut limits) = ([Nanos::default(); 2], [Nanos::default(); 2]);
    let mut every_limit = true;
    for resources in all {
        for (index, resource) in COUNTED.into_iter().enumerate() {
            let get = |list: &Option<BTreeMap<String, Quantity>>| {
                let value = list.as_ref().and_then(|list| list.get(resource)).map(quantity::value);
                value.filter(|value| value.0 > 0)
            };
            let request = resources.and_then(|resources| get(&resources.requests));
            let limit = resources.and_then(|resources| get(&resources.limits));
            requests[index].0 = requests[index].0.saturating_add(request.unwrap_or_default().0);
            limits[index].0 = limits[index].0.saturating_add(limit.unwrap_or_default().0);
            every_limit &= limit.is_some();
        }
    }
    let none = |sums: &[Nanos; 2]| sums.iter().all(|sum| sum.0 == 0);
    if none(&requests) && none(&limits) {
        "BestEffort"
    } else if every_limit && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §18.
    #[test]
    fn the_class_follows_from_cpu_and_memory() {
        let full = "resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}";
        for (spec, expected) in [
            ("containers: [{name: a}]".to_owned(), "BestEffort"),
            (format!("containers: [{{name: a, {full}}}]"), "Guaranteed"),
            (format!("containers: [{{name: a, {full}}}, {{name: b}}]"), "Burstable"),
            (format!("initContainers: [{{name: i}}], containers: [{{name: a, {full}}}]"), "Burstable"),
            (format!("initContainers: [{{name: i, {full}}}], containers: [{{name: a, {full}}}]"), "Guaranteed"),
            ("containers: [{name: a, resources: {limits: {cpu: 1}, requests: {cpu: 1}}}]".to_owned(), "Burstable"),
            ("containers: [{name: a, resources: {requests: {cpu: 0}}}]".to_owned(), "BestEffort"),
            ("containers: [{name: a, resources: {requests: {example.com/x: 1}}}]".to_owned(), "BestEffort"),
            (format!("{full}, containers: [{{name: a}}]"), "Guaranteed"),
            (format!("resources: {{requests: {{cpu: 1}}}}, containers: [{{name: a, {full}}}]"), "Burstable"),
        ] {
            let pod: Pod = serde_yaml::from_str(&format!("{{spec: {{{spec}}}}}")).unwrap();
            assert_eq!(qos_class(&pod), expected, "{spec}");
        }
    }
}
