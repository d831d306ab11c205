//! The WebAssembly runtime: WASI 0.1, 0.2 and 0.3 programs as containers, in this process.

mod filesystem;
mod p1;
mod signals;
mod state;
