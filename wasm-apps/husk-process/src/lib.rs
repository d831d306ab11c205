//! What husk offers guests beyond WASI, in Rust: processes, signals and terminals. On WASI 0.1 they stand on the import
//! module `husk_process`, elsewhere on the interfaces of `husk:process`. On 0.1 there are also the permissions of files,
//! by `husk_files`. docs/guest-interfaces.md describes them all.

#[cfg(not(target_env = "p1"))]
mod component;
#[cfg(target_env = "p1")]
mod module;

#[cfg(not(target_env = "p1"))]
pub use component::*;
#[cfg(target_env = "p1")]
pub use module::*;
