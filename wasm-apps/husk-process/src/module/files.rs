//! Permission bits and owners of files, on the import module `husk_files`. Paths are taken as `std::fs` takes them.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::wasi::ffi::OsStrExt;
use std::path::Path;

use super::{check, raw};

/// What WASI does not tell of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Permission bits, with the set-id and sticky ones.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What files this process makes do not get, from now on; returns what that was.
pub fn set_umask(mask: u32) -> u32 {
    exchange_umask(mask & 0o777)
}

/// The mask as it is.
pub fn umask() -> u32 {
    exchange_umask(raw::KEEP)
}

fn exchange_umask(mask: u32) -> u32 {
    let mut before = 0;
    // SAFETY: `before` outlives the call, which stores one u32 there. It cannot fail.
    unsafe { raw::umask(mask, &raw mut before) };
    before
}

/// The permissions of a file, or of a symbolic link itself unless it is to be followed.
pub fn permissions(path: &Path, follow: bool) -> io::Result<Permissions> {
    let mut record = [0; 3];
    let out = record.as_mut_ptr();
    below_root(path, |fd, path| {
        // SAFETY: path and record outlive the call, which stores three u32 there.
        unsafe { raw::path_permissions_get(fd, follow.into(), path.as_ptr(), path.count_bytes(), out) }
    })?;
    Ok(Permissions::from(record))
}

/// The permissions of what a descriptor stands for.
pub fn permissions_of(fd: BorrowedFd<'_>) -> io::Result<Permissions> {
    let mut record = [0; 3];
    // SAFETY: the record outlives the call, which stores three u32 there.
    check(unsafe { raw::fd_permissions_get(fd.as_raw_fd(), record.as_mut_ptr()) })?;
    Ok(Permissions::from(record))
}

impl From<[u32; 3]> for Permissions {
    fn from([mode, uid, gid]: [u32; 3]) -> Self {
        Self { mode, uid, gid }
    }
}

/// Sets permission bits; symbolic links are followed.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    below_root(path, |fd, path| {
        // SAFETY: the path outlives the call.
        unsafe { raw::path_mode_set(fd, 1, path.as_ptr(), path.count_bytes(), mode) }
    })
}

/// Sets permission bits of what a descriptor stands for.
pub fn set_mode_of(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { raw::fd_mode_set(fd.as_raw_fd(), mode) })
}

/// Sets whom a file, or a symbolic link itself unless it is to be followed, belongs to. `None` stays as it is.
pub fn set_owner(path: &Path, uid: Option<u32>, gid: Option<u32>, follow: bool) -> io::Result<()> {
    let [uid, gid] = [uid, gid].map(|owner| owner.unwrap_or(raw::KEEP));
    below_root(path, |fd, path| {
        // SAFETY: the path outlives the call.
        unsafe { raw::path_owner_set(fd, follow.into(), path.as_ptr(), path.count_bytes(), uid, gid) }
    })
}

unsafe extern "C" {
    /// libc's own search for the preopened directory a path is below, by which it opens all files. It allocates nothing;
    /// with `ENOMEM` it asks for a larger buffer.
    fn __wasilibc_find_relpath(
        path: *const c_char,
        prefix: *mut *const c_char,
        relative: *mut *mut c_char,
        relative_size: usize,
    ) -> c_int;
}

/// The longest path libc may make of one and the working directory.
const MAX_PATH: usize = 2 * 4096;

/// Calls with the preopened directory `path` is below, and the path from there.
fn below_root(path: &Path, call: impl FnOnce(i32, &CStr) -> i32) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut buffer = [const { MaybeUninit::<c_char>::uninit() }; MAX_PATH];
    let mut relative = buffer.as_mut_ptr().cast();
    let mut prefix = std::ptr::null();
    // SAFETY: everything pointed to outlives the call; the size is the buffer's.
    let fd = unsafe { __wasilibc_find_relpath(path.as_ptr(), &raw mut prefix, &raw mut relative, MAX_PATH) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `relative` now points to a C string: in the buffer, in `path`, or a constant.
    check(call(fd, unsafe { CStr::from_ptr(relative) }))
}
