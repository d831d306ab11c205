//! Controllers: what keeps objects in step with others, as kube-controller-manager and kube-scheduler do. They know the
//! store and nothing of how pods run.

pub mod endpoints;
mod everything;
pub mod garbage;
mod informer;
mod objects;
pub mod scheduler;

pub use informer::Informer;
pub use objects::{ObjectKey, seconds, stamp};
