//! Paths inside a root that belongs to somebody else: every symbolic link is followed within the root, and nowhere else.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, readlinkat};

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

/// The most symbolic links to nothing that lead to one another.
const MAX_LINKS: usize = 40;

/// A directory or file within `root` to mount something on; made, with all that leads to it, if it is missing. What a
/// symbolic link leads to is made where that is: images have `/etc/resolv.conf` lead to what only a running system has.
pub(super) fn make(root: BorrowedFd<'_>, path: &Path, is_directory: bool) -> io::Result<OwnedFd> {
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    make_behind(root, path, is_directory, MAX_LINKS)
}

fn make_behind(root: BorrowedFd<'_>, path: &Path, is_directory: bool, links: usize) -> io::Result<OwnedFd> {
    let names: Vec<_> =
        path.components().filter(|name| !matches!(name, Component::RootDir | Component::CurDir)).collect();
    let mut reached = PathBuf::new();
    let mut parent = open_in(root, &reached, OFlags::PATH | OFlags::DIRECTORY)?;
    let last = names.len().saturating_sub(1);
    for (index, name) in names.into_iter().enumerate() {
        let name = name.as_os_str();
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
                match made {
                    Ok(()) => open_in(root, &reached, flags)?,
                    Err(rustix::io::Errno::EXIST) => match readlinkat(&parent, name, Vec::new()) {
                        Ok(_) if links == 0 => return Err(rustix::io::Errno::LOOP.into()),
                        Ok(target) => {
                            let above = reached.parent().unwrap_or(Path::new(""));
                            let target = above.join(OsStr::from_bytes(target.to_bytes()));
                            make_behind(root, &target, wants_directory, links - 1)?
                        }
                        // Another container of the pod has made it meanwhile.
                        Err(_) => open_in(root, &reached, flags)?,
                    },
                    Err(errno) => return Err(errno.into()),
                }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_missing_is_made_where_links_lead_within_the_root() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join("root").join(path);
        std::fs::create_dir_all(at("etc")).unwrap();
        symlink("../run/systemd/resolve/stub-resolv.conf", at("etc/resolv.conf")).unwrap();
        symlink("/../../../gone/hosts", at("etc/hosts")).unwrap();
        symlink("/var/data", at("data")).unwrap();
        symlink("around", at("round")).unwrap();
        symlink("round", at("around")).unwrap();
        let root = std::fs::File::open(at("")).unwrap();
        let make = |path: &str, is_directory| make(root.as_fd(), Path::new(path), is_directory).map(drop);
        make("/etc/resolv.conf", false).unwrap();
        assert!(at("run/systemd/resolve/stub-resolv.conf").is_file());
        make("/etc/hosts", false).unwrap();
        assert!(at("gone/hosts").is_file());
        make("/data/a/b", true).unwrap();
        assert!(at("var/data/a/b").is_dir());
        let error = make("/round", false).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing is made outside of the root");
    }
}
