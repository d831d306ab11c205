//! [`GeneratedFs`]: a read-only filesystem whose content is made when it is asked for, such as `/proc`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::node::{Directory, Entered, FileObject, Found, next_device};
use super::table::MountSource;
use super::{DirEntry, Errno, FileKind, OpenOptions, SetTime, Stat, now};

/// What is at a path of a [`GeneratedFs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Generated {
    /// A directory with these names.
    Directory(Vec<String>),
    /// A file with this content.
    File(Bytes),
    /// A symbolic link.
    Symlink(String),
}

/// Makes the content of a [`GeneratedFs`]. Calls must not wait.
pub trait Generator: fmt::Debug + Send + Sync + 'static {
    /// What is at the end of these names from the top; `None` for nothing.
    fn generate(&self, names: &[&str]) -> Option<Generated>;
}

/// The filesystem.
#[derive(Debug, Clone)]
pub struct GeneratedFs {
    generator: Arc<dyn Generator>,
    device: u64,
    made: SystemTime,
}

impl GeneratedFs {
    /// A filesystem with what `generator` makes.
    pub fn new(generator: Arc<dyn Generator>) -> Self {
        Self { generator, device: next_device(), made: now() }
    }

    fn stat(&self, names: &[String], generated: &Generated) -> Stat {
        let (kind, mode, size) = match generated {
            Generated::Directory(_) => (FileKind::Directory, 0o555, 0),
            // As in Linux's /proc: the size is known only to those who read.
            Generated::File(_) => (FileKind::Regular, 0o444, 0),
            Generated::Symlink(target) => (FileKind::Symlink, 0o777, target.len() as u64),
        };
        let hash = blake3::hash(names.join("/").as_bytes());
        let inode = hash.as_bytes().iter().take(7).fold(1, |inode, byte| inode << 8 | u64::from(*byte));
        let made = self.made;
        Stat { kind, device: self.device, inode, links: 1, size, mode, accessed: made, modified: made, changed: made }
    }
}

impl From<GeneratedFs> for MountSource {
    fn from(filesystem: GeneratedFs) -> Self {
        Self::directory(GeneratedDirectory { filesystem, names: Vec::new() })
    }
}

#[derive(Debug)]
struct GeneratedDirectory {
    filesystem: GeneratedFs,
    names: Vec<String>,
}

impl GeneratedDirectory {
    fn below(&self, name: &str) -> Result<(Vec<String>, Generated), Errno> {
        let names: Vec<String> = self.names.iter().cloned().chain([name.to_owned()]).collect();
        let generated = self.generate(&names)?;
        Ok((names, generated))
    }

    fn generate(&self, names: &[String]) -> Result<Generated, Errno> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.filesystem.generator.generate(&names).ok_or(Errno::NotFound)
    }

    fn directory(&self, names: Vec<String>) -> Arc<dyn Directory> {
        Arc::new(Self { filesystem: self.filesystem.clone(), names })
    }
}

impl Directory for GeneratedDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn enter(&self, name: &str) -> Result<Entered, Errno> {
        match self.below(name)? {
            (names, Generated::Directory(_)) => Ok(Entered::Directory(self.directory(names))),
            (_, Generated::Symlink(target)) => Ok(Entered::Symlink(target)),
            (_, Generated::File(_)) => Err(Errno::NotDirectory),
        }
    }

    fn open(&self, name: &str, options: OpenOptions) -> Result<Found, Errno> {
        match self.below(name) {
            Ok(_) if options.create && options.exclusive => Err(Errno::Exist),
            Ok((names, Generated::Directory(_))) => Ok(Found::Directory(self.directory(names))),
            Ok((_, Generated::Symlink(target))) => Ok(Found::Symlink(target)),
            Ok((names, generated)) => {
                let stat = self.filesystem.stat(&names, &generated);
                let Generated::File(content) = generated else { return Err(Errno::Io) };
                Ok(Found::File(Arc::new(GeneratedFile { content, stat })))
            }
            Err(_) if options.create => Err(Errno::ReadOnly),
            Err(errno) => Err(errno),
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.filesystem.stat(&self.names, &self.generate(&self.names)?))
    }

    fn stat_child(&self, name: &str) -> Result<Stat, Errno> {
        let (names, generated) = self.below(name)?;
        Ok(self.filesystem.stat(&names, &generated))
    }

    fn set_times(&self, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn set_child_times(&self, _name: &str, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn set_child_mode(&self, _name: &str, _mode: u32) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn create_dir(&self, _name: &str, _mode: u32) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn remove_dir(&self, _name: &str) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn unlink(&self, _name: &str) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn rename(&self, _name: &str, _to: &dyn Directory, _to_name: &str) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn link(&self, _name: &str, _new: &dyn Directory, _new_name: &str) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn symlink(&self, _target: &str, _name: &str) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn read_link(&self, name: &str) -> Result<String, Errno> {
        match self.below(name)?.1 {
            Generated::Symlink(target) => Ok(target),
            Generated::Directory(_) | Generated::File(_) => Err(Errno::Invalid),
        }
    }

    fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        let Generated::Directory(names) = self.generate(&self.names)? else { return Err(Errno::NotDirectory) };
        // What went away since it was listed is left out.
        let entry = |name: String| {
            let stat = self.stat_child(&name).ok()?;
            Some(DirEntry { name, kind: stat.kind, inode: stat.inode })
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }
}

/// A file as it was when it was opened.
#[derive(Debug)]
struct GeneratedFile {
    content: Bytes,
    stat: Stat,
}

impl FileObject for GeneratedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        let rest = &self.content[offset..];
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<usize, Errno> {
        Err(Errno::ReadOnly)
    }

    fn append(&self, _bytes: &[u8]) -> Result<(usize, u64), Errno> {
        Err(Errno::ReadOnly)
    }

    fn set_size(&self, _size: u64) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.stat.clone())
    }

    fn set_times(&self, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::ReadOnly)
    }

    fn contents(&self) -> Result<Bytes, Errno> {
        Ok(self.content.clone())
    }
}
