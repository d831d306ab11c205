//! Applying the entries of one layer to a directory, so that overlayfs can stack it: whiteouts become what overlayfs
//! takes for them, everything else becomes what it says. Device nodes are left out, and counted: a container has its own
//! `/dev`, and a device in an image would be a way around it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::EntryType;

use super::confined::{Confined, Names, failed, names, set_opaque, shown};
use super::ownership::Ownership;
use super::{Limits, Report, UnpackError};
use crate::image::archive::{Archive, ArchiveError, Entry};

/// Marks the removal of what follows it in the name (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";
/// Hides all that lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names that start so are notes of union filesystems to themselves.
const WHITEOUT_NOTE: &[u8] = b".wh..wh.";
/// How much of a file is copied at once.
const CHUNK: usize = 256 * 1024;
/// The smallest run of zeros that becomes a hole.
const HOLE: usize = 4096;
/// Times that every filesystem takes.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 34) - 1;

/// One layer on its way to a directory.
pub(super) struct LayerWriter<'a> {
    confined: Confined,
    ownership: &'a Ownership,
    limits: Limits,
    report: Report,
    /// Directories whose modes and times are set at the end, when nothing is put into them any more.
    directories: Vec<(Names, Mode, Timestamps)>,
    /// Whether the mode of a directory binds this process.
    bound_by_modes: bool,
    buffer: Vec<u8>,
}

impl<'a> LayerWriter<'a> {
    /// To `target`, over the directories `below`, the lowest first.
    pub(super) fn new(
        target: &Path,
        below: &[impl AsRef<Path>],
        ownership: &'a Ownership,
        limits: Limits,
    ) -> Result<Self, UnpackError> {
        let confined = Confined::new(target, below);
        let confined = confined.map_err(|error| UnpackError::Write { path: target.display().to_string(), error })?;
        Ok(Self {
            confined,
            ownership,
            limits,
            report: Report::default(),
            directories: Vec::new(),
            bound_by_modes: !rustix::process::geteuid().is_root(),
            buffer: vec![0; CHUNK],
        })
    }

    /// Applies all entries.
    pub(super) fn apply<R: Read>(mut self, archive: &mut Archive<R>) -> Result<Report, UnpackError> {
        while let Some(entry) = archive.next_entry()? {
            self.report.entries += 1;
            if self.report.entries > self.limits.entries {
                return Err(UnpackError::TooManyEntries(self.limits.entries));
            }
            self.entry(archive, &entry)?;
        }
        self.finish_directories()?;
        Ok(self.report)
    }

    fn entry<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<(), UnpackError> {
        let mut path = names(&entry.path)?;
        let name = path.last().cloned().unwrap_or_default();
        if &*name == OPAQUE {
            path.pop();
            return self.opaque(&path);
        }
        if name.starts_with(WHITEOUT_NOTE) {
            return Ok(());
        }
        if let Some(removed) = name.strip_prefix(WHITEOUT) {
            if matches!(removed, b"" | b"." | b"..") {
                return Err(UnpackError::BadName(shown(&path)));
            }
            if let Some(last) = path.last_mut() {
                *last = removed.into();
            }
            return self.whiteout(&path);
        }
        match entry.kind {
            EntryType::Directory => self.make_directory(&path, entry),
            // Old archives mark a directory by the slash alone.
            EntryType::Regular | EntryType::Continuous if entry.path.ends_with(b"/") => {
                self.make_directory(&path, entry)
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(archive, &path, entry),
            EntryType::Symlink => self.symlink(&path, entry),
            EntryType::Link => self.hard_link(&path, entry),
            EntryType::Fifo => self.fifo(&path, entry),
            EntryType::Block | EntryType::Char => {
                self.report.devices += 1;
                Ok(())
            }
            // Types of no meaning to a filesystem.
            _ => Ok(()),
        }
    }

    /// Where an entry is to be; what is there already is removed, unless it is a directory that stays. Whether one is
    /// there, and whether a whiteout was.
    fn make_room(&mut self, path: &[Box<[u8]>], keep_directory: bool) -> Result<(bool, bool), UnpackError> {
        let Some((parent, name)) = self.confined.parent(path)? else {
            return if keep_directory { Ok((true, false)) } else { Err(UnpackError::BadName("/".to_owned())) };
        };
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok((false, false)),
            stat => stat.map_err(|error| failed(path, error))?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            if keep_directory {
                return Ok((true, false));
            }
            remove_tree(parent, name).map_err(|error| failed(path, error))?;
            self.confined.forget();
            return Ok((false, false));
        }
        unlinkat(parent, name, AtFlags::empty()).map_err(|error| failed(path, error))?;
        if kind == FileType::Symlink {
            self.confined.forget();
        }
        Ok((false, kind == FileType::CharacterDevice))
    }

    fn at<'b>(&mut self, path: &'b [Box<[u8]>]) -> Result<(&OwnedFd, &'b [u8]), UnpackError> {
        self.confined.parent(path)?.ok_or_else(|| UnpackError::BadName("/".to_owned()))
    }

    /// Removes a name of the layers below. What this layer itself has there stays, for whiteouts are about lower layers,
    /// wherever in the archive they are; but it is not merged with what is below.
    fn whiteout(&mut self, path: &[Box<[u8]>]) -> Result<(), UnpackError> {
        if !self.confined.has_below() {
            return Ok(());
        }
        let (parent, name) = self.at(path)?;
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|error| UnpackError::Whiteout { path: shown(path), error: error.into() }),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => self.opaque(path),
            Ok(_) => Ok(()),
            Err(error) => Err(failed(path, error)),
        }
    }

    fn opaque(&mut self, path: &[Box<[u8]>]) -> Result<(), UnpackError> {
        if !self.confined.has_below() {
            return Ok(());
        }
        let directory = self.confined.directory(path)?;
        set_opaque(directory.as_fd()).map_err(|error| UnpackError::Whiteout { path: shown(path), error: error.into() })
    }

    fn make_directory(&mut self, path: &[Box<[u8]>], entry: &Entry) -> Result<(), UnpackError> {
        let (exists, removed) = self.make_room(path, true)?;
        if !exists {
            let (parent, name) = self.at(path)?;
            mkdirat(parent, name, Mode::RWXU).map_err(|error| failed(path, error))?;
            if removed {
                self.opaque(path)?;
            }
        }
        let directory = match self.confined.parent(path)? {
            None => self.confined.directory(path)?,
            Some((parent, name)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                openat(parent, name, flags, Mode::empty()).map_err(|error| failed(path, error))?
            }
        };
        let ((uid, gid), _) = self.owner(entry);
        give(&directory, uid, gid, self.ownership).map_err(|error| failed(path, error))?;
        self.xattrs(&directory, entry);
        let mode = entry.mode & 0o7777 | if self.bound_by_modes { 0o700 } else { 0 };
        self.directories.push((path.to_vec(), Mode::from_raw_mode(mode), times(entry)));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        path: &[Box<[u8]>],
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        self.make_room(path, false)?;
        self.report.bytes = self.report.bytes.saturating_add(entry.size);
        if self.report.bytes > self.limits.bytes {
            return Err(UnpackError::TooLarge(self.limits.bytes));
        }
        let (parent, name) = self.at(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file =
            File::from(openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(path, error))?);
        let whole = [(0, entry.size)];
        for (offset, length) in entry.pieces.as_deref().unwrap_or(&whole) {
            copy(archive, &mut file, (*offset, *length), &mut self.buffer).map_err(|error| error.of(path))?;
        }
        let sized = file.set_len(entry.size);
        sized.map_err(|error| UnpackError::Write { path: shown(path), error })?;
        self.attributes(&file.into(), path, entry)
    }

    /// Owner, extended attributes, mode and time, in this order: giving a file away clears bits of its mode.
    fn attributes(&mut self, file: &OwnedFd, path: &[Box<[u8]>], entry: &Entry) -> Result<(), UnpackError> {
        let ((uid, gid), _) = self.owner(entry);
        give(file, uid, gid, self.ownership).map_err(|error| failed(path, error))?;
        self.xattrs(file, entry);
        let mode = entry.mode & 0o7777 | if self.bound_by_modes { 0o400 } else { 0 };
        fchmod(file, Mode::from_raw_mode(mode)).map_err(|error| failed(path, error))?;
        futimens(file, &times(entry)).map_err(|error| failed(path, error))
    }

    fn symlink(&mut self, path: &[Box<[u8]>], entry: &Entry) -> Result<(), UnpackError> {
        if entry.link.is_empty() || entry.link.len() > 4095 || entry.link.contains(&0) {
            return Err(UnpackError::BadName(shown(path)));
        }
        self.make_room(path, false)?;
        let ((uid, gid), _) = self.owner(entry);
        let can_give = self.ownership.can_give();
        let (parent, name) = self.at(path)?;
        let made = symlinkat(entry.link.as_slice(), parent, name).and_then(|()| {
            if can_give {
                chownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
        });
        made.map_err(|error| failed(path, error))?;
        self.confined.forget();
        Ok(())
    }

    fn fifo(&mut self, path: &[Box<[u8]>], entry: &Entry) -> Result<(), UnpackError> {
        self.make_room(path, false)?;
        let ((uid, gid), _) = self.owner(entry);
        let can_give = self.ownership.can_give();
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let (parent, name) = self.at(path)?;
        let made = mknodat(parent, name, FileType::Fifo, mode, 0).and_then(|()| {
            if can_give {
                chownat(parent, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(())
        });
        made.map_err(|error| failed(path, error))
    }

    /// Another name for a file of this layer; or of one below, which is copied up as overlayfs itself would do.
    fn hard_link(&mut self, path: &[Box<[u8]>], entry: &Entry) -> Result<(), UnpackError> {
        let target = names(&entry.link)?;
        let bad = || UnpackError::BadLink { path: shown(path), target: shown(&target) };
        let Some((target_name, target_parent)) = target.split_last() else { return Err(bad()) };
        if target == path {
            return Err(bad());
        }
        let mut directory = self.confined.directory(target_parent)?;
        match statat(&directory, &**target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if stat.st_rdev == 0 && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice => {
                return Err(bad());
            }
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => return Err(bad()),
            Ok(_) => {}
            Err(Errno::NOENT) => {
                if !self.copy_up(&target)? {
                    return Err(bad());
                }
            }
            Err(error) => return Err(failed(path, error)),
        }
        self.make_room(path, false)?;
        // Making room may have removed a directory that the target was in.
        directory = self.confined.directory(target_parent).unwrap_or(directory);
        let (parent, name) = self.at(path)?;
        linkat(&directory, &**target_name, parent, name, AtFlags::empty()).map_err(|error| match error {
            Errno::NOENT => bad(),
            error => failed(path, error),
        })
    }

    fn copy_up(&mut self, path: &[Box<[u8]>]) -> Result<bool, UnpackError> {
        let Some((mut source, stat)) = self.confined.file_below(path)? else { return Ok(false) };
        self.report.bytes = self.report.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(u64::MAX));
        if self.report.bytes > self.limits.bytes {
            return Err(UnpackError::TooLarge(self.limits.bytes));
        }
        let (parent, name) = self.at(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed(path, error))?;
        let mut file = File::from(file);
        let copied = std::io::copy(&mut source, &mut file);
        copied.map_err(|error| UnpackError::Write { path: shown(path), error })?;
        let file = OwnedFd::from(file);
        let modified = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
        give(&file, stat.st_uid, stat.st_gid, self.ownership)
            .and_then(|()| fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777)))
            .and_then(|()| futimens(&file, &Timestamps { last_access: modified, last_modification: modified }))
            .map_err(|error| failed(path, error))?;
        Ok(true)
    }

    fn owner(&mut self, entry: &Entry) -> ((u32, u32), bool) {
        let (owner, kept) = self.ownership.of(entry.uid, entry.gid);
        self.report.squashed += usize::from(!kept);
        (owner, kept)
    }

    /// Sets what an image may set. Those that overlayfs and the kernel trust are not an image's to set, and what the
    /// filesystem does not take is left out, and counted.
    fn xattrs(&mut self, file: &OwnedFd, entry: &Entry) {
        for (name, value) in &entry.xattrs {
            let allowed =
                name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") || name == b"security.capability";
            if !allowed || fsetxattr(file, name.as_slice(), value, XattrFlags::empty()).is_err() {
                self.report.attributes += 1;
            }
        }
    }

    fn finish_directories(&mut self) -> Result<(), UnpackError> {
        // From the deepest, whose changes would touch the times of those above.
        let directories = std::mem::take(&mut self.directories);
        for (path, mode, times) in directories.into_iter().rev() {
            let directory = match self.existing(&path)? {
                Some(directory) => directory,
                // Replaced by something else later in the archive.
                None => continue,
            };
            fchmod(&directory, mode).map_err(|error| failed(&path, error))?;
            futimens(&directory, &times).map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }

    fn existing(&mut self, path: &[Box<[u8]>]) -> Result<Option<OwnedFd>, UnpackError> {
        let Some((parent, name)) = self.confined.parent(path)? else { return self.confined.directory(path).map(Some) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, name, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(error) => Err(failed(path, error)),
        }
    }
}

fn times(entry: &Entry) -> Timestamps {
    let (seconds, nanoseconds) = entry.modified;
    let modified = Timespec { tv_sec: seconds.clamp(*TIMES.start(), *TIMES.end()), tv_nsec: nanoseconds as _ };
    Timestamps { last_access: modified, last_modification: modified }
}

/// Gives a file away, if that can be done here at all.
fn give(file: &OwnedFd, uid: u32, gid: u32, ownership: &Ownership) -> Result<(), Errno> {
    if ownership.can_give() { fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))) } else { Ok(()) }
}

enum CopyError {
    Archive(ArchiveError),
    File(std::io::Error),
}

impl CopyError {
    fn of(self, path: &[Box<[u8]>]) -> UnpackError {
        match self {
            Self::Archive(error) => error.into(),
            Self::File(error) => UnpackError::Write { path: shown(path), error },
        }
    }
}

/// Copies data of an entry to a place in a file. Long runs of zeros become holes.
fn copy<R: Read>(
    archive: &mut Archive<R>,
    file: &mut File,
    (offset, mut left): (u64, u64),
    buffer: &mut [u8],
) -> Result<(), CopyError> {
    file.seek(SeekFrom::Start(offset)).map_err(CopyError::File)?;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = archive.read_data(&mut buffer[..wanted]).map_err(CopyError::Archive)?;
        if count == 0 {
            return Err(CopyError::Archive(ArchiveError::Truncated));
        }
        for block in buffer[..count].chunks(HOLE) {
            let written = if block.len() == HOLE && block.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(HOLE as i64)).map(|_| ())
            } else {
                file.write_all(block)
            };
            written.map_err(CopyError::File)?;
        }
        left -= count as u64;
    }
    Ok(())
}

/// Removes what is at a name of a directory, and all that is in it, without following symlinks.
fn remove_tree(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Depth is bounded by the longest path that an entry may have.
    let mut open = vec![(openat(parent, name, flags, Mode::empty())?, name.to_vec())];
    while let Some((directory, _)) = open.last() {
        let mut inner = None;
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let child = entry.file_name().to_bytes();
            if matches!(child, b"." | b"..") {
                continue;
            }
            match unlinkat(directory, child, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    inner = Some((openat(directory, child, flags, Mode::empty())?, child.to_vec()));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        match inner {
            Some(inner) => open.push(inner),
            None => {
                let Some((_, name)) = open.pop() else { break };
                let above = open.last().map_or(parent, |(directory, _)| directory);
                unlinkat(above, name.as_slice(), AtFlags::REMOVEDIR)?;
            }
        }
    }
    Ok(())
}
