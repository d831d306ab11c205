//! A container's devices: the host's nodes, attached one by one to a filesystem on which no other node opens. So a
//! container cannot make itself a way to the host's disks, whatever it may do, and the same works without root.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::super::protocol::{Context, Failure};
use super::{mounts, target};

/// Those every container has (OCI runtime specification, "Default Devices").
const DEFAULT: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Those the container has of its own, or that lead to the host's terminal.
const OWN: [&str; 4] = ["console", "ptmx", "pts", "shm"];

/// How many devices of the host a privileged container gets.
const MAX_DEVICES: usize = 512;

/// Fills a container's `/dev`.
pub(super) fn attach(dev: BorrowedFd<'_>, is_privileged: bool, has_terminal: bool) -> Result<(), Failure> {
    for name in DEFAULT {
        attach_one(dev, Path::new(name)).context(|| format!("cannot attach the device /dev/{name}"))?;
    }
    if has_terminal {
        // The terminal is attached to it.
        target::make(dev, Path::new("console"), false).context(|| "cannot make /dev/console")?;
    }
    if is_privileged {
        let mut found = Vec::new();
        find(Path::new(""), &mut found);
        for path in found {
            // Some come and go.
            let _ = attach_one(dev, &path);
        }
    }
    Ok(())
}

fn attach_one(dev: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let host = rustix::fs::open(Path::new("/dev").join(path), flags, Mode::empty())?;
    let target = target::make(dev, path, false)?;
    let set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    mounts::bind_open(host.as_fd(), target.as_fd(), set)
}

/// The host's devices, by their paths within `/dev`.
fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(Path::new("/dev").join(directory)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (path, Ok(kind)) = (directory.join(&name), entry.file_type()) else { continue };
        let is_other = directory.as_os_str().is_empty()
            && DEFAULT.iter().chain(&OWN).any(|own| name.as_encoded_bytes() == own.as_bytes());
        if is_other || found.len() >= MAX_DEVICES {
            continue;
        }
        if kind.is_dir() && name.as_encoded_bytes() != b"mqueue" {
            find(&path, found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(path);
        }
    }
}
