//! [`HostDirFs`]: a directory of the host, for hostPath, emptyDir on disk, claims, and what the kubelet writes.
//!
//! Every name is opened relative to the handle of its directory and without following symlinks, so neither a symlink
//! nor a rename on the host leads outside. Where the system can confine a whole path itself (`openat2`), several
//! components are opened in one call.
//!
//! Permission bits are exactly those asked for, whatever the file mode creation mask of husk's own process. Files never
//! become set-user-ID or set-group-ID here: on the host they are husk's user's, who would lend his rights to anybody.

mod system;

use std::any::Any;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::Dir as CapDir;

use super::node::{Directory, Entered, FileObject, Found, end_of};
use super::quota::Quota;
use super::table::MountSource;
use super::{DirEntry, Errno, FileKind, OpenOptions, SetTime, Stat};
pub(super) use system::{read_file_at, write_file_at};

/// How deep below a host directory its use is counted.
const MAX_COUNTED_DEPTH: usize = 256;

/// A directory of the host as a filesystem. Clones share it.
#[derive(Debug, Clone)]
pub struct HostDirFs {
    root: Arc<CapDir>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    quota: Option<Arc<Quota>>,
    /// Held while a file grows: appends do not overlap, and growth is counted right.
    growing: Mutex<()>,
}

impl HostDirFs {
    /// The directory at `path`, which may be a symlink to one.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = CapDir::open_ambient_dir(path, cap_std::ambient_authority())?;
        Ok(Self { root: Arc::new(root), shared: Arc::default() })
    }

    /// Bounds the bytes of all files (by their sizes, holes included) to `limit`; past it writing gives `NoSpace`.
    /// What is there already counts. A removed file that someone has open no longer counts, and neither does what is
    /// written past this filesystem.
    pub fn with_quota(self, limit: u64) -> io::Result<Self> {
        let quota = Quota::new(limit);
        quota.count(self.measure()?);
        let shared = Shared { quota: Some(quota), growing: Mutex::new(()) };
        Ok(Self { root: self.root, shared: Arc::new(shared) })
    }

    /// Adds up the sizes of all files, as `with_quota` counts.
    pub fn measure(&self) -> io::Result<u64> {
        measure(&self.root, MAX_COUNTED_DEPTH)
    }

    /// The bytes counted against the quota; none where there is no quota.
    pub fn used(&self) -> Option<u64> {
        self.shared.quota.as_ref().map(|quota| quota.used())
    }
}

fn measure(directory: &CapDir, depth: usize) -> io::Result<u64> {
    let mut sum: u64 = 0;
    for entry in directory.entries()? {
        let entry = entry?;
        let size = if entry.file_type()?.is_dir() {
            if depth == 0 { 0 } else { measure(&entry.open_dir()?, depth - 1)? }
        } else {
            entry.metadata()?.len()
        };
        sum = sum.saturating_add(size);
    }
    Ok(sum)
}

impl From<&HostDirFs> for MountSource {
    fn from(filesystem: &HostDirFs) -> Self {
        let HostDirFs { root, shared } = filesystem.clone();
        Self::directory(HostDirectory { directory: root, shared })
    }
}

impl From<HostDirFs> for MountSource {
    fn from(filesystem: HostDirFs) -> Self {
        Self::from(&filesystem)
    }
}

impl MountSource {
    /// A single file of the host, which may be a symlink to one.
    pub fn host_file(path: &Path) -> io::Result<Self> {
        let (file, kind) = system::open_for_mount(path)?;
        if kind == FileKind::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Self::file(Arc::new(HostFile { file, kind, shared: Arc::default() })))
    }
}

#[derive(Debug)]
struct HostDirectory {
    directory: Arc<CapDir>,
    shared: Arc<Shared>,
}

impl HostDirectory {
    fn of_host(other: &dyn Directory) -> Result<&Self, Errno> {
        other.as_any().downcast_ref::<Self>().ok_or(Errno::CrossDevice)
    }

    fn sub(&self, directory: CapDir) -> Arc<dyn Directory> {
        Arc::new(Self { directory: Arc::new(directory), shared: Arc::clone(&self.shared) })
    }

    /// With a quota files are cut by `set_size`, which counts.
    fn for_system(&self, options: OpenOptions) -> OpenOptions {
        let counted = self.shared.quota.is_some() && options.truncate;
        OpenOptions { truncate: options.truncate && !counted, write: options.write || counted, ..options }
    }

    fn found(&self, opened: system::HostOpened, options: OpenOptions) -> Result<Found, Errno> {
        match opened {
            system::HostOpened::Directory(directory) => Ok(Found::Directory(self.sub(directory))),
            system::HostOpened::Symlink(target) => Ok(Found::Symlink(target)),
            system::HostOpened::File(file, kind) => {
                let file = HostFile { file, kind, shared: Arc::clone(&self.shared) };
                if options.truncate && self.shared.quota.is_some() && kind == FileKind::Regular {
                    file.set_size(0)?;
                }
                Ok(Found::File(Arc::new(file)))
            }
        }
    }

    /// What removing `name` gives back.
    fn counted(&self, name: &str) -> u64 {
        match (&self.shared.quota, system::stat_at(&self.directory, name)) {
            (Some(_), Ok(stat)) if stat.kind == FileKind::Regular && stat.links == 1 => stat.size,
            _ => 0,
        }
    }

    fn give_back(&self, bytes: u64) {
        if let Some(quota) = &self.shared.quota {
            quota.give_back(bytes);
        }
    }
}

impl Directory for HostDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn enter(&self, name: &str) -> Result<Entered, Errno> {
        match system::enter(&self.directory, name)? {
            system::HostEntered::Directory(directory) => Ok(Entered::Directory(self.sub(directory))),
            system::HostEntered::Symlink(target) => Ok(Entered::Symlink(target)),
        }
    }

    fn open(&self, name: &str, options: OpenOptions) -> Result<Found, Errno> {
        self.found(system::open(&self.directory, name, self.for_system(options))?, options)
    }

    fn open_to_mount(&self, name: &str) -> Result<Found, Errno> {
        let reading = OpenOptions { read: true, ..OpenOptions::default() };
        let options = OpenOptions { write: !system::REOPENS, ..reading };
        let opened = self.open(name, options).or_else(|_| self.open(name, reading));
        // What cannot be read, such as a socket, can be mounted all the same.
        opened.or_else(|_| self.found(system::open_handle(&self.directory, name)?, reading))
    }

    fn open_beneath(&self, path: &str, options: OpenOptions) -> Option<Result<Found, Errno>> {
        match system::open_beneath(&self.directory, path, self.for_system(options))? {
            Ok(opened) => Some(self.found(opened, options)),
            Err(errno) => Some(Err(errno)),
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        system::stat_directory(&self.directory)
    }

    fn stat_child(&self, name: &str) -> Result<Stat, Errno> {
        system::stat_at(&self.directory, name)
    }

    fn stat_beneath(&self, path: &str, follow: bool) -> Option<Result<Stat, Errno>> {
        system::stat_beneath(&self.directory, path, follow)
    }

    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        system::set_times_at(&self.directory, ".", accessed, modified)
    }

    fn set_child_times(&self, name: &str, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        system::set_times_at(&self.directory, name, accessed, modified)
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        system::set_mode_at(&self.directory, ".", mode)
    }

    fn set_child_mode(&self, name: &str, mode: u32) -> Result<(), Errno> {
        system::set_mode_at(&self.directory, name, mode)
    }

    fn create_dir(&self, name: &str, mode: u32) -> Result<(), Errno> {
        system::create_dir(&self.directory, name, mode)
    }

    fn remove_dir(&self, name: &str) -> Result<(), Errno> {
        Ok(self.directory.remove_dir(name)?)
    }

    fn unlink(&self, name: &str) -> Result<(), Errno> {
        let counted = self.counted(name);
        if let Err(error) = self.directory.remove_file(name) {
            // Systems differ in what they say of a directory.
            let is_directory =
                system::stat_at(&self.directory, name).is_ok_and(|stat| stat.kind == FileKind::Directory);
            return Err(if is_directory { Errno::IsDirectory } else { error.into() });
        }
        self.give_back(counted);
        Ok(())
    }

    fn rename(&self, name: &str, to: &dyn Directory, to_name: &str) -> Result<(), Errno> {
        let to = Self::of_host(to)?;
        let same = match (system::stat_at(&self.directory, name), system::stat_at(&to.directory, to_name)) {
            (Ok(a), Ok(b)) => (a.device, a.inode) == (b.device, b.inode),
            _ => false,
        };
        let counted = if same { 0 } else { to.counted(to_name) };
        self.directory.rename(name, &to.directory, to_name)?;
        self.give_back(counted);
        Ok(())
    }

    fn link(&self, name: &str, new: &dyn Directory, new_name: &str) -> Result<(), Errno> {
        Ok(self.directory.hard_link(name, &Self::of_host(new)?.directory, new_name)?)
    }

    fn symlink(&self, target: &str, name: &str) -> Result<(), Errno> {
        system::symlink(&self.directory, target, name)
    }

    fn read_link(&self, name: &str) -> Result<String, Errno> {
        system::read_link(&self.directory, name)
    }

    fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        system::entries(&self.directory)
    }
}

#[derive(Debug)]
struct HostFile {
    file: fs::File,
    kind: FileKind,
    shared: Arc<Shared>,
}

impl HostFile {
    fn size(&self) -> Result<u64, Errno> {
        Ok(self.file.metadata()?.len())
    }

    /// Writes within the quota: the part that fits, `NoSpace` where that is nothing.
    fn write_counted(&self, quota: &Quota, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let size = self.size()?;
        let growth = end_of(offset, bytes.len())?.saturating_sub(size);
        let granted = quota.take_up_to(growth, 0);
        let short = usize::try_from(growth - granted).unwrap_or(usize::MAX);
        let allowed = bytes.len().saturating_sub(short);
        let written = match allowed {
            0 => Err(Errno::NoSpace),
            allowed => write_file_at(&self.file, &bytes[..allowed], offset).map_err(Errno::from),
        };
        let grown = written.as_ref().map_or(0, |written| (offset + *written as u64).saturating_sub(size));
        quota.give_back(granted.saturating_sub(grown));
        written
    }
}

impl FileObject for HostFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        if self.is_stream() {
            return Ok(io::Read::read(&mut &self.file, buffer)?);
        }
        Ok(read_file_at(&self.file, buffer, offset)?)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.is_stream() {
            return Ok(io::Write::write(&mut &self.file, bytes)?);
        }
        end_of(offset, bytes.len())?;
        match &self.shared.quota {
            None => Ok(write_file_at(&self.file, bytes, offset)?),
            Some(quota) => {
                let _growing = self.shared.growing.lock().unwrap_or_else(PoisonError::into_inner);
                self.write_counted(quota, bytes, offset)
            }
        }
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        if self.is_stream() {
            return Ok((self.write_at(bytes, 0)?, 0));
        }
        let _growing = self.shared.growing.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_empty() {
            return Ok((0, self.size()?));
        }
        if let Some(quota) = &self.shared.quota {
            let size = self.size()?;
            let written = self.write_counted(quota, bytes, size)?;
            return Ok((written, size + written as u64));
        }
        let written = system::append(&self.file, bytes)?;
        Ok((written, self.size()?))
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        let Some(quota) = &self.shared.quota else { return Ok(self.file.set_len(size)?) };
        let _growing = self.shared.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.size()?;
        if !quota.take(size.saturating_sub(before)) {
            return Err(Errno::NoSpace);
        }
        if let Err(error) = self.file.set_len(size) {
            quota.give_back(size.saturating_sub(before));
            return Err(error.into());
        }
        quota.give_back(before.saturating_sub(size));
        Ok(())
    }

    fn stat(&self) -> Result<Stat, Errno> {
        system::stat_file(&self.file)
    }

    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        system::set_file_times(&self.file, accessed, modified)
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        system::set_file_mode(&self.file, mode)
    }

    fn sync(&self, metadata: bool) -> Result<(), Errno> {
        Ok(if metadata { self.file.sync_all() } else { self.file.sync_data() }?)
    }

    fn is_stream(&self) -> bool {
        self.kind != FileKind::Regular
    }

    fn reopened(&self, options: OpenOptions) -> Option<Result<Arc<dyn FileObject>, Errno>> {
        if !system::REOPENS || self.is_stream() || !options.write {
            return None;
        }
        Some(system::reopen(&self.file, options).map(|file| {
            let (kind, shared) = (self.kind, Arc::clone(&self.shared));
            Arc::new(Self { file, kind, shared }) as Arc<dyn FileObject>
        }))
    }
}
