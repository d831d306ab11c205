//! The pod's filesystem: image layers, a copy-on-write root per container, volumes as mounts, small generated files.
//!
//! A [`MountTable`] is what one container sees. It owns path resolution (`.`, `..`, symlinks relative and absolute,
//! mount crossings), confined to the container, and answers inline: no call here waits for another task.
//! The WASI fronts in `runtime/wasm` translate to and from these types; volumes are built in `volume`.
//!
//! | file | what |
//! |---|---|
//! | `table` | [`MountTable`]: the root, what is mounted where, how mount points come to be |
//! | `walk` | [`Dir`]: path resolution, and every operation that takes a path |
//! | `file` | [`File`]: what an open file allows |
//! | `node` | the two traits a filesystem implements: a directory and an open file |
//! | `tree` | [`TreeFs`]: inodes in memory, copy-on-write over image layers, contents on disk or in memory |
//! | `layer`, `tar`, `stack` | image layers, their index, and their merge |
//! | `host` | [`HostDirFs`]: a directory of the host |
//! | `device`, `generated`, `memory_file` | `/dev`, `/proc`, and files the host makes or reads back |
//!
//! Files have permission bits, which say what may be executed; owners and permission checks are not modelled: a guest
//! acts with all rights to what is mounted for it.

mod confined;
mod device;
mod errno;
mod file;
mod generated;
mod host;
mod layer;
mod memory_file;
mod node;
mod path;
mod quota;
mod stack;
mod table;
mod tar;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

use std::time::SystemTime;

pub use confined::DescendError;
pub use device::{Device, DeviceFs, Stream};
pub use file::File;
pub use generated::{Generated, GeneratedFs, Generator};
pub use host::HostDirFs;
pub use layer::{Layer, LayerError};
pub use memory_file::MemoryFile;
pub use stack::LayerStack;
pub use table::{MountError, MountSource, MountTable, MountTableBuilder};
pub use tree::TreeFs;
pub use walk::Dir;

/// Why a file operation failed, in POSIX's terms. Each front translates this one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Errno {
    /// Permission denied (`EACCES`).
    #[error("permission denied")]
    Access,
    /// File exists (`EEXIST`).
    #[error("file exists")]
    Exist,
    /// File too large (`EFBIG`).
    #[error("file too large")]
    FileTooLarge,
    /// Invalid argument (`EINVAL`).
    #[error("invalid argument")]
    Invalid,
    /// Input/output error (`EIO`).
    #[error("input/output error")]
    Io,
    /// Is a directory (`EISDIR`).
    #[error("is a directory")]
    IsDirectory,
    /// Too many levels of symbolic links (`ELOOP`).
    #[error("too many levels of symbolic links")]
    Loop,
    /// Too many links (`EMLINK`).
    #[error("too many links")]
    TooManyLinks,
    /// File name too long (`ENAMETOOLONG`).
    #[error("file name too long")]
    NameTooLong,
    /// No such file or directory (`ENOENT`).
    #[error("no such file or directory")]
    NotFound,
    /// No space left on device, also a volume's size limit (`ENOSPC`).
    #[error("no space left on device")]
    NoSpace,
    /// Not a directory (`ENOTDIR`).
    #[error("not a directory")]
    NotDirectory,
    /// Directory not empty (`ENOTEMPTY`).
    #[error("directory not empty")]
    NotEmpty,
    /// Operation not supported (`ENOTSUP`).
    #[error("operation not supported")]
    Unsupported,
    /// Operation not permitted (`EPERM`).
    #[error("operation not permitted")]
    NotPermitted,
    /// Device or resource busy: a mount point (`EBUSY`).
    #[error("device or resource busy")]
    Busy,
    /// Read-only file system (`EROFS`).
    #[error("read-only file system")]
    ReadOnly,
    /// Cross-device link: rename or link across mounts (`EXDEV`).
    #[error("invalid cross-device link")]
    CrossDevice,
    /// Bad file descriptor: the handle was not opened for this (`EBADF`).
    #[error("bad file descriptor")]
    BadDescriptor,
    /// Illegal byte sequence: a name that is not UTF-8 where the guest needs UTF-8 (`EILSEQ`).
    #[error("illegal byte sequence")]
    IllegalSequence,
    /// Too many open files (`EMFILE`).
    #[error("too many open files")]
    TooManyOpen,
}

/// What kind of file a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device, such as `/dev/null`.
    CharDevice,
    /// Anything else a host directory can hold (socket, FIFO, block device).
    Other,
}

/// What `stat` tells.
#[derive(Debug, Clone)]
pub struct Stat {
    /// The kind of file.
    pub kind: FileKind,
    /// Identifies the mounted filesystem within the container.
    pub device: u64,
    /// Identifies the file within its filesystem; hard links share it.
    pub inode: u64,
    /// Number of hard links.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits (0..=0o7777).
    pub mode: u32,
    /// Last access.
    pub accessed: SystemTime,
    /// Last change of content.
    pub modified: SystemTime,
    /// Last change of metadata.
    pub changed: SystemTime,
}

/// How to open a name.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenOptions {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Create a regular file where there is none.
    pub create: bool,
    /// With `create`: fail where there is one.
    pub exclusive: bool,
    /// Cut an existing file to length 0.
    pub truncate: bool,
    /// Fail with `NotDirectory` unless it is a directory.
    pub directory: bool,
    /// Follow a symlink in the last component (else `Loop`).
    pub follow: bool,
    /// Permission bits of a created file.
    pub mode: u32,
}

/// A time to set: leave, now, or a given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// Leave as it is.
    Keep,
    /// The current time.
    Now,
    /// This time.
    At(SystemTime),
}

/// One entry of a directory; `.` and `..` are not listed.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// The name.
    pub name: String,
    /// The kind of file.
    pub kind: FileKind,
    /// Inode number, as `stat` of the entry would tell.
    pub inode: u64,
}

/// What `open` gave.
#[derive(Debug, Clone)]
pub enum Opened {
    /// Anything with content.
    File(File),
    /// A directory.
    Dir(Dir),
}

/// The bits of a mode that can be set: permissions, set-id and sticky.
const MODE_BITS: u32 = 0o7777;

/// The longest name of one path component, in bytes (Linux' `NAME_MAX`).
pub const MAX_NAME: usize = 255;
/// The longest path a call takes, in bytes (Linux' `PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// How many directories deep a walk may go below the container's root; further is `NameTooLong`.
pub const MAX_DEPTH: usize = 256;
/// How many symlinks one path may lead through (as on Linux).
pub const MAX_SYMLINKS: u32 = 40;
/// The most bytes [`File::contents`] gathers in memory; larger files are `FileTooLarge` there.
pub const MAX_CONTENTS: u64 = 1 << 30;

/// The current time, for the times of files.
#[allow(clippy::disallowed_methods, reason = "file times are wall-clock times of the machine, like those of a disk")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

impl SetTime {
    fn apply(self, to: &mut SystemTime) {
        match self {
            Self::Keep => {}
            Self::Now => *to = now(),
            Self::At(time) => *to = time,
        }
    }
}
