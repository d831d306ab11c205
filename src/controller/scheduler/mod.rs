//! The scheduler: gives each pod the node, as soon as it fits, and says why it does not. The decision is pure
//! (`decision`); `rounds` carries it out. Pods whose node was written by hand pass it by, and are checked by the node
//! itself (`admission`).

mod admission;
mod decision;
mod occupancy;
mod placement;
mod rounds;
#[cfg(test)]
mod tests;
mod verdicts;

pub use admission::{Rejection, admit};
pub use decision::{Claim, Decision, Misfit, Surroundings, decide};
pub use occupancy::{Amounts, Insufficient, Occupancy, allocatable, requested};
pub use placement::NamespaceLabels;
pub use rounds::run;

use k8s_openapi::api::core::v1::Pod;

/// The scheduler's name, for `spec.schedulerName` and its events.
pub const NAME: &str = "default-scheduler";

/// Whether a pod has ended, and takes nothing of its node any more.
pub fn has_ended(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}
