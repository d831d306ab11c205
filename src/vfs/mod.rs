//! The pod's filesystem: image layers, a copy-on-write root per container, volumes as mounts, small generated files.
//!
//! A [`MountTable`] is what one container sees. It owns path resolution (`.`, `..`, symlinks relative and absolute,
//! mount crossings), confined to the container, and answers inline: no call here waits for another task.
//! The WASI fronts in `runtime/wasm` translate to and from these types; volumes are built in `volume`.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

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
    /// Text file busy, quota and other rare cases end as `EIO`; too many open files (`EMFILE`).
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

/// An open file. Clones share it; the position is the front's business.
#[derive(Debug, Clone)]
pub struct File {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// An open directory of a mount table, the base of relative paths. Clones share it.
#[derive(Debug, Clone)]
pub struct Dir {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

/// What one container sees as `/`: a root filesystem and what is mounted over it.
#[derive(Debug, Clone)]
pub struct MountTable {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

impl MountTable {
    /// The directory `/`.
    pub fn root(&self) -> Dir {
        todo!()
    }
}

impl Dir {
    /// Opens `path`, resolved from this directory (an absolute path: from the container's root).
    pub fn open(&self, path: &str, options: OpenOptions) -> Result<Opened, Errno> {
        todo!("{path} {options:?}")
    }
    /// Metadata of this directory itself.
    pub fn stat(&self) -> Result<Stat, Errno> {
        todo!()
    }
    /// Metadata of `path`; `follow` says whether a symlink in the last component is followed.
    pub fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, Errno> {
        todo!("{path} {follow}")
    }
    /// Sets times of this directory itself.
    pub fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        todo!("{accessed:?} {modified:?}")
    }
    /// Sets times of `path`.
    pub fn set_times_at(&self, path: &str, follow: bool, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        todo!("{path} {follow} {accessed:?} {modified:?}")
    }
    /// Makes a directory.
    pub fn create_dir(&self, path: &str, mode: u32) -> Result<(), Errno> {
        todo!("{path} {mode}")
    }
    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &str) -> Result<(), Errno> {
        todo!("{path}")
    }
    /// Removes a name that is not a directory.
    pub fn unlink(&self, path: &str) -> Result<(), Errno> {
        todo!("{path}")
    }
    /// Moves `path` to `to_path` under `to`, replacing what POSIX lets it replace.
    pub fn rename(&self, path: &str, to: &Dir, to_path: &str) -> Result<(), Errno> {
        todo!("{path} {to:?} {to_path}")
    }
    /// Makes `new_path` under `new` another name of `path`.
    pub fn link(&self, path: &str, follow: bool, new: &Dir, new_path: &str) -> Result<(), Errno> {
        todo!("{path} {follow} {new:?} {new_path}")
    }
    /// Makes a symlink at `path` with the content `target`, kept as it is.
    pub fn symlink(&self, target: &str, path: &str) -> Result<(), Errno> {
        todo!("{path} {target}")
    }
    /// The content of the symlink `path`.
    pub fn read_link(&self, path: &str) -> Result<String, Errno> {
        todo!("{path}")
    }
    /// The entries, in a stable order.
    pub fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        todo!()
    }
}

impl File {
    /// Reads at `offset` into `buffer`; 0 at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        todo!("{} {offset}", buffer.len())
    }
    /// Writes `bytes` at `offset`, growing the file as needed; returns how many were written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        todo!("{} {offset}", bytes.len())
    }
    /// Writes at the end, atomically with respect to other appends; returns (written, offset after the write).
    pub fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        todo!("{}", bytes.len())
    }
    /// Cuts or extends (with zeros) to `size` bytes.
    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        todo!("{size}")
    }
    /// Metadata.
    pub fn stat(&self) -> Result<Stat, Errno> {
        todo!()
    }
    /// Sets times.
    pub fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        todo!("{accessed:?} {modified:?}")
    }
    /// Forces content (and with `metadata` metadata) to the disk, where there is one. May block: fronts offload it.
    pub fn sync(&self, metadata: bool) -> Result<(), Errno> {
        todo!("{metadata}")
    }
    /// Whether reads and writes go to a byte stream without positions (a character device such as `/dev/null`).
    pub fn is_stream(&self) -> bool {
        todo!()
    }
    /// The whole content, without copying where it lies in memory already.
    pub fn contents(&self) -> Result<Bytes, Errno> {
        todo!()
    }
    /// A name that stands for the content, for caches: known without reading for unchanged files of an image layer.
    pub fn content_id(&self) -> Option<String> {
        todo!()
    }
}

/// One read-only layer of an image, shared by every container that uses it.
#[derive(Debug)]
pub struct Layer {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

impl Layer {
    /// A layer from an uncompressed tar archive in memory (built-in images). `digest` is its diff ID.
    pub fn from_tar_bytes(digest: &str, tar: Bytes) -> std::io::Result<Arc<Self>> {
        todo!("{digest} {}", tar.len())
    }
    /// A layer from an uncompressed tar archive on disk; its files are read in place. `digest` is its diff ID.
    pub fn from_tar_file(digest: &str, tar: std::fs::File) -> std::io::Result<Arc<Self>> {
        todo!("{digest} {tar:?}")
    }
    /// A layer with one executable file at the absolute `path`.
    pub fn from_single_file(path: &str, contents: Bytes) -> Arc<Self> {
        todo!("{path} {}", contents.len())
    }
}
