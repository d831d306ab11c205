//! What a `wasi:filesystem` descriptor is and does, in the filesystem's own terms, for both levels of WASI.

use std::time::{Duration, SystemTime};

use super::open_files::{OpenFile, Place};
use crate::vfs::{Dir, DirEntry, Errno, FileKind, OpenOptions, Opened, SetTime, Stat};

/// The longest path taken from a guest, in bytes (Linux's `PATH_MAX`).
const MAX_PATH: usize = 4096;

/// An open file or directory. Clones share it.
#[derive(Debug, Clone)]
#[allow(unreachable_pub, reason = "generated glue re-exports it")]
pub struct Descriptor {
    node: Node,
    access: Access,
    /// A directory's; a file has its own, and the root, which was not opened, takes none.
    _place: Option<Place>,
}

#[derive(Debug, Clone)]
enum Node {
    File(OpenFile),
    Dir(Dir),
}

/// What a descriptor was opened for.
///
/// Directories opened through a directory may always be changed, whether `mutate-directory` was asked for or not: the
/// 0.1 adapter inside most components never asks for it and removes files through such descriptors all the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
    /// Every write reaches the disk before it counts as flushed: file content.
    pub(super) data_sync: bool,
    /// The same with metadata.
    pub(super) file_sync: bool,
}

/// What `open-at` asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OpenRequest {
    pub(super) follow: bool,
    pub(super) create: bool,
    pub(super) directory: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) access: Access,
    /// Permission bits of a file that is made: WASI passes none, so they are the process's usual ones.
    pub(super) mode: u32,
}

impl OpenRequest {
    fn options(self) -> Result<OpenOptions, Errno> {
        if self.directory && (self.create || self.exclusive || self.truncate) {
            return Err(Errno::Invalid);
        }
        let write = self.access.write && !self.directory;
        Ok(OpenOptions {
            read: self.access.read || !write,
            write,
            create: self.create,
            exclusive: self.exclusive,
            truncate: self.truncate,
            directory: self.directory,
            follow: self.follow,
            mode: self.mode,
        })
    }
}

/// An open file that may be read or written, as its opening said.
#[derive(Debug, Clone)]
pub(super) struct WritableFile {
    pub(super) file: OpenFile,
    /// Whether writes go to disk at once; `true` inside: with metadata.
    pub(super) sync: Option<bool>,
}

impl Descriptor {
    /// The container's root directory.
    pub(super) fn root(dir: Dir) -> Self {
        Self { node: Node::Dir(dir), access: Access { read: true, ..Access::default() }, _place: None }
    }

    /// What it was opened for; `None` of a directory, which is read and changed.
    pub(super) fn file_access(&self) -> Option<Access> {
        match self.node {
            Node::File(_) => Some(self.access),
            Node::Dir(_) => None,
        }
    }

    fn dir(&self) -> Result<&Dir, Errno> {
        match &self.node {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Errno::NotDirectory),
        }
    }

    fn file(&self) -> Result<&OpenFile, Errno> {
        match &self.node {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Errno::IsDirectory),
        }
    }

    /// The file, if it was opened for reading.
    pub(super) fn readable(&self) -> Result<&OpenFile, Errno> {
        let file = self.file()?;
        if self.access.read { Ok(file) } else { Err(Errno::BadDescriptor) }
    }

    /// The file, if it was opened for writing.
    pub(super) fn writable(&self) -> Result<WritableFile, Errno> {
        let file = match &self.node {
            Node::File(file) if self.access.write => file.clone(),
            Node::File(_) | Node::Dir(_) => return Err(Errno::BadDescriptor),
        };
        let sync = match (self.access.file_sync, self.access.data_sync) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        Ok(WritableFile { file, sync })
    }

    /// What `advise` and the like need: a file, opened in any way.
    pub(super) fn check_file(&self) -> Result<(), Errno> {
        self.file().map(|_| ()).map_err(|_| Errno::BadDescriptor)
    }

    /// The file to force to disk; directories need nothing.
    pub(super) fn sync_target(&self) -> Option<OpenFile> {
        self.file().ok().cloned()
    }

    pub(super) fn set_size(&self, size: u64) -> Result<(), Errno> {
        self.writable()?.file.set_size(size)
    }

    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        match &self.node {
            Node::File(file) => file.stat(),
            Node::Dir(dir) => dir.stat(),
        }
    }

    pub(super) fn stat_at(&self, path: &str, follow: bool) -> Result<Stat, Errno> {
        self.dir()?.stat_at(check_path(path)?, follow)
    }

    pub(super) fn kind(&self) -> Result<FileKind, Errno> {
        match &self.node {
            Node::File(file) => Ok(file.stat()?.kind),
            Node::Dir(_) => Ok(FileKind::Directory),
        }
    }

    pub(super) fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        match &self.node {
            Node::File(file) => file.set_times(accessed, modified),
            Node::Dir(dir) => dir.set_times(accessed, modified),
        }
    }

    pub(super) fn set_times_at(
        &self,
        path: &str,
        follow: bool,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<(), Errno> {
        self.dir()?.set_times_at(check_path(path)?, follow, accessed, modified)
    }

    pub(super) fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        self.dir()?.entries()
    }

    /// Opens what takes `place`.
    pub(super) fn open_at(&self, path: &str, request: OpenRequest, place: Place) -> Result<Self, Errno> {
        let options = request.options()?;
        Ok(match self.dir()?.open(check_path(path)?, options)? {
            Opened::File(file) => {
                let access = Access { read: options.read, write: options.write, ..request.access };
                Self { node: Node::File(OpenFile::new(file, place)), access, _place: None }
            }
            Opened::Dir(dir) => Self { _place: Some(place), ..Self::root(dir) },
        })
    }

    pub(super) fn create_directory_at(&self, path: &str, mode: u32) -> Result<(), Errno> {
        self.dir()?.create_dir(check_path(path)?, mode)
    }

    pub(super) fn remove_directory_at(&self, path: &str) -> Result<(), Errno> {
        self.dir()?.remove_dir(check_path(path)?)
    }

    pub(super) fn unlink_file_at(&self, path: &str) -> Result<(), Errno> {
        self.dir()?.unlink(check_path(path)?)
    }

    pub(super) fn rename_at(&self, path: &str, to: &Self, to_path: &str) -> Result<(), Errno> {
        self.dir()?.rename(check_path(path)?, to.dir()?, check_path(to_path)?)
    }

    pub(super) fn link_at(&self, path: &str, follow: bool, new: &Self, new_path: &str) -> Result<(), Errno> {
        self.dir()?.link(check_path(path)?, follow, new.dir()?, check_path(new_path)?)
    }

    /// A symlink's target may be anything, absolute too: it is resolved inside the container.
    pub(super) fn symlink_at(&self, target: &str, path: &str) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::NotFound);
        }
        if target.len() > MAX_PATH {
            return Err(Errno::NameTooLong);
        }
        if target.contains('\0') {
            return Err(Errno::Invalid);
        }
        self.dir()?.symlink(target, check_path(path)?)
    }

    pub(super) fn read_link_at(&self, path: &str) -> Result<String, Errno> {
        self.dir()?.read_link(check_path(path)?)
    }

    pub(super) fn is_same_object(&self, other: &Self) -> bool {
        match (self.stat(), other.stat()) {
            (Ok(one), Ok(two)) => (one.device, one.inode) == (two.device, two.inode),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

/// A path a guest may name: relative, not empty, not longer than Linux takes, without NUL.
fn check_path(path: &str) -> Result<&str, Errno> {
    match path.as_bytes() {
        [] => Err(Errno::NotFound),
        [b'/', ..] => Err(Errno::NotPermitted),
        bytes if bytes.len() > MAX_PATH => Err(Errno::NameTooLong),
        bytes if bytes.contains(&0) => Err(Errno::Invalid),
        _ => Ok(path),
    }
}

/// (lower, upper) of `metadata-hash`. The 0.1 adapter makes the lower half a file's inode number and gives every file
/// the same device, so files of different mounts must differ in it.
pub(super) fn metadata_hash(stat: &Stat) -> (u64, u64) {
    // The golden ratio spreads small device numbers over all bits.
    let spread = stat.device.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (stat.inode.wrapping_add(spread), stat.inode ^ spread.rotate_left(32))
}

/// A point in time from what a guest gives as whole seconds and nanoseconds; nanoseconds past a second carry over.
pub(super) fn time_from(seconds: i64, nanoseconds: u32) -> Result<SystemTime, Errno> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    base.and_then(|base| base.checked_add(Duration::from_nanos(u64::from(nanoseconds)))).ok_or(Errno::Invalid)
}

/// Whole seconds since 1970, rounded down, and the nanoseconds after them; `None` where seconds do not fit.
pub(super) fn time_parts(time: SystemTime) -> Option<(i64, u32)> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Some((i64::try_from(since.as_secs()).ok()?, since.subsec_nanos())),
        Err(before) => {
            let until = before.duration();
            let seconds = i64::try_from(until.as_secs()).ok()?.checked_neg()?;
            match until.subsec_nanos() {
                0 => Some((seconds, 0)),
                nanoseconds => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_must_be_relative_and_sane() {
        let long = "a".repeat(MAX_PATH + 1);
        let table = [
            ("a/b", Ok(())),
            ("..", Ok(())),
            (".", Ok(())),
            ("", Err(Errno::NotFound)),
            ("/etc", Err(Errno::NotPermitted)),
            ("a\0", Err(Errno::Invalid)),
            (long.as_str(), Err(Errno::NameTooLong)),
        ];
        for (path, expected) in table {
            assert_eq!(check_path(path).map(|_| ()), expected, "{path:.10?}");
        }
    }

    #[test]
    fn opening_for_nothing_reads_and_directories_are_never_written() {
        let access = |read, write| Access { read, write, ..Access::default() };
        let table = [
            (access(false, false), false, (true, false)),
            (access(false, true), false, (false, true)),
            (access(true, true), false, (true, true)),
            (access(true, true), true, (true, false)),
        ];
        for (access, directory, expected) in table {
            let request = OpenRequest { access, directory, ..OpenRequest::default() };
            let options = request.options().unwrap();
            assert_eq!((options.read, options.write), expected, "{request:?}");
        }
        let contradictory = OpenRequest { directory: true, create: true, ..OpenRequest::default() };
        assert_eq!(contradictory.options().unwrap_err(), Errno::Invalid);
    }

    #[test]
    fn times_survive_the_way_to_the_guest_and_back() {
        for (seconds, nanoseconds) in [(0, 0), (1, 999_999_999), (-1, 0), (-1, 1), (-5, 500_000_000)] {
            let time = time_from(seconds, nanoseconds).unwrap();
            assert_eq!(time_parts(time), Some((seconds, nanoseconds)));
        }
        assert_eq!(time_from(i64::MAX, u32::MAX), Err(Errno::Invalid));
        assert!(time_from(1, u32::MAX).is_ok(), "nanoseconds past a second carry over");
    }

    #[test]
    fn the_same_inode_on_two_mounts_is_two_files() {
        let stat = |device, inode| Stat {
            kind: FileKind::Regular,
            device,
            inode,
            links: 1,
            size: 0,
            mode: 0,
            accessed: SystemTime::UNIX_EPOCH,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH,
        };
        assert_eq!(metadata_hash(&stat(1, 2)), metadata_hash(&stat(1, 2)));
        assert_ne!(metadata_hash(&stat(1, 2)).0, metadata_hash(&stat(2, 2)).0);
        assert_ne!(metadata_hash(&stat(1, 2)).0, metadata_hash(&stat(1, 3)).0);
    }
}
