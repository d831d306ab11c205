//! What is fuzzed: husk's pure layer `api`, and the properties in `checks`. Built from the same files as husk, without all
//! that stands around them there.

extern crate self as husk;

#[path = "../../src/api/mod.rs"]
pub mod api;
pub mod checks;
