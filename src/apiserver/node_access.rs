//! How the API server reaches what runs on the node.

/// Reaches what runs on the node.
pub trait NodeAccess: Send + Sync {}
