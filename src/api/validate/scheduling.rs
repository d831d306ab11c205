//! Fields that choose a node. There is only one, but a pod that a cluster would refuse is refused here too.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::errors::{BadValue, Errors, FieldPath};
use super::{formats, items, metadata, text};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const MAX_WEIGHT: i32 = 100;

/// Checks readiness and scheduling gates.
pub(super) fn gates(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    for (index, gate) in items(&spec.readiness_gates).iter().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        errors.invalid_each(&path, &gate.condition_type, formats::qualified_name(&gate.condition_type));
    }
    let mut names = BTreeSet::new();
    for (index, gate) in items(&spec.scheduling_gates).iter().enumerate() {
        let path = path.child("schedulingGates").index(index);
        errors.invalid_each(&path, &gate.name, formats::qualified_name(&gate.name));
        if !names.insert(gate.name.as_str()) {
            errors.duplicate(&path, &gate.name);
        }
    }
}

pub(super) fn tolerations(errors: &mut Errors, tolerations: &[Toleration], path: &FieldPath) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let (key, operator) = (text(&toleration.key), text(&toleration.operator));
        let (value, effect) = (text(&toleration.value), text(&toleration.effect));
        let operator_path = path.child("operator");
        if !key.is_empty() {
            errors.invalid_each(&path.child("key"), key, formats::qualified_name(key));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&operator_path, operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let wrong = formats::label_value(value);
                if !wrong.is_empty() {
                    errors.invalid(&operator_path, value, &wrong.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                errors.invalid(&operator_path, value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            "Lt" | "Gt" => errors.unsupported(&operator_path, operator, &["Equal", "Exists", "Lt", "Gt"]),
            other => errors.unsupported(&operator_path, other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() && !TAINT_EFFECTS.contains(&effect) {
            errors.unsupported(&path.child("effect"), effect, &TAINT_EFFECTS);
        }
    }
}

pub(super) fn affinity(errors: &mut Errors, affinity: Option<&Affinity>, path: &FieldPath) {
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        node_affinity(errors, node, &path.child("nodeAffinity"));
    }
    if let Some(pod) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        required_terms(errors, items(&pod.required_during_scheduling_ignored_during_execution), &path);
        preferred_terms(errors, items(&pod.preferred_during_scheduling_ignored_during_execution), &path);
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        required_terms(errors, items(&pod.required_during_scheduling_ignored_during_execution), &path);
        preferred_terms(errors, items(&pod.preferred_during_scheduling_ignored_during_execution), &path);
    }
}

fn node_affinity(errors: &mut Errors, affinity: &NodeAffinity, path: &FieldPath) {
    if let Some(selector) = &affinity.required_during_scheduling_ignored_during_execution {
        let path = path.child(REQUIRED).child("nodeSelectorTerms");
        if selector.node_selector_terms.is_empty() {
            errors.required(&path, "must have at least one node selector term");
        }
        for (index, term) in selector.node_selector_terms.iter().enumerate() {
            node_selector_term(errors, term, true, &path.index(index));
        }
    }
    let preferred = items(&affinity.preferred_during_scheduling_ignored_during_execution);
    for (index, term) in preferred.iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        weight(errors, term.weight, &path);
        node_selector_term(errors, &term.preference, false, &path.child("preference"));
    }
}

fn weight(errors: &mut Errors, weight: i32, path: &FieldPath) {
    if !(1..=MAX_WEIGHT).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_selector_term(errors: &mut Errors, term: &NodeSelectorTerm, check_values: bool, path: &FieldPath) {
    for (index, requirement) in items(&term.match_expressions).iter().enumerate() {
        node_requirement(errors, requirement, check_values, &path.child("matchExpressions").index(index));
    }
    for (index, requirement) in items(&term.match_fields).iter().enumerate() {
        let path = path.child("matchFields").index(index);
        let values = items(&requirement.values);
        match requirement.operator.as_str() {
            "In" | "NotIn" if values.len() == 1 => {}
            "In" | "NotIn" => {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(&path.child("values"), detail);
            }
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        if requirement.key != "metadata.name" {
            errors.invalid(&path.child("key"), &requirement.key, "not a valid field selector key");
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            errors.invalid_each(&path.child("values").index(index), value, formats::dns_subdomain(value));
        }
    }
}

fn node_requirement(errors: &mut Errors, requirement: &NodeSelectorRequirement, check_values: bool, path: &FieldPath) {
    let values = items(&requirement.values);
    let values_path = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&values_path, detail);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(&values_path, detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    errors.invalid_each(&path.child("key"), &requirement.key, formats::qualified_name(&requirement.key));
    for (index, value) in values.iter().enumerate().filter(|_| check_values) {
        errors.invalid_each(&values_path.index(index), value, formats::label_value(value));
    }
}

fn required_terms(errors: &mut Errors, terms: &[PodAffinityTerm], path: &FieldPath) {
    for (index, term) in terms.iter().enumerate() {
        pod_affinity_term(errors, term, &path.child(REQUIRED).index(index));
    }
}

fn preferred_terms(errors: &mut Errors, terms: &[WeightedPodAffinityTerm], path: &FieldPath) {
    for (index, term) in terms.iter().enumerate() {
        let path = path.child(PREFERRED).index(index);
        weight(errors, term.weight, &path);
        pod_affinity_term(errors, &term.pod_affinity_term, &path.child("podAffinityTerm"));
    }
}

fn pod_affinity_term(errors: &mut Errors, term: &PodAffinityTerm, path: &FieldPath) {
    metadata::label_selector(errors, term.label_selector.as_ref(), &path.child("labelSelector"));
    metadata::label_selector(errors, term.namespace_selector.as_ref(), &path.child("namespaceSelector"));
    for namespace in items(&term.namespaces) {
        errors.invalid_each(&path.child("namespace"), namespace, formats::dns_label(namespace));
    }
    let (matching, mismatching) = (items(&term.match_label_keys), items(&term.mismatch_label_keys));
    label_keys(errors, matching, term.label_selector.as_ref(), &path.child("matchLabelKeys"));
    label_keys(errors, mismatching, term.label_selector.as_ref(), &path.child("mismatchLabelKeys"));
    let mismatching: BTreeSet<&String> = mismatching.iter().collect();
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(&path.child("matchLabelKeys").index(index), key, detail);
    }
    let path = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&path, "can not be empty");
    }
    errors.invalid_each(&path, &term.topology_key, formats::qualified_name(&term.topology_key));
}

fn label_keys(errors: &mut Errors, keys: &[String], selector: Option<&LabelSelector>, path: &FieldPath) {
    if keys.is_empty() {
        return;
    }
    if selector.is_none() {
        return errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (index, key) in keys.iter().enumerate() {
        errors.invalid_each(&path.index(index), key, formats::qualified_name(key));
    }
}

pub(super) fn topology_spread(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let constraints = items(&spec.topology_spread_constraints);
    let kind_of = |constraint: &'_ TopologySpreadConstraint| {
        (constraint.topology_key.clone(), constraint.when_unsatisfiable.clone())
    };
    let last_of_kind: BTreeMap<_, usize> = constraints.iter().map(kind_of).zip(0..).collect();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        if constraint.topology_key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let action = constraint.when_unsatisfiable.as_str();
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action) {
            errors.unsupported(&path.child("whenUnsatisfiable"), action, &actions);
        }
        if last_of_kind.get(&kind_of(constraint)).is_some_and(|last| *last > index) {
            let pair = format!("{{{}, {action}}}", constraint.topology_key);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair);
        }
        if let Some(domains) = constraint.min_domains {
            let path = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(&path, domains, "must be greater than zero");
            }
            if action != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(&path, BadValue::from(domains), &detail);
            }
        }
        for (name, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy.as_deref().filter(|policy| !["Honor", "Ignore"].contains(policy)) {
                errors.unsupported(&path.child(name), policy, &["Honor", "Ignore"]);
            }
        }
        let selector = constraint.label_selector.as_ref();
        label_keys(errors, items(&constraint.match_label_keys), selector, &path.child("matchLabelKeys"));
        metadata::label_selector(errors, selector, &path.child("labelSelector"));
    }
}
