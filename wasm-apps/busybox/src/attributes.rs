//! What files are, who they belong to and what may be done with them.
//!
//! WASI 0.1 knows neither owners nor permissions: husk tells them, and changes them, by an interface of its own.

use std::io;
use std::path::Path;

use husk_process::files::{Permissions, permissions};
pub(crate) use husk_process::files::{set_mode, set_owner, set_umask, umask};
use rustix::fs::{AtFlags, CWD, FileType, Timespec, Timestamps};

/// A file's attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) kind: FileType,
    /// Permissions, with the set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) inode: u64,
    pub(crate) device: u64,
    pub(crate) accessed: Time,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

/// Seconds and nanoseconds since 1970.
pub(crate) type Time = (i64, u32);

/// The attributes of a file, or of a symbolic link itself unless it is to be followed.
pub(crate) fn of(path: &Path, follow: bool) -> io::Result<Attributes> {
    let stat = if follow { rustix::fs::stat(path)? } else { rustix::fs::lstat(path)? };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let Permissions { mode, uid, gid } = permissions(path, follow)?;
    Ok(Attributes {
        kind,
        mode,
        uid,
        gid,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        links: stat.st_nlink,
        inode: stat.st_ino,
        device: stat.st_dev,
        accessed: (stat.st_atim.tv_sec, nanoseconds(stat.st_atim.tv_nsec)),
        modified: (stat.st_mtim.tv_sec, nanoseconds(stat.st_mtim.tv_nsec)),
        changed: (stat.st_ctim.tv_sec, nanoseconds(stat.st_ctim.tv_nsec)),
    })
}

fn nanoseconds(count: impl TryInto<u32>) -> u32 {
    count.try_into().unwrap_or_default()
}

impl Attributes {
    /// 512-byte blocks the contents take.
    pub(crate) fn blocks(&self) -> u64 {
        self.size.div_ceil(512)
    }

    /// As `ls -l` begins: `drwxr-xr-x`.
    pub(crate) fn mode_text(&self) -> String {
        let mut text = String::with_capacity(10);
        text.push(type_letter(self.kind, '-'));
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let bits = self.mode >> shift;
            text.push(if bits & 4 != 0 { 'r' } else { '-' });
            text.push(if bits & 2 != 0 { 'w' } else { '-' });
            text.push(match (bits & 1 != 0, self.mode & special != 0) {
                (true, true) => letter,
                (false, true) => letter.to_ascii_uppercase(),
                (true, false) => 'x',
                (false, false) => '-',
            });
        }
        text
    }
}

/// The letter of `find -type`; `regular` for regular files, which `ls` shows by a hyphen.
pub(crate) fn type_letter(kind: FileType, regular: char) -> char {
    match kind {
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => regular,
    }
}

/// Whether a file may be executed.
pub(crate) fn may_execute(path: &Path) -> bool {
    permissions(path, true).is_ok_and(|permissions| permissions.mode & 0o111 != 0)
}

/// Sets when a file, or a symbolic link itself unless it is to be followed, was last read and changed.
pub(crate) fn set_times(path: &Path, accessed: Time, modified: Time, follow: bool) -> io::Result<()> {
    let spec = |(seconds, nanoseconds): Time| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.try_into().unwrap_or_default(),
    };
    let times = Timestamps { last_access: spec(accessed), last_modification: spec(modified) };
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(rustix::fs::utimensat(CWD, path, &times, flags)?)
}

/// How much room a filesystem has, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

/// How much room the filesystem of a file has.
pub(crate) fn room(_: &Path) -> io::Result<Room> {
    Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSYS.raw_os_error()))
}
