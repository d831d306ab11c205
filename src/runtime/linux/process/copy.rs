//! The root filesystem as a copy of the image's layers, where overlays cannot be mounted: slower, and it takes space, but
//! the container sees the same.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, fchmod, mkdirat, mknodat, openat,
    readlinkat, statat, symlinkat, unlinkat,
};

use super::super::protocol::{Context, Failure};

/// The attribute of directories that hide what is below them, with root and without.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// How deep directories may be nested; no path can be used that is deeper.
const MAX_DEPTH: usize = 2048;

/// Copies layers, the lowest first, into an empty directory.
pub(super) fn layers(layers: &[PathBuf], to: &std::path::Path) -> Result<(), Failure> {
    let what = || "cannot copy the image's layers, which cannot be mounted";
    let open = |path: &std::path::Path| open_directory(CWD, path.as_os_str());
    let to = open(to).context(what)?;
    for layer in layers {
        let from = open(layer).context(what)?;
        copy_directory(from.as_fd(), to.as_fd(), 0).context(|| format!("{} ({})", what(), layer.display()))?;
    }
    Ok(())
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Copies what is in a directory. Nothing is followed: each name is one of the directory's own.
fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let name = OsStr::new(std::str::from_utf8(name.to_bytes()).map_err(io::Error::other)?);
        copy_entry(from, to, name, depth)?;
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr, depth: usize) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
        return remove(to, name);
    }
    if kind != FileType::Directory {
        remove(to, name)?;
    }
    match kind {
        FileType::Directory => {
            let source = open_directory(from, name)?;
            if !is_directory(to, name) || is_opaque(source.as_fd()) {
                remove(to, name)?;
                mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            }
            let target = open_directory(to, name)?;
            copy_directory(source.as_fd(), target.as_fd(), depth + 1)?;
            own(to, name, &stat);
            return Ok(fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777))?);
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => symlinkat(readlinkat(from, name, Vec::new())?, to, name)?,
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
            // Devices cannot be made without root, and do not open in containers anyway.
            if mknodat(to, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev).is_err() {
                return Ok(());
            }
        }
    }
    own(to, name, &stat);
    if kind != FileType::Symlink {
        chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    Ok(())
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
    io::copy(&mut fs::File::from(source), &mut fs::File::from(target)).map(drop)
}

/// Where there is one ID only, everything is that one's.
fn own(directory: BorrowedFd<'_>, name: &OsStr, stat: &Stat) {
    let (user, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let _ = chownat(directory, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW);
}

fn is_directory(parent: BorrowedFd<'_>, name: &OsStr) -> bool {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    OPAQUE.into_iter().any(|attribute| {
        let mut value = [0_u8; 1];
        rustix::fs::fgetxattr(directory, attribute, &mut value[..]).is_ok_and(|_| value == *b"y")
    })
}

/// Removes a file or a whole directory, if it is there.
fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    if is_directory(parent, name) {
        let directory = open_directory(parent, name)?;
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                let name = std::str::from_utf8(entry.file_name().to_bytes()).map_err(io::Error::other)?;
                remove(directory.as_fd(), OsStr::new(name))?;
            }
        }
        return Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?);
    }
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        result => Ok(result?),
    }
}
