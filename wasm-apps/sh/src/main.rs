//! `/bin/sh`: a POSIX shell.
//!
//! `syntax` turns text into commands, `expand` words into fields, and `exec` runs commands; what a subshell starts with
//! a copy of is in `state`. WASI has no `fork`: see `exec::subshells` for how subshells are made without.

mod builtins;
mod exec;
mod expand;
mod input;
mod interactive;
mod invocation;
mod os;
mod pattern;
#[cfg(not(target_os = "wasi"))]
#[path = "native.rs"]
mod process;
mod state;
mod syntax;
mod text;

#[cfg(target_os = "wasi")]
use husk_process as process;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(invocation::run(std::env::args_os().map(|word| os::bytes_of(&word).to_vec()).collect()))
}
