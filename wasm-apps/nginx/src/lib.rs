//! The parts of the web server that are about nginx and HTTP rather than about sockets and files: its configuration,
//! what of it holds for a request, and how requests and responses are written. The program around them is `main.rs`.

pub mod command_line;
pub mod config;
pub mod exchange;
pub mod http;
pub mod locations;
pub mod phases;
pub mod script;
pub mod values;
pub mod variables;

/// What the server calls itself.
pub const NAME: &str = "nginx-husk";
/// The same with the version.
pub const NAME_AND_VERSION: &str = concat!("nginx-husk/", env!("CARGO_PKG_VERSION"));
