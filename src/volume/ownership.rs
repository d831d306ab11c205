//! Whose the files of volumes are: the user that alone may read a token, and the pod's group (`fsGroup`).
//!
//! What the host does not permit is left as it is: an ordinary user cannot give files away, and in a user namespace there
//! are no IDs but those that are mapped. There the permission bits have to do.

use std::io;
use std::path::Path;

/// When the files of a volume that outlives its pods get the pod's group (`fsGroupChangePolicy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupChangePolicy {
    /// Whenever a pod starts.
    #[default]
    Always,
    /// Only if the volume's root does not have it.
    OnRootMismatch,
}

/// Gives `path`, which is not followed, to a user. Whether the host permits it.
pub(super) fn set_user(path: &Path, user: u32) -> io::Result<bool> {
    #[cfg(unix)]
    return permitted(std::os::unix::fs::lchown(path, Some(user), None));
    #[cfg(not(unix))]
    return { (path, user) }.0.symlink_metadata().map(|_| false);
}

/// Gives `path`, which is not followed, to a group. Whether the host permits it.
pub(super) fn set_group(path: &Path, group: u32) -> io::Result<bool> {
    #[cfg(unix)]
    return permitted(std::os::unix::fs::lchown(path, None, Some(group)));
    #[cfg(not(unix))]
    return { (path, group) }.0.symlink_metadata().map(|_| false);
}

#[cfg(unix)]
fn permitted(changed: io::Result<()>) -> io::Result<bool> {
    match changed {
        Ok(()) => Ok(true),
        // The latter is what the kernel says of IDs that the user namespace lacks.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
pub(super) fn set_group_of_all(root: &Path, _group: u32, _policy: GroupChangePolicy) -> io::Result<()> {
    root.metadata().map(|_| ())
}

#[cfg(unix)]
pub(super) use self::tree::set_group_of_all;

#[cfg(unix)]
mod tree {
    use std::ffi::CString;
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat};
    use rustix::io::Errno;

    use super::GroupChangePolicy;

    /// What the group may do with the files of a volume, and with directories, in which what is new belongs to it too
    /// (kubelet v1.36 `changeFilePermission`).
    const FILE: u32 = 0o660;
    const DIRECTORY: u32 = 0o2770;

    /// A directory on the way to where the walk is.
    struct Level {
        device: rustix::fs::Dev,
        inode: u64,
        /// Directories in it that are still to be walked.
        names: Vec<CString>,
    }

    /// Gives all files below `root`, and `root` itself, to `group` (kubelet v1.36 `SetVolumeOwnership`). Symbolic links
    /// are given too, but never followed. As in the kubelet, files that cannot be given stay as they are.
    pub(in super::super) fn set_group_of_all(root: &Path, group: u32, policy: GroupChangePolicy) -> io::Result<()> {
        let root = rustix::fs::open(root, READ, Mode::empty())?;
        let stat = rustix::fs::fstat(&root)?;
        if policy == GroupChangePolicy::OnRootMismatch && has_group(&stat, group) {
            return Ok(());
        }
        let group = Gid::from_raw(group);
        // The root comes last, for it is what says that all the others were changed.
        match walk(root.as_fd(), group).and_then(|()| Ok(change_directory(root.as_fd(), group)?)) {
            Err(error) if Errno::from_io_error(&error) == Some(NO_SUCH_GROUP) => Ok(()),
            other => other,
        }
    }

    /// What the kernel says of a group that this process's user namespace lacks. Then no file can be given to it.
    const NO_SUCH_GROUP: Errno = Errno::INVAL;

    const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    /// Kubelet v1.36 `requiresPermissionChange`.
    fn has_group(stat: &Stat, group: u32) -> bool {
        stat.st_gid == group && mode_of(stat) & DIRECTORY == DIRECTORY
    }

    /// Goes through a tree of any depth and breadth with two open directories: the way back up is `..`, which is checked.
    fn walk(root: BorrowedFd<'_>, group: Gid) -> io::Result<()> {
        let mut here = rustix::fs::openat(root, ".", READ, Mode::empty())?;
        let mut way = vec![level(&here, group)?];
        while let Some(last) = way.last_mut() {
            if let Some(name) = last.names.pop() {
                match rustix::fs::openat(&here, &name, READ | OFlags::NOFOLLOW, Mode::empty()) {
                    Ok(next) => {
                        change_directory(next.as_fd(), group)?;
                        way.push(level(&next, group)?);
                        here = next;
                    }
                    // Somebody has replaced it meanwhile, or it is not this user's.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::MLINK | Errno::ACCESS | Errno::PERM) => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            way.pop();
            let Some(parent) = way.last() else { break };
            here = rustix::fs::openat(&here, "..", READ, Mode::empty())?;
            let stat = rustix::fs::fstat(&here)?;
            if (stat.st_dev, stat.st_ino) != (parent.device, parent.inode) {
                return Err(io::Error::other("a directory was moved meanwhile"));
            }
        }
        Ok(())
    }

    /// Gives what lies in a directory to the group, and says which directories there are.
    fn level(directory: &OwnedFd, group: Gid) -> io::Result<Level> {
        let stat = rustix::fs::fstat(directory)?;
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => names.push(name.to_owned()),
                Ok(_) => forgiven(change_file(directory.as_fd(), name, group))?,
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Level { device: stat.st_dev, inode: stat.st_ino, names })
    }

    fn forgiven(changed: rustix::io::Result<()>) -> rustix::io::Result<()> {
        if let Err(error) = changed {
            if error == NO_SUCH_GROUP {
                return Err(error);
            }
            tracing::debug!(%error, "a file of a volume cannot be given to the pod's group");
        }
        Ok(())
    }

    #[expect(clippy::useless_conversion, reason = "the type differs by system")]
    fn mode_of(stat: &Stat) -> u32 {
        u32::from(stat.st_mode) & 0o7777
    }

    fn raw(mode: u32) -> Mode {
        Mode::from_raw_mode(mode as rustix::fs::RawMode)
    }

    fn change_directory(directory: BorrowedFd<'_>, group: Gid) -> rustix::io::Result<()> {
        let change = || {
            let stat = rustix::fs::fstat(directory)?;
            if has_group(&stat, group.as_raw()) {
                return Ok(());
            }
            rustix::fs::fchown(directory, None, Some(group))?;
            rustix::fs::fchmod(directory, raw(mode_of(&stat) | DIRECTORY))
        };
        forgiven(change())
    }

    /// Whatever the name means by now is not followed. Set-user-ID bits, which a change of the group takes away, stay.
    #[cfg(target_os = "linux")]
    fn change_file(directory: BorrowedFd<'_>, name: &std::ffi::CStr, group: Gid) -> rustix::io::Result<()> {
        use std::os::fd::AsRawFd;

        // A handle that may neither be read nor written: opening it has no effect on a device or a FIFO.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let (is_given, mode) = (stat.st_gid == group.as_raw(), mode_of(&stat) | FILE);
        if !is_given {
            rustix::fs::chownat(&file, "", None, Some(group), AtFlags::EMPTY_PATH)?;
        }
        if is_link || is_given && mode == mode_of(&stat) {
            return Ok(());
        }
        // Such a handle is changed by its name in /proc.
        rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), raw(mode))
    }

    #[cfg(not(target_os = "linux"))]
    fn change_file(directory: BorrowedFd<'_>, name: &std::ffi::CStr, group: Gid) -> rustix::io::Result<()> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::chownat(directory, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Ok(());
        }
        rustix::fs::chmodat(directory, name, raw(mode_of(&stat) | FILE), AtFlags::SYMLINK_NOFOLLOW)
    }
}
