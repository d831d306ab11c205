//! `/bin/sh`: a POSIX shell.
//!
//! `syntax` turns text into commands, `expand` words into fields, and `exec` runs commands; what a subshell starts with
//! a copy of is in `state`. WASI has no `fork`: see `exec::subshells` for how subshells are made without.
//!
//! It runs on WASI 0.1 only. What needs no system is compiled elsewhere as well, to be tested.
#![cfg_attr(not(target_env = "p1"), allow(dead_code, unused_imports, reason = "only the tests use it there"))]

#[cfg(target_env = "p1")]
mod builtins;
#[cfg(target_env = "p1")]
mod exec;
#[cfg(target_env = "p1")]
mod expand;
mod fields;
#[cfg(target_env = "p1")]
mod input;
#[cfg(target_env = "p1")]
mod interactive;
#[cfg(target_env = "p1")]
mod invocation;
mod line;
#[cfg(target_env = "p1")]
mod os;
mod pattern;
#[cfg(target_env = "p1")]
mod state;
mod syntax;
mod text;

#[cfg(target_env = "p1")]
use husk_process as process;

#[cfg(target_env = "p1")]
fn main() -> std::process::ExitCode {
    let arguments = std::env::args_os().map(|word| os::bytes_of(&word).to_vec()).collect();
    std::process::ExitCode::from(invocation::run(arguments))
}

#[cfg(not(target_env = "p1"))]
fn main() {}
