//! A directory that a layer is unpacked to, with the layers below for what it refers to there. Every file is reached
//! through a directory that the kernel has opened beneath the target without following a symlink (`openat2` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`) and a name without slashes: so whatever an archive says, nothing outside
//! is touched.
//!
//! Symlinks on the way to an entry are followed here, component by component and as if the target were the root, as they
//! would be in a container of the image.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags, fgetxattr, fsetxattr, mkdirat, openat2,
    readlinkat, statat, unlinkat,
};
use rustix::io::Errno;

use super::UnpackError;

/// Longest path and name.
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// Most symlinks followed on the way to one entry.
const MAX_SYMLINKS: usize = 40;
/// What hides all that lower layers have in a directory, for overlayfs mounted with `userxattr`.
const OPAQUE: &CStr = c"user.overlay.opaque";

/// A path of plain names; empty for the root.
pub(super) type Names = Vec<Box<[u8]>>;

/// The target and what is below it, the uppermost first.
pub(super) struct Confined {
    target: OwnedFd,
    below: Vec<OwnedFd>,
    /// The directory opened last, for entries mostly follow others of the same directory.
    last: Option<(Names, OwnedFd)>,
}

/// What a name is in a layer.
enum Found {
    Nothing,
    /// Not in this layer, nor in any below it.
    Hidden,
    Directory(Box<Stat>),
    Symlink(Vec<u8>),
    Other,
}

/// Splits a name of an archive: leading slashes and `.` are dropped, `..` is refused.
pub(super) fn names(path: &[u8]) -> Result<Names, UnpackError> {
    let bad = || UnpackError::BadName(String::from_utf8_lossy(&path[..path.len().min(MAX_NAME)]).into_owned());
    if path.len() > MAX_PATH {
        return Err(bad());
    }
    let mut names = Names::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(bad()),
            name if name.len() > MAX_NAME || name.contains(&0) => return Err(bad()),
            name => names.push(name.into()),
        }
    }
    Ok(names)
}

/// How a path is shown.
pub(super) fn shown(names: &[Box<[u8]>]) -> String {
    names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join("/")
}

impl Confined {
    /// `below` has the layers below, the lowest first.
    pub(super) fn new(target: &Path, below: &[impl AsRef<Path>]) -> std::io::Result<Self> {
        let below = below.iter().rev().map(|path| File::open(path).map(OwnedFd::from)).collect::<Result<_, _>>()?;
        Ok(Self { target: File::open(target)?.into(), below, last: None })
    }

    /// Whether there are layers below.
    pub(super) fn has_below(&self) -> bool {
        !self.below.is_empty()
    }

    /// The directory of the target in which `path` is to be, and its name there. Directories on the way are made if
    /// they are missing, as they are in the layers below. `None` for the root itself.
    pub(super) fn parent<'a>(&mut self, path: &'a [Box<[u8]>]) -> Result<Option<(&OwnedFd, &'a [u8])>, UnpackError> {
        let Some((name, parent)) = path.split_last() else { return Ok(None) };
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let directory = self.directory(parent)?;
            self.last = Some((parent.to_vec(), directory));
        }
        Ok(self.last.as_ref().map(|(_, directory)| (directory, &**name)))
    }

    /// Forgets what was opened, because names have changed what they stand for.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Opens a directory of the target, following symlinks as inside a container and making what is missing.
    pub(super) fn directory(&self, path: &[Box<[u8]>]) -> Result<OwnedFd, UnpackError> {
        let resolved = self.resolve(path)?;
        open_beneath(self.target.as_fd(), &resolved).map_err(|error| failed(path, error))
    }

    /// The path without symlinks of a directory, which is there in the target then.
    fn resolve(&self, path: &[Box<[u8]>]) -> Result<Names, UnpackError> {
        let mut waiting: VecDeque<Box<[u8]>> = path.iter().cloned().collect();
        let mut resolved = Names::new();
        let mut symlinks = 0;
        while let Some(name) = waiting.pop_front() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    resolved.pop();
                    continue;
                }
                _ => {}
            }
            let at = open_beneath(self.target.as_fd(), &resolved).map_err(|error| failed(path, error))?;
            let in_target = look(at.as_fd(), &name, false).map_err(|error| failed(path, error))?;
            let found = match in_target {
                Found::Nothing => self.look_below(&resolved, &name, at.as_fd()).map_err(|error| failed(path, error))?,
                Found::Hidden => {
                    // It was removed, and something new is to be there.
                    unlinkat(&at, &*name, AtFlags::empty()).map_err(|error| failed(path, error))?;
                    make(at.as_fd(), &name, None, true).map_err(|error| failed(path, error))?;
                    resolved.push(name);
                    continue;
                }
                Found::Directory(_) => {
                    resolved.push(name);
                    continue;
                }
                found => found,
            };
            match found {
                Found::Nothing | Found::Hidden => make(at.as_fd(), &name, None, false),
                Found::Directory(stat) => make(at.as_fd(), &name, Some(&stat), false),
                Found::Symlink(target) => {
                    symlinks += 1;
                    if symlinks > MAX_SYMLINKS || target.len() > MAX_PATH {
                        return Err(UnpackError::Loop(shown(path)));
                    }
                    if target.starts_with(b"/") {
                        resolved.clear();
                    }
                    for name in target.split(|byte| *byte == b'/').rev() {
                        waiting.push_front(name.into());
                    }
                    continue;
                }
                Found::Other => return Err(UnpackError::NotDirectory(shown(path))),
            }
            .map_err(|error| failed(path, error))?;
            resolved.push(name);
        }
        Ok(resolved)
    }

    /// What a name is in the layers below, at a path without symlinks.
    fn look_below(&self, parent: &[Box<[u8]>], name: &[u8], at: BorrowedFd<'_>) -> Result<Found, Errno> {
        if is_opaque(at) {
            return Ok(Found::Hidden);
        }
        for layer in &self.below {
            let directory = match open_beneath(layer.as_fd(), parent) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => continue,
                // Something else is there, which hides what is below it.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Found::Hidden),
                Err(error) => return Err(error),
            };
            match look(directory.as_fd(), name, true)? {
                Found::Nothing if is_opaque(directory.as_fd()) => return Ok(Found::Hidden),
                Found::Nothing => {}
                found => return Ok(found),
            }
        }
        Ok(Found::Nothing)
    }

    /// Opens a file of the layers below that is no directory and no symlink, for reading.
    pub(super) fn file_below(&self, path: &[Box<[u8]>]) -> Result<Option<(File, Stat)>, UnpackError> {
        let Some((name, parent)) = path.split_last() else { return Ok(None) };
        let resolved = self.resolve(parent)?;
        let at = open_beneath(self.target.as_fd(), &resolved).map_err(|error| failed(path, error))?;
        if !matches!(self.look_below(&resolved, name, at.as_fd()).map_err(|error| failed(path, error))?, Found::Other) {
            return Ok(None);
        }
        for layer in &self.below {
            let Ok(directory) = open_beneath(layer.as_fd(), &resolved) else { continue };
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let opened = match rustix::fs::openat(&directory, &**name, flags, Mode::empty()) {
                Err(Errno::NOENT) => continue,
                opened => opened.map_err(|error| failed(path, error))?,
            };
            let stat = rustix::fs::fstat(&opened).map_err(|error| failed(path, error))?;
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            return Ok(is_file.then(|| (File::from(opened), stat)));
        }
        Ok(None)
    }
}

/// Opens a directory beneath another, by names only.
fn open_beneath(root: BorrowedFd<'_>, path: &[Box<[u8]>]) -> Result<OwnedFd, Errno> {
    let joined = if path.is_empty() { b".".to_vec() } else { path.join(&b'/') };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, joined.as_slice(), flags, Mode::empty(), resolve)
}

/// What a name is in a directory of one layer.
fn look(directory: BorrowedFd<'_>, name: &[u8], below: bool) -> Result<Found, Errno> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        stat => stat?,
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Directory(Box::new(stat)),
        FileType::Symlink => Found::Symlink(readlinkat(directory, name, Vec::new())?.into_bytes()),
        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Hidden,
        _ if below || stat.st_rdev != 0 => Found::Other,
        _ => Found::Other,
    })
}

/// Makes a directory for what is to be in it, like that of a layer below if there is one.
fn make(at: BorrowedFd<'_>, name: &[u8], like: Option<&Stat>, opaque: bool) -> Result<(), Errno> {
    mkdirat(at, name, Mode::from_raw_mode(0o755))?;
    let directory = open_beneath(at, &[name.into()])?;
    let mode = like.map_or(0o755, |stat| stat.st_mode & 0o7777);
    if let Some(stat) = like {
        let owner = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
        rustix::fs::fchown(&directory, Some(owner.0), Some(owner.1))?;
    }
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode | 0o700))?;
    if opaque { set_opaque(directory.as_fd()) } else { Ok(()) }
}

/// Hides what layers below have in a directory.
pub(super) fn set_opaque(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0; 1];
    fgetxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| length == 1 && value[0] == b'y')
}

pub(super) fn failed(path: &[Box<[u8]>], error: Errno) -> UnpackError {
    UnpackError::Write { path: shown(path), error: error.into() }
}
