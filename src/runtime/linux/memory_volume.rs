//! Volumes in memory: file systems of the kernel's, which containers of both kinds see as directories of the host.
//!
//! They are mounted where the agent is, as kubelet does it, so that they outlive it with the pods that are to be taken up.
//! Without root, that is a mount namespace of its own, and they go with it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::sys;

/// Mounts a volume of at most so many bytes, unless there is one.
///
/// # Errors
/// Who is neither root nor in a user namespace of their own may not mount anything.
pub fn mount_memory(directory: &Path, bytes: u64) -> io::Result<()> {
    let directory = directory.canonicalize()?;
    if mounts()?.contains(&directory) {
        return Ok(());
    }
    let target = CString::new(directory.as_os_str().as_bytes())?;
    let options = CString::new(format!("mode=0777,size={bytes}"))?;
    sys::mount(c"tmpfs", &target, c"tmpfs", libc::MS_NOSUID | libc::MS_NODEV, &options)
}

/// Unmounts everything below a directory. What was in memory is gone.
///
/// # Errors
/// When the mounts cannot be looked at, or one does not go.
pub fn unmount_below(directory: &Path) -> io::Result<()> {
    let directory = match directory.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        directory => directory?,
    };
    // The last one lies on top.
    for mount in mounts()?.iter().rev().filter(|mount| mount.starts_with(&directory)) {
        sys::unmount_detached(&CString::new(mount.as_os_str().as_bytes())?)?;
    }
    Ok(())
}

/// Where something is mounted, in the order of time.
fn mounts() -> io::Result<Vec<PathBuf>> {
    let text = fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(mount_point).collect())
}

/// The fifth field of a line, in which spaces and their like are octal numbers (proc_pid_mountinfo(5)).
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| after.get(..3)).flatten();
        let decoded = escaped.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        match decoded {
            Some(byte) => {
                path.push(byte);
                rest = &after[3..];
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    Some(std::ffi::OsString::from_vec(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = br"36 35 98:0 /mnt1 /mnt/with\040space\134 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from("/mnt/with space\\")));
        assert_eq!(mount_point(b"1 2 3:4 /"), None);
        assert!(mounts().unwrap().contains(&PathBuf::from("/proc")));
    }
}
