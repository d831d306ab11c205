//! What is fuzzed: husk's pure layer `api` and its images, and the properties in `checks` and `images`. Built from the same
//! files as husk, without all that stands around them there.

extern crate self as husk;

#[path = "../../src/api/mod.rs"]
pub mod api;
#[path = "../../src/base/mod.rs"]
pub mod base;
pub mod checks;
#[path = "../../src/image/mod.rs"]
pub mod image;
pub mod images;
