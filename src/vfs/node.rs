//! What a filesystem implements: one trait for its directories, one for its open files. Paths, mounts, symlink
//! following and read-only mounts are settled above (`walk`, `table`): here every name is one valid component.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{DirEntry, Errno, MAX_CONTENTS, OpenOptions, SetTime, Stat, Stream};

/// What entering a name on the way to another gave.
pub(super) enum Entered {
    Directory(Arc<dyn Directory>),
    /// The link's content.
    Symlink(String),
}

/// What opening a name gave.
pub(super) enum Found {
    Directory(Arc<dyn Directory>),
    File(Arc<dyn FileObject>),
    /// The link's content; nothing was opened or created.
    Symlink(String),
}

/// A directory of some filesystem. Names are single components: not empty, not `.` or `..`, without `/` and NUL.
/// No operation follows a symlink.
pub(super) trait Directory: fmt::Debug + Send + Sync + 'static {
    /// For `rename` and `link`, which need both directories in their own type.
    fn as_any(&self) -> &dyn Any;

    /// What `name` is, on the way through it; `NotDirectory` where it is neither directory nor symlink.
    fn enter(&self, name: &str) -> Result<Entered, Errno>;

    /// Opens `name` whatever it is. Of `options`, `follow` and `directory` are not for this layer.
    fn open(&self, name: &str, options: OpenOptions) -> Result<Found, Errno>;

    /// Opens `name` to be mounted alone, and opened by whoever has it mounted.
    fn open_to_mount(&self, name: &str) -> Result<Found, Errno> {
        let reading = OpenOptions { read: true, ..OpenOptions::default() };
        self.open(name, OpenOptions { write: true, ..reading }).or_else(|_| self.open(name, reading))
    }

    /// Opens the relative `path` of several plain components at once, following relative symlinks that stay beneath
    /// this directory. `None` says that this cannot be done here, and nothing was changed.
    fn open_beneath(&self, _path: &str, _options: OpenOptions) -> Option<Result<Found, Errno>> {
        None
    }

    /// Metadata of the directory itself.
    fn stat(&self) -> Result<Stat, Errno>;

    /// Metadata of `name`, of the link itself where it is a symlink.
    fn stat_child(&self, name: &str) -> Result<Stat, Errno>;

    /// As `open_beneath`, for metadata.
    fn stat_beneath(&self, _path: &str, _follow: bool) -> Option<Result<Stat, Errno>> {
        None
    }

    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno>;
    fn set_child_times(&self, name: &str, accessed: SetTime, modified: SetTime) -> Result<(), Errno>;
    /// Sets the permission bits of the directory itself.
    fn set_mode(&self, mode: u32) -> Result<(), Errno>;
    /// Sets the permission bits of `name`; `Unsupported` where it is a symlink.
    fn set_child_mode(&self, name: &str, mode: u32) -> Result<(), Errno>;
    fn create_dir(&self, name: &str, mode: u32) -> Result<(), Errno>;
    fn remove_dir(&self, name: &str) -> Result<(), Errno>;
    fn unlink(&self, name: &str) -> Result<(), Errno>;
    /// Moves `name` into `to`, a directory of the same filesystem.
    fn rename(&self, name: &str, to: &dyn Directory, to_name: &str) -> Result<(), Errno>;
    /// Makes `new_name` in `new`, a directory of the same filesystem, another name of `name`.
    fn link(&self, name: &str, new: &dyn Directory, new_name: &str) -> Result<(), Errno>;
    fn symlink(&self, target: &str, name: &str) -> Result<(), Errno>;
    /// `Invalid` where `name` is no symlink.
    fn read_link(&self, name: &str) -> Result<String, Errno>;
    fn entries(&self) -> Result<Vec<DirEntry>, Errno>;
}

/// An open file of some filesystem. What the opener may do with it is checked above.
pub(super) trait FileObject: fmt::Debug + Send + Sync + 'static {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno>;
    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno>;
    fn set_size(&self, size: u64) -> Result<(), Errno>;
    fn stat(&self) -> Result<Stat, Errno>;
    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno>;
    fn set_mode(&self, mode: u32) -> Result<(), Errno>;

    fn sync(&self, _metadata: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn is_stream(&self) -> bool {
        false
    }

    /// The file as it is for one opening of many, where it is mounted alone; none if all have the same. A program that
    /// something is open to write to can't be executed, so a mount alone must not have it open.
    fn reopened(&self, _options: OpenOptions) -> Option<Result<Arc<dyn FileObject>, Errno>> {
        None
    }

    /// The stream of the opener's that this file is a name of.
    fn stands_for(&self) -> Option<Stream> {
        None
    }

    /// The whole content; at most [`MAX_CONTENTS`] bytes.
    fn contents(&self) -> Result<Bytes, Errno> {
        read_all(self.stat()?.size, |buffer, offset| self.read_at(buffer, offset))
    }

    fn content_id(&self) -> Option<String> {
        None
    }
}

/// Reads a file of `size` bytes to its end; a file that shrinks meanwhile gives what is there.
pub(super) fn read_all(
    size: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<Bytes, Errno> {
    if size > MAX_CONTENTS {
        return Err(Errno::FileTooLarge);
    }
    let mut contents = vec![0; usize::try_from(size).map_err(|_| Errno::FileTooLarge)?];
    let mut filled = 0;
    while filled < contents.len() {
        match read_at(&mut contents[filled..], filled as u64)? {
            0 => contents.truncate(filled),
            read => filled += read,
        }
    }
    Ok(contents.into())
}

/// A device number for a filesystem that has none of the host's; far from those of real disks.
pub(super) fn next_device() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where an access of `length` bytes at `offset` ends, within what file offsets can express.
pub(super) fn end_of(offset: u64, length: usize) -> Result<u64, Errno> {
    let end = offset.checked_add(length as u64).ok_or(Errno::FileTooLarge)?;
    if i64::try_from(end).is_err() { Err(Errno::FileTooLarge) } else { Ok(end) }
}
