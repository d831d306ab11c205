//! The imports themselves. All return a WASI errno, 0 for success.

use std::ffi::c_char;

/// Bit of `wait`'s flags: do not wait.
pub(super) const WAIT_NO_HANG: u32 = 1;

/// Stands for an owner or a mask that stays as it is.
pub(super) const KEEP: u32 = u32::MAX;

/// A string.
#[repr(C)]
pub(super) struct Bytes {
    start: *const u8,
    length: usize,
}

impl Bytes {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len() }
    }
}

/// What `spawn` reads: 56 bytes, pointers and counts being 32 bits wide.
#[repr(C)]
pub(super) struct SpawnOptions {
    pub(super) program: Bytes,
    pub(super) argv: *const Bytes,
    pub(super) argv_count: usize,
    pub(super) env: *const Bytes,
    pub(super) env_count: usize,
    pub(super) working_directory: Bytes,
    pub(super) descriptors: *const [u32; 2],
    pub(super) descriptors_count: usize,
    /// Bit n stands for the signal with number n.
    pub(super) ignored: u64,
    /// `u32::MAX`: the parent's; 0: a new one.
    pub(super) group: u32,
}

#[link(wasm_import_module = "husk_process")]
unsafe extern "C" {
    pub(super) fn signal_open(mask: i64, fd: *mut i32) -> i32;
    pub(super) fn signal_action(signal: u32, action: u32, before: *mut u32) -> i32;
    pub(super) fn signal_take(signal: *mut u32) -> i32;
    /// Stores pid, parent, group.
    pub(super) fn identity(record: *mut u32) -> i32;
    pub(super) fn pipe(reading: *mut i32, writing: *mut i32) -> i32;
    pub(super) fn memory_file(fd: *mut i32) -> i32;
    pub(super) fn dup(fd: i32, new: *mut i32) -> i32;
    pub(super) fn dup_to(fd: i32, to: i32) -> i32;
    pub(super) fn spawn(options: *const SpawnOptions, pid: *mut u32) -> i32;
    /// Returns only if it fails.
    pub(super) fn exec(options: *const SpawnOptions) -> i32;
    /// `child` 0: any. Stores pid, 1 if a signal ended it else 0, and the signal or exit code.
    pub(super) fn wait(child: u32, flags: u32, record: *mut u32) -> i32;
    /// `target` below 0: the group of that number; `i64::MIN`: all others.
    pub(super) fn kill(target: i64, signal: u32) -> i32;
    /// Stores rows, columns, mode and the foreground group.
    pub(super) fn terminal_get(fd: i32, record: *mut u32) -> i32;
    pub(super) fn terminal_set_mode(fd: i32, mode: u32) -> i32;
    pub(super) fn terminal_set_foreground(fd: i32, group: u32) -> i32;
}

#[link(wasm_import_module = "husk_files")]
unsafe extern "C" {
    /// Stores the mask before.
    pub(super) fn umask(mask: u32, before: *mut u32) -> i32;
    /// Stores mode, user and group. `lookup` 1: follow a symbolic link at the end.
    pub(super) fn path_permissions_get(
        fd: i32,
        lookup: u32,
        path: *const c_char,
        length: usize,
        record: *mut u32,
    ) -> i32;
    pub(super) fn path_mode_set(fd: i32, lookup: u32, path: *const c_char, length: usize, mode: u32) -> i32;
    pub(super) fn path_owner_set(
        fd: i32,
        lookup: u32,
        path: *const c_char,
        length: usize,
        user: u32,
        group: u32,
    ) -> i32;
    pub(super) fn fd_permissions_get(fd: i32, record: *mut u32) -> i32;
    pub(super) fn fd_mode_set(fd: i32, mode: u32) -> i32;
}
