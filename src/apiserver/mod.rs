//! The Kubernetes API over a store.

pub mod authorize;
pub mod identity;
pub mod tokens;
