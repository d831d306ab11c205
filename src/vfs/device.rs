//! [`DeviceFs`]: the devices every container has in `/dev`, such as its runtime adds, and names for a process's own
//! streams.
//!
//! No read or write here waits: a device that has nothing to give says so at once.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::node::{Directory, Entered, FileObject, Found, next_device};
use super::table::MountSource;
use super::{DirEntry, Errno, FileKind, OpenOptions, SetTime, Stat, now};

/// A character device: a stream of bytes without positions.
pub trait Device: fmt::Debug + Send + Sync + 'static {
    /// Reads into `buffer`; 0 is the end of the stream. Must not wait.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno>;
    /// Writes `bytes` and returns how many were taken. Must not wait.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno>;
}

/// The devices that need no one behind them.
#[derive(Debug, Clone, Copy)]
enum Standard {
    Null,
    Zero,
    Full,
    Random,
}

impl Device for Standard {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Null => return Ok(0),
            Self::Zero | Self::Full => buffer.fill(0),
            Self::Random => getrandom::fill(buffer).map_err(|_| Errno::Io)?,
        }
        Ok(buffer.len())
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Full if !bytes.is_empty() => Err(Errno::NoSpace),
            Self::Null | Self::Zero | Self::Full | Self::Random => Ok(bytes.len()),
        }
    }
}

/// A stream of the process that opens its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// `/dev/stdin`, `/dev/stdout`, `/dev/stderr`: the descriptor with this number.
    Descriptor(u32),
    /// `/dev/tty`: its terminal.
    Terminal,
}

/// A directory of devices, to be mounted at `/dev`: `null`, `zero`, `full`, `random`, `urandom`, those added, and
/// `stdin`, `stdout`, `stderr` and `tty`, which stand for streams of whoever opens them ([`super::File::stands_for`]).
/// Nothing can be made or removed in it; mounts below it (`/dev/shm`, `/dev/termination-log`) show all the same.
#[derive(Debug, Clone)]
pub struct DeviceFs {
    nodes: BTreeMap<String, Node>,
    device: u64,
    made: SystemTime,
}

#[derive(Debug, Clone)]
enum Node {
    Device(Arc<dyn Device>),
    Stream(Stream),
    Symlink(String),
}

impl Default for DeviceFs {
    fn default() -> Self {
        Self::new()
    }
}

impl DeviceFs {
    /// The standard devices.
    pub fn new() -> Self {
        let standard = [
            ("null", Standard::Null),
            ("zero", Standard::Zero),
            ("full", Standard::Full),
            ("random", Standard::Random),
            ("urandom", Standard::Random),
        ];
        let nodes = standard
            .into_iter()
            .map(|(name, device)| (name.to_owned(), Node::Device(Arc::new(device) as Arc<dyn Device>)));
        let streams = [
            ("stdin", Stream::Descriptor(0)),
            ("stdout", Stream::Descriptor(1)),
            ("stderr", Stream::Descriptor(2)),
            ("tty", Stream::Terminal),
        ];
        let streams = streams.into_iter().map(|(name, stream)| (name.to_owned(), Node::Stream(stream)));
        let nodes = nodes.chain(streams).collect();
        Self { nodes, device: next_device(), made: now() }
    }

    /// Adds a device, such as `stdout`.
    #[must_use]
    pub fn with_device(mut self, name: &str, device: Arc<dyn Device>) -> Self {
        self.nodes.insert(name.to_owned(), Node::Device(device));
        self
    }

    /// Adds a symlink.
    #[must_use]
    pub fn with_symlink(mut self, name: &str, target: &str) -> Self {
        self.nodes.insert(name.to_owned(), Node::Symlink(target.to_owned()));
        self
    }

    fn stat_of(&self, kind: FileKind, inode: u64, size: u64) -> Stat {
        let mode = match kind {
            FileKind::Directory => 0o755,
            FileKind::Symlink => 0o777,
            FileKind::Regular | FileKind::CharDevice | FileKind::Other => 0o666,
        };
        let (device, made) = (self.device, self.made);
        Stat { kind, device, inode, links: 1, size, mode, accessed: made, modified: made, changed: made }
    }

    fn find(&self, name: &str) -> Result<(u64, &Node), Errno> {
        let found = self.nodes.iter().zip(2..).find(|((known, _), _)| *known == name);
        found.map(|((_, node), inode)| (inode, node)).ok_or(Errno::NotFound)
    }

    fn stat_node(&self, inode: u64, node: &Node) -> Stat {
        match node {
            Node::Device(_) | Node::Stream(_) => self.stat_of(FileKind::CharDevice, inode, 0),
            Node::Symlink(target) => self.stat_of(FileKind::Symlink, inode, target.len() as u64),
        }
    }
}

impl From<DeviceFs> for MountSource {
    fn from(filesystem: DeviceFs) -> Self {
        Self::directory(DeviceDirectory(Arc::new(filesystem)))
    }
}

#[derive(Debug)]
struct DeviceDirectory(Arc<DeviceFs>);

impl DeviceDirectory {
    /// What every attempt to change a name gives.
    fn refuse<T>(&self, name: &str) -> Result<T, Errno> {
        self.0.find(name)?;
        Err(Errno::NotPermitted)
    }

    fn refuse_new<T>(&self, name: &str) -> Result<T, Errno> {
        Err(if self.0.find(name).is_ok() { Errno::Exist } else { Errno::NotPermitted })
    }
}

impl Directory for DeviceDirectory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn enter(&self, name: &str) -> Result<Entered, Errno> {
        match self.0.find(name)?.1 {
            Node::Device(_) | Node::Stream(_) => Err(Errno::NotDirectory),
            Node::Symlink(target) => Ok(Entered::Symlink(target.clone())),
        }
    }

    fn open(&self, name: &str, options: OpenOptions) -> Result<Found, Errno> {
        match self.0.find(name) {
            Ok(_) if options.create && options.exclusive => Err(Errno::Exist),
            Ok((inode, Node::Device(device))) => {
                let stat = self.0.stat_of(FileKind::CharDevice, inode, 0);
                Ok(Found::File(Arc::new(OpenDevice { device: Arc::clone(device), stat })))
            }
            Ok((inode, Node::Stream(stream))) => {
                let stat = self.0.stat_of(FileKind::CharDevice, inode, 0);
                Ok(Found::File(Arc::new(OpenStream { stream: *stream, stat })))
            }
            Ok((_, Node::Symlink(target))) => Ok(Found::Symlink(target.clone())),
            Err(_) if options.create => Err(Errno::NotPermitted),
            Err(errno) => Err(errno),
        }
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.0.stat_of(FileKind::Directory, 1, 0))
    }

    fn stat_child(&self, name: &str) -> Result<Stat, Errno> {
        let (inode, node) = self.0.find(name)?;
        Ok(self.0.stat_node(inode, node))
    }

    fn set_times(&self, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Ok(())
    }

    fn set_child_times(&self, name: &str, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        self.0.find(name).map(|_| ())
    }

    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::NotPermitted)
    }

    fn set_child_mode(&self, name: &str, _mode: u32) -> Result<(), Errno> {
        self.refuse(name)
    }

    fn create_dir(&self, name: &str, _mode: u32) -> Result<(), Errno> {
        self.refuse_new(name)
    }

    fn remove_dir(&self, name: &str) -> Result<(), Errno> {
        self.0.find(name)?;
        Err(Errno::NotDirectory)
    }

    fn unlink(&self, name: &str) -> Result<(), Errno> {
        self.refuse(name)
    }

    fn rename(&self, name: &str, _to: &dyn Directory, _to_name: &str) -> Result<(), Errno> {
        self.refuse(name)
    }

    fn link(&self, name: &str, _new: &dyn Directory, _new_name: &str) -> Result<(), Errno> {
        self.refuse(name)
    }

    fn symlink(&self, _target: &str, name: &str) -> Result<(), Errno> {
        self.refuse_new(name)
    }

    fn read_link(&self, name: &str) -> Result<String, Errno> {
        match self.0.find(name)?.1 {
            Node::Device(_) | Node::Stream(_) => Err(Errno::Invalid),
            Node::Symlink(target) => Ok(target.clone()),
        }
    }

    fn entries(&self) -> Result<Vec<DirEntry>, Errno> {
        let nodes = self.0.nodes.iter().zip(2..);
        Ok(nodes
            .map(|((name, node), inode)| DirEntry {
                name: name.clone(),
                kind: self.0.stat_node(inode, node).kind,
                inode,
            })
            .collect())
    }
}

#[derive(Debug)]
struct OpenDevice {
    device: Arc<dyn Device>,
    stat: Stat,
}

impl FileObject for OpenDevice {
    fn read_at(&self, buffer: &mut [u8], _offset: u64) -> Result<usize, Errno> {
        self.device.read(buffer)
    }

    fn write_at(&self, bytes: &[u8], _offset: u64) -> Result<usize, Errno> {
        self.device.write(bytes)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        Ok((self.device.write(bytes)?, 0))
    }

    fn set_size(&self, _size: u64) -> Result<(), Errno> {
        Err(Errno::Invalid)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.stat.clone())
    }

    fn set_times(&self, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Ok(())
    }

    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::NotPermitted)
    }

    fn sync(&self, _metadata: bool) -> Result<(), Errno> {
        Err(Errno::Invalid)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn contents(&self) -> Result<Bytes, Errno> {
        Err(Errno::Invalid)
    }
}

/// Stands for a stream of whoever opens it, who must put that in its place: by itself it has nothing to give.
#[derive(Debug)]
struct OpenStream {
    stream: Stream,
    stat: Stat,
}

impl FileObject for OpenStream {
    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> Result<usize, Errno> {
        Err(Errno::Unsupported)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> Result<usize, Errno> {
        Err(Errno::Unsupported)
    }

    fn append(&self, _bytes: &[u8]) -> Result<(usize, u64), Errno> {
        Err(Errno::Unsupported)
    }

    fn set_size(&self, _size: u64) -> Result<(), Errno> {
        Err(Errno::Invalid)
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.stat.clone())
    }

    fn set_times(&self, _accessed: SetTime, _modified: SetTime) -> Result<(), Errno> {
        Ok(())
    }

    fn set_mode(&self, _mode: u32) -> Result<(), Errno> {
        Err(Errno::NotPermitted)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn stands_for(&self) -> Option<Stream> {
        Some(self.stream)
    }
}
