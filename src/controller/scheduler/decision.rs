//! Whether a pod fits the node, and if not, why, in the scheduler's words. Pure. Source of the rules: scheduler v1.36, its
//! default plugins in the order in which they filter, `FitError.Error`, and `defaultpreemption`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::occupancy::{Occupancy, allocatable, requested};
use super::placement::{self, Company, NamespaceLabels, Spread};
use crate::api::requests::host_ports;

/// The taint that stands for `spec.unschedulable`.
const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";
/// How a pod that has been preempted says so (`DisruptionTarget`).
pub(super) const PREEMPTED: &str = "PreemptionByScheduler";

/// What a decision is based on, besides the pod.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its pods.
    pub occupancy: &'a Occupancy,
    /// The labels of namespaces.
    pub namespaces: &'a NamespaceLabels,
    /// What is known of a claim, by namespace and name.
    pub claim: &'a dyn Fn(&str, &str) -> Claim,
}

/// What is known of a PersistentVolumeClaim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is there.
    There,
    /// There is none.
    Missing,
    /// It is being deleted.
    Going,
}

/// What becomes of a pod.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It fits.
    Bind,
    /// It has to wait.
    Wait(Misfit),
    /// It has to wait for these pods, which give way to it.
    Preempt(Misfit, Vec<Arc<Pod>>),
}

/// Why a pod does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    whole: Option<String>,
    reasons: Vec<String>,
    preemption: Preemption,
}

/// What preemption can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Preemption {
    /// Nothing, whatever gives way.
    Useless,
    /// It helps.
    Helps,
    /// Nobody has to give way.
    NoVictims,
    /// It would not be enough.
    NotEnough(Vec<String>),
    /// The pod does not want it, or has to wait for an earlier one.
    NotEligible(&'static str),
}

/// Why one node does not do, and whether it might if other pods were gone.
struct Refusal {
    reasons: Vec<String>,
    curable: bool,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("0/1 nodes are available:")?;
        match &self.whole {
            Some(whole) => write!(formatter, " {whole}.")?,
            None => write!(formatter, " {}.", histogram(&self.reasons))?,
        }
        let because = match &self.preemption {
            Preemption::Helps => return Ok(()),
            Preemption::NotEligible(why) => return write!(formatter, " preemption: not eligible due to {why}."),
            Preemption::Useless => "1 Preemption is not helpful for scheduling".to_owned(),
            Preemption::NoVictims => "1 No preemption victims found for incoming pod".to_owned(),
            Preemption::NotEnough(reasons) => histogram(reasons),
        };
        write!(formatter, " preemption: 0/1 nodes are available: {because}.")
    }
}

/// Each reason with the number of nodes it holds for.
fn histogram(reasons: &[String]) -> String {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counted.entry(reason).or_default() += 1;
    }
    let mut texts: Vec<_> = counted.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}

/// The pod's priority.
pub(super) fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default()
}

/// Decides about a pod that has no node.
pub fn decide(pod: &Pod, surroundings: &Surroundings<'_>) -> Decision {
    if let Some(whole) = claim_problem(pod, surroundings) {
        let (whole, reasons) = (Some(whole), Vec::new());
        return Decision::Wait(Misfit { whole, reasons, preemption: Preemption::Useless });
    }
    let Some(refusal) = refusal(pod, surroundings) else { return Decision::Bind };
    let misfit = |preemption| Misfit { whole: None, reasons: refusal.reasons.clone(), preemption };
    if let Some(why) = not_eligible(pod, surroundings.occupancy) {
        return Decision::Wait(misfit(Preemption::NotEligible(why)));
    }
    if !refusal.curable {
        return Decision::Wait(misfit(Preemption::Useless));
    }
    match victims(pod, surroundings) {
        Ok(victims) => Decision::Preempt(misfit(Preemption::Helps), victims),
        Err(preemption) => Decision::Wait(misfit(preemption)),
    }
}

/// A claim of the pod that keeps it from every node.
fn claim_problem(pod: &Pod, surroundings: &Surroundings<'_>) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut names = volumes.filter_map(|volume| Some(&volume.persistent_volume_claim.as_ref()?.claim_name));
    names.find_map(|name| match (surroundings.claim)(namespace, name) {
        Claim::There => None,
        Claim::Missing => Some(format!("persistentvolumeclaim {name:?} not found")),
        Claim::Going => Some(format!("persistentvolumeclaim {name:?} is being deleted")),
    })
}

/// Why the node does not do: what the first filter says that has something to say.
fn refusal(pod: &Pod, surroundings: &Surroundings<'_>) -> Option<Refusal> {
    let Surroundings { node, occupancy, namespaces, .. } = *surroundings;
    let spec = pod.spec.as_ref()?;
    let refuse = |reason: &str, curable| Some(Refusal { reasons: vec![reason.to_owned()], curable });
    let unschedulable =
        Taint { key: UNSCHEDULABLE_TAINT.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
    let is_unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    if is_unschedulable && !placement::tolerates(spec, &unschedulable) {
        return refuse("node(s) were unschedulable", false);
    }
    if !placement::tolerates_node(spec, node) {
        return refuse("node(s) had untolerated taint(s)", false);
    }
    if !placement::selects_node(spec, node) {
        return refuse("node(s) didn't match Pod's node affinity/selector", false);
    }
    if occupancy.has_conflict(&host_ports(pod)) {
        return refuse("node(s) didn't have free ports for the requested pod ports", true);
    }
    let insufficient = occupancy.insufficient(&requested(pod), &allocatable(node));
    if !insufficient.is_empty() {
        let curable = !insufficient.iter().any(|insufficient| insufficient.is_hopeless());
        let reasons = insufficient.iter().map(|insufficient| match insufficient.resource.as_str() {
            "pods" => "Too many pods".to_owned(),
            name => format!("Insufficient {name}"),
        });
        return Some(Refusal { reasons: reasons.collect(), curable });
    }
    match placement::spread(pod, node, occupancy) {
        Spread::Even => {}
        Spread::Uneven => return refuse("node(s) didn't match pod topology spread constraints", true),
        Spread::NoPlace => {
            return refuse("node(s) didn't match pod topology spread constraints (missing required label)", false);
        }
    }
    match placement::company(pod, node, occupancy, namespaces) {
        Company::Welcome => None,
        Company::Missing => refuse("node(s) didn't match pod affinity rules", false),
        Company::Unwanted => refuse("node(s) didn't match pod anti-affinity rules", true),
        Company::Unwelcome => refuse("node(s) didn't satisfy existing pods anti-affinity rules", true),
    }
}

/// Why others don't give way to the pod, whoever they are (`PodEligibleToPreemptOthers`).
fn not_eligible(pod: &Pod, occupancy: &Occupancy) -> Option<&'static str> {
    if pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Some("preemptionPolicy=Never");
    }
    let nominated = pod.status.as_ref().is_some_and(|status| status.nominated_node_name.is_some());
    let is_victim = |other: &Arc<Pod>| {
        let conditions = other.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut reasons = conditions.filter_map(|condition| condition.reason.as_deref());
        other.metadata.deletion_timestamp.is_some() && reasons.any(|reason| reason == PREEMPTED)
    };
    let waiting = nominated && occupancy.pods().any(|other| priority(other) < priority(pod) && is_victim(other));
    waiting.then_some("a terminating pod on the nominated node")
}

/// The fewest pods of lower priority without which the pod would fit, the least important ones first
/// (`SelectVictimsOnNode`).
fn victims(pod: &Pod, surroundings: &Surroundings<'_>) -> Result<Vec<Arc<Pod>>, Preemption> {
    let lesser = placement::lesser_pods(surroundings.occupancy, priority(pod));
    if lesser.is_empty() {
        return Err(Preemption::NoVictims);
    }
    let mut occupancy = surroundings.occupancy.clone();
    for pod in &lesser {
        occupancy.remove(pod.metadata.uid.as_deref().unwrap_or_default());
    }
    if let Some(refusal) = refusal(pod, &Surroundings { occupancy: &occupancy, ..*surroundings }) {
        return Err(Preemption::NotEnough(refusal.reasons));
    }
    let mut victims = Vec::new();
    for other in lesser.iter().rev() {
        occupancy.put(other);
        if refusal(pod, &Surroundings { occupancy: &occupancy, ..*surroundings }).is_some() {
            occupancy.remove(other.metadata.uid.as_deref().unwrap_or_default());
            victims.push(Arc::clone(other));
        }
    }
    victims.reverse();
    Ok(victims)
}
