//! husk: Kubernetes pods without Kubernetes.
//!
//! The crate is one engine in layers; `ARCHITECTURE.md` has the map and the rules, and the tidy test in
//! `tests/it/tidy.rs` keeps the table of which layer may use which.

#![cfg_attr(windows, allow(unused, reason = "the parts of husk that only Unix has leave some of the others unused"))]

pub mod api;
pub mod apiserver;
pub mod app;
pub mod base;
pub mod cli;
pub mod controller;
pub mod image;
pub mod net;
pub mod node;
pub mod pod;
pub mod runtime;
pub mod store;
pub mod vfs;
pub mod volume;
