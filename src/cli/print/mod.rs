//! How answers of a server are printed: tables, JSON and YAML, JSONPath templates, columns of one's own, descriptions.

pub mod columns;
pub mod describe;
pub mod events;
pub mod explain;
pub mod jsonpath;
pub mod object;
pub mod table;
