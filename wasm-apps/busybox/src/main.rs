//! The tools of husk's built-in image in one program, which acts as the applet it is called as: `argv[0]`, or the first
//! argument when called as `busybox`. The shell and the tools of the network are programs of their own.
//!
//! `applets` is the table of them all: many are uutils' coreutils, the others live here in modules by what they are
//! about. They share how they fail ([`failure`]), how they start programs (`process`) and what they know of the
//! container (`procfs`, `accounts`, `attributes`).
//!
//! It runs on WASI 0.1 only. What needs no system is compiled elsewhere as well, to be tested.
#![cfg_attr(not(target_env = "p1"), allow(dead_code, unused_imports, reason = "only the tests use it there"))]

#[cfg(target_env = "p1")]
mod accounts;
#[cfg(target_env = "p1")]
mod applets;
#[cfg(target_env = "p1")]
mod archive;
#[cfg(target_env = "p1")]
mod attributes;
mod awk;
#[cfg(target_env = "p1")]
mod basic;
#[cfg(target_env = "p1")]
mod call;
#[cfg(target_env = "p1")]
mod cat;
#[cfg(target_env = "p1")]
mod condition;
#[cfg(target_env = "p1")]
mod dd;
#[cfg(target_env = "p1")]
mod duration;
mod failure;
#[cfg(target_env = "p1")]
mod files;
#[cfg(target_env = "p1")]
mod find;
mod glob;
#[cfg(target_env = "p1")]
mod grep;
mod mode;
mod options;
mod posix_regex;
#[cfg(target_env = "p1")]
mod process;
#[cfg(target_env = "p1")]
mod processes;
#[cfg(target_env = "p1")]
mod procfs;
#[cfg(target_env = "p1")]
mod run;
#[cfg(target_env = "p1")]
mod system;
mod targets;
#[cfg(target_env = "p1")]
mod text;
#[cfg(target_env = "p1")]
mod wrapped;

#[cfg(target_env = "p1")]
fn main() -> std::process::ExitCode {
    call::run(std::env::args_os().collect())
}

#[cfg(not(target_env = "p1"))]
fn main() {}
