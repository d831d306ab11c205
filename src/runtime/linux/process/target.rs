//! Paths inside a root that belongs to somebody else: every symbolic link is followed within the root, and nowhere else.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};

/// Opens a path within `root`, as a process would for which `root` is `/`.
pub(super) fn open_in(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed meanwhile, and the kernel could not rule out that the path leads out of the root.
            Err(rustix::io::Errno::AGAIN) => {}
            result => return Ok(result?),
        }
    }
}

/// Opens a path within `root` that has no symbolic links, for what is mounted where no image may redirect it.
pub(super) fn open_plain(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    Ok(openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Opens a path below `directory`, which no symbolic link may lead out of.
pub(super) fn open_beneath(directory: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // As above. It was a container's doing, which may go on, but does not win every time.
            Err(rustix::io::Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// A directory or file within `root` to mount something on; made, with all that leads to it, if it is missing.
pub(super) fn make(root: BorrowedFd<'_>, path: &Path, is_directory: bool) -> io::Result<OwnedFd> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    let mut reached = PathBuf::new();
    let mut parent = open_in(root, &reached, OFlags::PATH | OFlags::DIRECTORY)?;
    let last = names.len().saturating_sub(1);
    for (index, name) in names.into_iter().enumerate() {
        reached.push(name);
        let wants_directory = index < last || is_directory;
        let flags = if wants_directory { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::PATH };
        let opened = match open_in(root, &reached, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = if wants_directory {
                    mkdirat(&parent, name, Mode::from_raw_mode(0o755))
                } else {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
                };
                // Another container of the pod may have made it meanwhile.
                if !matches!(made, Err(rustix::io::Errno::EXIST)) {
                    made?;
                }
                open_in(root, &reached, flags)?
            }
            opened => opened?,
        };
        parent = opened;
    }
    Ok(parent)
}

/// Whether two are open on the same file.
pub(super) fn is_same(one: &impl AsFd, other: &impl AsFd) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// What kind of file an open one is.
pub(super) fn kind(file: &impl AsFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode))
}
