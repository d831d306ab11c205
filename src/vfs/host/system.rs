//! The system calls behind a host directory. Every `name` is a single component relative to an open directory and is
//! never followed; systems without these calls go through `cap-std`, which gives the same with more of them.

use std::fs;
use std::io;

use cap_std::fs::Dir;

use super::super::{DirEntry, Errno, FileKind, OpenOptions, SetTime, Stat};

#[cfg(not(unix))]
pub(in super::super) use self::portable::*;
#[cfg(unix)]
pub(in super::super) use self::unix::*;

/// What a name led to on the way to another.
pub(super) enum HostEntered {
    Directory(Dir),
    Symlink(String),
}

/// What opening a name gave.
pub(super) enum HostOpened {
    Directory(Dir),
    File(fs::File, FileKind),
    Symlink(String),
}

pub(super) fn read_link(directory: &Dir, name: &str) -> Result<String, Errno> {
    let target = directory.read_link_contents(name)?;
    target.into_os_string().into_string().map_err(|_| Errno::IllegalSequence)
}

#[cfg(unix)]
mod unix {
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

    use super::*;

    /// A directory handle is only walked from: where there is such a thing, reading it needs no permission.
    #[cfg(target_os = "linux")]
    const WALK: OFlags = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    const WALK: OFlags = OFlags::RDONLY;

    pub(in super::super::super) fn read_file_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    pub(in super::super::super) fn write_file_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    pub(in super::super) fn enter(directory: &Dir, name: &str) -> Result<HostEntered, Errno> {
        let flags = WALK | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(opened) => Ok(HostEntered::Directory(Dir::from_std_file(opened.into()))),
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP | rustix::io::Errno::MLINK) => {
                match read_link(directory, name) {
                    Ok(target) => Ok(HostEntered::Symlink(target)),
                    Err(Errno::Invalid) => Err(Errno::NotDirectory),
                    Err(errno) => Err(errno),
                }
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Never waits for the other end of a FIFO, never takes a terminal as its own.
    fn flags(options: OpenOptions) -> OFlags {
        let mut flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        flags |= match (options.read, options.write) {
            (_, false) => OFlags::RDONLY,
            (false, true) => OFlags::WRONLY,
            (true, true) => OFlags::RDWR,
        };
        flags.set(OFlags::CREATE, options.create);
        flags.set(OFlags::EXCL, options.create && options.exclusive);
        flags.set(OFlags::TRUNC, options.truncate);
        flags
    }

    fn opened(opened: OwnedFd) -> Result<HostOpened, Errno> {
        let kind = kind_of(&rustix::fs::fstat(&opened)?);
        Ok(match kind {
            FileKind::Directory => HostOpened::Directory(Dir::from_std_file(opened.into())),
            kind => HostOpened::File(opened.into(), kind),
        })
    }

    pub(in super::super) fn open(directory: &Dir, name: &str, options: OpenOptions) -> Result<HostOpened, Errno> {
        let mode = Mode::from_raw_mode(settable(FileType::RegularFile, options.mode));
        if options.create {
            // Only a file that is new gets its mode here.
            let flags = flags(options) | OFlags::EXCL | OFlags::NOFOLLOW;
            match rustix::fs::openat(directory, name, flags, mode) {
                Ok(made) => return new_file(made, mode),
                Err(rustix::io::Errno::EXIST) if !options.exclusive => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        match rustix::fs::openat(directory, name, flags(options) | OFlags::NOFOLLOW, mode) {
            Ok(file) => opened(file),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::MLINK) => {
                Ok(HostOpened::Symlink(read_link(directory, name)?))
            }
            // A directory does not open for writing; what to say of that is not decided here.
            Err(rustix::io::Errno::ISDIR) => match enter(directory, name)? {
                HostEntered::Directory(directory) => Ok(HostOpened::Directory(directory)),
                HostEntered::Symlink(target) => Ok(HostOpened::Symlink(target)),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    /// A file that was just made, with the mode it was to have.
    fn new_file(made: OwnedFd, mode: Mode) -> Result<HostOpened, Errno> {
        if Mode::from_raw_mode(rustix::fs::fstat(&made)?.st_mode) != mode {
            rustix::fs::fchmod(&made, mode)?;
        }
        Ok(HostOpened::File(made.into(), FileKind::Regular))
    }

    /// Opens several components in one call. The kernel follows relative symlinks that stay beneath `directory`, as
    /// a walk would; for anything else (and on kernels before 5.6) the walk goes step by step.
    #[cfg(target_os = "linux")]
    fn beneath(directory: &Dir, path: &str, flags: OFlags, mode: Mode) -> Option<Result<OwnedFd, Errno>> {
        use rustix::fs::ResolveFlags;
        use rustix::io::Errno as Host;

        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(directory, path, flags, mode, resolve) {
            Ok(opened) => Some(Ok(opened)),
            Err(errno @ (Host::NOENT | Host::NOTDIR | Host::EXIST | Host::NOSPC | Host::ACCESS | Host::ROFS)) => {
                Some(Err(errno.into()))
            }
            Err(_) => None,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn beneath(_directory: &Dir, _path: &str, _flags: OFlags, _mode: Mode) -> Option<Result<OwnedFd, Errno>> {
        None
    }

    pub(in super::super) fn open_beneath(
        directory: &Dir,
        path: &str,
        options: OpenOptions,
    ) -> Option<Result<HostOpened, Errno>> {
        let mut flags = flags(options);
        flags.set(OFlags::NOFOLLOW, !options.follow);
        if options.create {
            let mode = Mode::from_raw_mode(settable(FileType::RegularFile, options.mode));
            match beneath(directory, path, flags | OFlags::EXCL, mode)? {
                Ok(made) => return Some(new_file(made, mode)),
                Err(Errno::Exist) if !options.exclusive => {}
                Err(errno) => return Some(Err(errno)),
            }
            flags -= OFlags::CREATE;
        }
        match beneath(directory, path, flags, Mode::empty())? {
            // What is to be made lies at the end of a symlink.
            Err(Errno::NotFound) if options.create => None,
            found => Some(found.and_then(opened)),
        }
    }

    pub(in super::super) fn stat_beneath(directory: &Dir, path: &str, follow: bool) -> Option<Result<Stat, Errno>> {
        let mut flags = WALK | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow);
        let opened = beneath(directory, path, flags, Mode::empty())?;
        Some(opened.and_then(|opened| Ok(stat(&rustix::fs::fstat(&opened)?))))
    }

    /// Whether a file that is open for reading can be opened for writing later, whatever its name is then.
    pub(in super::super) const REOPENS: bool = cfg!(target_os = "linux");

    /// Opens a file that is to be mounted alone. Where it can't be opened again, for writing too if that is allowed.
    pub(in super::super) fn open_for_mount(path: &Path) -> io::Result<(fs::File, FileKind)> {
        let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let open = |access| rustix::fs::open(path, flags | access, Mode::empty());
        let is_regular = rustix::fs::stat(path).is_ok_and(|stat| kind_of(&stat) == FileKind::Regular);
        let both = if REOPENS && is_regular { Err(rustix::io::Errno::ACCESS) } else { open(OFlags::RDWR) };
        // A socket only has a name.
        let file = both.or_else(|_| open(OFlags::RDONLY)).or_else(|_| open(WALK))?;
        let kind = kind_of(&rustix::fs::fstat(&file)?);
        Ok((file.into(), kind))
    }

    /// A handle of `name` for which it need be neither readable nor writable, where there is such a thing.
    pub(in super::super) fn open_handle(directory: &Dir, name: &str) -> Result<HostOpened, Errno> {
        let handle = rustix::fs::openat(
            directory,
            name,
            WALK | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        match kind_of(&rustix::fs::fstat(&handle)?) {
            FileKind::Symlink => Ok(HostOpened::Symlink(read_link(directory, name)?)),
            _ => opened(handle),
        }
    }

    /// Opens the file behind a handle once more, only for what is asked for.
    pub(in super::super) fn reopen(file: &fs::File, options: OpenOptions) -> Result<fs::File, Errno> {
        let access = OpenOptions { read: options.read, write: options.write, ..OpenOptions::default() };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok(rustix::fs::open(path, flags(access), Mode::empty())?.into())
    }

    fn kind_of(stat: &rustix::fs::Stat) -> FileKind {
        kind(FileType::from_raw_mode(stat.st_mode))
    }

    fn kind(of: FileType) -> FileKind {
        match of {
            FileType::RegularFile => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::Fifo | FileType::Socket | FileType::BlockDevice | FileType::Unknown => FileKind::Other,
        }
    }

    #[expect(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the fields' types differ by system")]
    fn stat(stat: &rustix::fs::Stat) -> Stat {
        Stat {
            kind: kind_of(stat),
            device: stat.st_dev as u64,
            inode: stat.st_ino.into(),
            links: stat.st_nlink.into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: u32::from(stat.st_mode) & 0o7777,
            accessed: time(stat.st_atime as i64, stat.st_atime_nsec as u32),
            modified: time(stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: time(stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }

    fn time(seconds: i64, nanoseconds: u32) -> SystemTime {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let whole = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
        whole.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into()))).unwrap_or(UNIX_EPOCH)
    }

    pub(in super::super) fn stat_file(file: &fs::File) -> Result<Stat, Errno> {
        Ok(stat(&rustix::fs::fstat(file)?))
    }

    pub(in super::super) fn stat_directory(directory: &Dir) -> Result<Stat, Errno> {
        Ok(stat(&rustix::fs::fstat(directory)?))
    }

    pub(in super::super) fn stat_at(directory: &Dir, name: &str) -> Result<Stat, Errno> {
        Ok(stat(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn timespec(time: SetTime) -> Timespec {
        let at = match time {
            SetTime::Keep => return Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            SetTime::Now => return Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            SetTime::At(at) => at,
        };
        match at.duration_since(UNIX_EPOCH) {
            Ok(since) => Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: since.subsec_nanos().into(),
            },
            Err(before) => {
                let before = before.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Timespec { tv_sec: -seconds, tv_nsec: 0 },
                    nanoseconds => {
                        Timespec { tv_sec: (-seconds).saturating_sub(1), tv_nsec: (1_000_000_000 - nanoseconds).into() }
                    }
                }
            }
        }
    }

    fn timestamps(accessed: SetTime, modified: SetTime) -> Timestamps {
        Timestamps { last_access: timespec(accessed), last_modification: timespec(modified) }
    }

    pub(in super::super) fn set_times_at(
        directory: &Dir,
        name: &str,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<(), Errno> {
        let times = timestamps(accessed, modified);
        Ok(rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(in super::super) fn set_file_times(file: &fs::File, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        Ok(rustix::fs::futimens(file, &timestamps(accessed, modified))?)
    }

    pub(in super::super) fn create_dir(directory: &Dir, name: &str, mode: u32) -> Result<(), Errno> {
        let asked = Mode::from_raw_mode(settable(FileType::Directory, mode));
        rustix::fs::mkdirat(directory, name, asked)?;
        let made = Mode::from_raw_mode(rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        // Set-group-ID comes from the directory it is made in.
        let inherited = made & Mode::SGID;
        if made == asked | inherited {
            return Ok(());
        }
        set_mode_at(directory, name, if inherited.is_empty() { mode } else { mode | 0o2000 })
    }

    /// The bits of `mode` that a file of the host may get.
    fn settable(kind: FileType, mode: u32) -> rustix::fs::RawMode {
        let bits = if kind == FileType::Directory { 0o3777 } else { 0o1777 };
        (mode & bits) as rustix::fs::RawMode
    }

    /// Sets the mode of `name`, which is not followed and need not be readable.
    pub(in super::super) fn set_mode_at(directory: &Dir, name: &str, mode: u32) -> Result<(), Errno> {
        let found = rustix::fs::openat(directory, name, WALK | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
        let mode = match kind {
            FileType::RegularFile | FileType::Directory => Mode::from_raw_mode(settable(kind, mode)),
            FileType::Symlink => return Err(Errno::Unsupported),
            _ => return Err(Errno::NotPermitted),
        };
        // A handle that may neither be read nor written is changed by its name in /proc.
        match rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), mode) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Ok(rustix::fs::fchmod(rustix::fs::openat(directory, name, flags, Mode::empty())?, mode)?)
            }
            result => Ok(result?),
        }
    }

    pub(in super::super) fn set_file_mode(file: &fs::File, mode: u32) -> Result<(), Errno> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(Errno::NotPermitted);
        }
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(settable(kind, mode)))?)
    }

    pub(in super::super) fn symlink(directory: &Dir, target: &str, name: &str) -> Result<(), Errno> {
        Ok(rustix::fs::symlinkat(target, directory, name)?)
    }

    #[cfg(target_os = "linux")]
    pub(in super::super) fn append(file: &fs::File, bytes: &[u8]) -> Result<usize, Errno> {
        use rustix::io::{Errno as Host, ReadWriteFlags, pwritev2};
        match pwritev2(file.as_fd(), &[io::IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
            Ok(written) => Ok(written),
            // Kernels before 4.16 and some emulations of Linux lack the flag.
            Err(Host::OPNOTSUPP | Host::NOSYS | Host::INVAL) => Ok(write_file_at(file, bytes, file.metadata()?.len())?),
            Err(errno) => Err(errno.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(in super::super) fn append(file: &fs::File, bytes: &[u8]) -> Result<usize, Errno> {
        let _ = file.as_fd();
        Ok(write_file_at(file, bytes, file.metadata()?.len())?)
    }

    /// Names that are not UTF-8 cannot be asked for by a guest, so they are not listed.
    pub(in super::super) fn entries(directory: &Dir) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
        for entry in rustix::fs::Dir::new(readable)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match stat_at(directory, name) {
                    Ok(stat) => stat.kind,
                    Err(_) => continue,
                },
                known => kind(known),
            };
            entries.push(DirEntry { name: name.to_owned(), kind, inode: entry.ino() });
        }
        Ok(entries)
    }
}

#[cfg(not(unix))]
mod portable {
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::path::Path;

    use cap_fs_ext::{
        DirExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt, OpenOptionsMaybeDirExt, SystemTimeSpec,
    };

    use super::*;

    pub(in super::super::super) fn read_file_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        file.read(buffer)
    }

    pub(in super::super::super) fn write_file_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(offset))?;
        file.write(bytes)
    }

    fn kind(of: cap_std::fs::FileType) -> FileKind {
        if of.is_dir() {
            FileKind::Directory
        } else if of.is_symlink() {
            FileKind::Symlink
        } else if of.is_file() {
            FileKind::Regular
        } else {
            FileKind::Other
        }
    }

    fn stat(metadata: &cap_std::fs::Metadata) -> Stat {
        let time = |time: io::Result<cap_std::time::SystemTime>| {
            time.map_or(std::time::UNIX_EPOCH, cap_std::time::SystemTime::into_std)
        };
        Stat {
            kind: kind(metadata.file_type()),
            device: metadata.dev(),
            inode: metadata.ino(),
            links: metadata.nlink(),
            size: metadata.len(),
            mode: if metadata.permissions().readonly() { 0o555 } else { 0o755 },
            accessed: time(metadata.accessed()),
            modified: time(metadata.modified()),
            changed: time(metadata.modified()),
        }
    }

    pub(in super::super) fn enter(directory: &Dir, name: &str) -> Result<HostEntered, Errno> {
        let metadata = directory.symlink_metadata(name)?;
        if metadata.is_symlink() {
            Ok(HostEntered::Symlink(read_link(directory, name)?))
        } else if metadata.is_dir() {
            Ok(HostEntered::Directory(directory.open_dir_nofollow(name)?))
        } else {
            Err(Errno::NotDirectory)
        }
    }

    pub(in super::super) fn open(directory: &Dir, name: &str, options: OpenOptions) -> Result<HostOpened, Errno> {
        match enter(directory, name) {
            Ok(HostEntered::Directory(directory)) => return Ok(HostOpened::Directory(directory)),
            Ok(HostEntered::Symlink(target)) => return Ok(HostOpened::Symlink(target)),
            Err(Errno::NotDirectory | Errno::NotFound) => {}
            Err(errno) => return Err(errno),
        }
        let mut how = cap_std::fs::OpenOptions::new();
        how.read(options.read || !options.write).write(options.write || options.create || options.truncate);
        how.create(options.create).create_new(options.create && options.exclusive).truncate(options.truncate);
        how.follow(FollowSymlinks::No).maybe_dir(true);
        let file = directory.open_with(name, &how)?;
        let kind = kind(file.metadata()?.file_type());
        Ok(HostOpened::File(file.into_std(), kind))
    }

    pub(in super::super) fn open_beneath(_: &Dir, _: &str, _: OpenOptions) -> Option<Result<HostOpened, Errno>> {
        None
    }

    pub(in super::super) fn stat_beneath(_: &Dir, _: &str, _: bool) -> Option<Result<Stat, Errno>> {
        None
    }

    pub(in super::super) const REOPENS: bool = false;

    pub(in super::super) fn open_handle(directory: &Dir, name: &str) -> Result<HostOpened, Errno> {
        open(directory, name, OpenOptions { read: true, ..OpenOptions::default() })
    }

    pub(in super::super) fn reopen(_file: &fs::File, _options: OpenOptions) -> Result<fs::File, Errno> {
        Err(Errno::Unsupported)
    }

    pub(in super::super) fn open_for_mount(path: &Path) -> io::Result<(fs::File, FileKind)> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).or_else(|_| fs::File::open(path))?;
        let kind = if file.metadata()?.is_dir() { FileKind::Directory } else { FileKind::Regular };
        Ok((file, kind))
    }

    pub(in super::super) fn stat_file(file: &fs::File) -> Result<Stat, Errno> {
        Ok(stat(&cap_std::fs::Metadata::from_file(file)?))
    }

    pub(in super::super) fn stat_directory(directory: &Dir) -> Result<Stat, Errno> {
        Ok(stat(&directory.dir_metadata()?))
    }

    pub(in super::super) fn stat_at(directory: &Dir, name: &str) -> Result<Stat, Errno> {
        Ok(stat(&directory.symlink_metadata(name)?))
    }

    fn spec(time: SetTime) -> Option<SystemTimeSpec> {
        match time {
            SetTime::Keep => None,
            SetTime::Now => Some(SystemTimeSpec::SymbolicNow),
            SetTime::At(at) => Some(SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(at))),
        }
    }

    pub(in super::super) fn set_times_at(
        directory: &Dir,
        name: &str,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<(), Errno> {
        Ok(directory.set_symlink_times(name, spec(accessed), spec(modified))?)
    }

    pub(in super::super) fn set_file_times(file: &fs::File, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        let mut times = fs::FileTimes::new();
        let at = |time| match time {
            SetTime::Keep => None,
            SetTime::Now => Some(super::super::super::now()),
            SetTime::At(at) => Some(at),
        };
        if let Some(at) = at(accessed) {
            times = times.set_accessed(at);
        }
        if let Some(at) = at(modified) {
            times = times.set_modified(at);
        }
        Ok(file.set_times(times)?)
    }

    pub(in super::super) fn create_dir(directory: &Dir, name: &str, _mode: u32) -> Result<(), Errno> {
        Ok(directory.create_dir(name)?)
    }

    pub(in super::super) fn set_mode_at(_: &Dir, _: &str, _: u32) -> Result<(), Errno> {
        Err(Errno::Unsupported)
    }

    pub(in super::super) fn set_file_mode(_: &fs::File, _: u32) -> Result<(), Errno> {
        Err(Errno::Unsupported)
    }

    pub(in super::super) fn symlink(directory: &Dir, target: &str, name: &str) -> Result<(), Errno> {
        Ok(DirExt::symlink(directory, target, name)?)
    }

    pub(in super::super) fn append(file: &fs::File, bytes: &[u8]) -> Result<usize, Errno> {
        Ok(write_file_at(file, bytes, file.metadata()?.len())?)
    }

    pub(in super::super) fn entries(directory: &Dir) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = Vec::new();
        for entry in directory.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = entry.metadata()?;
            entries.push(DirEntry { name, kind: kind(metadata.file_type()), inode: metadata.ino() });
        }
        Ok(entries)
    }
}
