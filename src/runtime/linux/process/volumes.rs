//! A container's volumes: files and directories of the host, attached in its root filesystem.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};

use super::super::protocol::{Context, Failure};
use super::super::sys::{self, MountChange};
use super::target;
use crate::runtime::{Mount, Propagation};

/// Mounts a volume, or a file of the kubelet's. `agents_mounts` is the agent's mount namespace, where there is one.
pub(super) fn mount(
    root: BorrowedFd<'_>,
    mount: &Mount,
    is_privileged: bool,
    agents_mounts: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    let what = || format!("cannot mount {} at {}", mount.source.display(), mount.target.display());
    let (source, tree) = match mount.propagation {
        Propagation::None | Propagation::HostToContainer => open(mount)?,
        Propagation::Bidirectional => open_among(mount, is_privileged, agents_mounts)?,
    };
    let kind = target::kind(&source).context(what)?;
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let mut set = 0;
    if !is_privileged && !is_device {
        set |= libc::MOUNT_ATTR_NODEV;
    }
    if mount.read_only {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    let propagation = match mount.propagation {
        Propagation::None => libc::MS_PRIVATE,
        Propagation::HostToContainer => libc::MS_SLAVE,
        Propagation::Bidirectional => 0,
    };
    if set != 0 || propagation != 0 {
        sys::change_mount(tree.as_fd(), MountChange { set, clear: 0, propagation, recursive: true }).context(what)?;
    }
    let target = target::make(root, &mount.target, kind == FileType::Directory).context(what)?;
    if target::is_same(&target, &root).context(what)? {
        // It would lie beneath what the container sees.
        return Err(Failure::failed(format!("{}: it is the container's root", what())));
    }
    sys::attach_mount(tree.as_fd(), target.as_fd()).context(what)
}

/// What is to be mounted, and a mount of it.
fn open(mount: &Mount) -> Result<(OwnedFd, OwnedFd), Failure> {
    let what = || format!("cannot mount {} at {}", mount.source.display(), mount.target.display());
    let source = rustix::fs::open(&mount.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).context(what)?;
    check_propagation(&source, mount)?;
    let source = match &mount.sub_path {
        Some(path) => sub_path(&source, path).context(|| format!("{}, subPath {}", what(), path.display()))?,
        None => source,
    };
    let tree = sys::clone_mount(source.as_fd(), true).context(what)?;
    Ok((source, tree))
}

/// The same from among the agent's mounts: what is mounted in either place later shows in both.
fn open_among(
    mount: &Mount,
    is_privileged: bool,
    agents_mounts: Option<BorrowedFd<'_>>,
) -> Result<(OwnedFd, OwnedFd), Failure> {
    let Some(agents_mounts) = agents_mounts.filter(|_| is_privileged) else {
        let what = "mountPropagation Bidirectional is only available to privileged containers";
        return Err(Failure::failed(what));
    };
    let own = rustix::fs::open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let own = own.context(|| "cannot open the container's mount namespace")?;
    sys::setns(agents_mounts, libc::CLONE_NEWNS).context(|| "cannot go to the host's mounts")?;
    let opened = open(mount);
    sys::setns(own.as_fd(), libc::CLONE_NEWNS).context(|| "cannot come back from the host's mounts")?;
    opened
}

/// Looks whether mounts spread from where a volume is, if they are to: Kubernetes wants to know beforehand.
fn check_propagation(source: &OwnedFd, mount: &Mount) -> Result<(), Failure> {
    let (is_enough, wanted): (fn(&str) -> bool, _) = match mount.propagation {
        Propagation::None => return Ok(()),
        Propagation::HostToContainer => {
            (|field| field.starts_with("shared:") || field.starts_with("master:"), "a shared or slave")
        }
        Propagation::Bidirectional => (|field| field.starts_with("shared:"), "a shared"),
    };
    let found = optional_fields(source).context(|| format!("cannot find the mount of {}", mount.source.display()))?;
    let Some((point, fields)) = found else { return Ok(()) };
    if fields.split(' ').any(is_enough) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "path {:?} is mounted on {point:?} but it is not {wanted} mount; `mount --make-rshared {point}` on the host makes \
         it one",
        mount.source.display().to_string()
    )))
}

/// Where the mount of an open file is, and what `/proc/self/mountinfo` says of how mounts spread to and from it.
fn optional_fields(file: &OwnedFd) -> io::Result<Option<(String, String)>> {
    let found = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id.to_string();
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo")?;
    let line = mountinfo.lines().find(|line| line.split(' ').next() == Some(&found));
    Ok(line.and_then(|line| {
        // 36 35 98:0 /root /mount/point options [fields] - type source super-options
        let mut words = line.split(" - ").next()?.splitn(7, ' ').skip(4);
        let point = words.next()?.to_owned();
        Some((point, words.nth(1).unwrap_or_default().to_owned()))
    }))
}

/// A path in a volume. The agent has looked at it and made what was missing, but since then a container may have changed
/// the volume.
fn sub_path(volume: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    match target::open_beneath(volume.as_fd(), path) {
        Err(rustix::io::Errno::XDEV) => Err(io::Error::other("path leads outside of the volume")),
        result => Ok(result?),
    }
}
