//! Controllers: what keeps objects in step with others, as kube-controller-manager and kube-scheduler do. They know the
//! store and nothing of how pods run. Each is told of changes by informers and never looks by itself.

pub mod accounts;
pub mod claims;
pub mod endpoints;
pub mod events;
mod everything;
pub mod garbage;
mod informer;
pub mod namespaces;
mod objects;
pub mod scheduler;

pub use informer::Informer;
pub use objects::{ObjectKey, change, delete, edit, random_suffix, remove_finalizer, resource_of, seconds, stamp};
