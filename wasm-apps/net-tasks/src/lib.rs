//! Servers in one thread: tasks over `wasi:io/poll` and `wasi:sockets`.
//!
//! ```text
//!  block_on ─▶ runs the tasks that were woken ─▶ none left ─▶ one poll of everything waited for ─▶ reads ─▶ wakes
//! ```
//!
//! Between two polls lies a [`tick`]. Everything that a tick's tasks are given to read has been read before the first of
//! them runs, so what one of them finds out about the world then is news to all requests of the tick.

mod address;
mod executor;
mod flag;
mod listener;
mod reactor;
mod resolve;
mod stream;
mod timer;

pub use address::explain;
pub use executor::{block_on, spawn};
pub use flag::{Flag, Watch};
pub use listener::Listener;
pub use reactor::{Readiness, now, tick};
pub use resolve::resolve;
pub use stream::Stream;
pub use timer::{Timer, sleep, within, yield_now};
