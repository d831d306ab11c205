//! A container's root filesystem: image layers under overlayfs (or a copy of them, where that is not allowed), what every
//! container has mounted, its volumes, and the change into it.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::super::protocol::{Context, Failure, RunSpec};
use super::super::sys::{self, MountChange, SingleThreaded};
use super::namespaces::Namespaces;
use super::{copy, mounts, target, volumes};
use crate::runtime::RootfsSpec;

/// How long the options of a mount may be, some of which come last: the kernel ignores what is beyond a page.
const MAX_OPTIONS: usize = 4000;

/// Enters a container's filesystem, in a mount namespace of this process's own.
pub(super) fn enter(
    proof: SingleThreaded,
    spec: &RunSpec,
    namespaces: &Namespaces,
    agents_mounts: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    // Old kernels lack these namespaces, and then the container sees where in the host's groups it is.
    let _ = sys::unshare(libc::CLONE_NEWCGROUP);
    let root = mount_root(&spec.rootfs, spec.view.privileged)?;
    for path in &spec.rootfs.writable {
        make_writable(root.as_fd(), path, spec.rootfs.read_only)?;
    }
    mounts::system(proof, root.as_fd(), spec, namespaces)?;
    for mount in &spec.rootfs.mounts {
        volumes::mount(root.as_fd(), mount, spec.view.privileged, agents_mounts)?;
    }
    mounts::mask(root.as_fd(), &spec.view)?;
    change_root(root.as_fd())?;
    if spec.rootfs.read_only {
        let change = MountChange { set: libc::MOUNT_ATTR_RDONLY, ..MountChange::default() };
        sys::change_mount(open_directory(Path::new("/"))?.as_fd(), change)
            .context(|| "cannot make the root filesystem read-only")?;
    }
    Ok(())
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).context(|| format!("cannot open {}", path.display()))
}

fn make_directory(path: &Path) -> Result<OwnedFd, Failure> {
    fs::create_dir_all(path).context(|| format!("cannot make {}", path.display()))?;
    open_directory(path)
}

/// Mounts the image's layers, with what the container changes on top.
fn mount_root(spec: &RootfsSpec, is_privileged: bool) -> Result<OwnedFd, Failure> {
    let upper_path = spec.scratch.join("upper");
    let upper = make_directory(&upper_path)?;
    let root_path = spec.scratch.join("root");
    let mount_point = make_directory(&root_path)?;
    let nodev = if is_privileged { 0 } else { libc::MS_NODEV };
    match mount_overlay(spec, upper.as_fd(), mount_point.as_fd(), nodev) {
        Ok(()) => return open_directory(&root_path),
        // As many layers as cannot be named at once, or what systems say that don't let this user mount overlays, or not over this filesystem.
        Err(Failure {
            errno: Some(libc::E2BIG | libc::EPERM | libc::EINVAL | libc::ENODEV | libc::EOPNOTSUPP),
            ..
        }) => {}
        Err(failure) => return Err(failure),
    }
    copy::layers(&spec.layers, &upper_path)?;
    let what = || "cannot mount the container's root filesystem";
    let root = sys::clone_mount(upper.as_fd(), false).context(what)?;
    let set = if is_privileged { 0 } else { libc::MOUNT_ATTR_NODEV };
    sys::change_mount(root.as_fd(), MountChange { set, propagation: libc::MS_PRIVATE, ..MountChange::default() })
        .context(what)?;
    sys::attach_mount(root.as_fd(), mount_point.as_fd()).context(what)?;
    open_directory(&root_path)
}

/// Layers are named by descriptors: their paths may be long, and have characters that mean something to overlayfs.
fn mount_overlay(
    spec: &RootfsSpec,
    upper: BorrowedFd<'_>,
    mount_point: BorrowedFd<'_>,
    flags: libc::c_ulong,
) -> Result<(), Failure> {
    let work = make_directory(&spec.scratch.join("work"))?;
    let empty = if spec.layers.is_empty() { Some(make_directory(&spec.scratch.join("empty"))?) } else { None };
    let layers: Vec<_> = spec.layers.iter().rev().map(|layer| open_directory(layer)).collect::<Result<_, _>>()?;
    let mut options = String::from("lowerdir=");
    for (index, layer) in layers.iter().chain(&empty).enumerate() {
        let separator = if index == 0 { "" } else { ":" };
        let _ = write!(options, "{separator}/proc/self/fd/{}", layer.as_raw_fd());
    }
    let _ = write!(options, ",upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{}", upper.as_raw_fd(), work.as_raw_fd());
    if options.len() > MAX_OPTIONS {
        return Err(io::Error::from_raw_os_error(libc::E2BIG)).context(|| "the image has too many layers");
    }
    // Unpacked layers say in attributes of users which of their directories hide what is below: those of the system only
    // root may set.
    options.push_str(",userxattr");
    // Nobody mounts what this container has written again, so that nothing of it need reach the disk in order.
    let volatile = format!("{options},volatile");
    mounts::mount_on(mount_point, c"overlay", c"overlay", flags, &volatile)
        .or_else(|_| mounts::mount_on(mount_point, c"overlay", c"overlay", flags, &options))
        .context(|| "cannot mount the image's layers")
}

/// Has a directory there. If the root filesystem is to be read-only, this part of it is mounted once more beforehand, and
/// stays as it is.
fn make_writable(root: BorrowedFd<'_>, path: &Path, is_read_only: bool) -> Result<(), Failure> {
    let what = || format!("cannot make the image's volume {}", path.display());
    let directory = target::make(root, path, true).context(what)?;
    if is_read_only {
        let again = sys::clone_mount(directory.as_fd(), false).context(what)?;
        sys::attach_mount(again.as_fd(), directory.as_fd()).context(what)?;
    }
    Ok(())
}

/// Makes `root` the root, and lets go of the one before.
pub(super) fn change_root(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let what = || "cannot change into the container's root filesystem";
    rustix::process::fchdir(root).context(what)?;
    // Both on the same directory: the old root lies above the new one and is taken away again.
    rustix::process::pivot_root(".", ".").context(what)?;
    sys::unmount_detached(c".").context(what)?;
    rustix::process::chdir("/").context(what)
}
