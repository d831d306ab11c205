//! Versioned objects kept in memory, and watches on them.
