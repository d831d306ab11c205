//! WASI 0.1 (`wasi_snapshot_preview1`) for core modules, over the container's filesystem and the pod's network.
//!
//! Descriptors: 0 to 2 are the standard streams, 3 is the container's root directory `/`, and for each declared TCP
//! port of the container a listening socket follows, 4, 5, …, in the order of declaration. No environment variable
//! announces them: guests take them by number.
//!
//! 0.1 has no working directory. libc turns `/x`, `x` and `./x` into names below descriptor 3 before husk sees them,
//! and `.` and `/` into the same `.`; they cannot be told apart, and guessing for some would make `./x` differ from
//! `x`. So relative names start at `/` until the program changes its own idea of a directory: programs do
//! `chdir($PWD)` first, and Go's runtime does so by itself.
//!
//! Calls that cannot wait run inline; those on streams and sockets, and `poll_oneoff`, wait without blocking a
//! thread. Beside WASI, the import module `husk_process` has processes, signals and terminals (`spawn`, `signal`,
//! `terminal`), and `husk_files` has permission bits (`permissions`).

mod abi;
mod descriptors;
mod file;
mod io;
mod memory;
mod path;
mod permissions;
mod poll;
mod process;
mod signal;
mod socket;
mod spawn;
mod terminal;
#[cfg(test)]
mod tests;

use wasmtime::{Caller, Linker};

use self::abi::Errno;
use self::descriptors::descriptors;
pub(super) use self::descriptors::{Descriptor, Descriptors, FileDescriptor, Input, Output};
use self::memory::{GuestMemory, exported_memory};
pub(super) use self::socket::listen;
use super::state::GuestState;

/// The import module of WASI 0.1.
const MODULE: &str = "wasi_snapshot_preview1";

/// The import module of what husk offers beyond it.
const HUSK_MODULE: &str = "husk_process";

/// Adds all of WASI 0.1, and husk's own `husk_process` and `husk_files`, to a core linker. Guests must be called asynchronously.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    process::add_to_linker(linker)?;
    file::add_to_linker(linker)?;
    path::add_to_linker(linker)?;
    permissions::add_to_linker(linker)?;
    io::add_to_linker(linker)?;
    socket::add_to_linker(linker)?;
    poll::add_to_linker(linker)?;
    signal::add_to_linker(linker)?;
    spawn::add_to_linker(linker)?;
    terminal::add_to_linker(linker)
}

/// What a host function works on: the guest's memory and the host's state for it.
struct Context<'a> {
    memory: GuestMemory<'a>,
    state: &'a mut GuestState,
}

impl Context<'_> {
    fn descriptors(&mut self) -> &mut Descriptors {
        descriptors(self.state)
    }
}

/// Runs a call that does not wait and gives the guest its errno.
fn inline(
    caller: &mut Caller<'_, GuestState>,
    call: impl FnOnce(&mut Context<'_>) -> Result<(), Errno>,
) -> wasmtime::Result<u32> {
    let memory = exported_memory(caller)?;
    let (bytes, state) = memory.data_and_store_mut(caller);
    Ok(errno(call(&mut Context { memory: GuestMemory::new(bytes), state })))
}

/// Writes numbers one after the other.
fn write_words(memory: &mut GuestMemory<'_>, mut out: u32, words: &[u32]) -> Result<(), Errno> {
    for word in words {
        memory.write_u32(out, *word)?;
        out = out.checked_add(4).ok_or(Errno::Fault)?;
    }
    Ok(())
}

/// What a call returns to the guest: 0 or an errno.
fn errno(result: Result<(), Errno>) -> u32 {
    match result {
        Ok(()) => 0,
        Err(errno) => u32::from(errno as u16),
    }
}
