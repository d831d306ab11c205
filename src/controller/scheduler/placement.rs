//! Where pods want to be: node selectors and node affinity, taints, and affinity to other pods. Each function says
//! whether one node will do. Source of the rules: component-helpers `nodeaffinity`, scheduler v1.36 `interpodaffinity`,
//! `podtopologyspread`, `tainttoleration`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, Taint, Toleration,
    TopologySpreadConstraint,
};

use super::occupancy::Occupancy;
use crate::api::selector::{Labels, selects};

/// The labels of namespaces, by name.
pub type NamespaceLabels = BTreeMap<String, Labels>;

/// Effects of taints that keep new pods away.
const REPELLING: [&str; 2] = ["NoSchedule", "NoExecute"];

/// Whether a pod bears a taint.
pub(super) fn tolerates(pod: &PodSpec, taint: &Taint) -> bool {
    pod.tolerations.iter().flatten().any(|toleration| bears(toleration, taint))
}

fn bears(toleration: &Toleration, taint: &Taint) -> bool {
    let same = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().filter(|wanted| !wanted.is_empty()).is_none_or(|wanted| wanted == found)
    };
    let fits_value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some(_) => false,
    };
    same(&toleration.effect, &taint.effect) && same(&toleration.key, &taint.key) && fits_value
}

/// Whether a pod bears all taints of a node that would keep it away.
pub(super) fn tolerates_node(pod: &PodSpec, node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| REPELLING.contains(&taint.effect.as_str())).all(|taint| tolerates(pod, taint))
}

/// Whether a node has what `nodeSelector` and the required node affinity of a pod ask for.
pub(super) fn selects_node(pod: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    pod.node_selector.iter().flatten().all(has)
        && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| matches(term, node)))
}

/// A term without requirements matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    // Of fields, there is only the name.
    let field = |key: &str| node.metadata.name.as_deref().filter(|_| key == "metadata.name");
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| fulfils(requirement, label(&requirement.key)))
        && fields.iter().all(|requirement| fulfils(requirement, field(&requirement.key)))
}

fn fulfils(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |found: &str| values.iter().any(|value| value == found);
    let compared = |fits: fn(i64, i64) -> bool| {
        let [wanted] = values else { return false };
        let found = found.and_then(|found| found.parse().ok());
        found.zip(wanted.parse().ok()).is_some_and(|(found, wanted)| fits(found, wanted))
    };
    match requirement.operator.as_str() {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared(|found, wanted| found > wanted),
        "Lt" => compared(|found, wanted| found < wanted),
        _ => false,
    }
}

/// How the pods of a node stand in the way of one that wants to be with some and apart from others, or suffer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// They don't.
    Welcome,
    /// Those it wants to be with are not there.
    Missing,
    /// Some are there that it wants to be apart from.
    Unwanted,
    /// Some are there that want to be apart from it.
    Unwelcome,
}

/// Whether a pod and those on a node go together. With one node, the node's labels are the whole topology.
pub(super) fn company(pod: &Pod, node: &Node, occupancy: &Occupancy, namespaces: &NamespaceLabels) -> Company {
    let (with, apart) = required_terms(pod);
    if with.is_empty() && apart.is_empty() && !occupancy.has_loners() {
        return Company::Welcome;
    }
    let has_topology = |term: &PodAffinityTerm| {
        node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(&term.topology_key))
    };
    let means = |owner: &Pod, term: &PodAffinityTerm, other: &Pod| means(owner, term, other, namespaces);
    let repels = |owner: &Pod, terms: &[PodAffinityTerm], other: &Pod| {
        terms.iter().any(|term| has_topology(term) && means(owner, term, other))
    };
    if occupancy.pods().any(|other| repels(other, required_terms(other).1, pod)) {
        return Company::Unwelcome;
    }
    if occupancy.pods().any(|other| repels(pod, apart, other)) {
        return Company::Unwanted;
    }
    let all_mean = |other: &Pod| with.iter().all(|term| means(pod, term, other));
    // The first of a group that wants to be together has nobody to be with.
    let found = occupancy.pods().any(|other| all_mean(other)) || all_mean(pod);
    let together = found && with.iter().all(has_topology);
    if !with.is_empty() && !together {
        return Company::Missing;
    }
    Company::Welcome
}

/// The terms of a pod about whom to be with, and whom to be apart from.
fn required_terms(pod: &Pod) -> (&[PodAffinityTerm], &[PodAffinityTerm]) {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let with = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let with = with.and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref());
    let apart = apart.and_then(|terms| terms.required_during_scheduling_ignored_during_execution.as_deref());
    (with.unwrap_or_default(), apart.unwrap_or_default())
}

/// Whether a term of `owner`'s is about `other`: in the namespaces it names, or its owner's own, by labels.
fn means(owner: &Pod, term: &PodAffinityTerm, other: &Pod, namespaces: &NamespaceLabels) -> bool {
    let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    let selected = term.namespace_selector.as_ref();
    let in_reach = if named.is_empty() && selected.is_none() {
        other.metadata.namespace == owner.metadata.namespace
    } else {
        named.iter().any(|name| name == namespace) || selected.is_some() && selects(selected, namespaces.get(namespace))
    };
    let labels = other.metadata.labels.as_ref();
    in_reach && selects(term.label_selector.as_ref(), labels) && fits_keys(owner, term, labels)
}

/// `matchLabelKeys` and `mismatchLabelKeys`: labels in which both pods agree, or don't.
fn fits_keys(owner: &Pod, term: &PodAffinityTerm, labels: Option<&Labels>) -> bool {
    let own = |key: &String| owner.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let other = |key: &String| labels.and_then(|labels| labels.get(key));
    let agrees = |key: &String| own(key).is_none_or(|value| other(key) == Some(value));
    let differs = |key: &String| own(key).is_none_or(|value| other(key) != Some(value));
    term.match_label_keys.iter().flatten().all(agrees) && term.mismatch_label_keys.iter().flatten().all(differs)
}

/// How a pod that is to be spread fares with one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// It may be there.
    Even,
    /// There would have to be more places than the one node makes.
    Uneven,
    /// The node is in no place that counts.
    NoPlace,
}

/// Whether the constraints of a pod that forbid uneven spreading allow a node that is alone. All pods being in one place,
/// one more makes nothing less even; only where there have to be several places do the others count as empty.
pub(super) fn spread(pod: &Pod, node: &Node, occupancy: &Occupancy) -> Spread {
    let constraints = pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten());
    let strict: Vec<_> = constraints.filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule").collect();
    let labels = node.metadata.labels.as_ref();
    if strict.iter().any(|constraint| labels.is_none_or(|labels| !labels.contains_key(&constraint.topology_key))) {
        return Spread::NoPlace;
    }
    let is_uneven = |constraint: &&TopologySpreadConstraint| {
        constraint.min_domains.unwrap_or(1) > 1
            && occupancy.pods().filter(|other| counts(constraint, pod, other)).count()
                >= usize::try_from(constraint.max_skew).unwrap_or_default()
    };
    if strict.iter().any(is_uneven) { Spread::Uneven } else { Spread::Even }
}

fn counts(constraint: &TopologySpreadConstraint, pod: &Pod, other: &Pod) -> bool {
    let label = |pod: &Pod, key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    other.metadata.namespace == pod.metadata.namespace
        && other.metadata.deletion_timestamp.is_none()
        && selects(constraint.label_selector.as_ref(), other.metadata.labels.as_ref())
        && constraint.match_label_keys.iter().flatten().all(|key| label(pod, key) == label(other, key))
}

/// Pods on a node that one with a priority could take the place of: those with a lower one, the least first, and of equal
/// ones the youngest first.
pub(super) fn lesser_pods(occupancy: &Occupancy, priority: i32) -> Vec<Arc<Pod>> {
    let mut lesser: Vec<_> =
        occupancy.pods().filter(|pod| super::decision::priority(pod) < priority).cloned().collect();
    let age = |pod: &Pod| pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    lesser.sort_by(|one, other| {
        let by_priority = super::decision::priority(one).cmp(&super::decision::priority(other));
        by_priority.then_with(|| age(other).cmp(&age(one)))
    });
    lesser
}
