//! The scheduler: gives each pod the node, as soon as it fits, and says why it does not. The decision is pure
//! (`decision`); this file carries it out.

mod admission;
mod decision;
mod occupancy;
mod placement;
#[cfg(test)]
mod tests;

pub use admission::{Rejection, admit};
pub use decision::{Claim, Decision, Misfit, Surroundings, decide};
pub use occupancy::{Amounts, Insufficient, Occupancy, allocatable, requested};
pub use placement::NamespaceLabels;
