//! Controllers: what keeps objects in step with others, as kube-controller-manager does. They know the store and nothing
//! of how pods run.

pub mod endpoints;
pub mod scheduler;
