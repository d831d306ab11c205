//! The one integration binary: the real `husk` program, real guests, and the rules of the tree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod churn;
mod client;
mod clients;
mod cluster;
mod crash;
mod environment;
mod examples;
mod files;
mod fuzz;
mod guests;
mod hooks;
mod hostile;
mod images;
mod kubectl;
mod levels;
mod lifecycle;
mod manifests;
mod mask;
#[cfg(target_os = "linux")]
mod native;
#[cfg(target_os = "linux")]
mod native_pods;
mod nettools;
mod network;
mod output;
mod permissions;
mod probes;
mod programs;
mod restarts;
mod resume;
mod server;
mod services;
mod shell;
mod siege;
mod sockets;
mod story;
mod support;
mod terminal;
mod tidy;
mod tools;
mod transcript;
mod web;
