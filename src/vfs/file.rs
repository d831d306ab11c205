//! [`File`]: an open file as the fronts hold it. It checks what the opener asked for; the filesystems do the rest.

use std::sync::Arc;

use bytes::Bytes;

use super::node::FileObject;
use super::{Errno, MODE_BITS, OpenOptions, SetTime, Stat, Stream};

/// An open file. Clones share it; the position is the front's business.
#[derive(Debug, Clone)]
pub struct File {
    object: Arc<dyn FileObject>,
    readable: bool,
    writable: bool,
    on_read_only_mount: bool,
}

impl File {
    pub(super) fn new(object: Arc<dyn FileObject>, options: OpenOptions, on_read_only_mount: bool) -> Self {
        Self { object, readable: options.read, writable: options.write, on_read_only_mount }
    }

    fn for_reading(&self) -> Result<&dyn FileObject, Errno> {
        if self.readable { Ok(&*self.object) } else { Err(Errno::BadDescriptor) }
    }

    fn for_writing(&self) -> Result<&dyn FileObject, Errno> {
        if self.writable { Ok(&*self.object) } else { Err(Errno::BadDescriptor) }
    }

    /// Reads at `offset` into `buffer`; 0 at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.for_reading()?.read_at(buffer, offset)
    }

    /// Writes `bytes` at `offset`, growing the file as needed; returns how many were written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        self.for_writing()?.write_at(bytes, offset)
    }

    /// Writes at the end, atomically with respect to other appends; returns (written, offset after the write).
    pub fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        self.for_writing()?.append(bytes)
    }

    /// Cuts or extends (with zeros) to `size` bytes.
    pub fn set_size(&self, size: u64) -> Result<(), Errno> {
        if i64::try_from(size).is_err() {
            return Err(Errno::FileTooLarge);
        }
        self.for_writing()?.set_size(size)
    }

    /// Metadata.
    pub fn stat(&self) -> Result<Stat, Errno> {
        self.object.stat()
    }

    /// Sets times, also of a file that was opened only for reading.
    pub fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        if self.on_read_only_mount {
            return Err(Errno::ReadOnly);
        }
        self.object.set_times(accessed, modified)
    }

    /// Sets the permission bits, also of a file that was opened only for reading.
    pub fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        if self.on_read_only_mount {
            return Err(Errno::ReadOnly);
        }
        self.object.set_mode(mode & MODE_BITS)
    }

    /// Forces content (and with `metadata` metadata) to the disk, where there is one. May block: fronts offload it.
    pub fn sync(&self, metadata: bool) -> Result<(), Errno> {
        self.object.sync(metadata)
    }

    /// The stream of the opener's that this file is a name of, as `/dev/stdout` is: to be used in its place.
    pub fn stands_for(&self) -> Option<Stream> {
        self.object.stands_for()
    }

    /// Whether reads and writes go to a byte stream without positions (a character device such as `/dev/null`).
    pub fn is_stream(&self) -> bool {
        self.object.is_stream()
    }

    /// The whole content, without copying where it lies in memory already. Files over [`super::MAX_CONTENTS`] bytes
    /// give `FileTooLarge`.
    pub fn contents(&self) -> Result<Bytes, Errno> {
        self.for_reading()?.contents()
    }

    /// A name that stands for the content, for caches: known without reading for unchanged files of an image layer
    /// (`<layer digest>:<path>`), otherwise none.
    pub fn content_id(&self) -> Option<String> {
        self.object.content_id()
    }
}
