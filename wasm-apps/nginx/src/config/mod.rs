//! nginx's configuration: from text over a tree of directives to what a server needs to know.
//!
//! ```text
//!  text ─ lexer ─▶ tokens ─ tree ─▶ directives ─ directives (checks) ─▶ build, http, server, location, … ─▶ model
//! ```

mod build;
mod directives;
mod error;
mod http;
mod lexer;
mod listen;
mod location;
mod logs;
mod model;
mod proxy;
mod rewrite;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use build::{Loaded, Source, load, load_text};
pub use error::{ConfigError, Place, explain_io};
pub use model::*;
pub use proxy::split_url;
pub use tree::Environment;
