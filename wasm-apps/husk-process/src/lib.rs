//! What husk offers guests beyond WASI, in Rust: processes, signals and terminals. On WASI 0.1 they stand on the import
//! module `husk_process`, elsewhere on the interfaces of `husk:process`. docs/guest-interfaces.md describes both.

#[cfg(not(target_env = "p1"))]
mod component;
#[cfg(target_env = "p1")]
mod module;

#[cfg(not(target_env = "p1"))]
pub use component::*;
#[cfg(target_env = "p1")]
pub use module::*;
