//! Catches TERM through husk's core-module interface, prints a line, and ends with 0 when it arrives.
//! `signals ignore` catches TERM and goes on, so that only KILL ends it.

use std::fs::File;
use std::io::Read;
use std::os::fd::FromRawFd;

const TERM: u32 = 15;

#[link(wasm_import_module = "husk_process")]
unsafe extern "C" {
    /// Opens a descriptor that reads as one little-endian `u32` for each signal of `mask` (bit n: signal n) that
    /// arrives, and stores it at `descriptor`. Returns a WASI errno.
    fn signal_open(mask: i64, descriptor: *mut i32) -> i32;
}

fn main() -> std::io::Result<()> {
    let mut descriptor = -1;
    // SAFETY: `descriptor` outlives the call, which stores one i32 there and keeps no pointer.
    let errno = unsafe { signal_open(1 << TERM, &raw mut descriptor) };
    if errno != 0 {
        return Err(std::io::Error::from_raw_os_error(errno));
    }
    // SAFETY: the host has just opened this descriptor for us; nothing else owns it.
    let mut signals = unsafe { File::from_raw_fd(descriptor) };
    let ignore = std::env::args().nth(1).is_some_and(|argument| argument == "ignore");
    println!("waiting");
    loop {
        let mut number = [0; 4];
        signals.read_exact(&mut number)?;
        println!("got signal {}", u32::from_le_bytes(number));
        if !ignore {
            return Ok(());
        }
    }
}
