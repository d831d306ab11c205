//! Socket rules as both fronts show them.
