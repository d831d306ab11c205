//! The WebAssembly runtime: WASI 0.1, 0.2 and 0.3 programs as containers, in this process.

mod signals;
mod sockets;
mod state;
