//! SPDY/3.1, which HTTP abandoned and `kubectl` did not: streams within one connection, as `exec`, `attach` and
//! `port-forward` use them. Over the raw connection after an upgrade (kubectl up to 1.29), or as the bytes of WebSocket
//! messages (`port-forward` of kubectl from 1.31 on). Only what a server needs, and nothing is taken on trust: frames,
//! header blocks, streams and queues are bounded.
//!
//! There is a crate for this, whose streams are not bounded.

mod connection;
mod frame;
mod headers;
#[cfg(test)]
mod tests;

pub(super) use self::connection::{Connection, Gone, Stream, connection};
pub(super) use self::frame::ResetStatus;
#[cfg(test)]
pub(super) use self::frame::client;
