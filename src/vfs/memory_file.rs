//! [`MemoryFile`]: a single file in memory, to be mounted by itself: what husk writes for a container (`/etc/hosts`)
//! and what a container writes for husk (`/dev/termination-log`).

use std::sync::PoisonError;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;

use super::node::{FileObject, end_of, next_device};
use super::table::MountSource;
use super::{Errno, FileKind, SetTime, Stat, now};

/// A file in memory of bounded size. Clones share it; whoever keeps one reads what containers wrote.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: u64,
    limit: usize,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    contents: Vec<u8>,
    mode: u32,
    /// The contents in the form they are handed out in, until they change.
    shown: Option<Bytes>,
    accessed: SystemTime,
    modified: SystemTime,
    changed: SystemTime,
}

impl State {
    fn touch(&mut self) {
        self.shown = None;
        (self.modified, self.changed) = (now(), now());
    }
}

impl MemoryFile {
    /// A file with `contents` and permission bits `mode` that can grow to `limit` bytes (what it has already is
    /// always kept); writing past that gives `NoSpace`.
    pub fn new(contents: impl Into<Vec<u8>>, mode: u32, limit: usize) -> Self {
        let contents = contents.into();
        let limit = limit.max(contents.len());
        let state = State { contents, mode, shown: None, accessed: now(), modified: now(), changed: now() };
        Self { shared: Arc::new(Shared { device: next_device(), limit, state: RwLock::new(state) }) }
    }

    /// A file that containers should find as given: mount it read-only, or let them change their copy of the text.
    pub fn generated(contents: impl Into<Vec<u8>>, mode: u32) -> Self {
        /// Room for additions, such as a program that edits `/etc/hosts`.
        const ROOM: usize = 64 * 1024;
        let contents = contents.into();
        let limit = contents.len().saturating_add(ROOM);
        Self::new(contents, mode, limit)
    }

    /// The contents now.
    pub fn contents(&self) -> Bytes {
        self.shared.contents()
    }

    /// Replaces the contents, for every container that has the file mounted. They may exceed the limit.
    pub fn replace(&self, contents: impl Into<Vec<u8>>) {
        let mut state = self.shared.write();
        state.contents = contents.into();
        state.touch();
    }
}

impl From<&MemoryFile> for MountSource {
    fn from(file: &MemoryFile) -> Self {
        Self::file(Arc::clone(&file.shared) as Arc<dyn FileObject>)
    }
}

impl From<MemoryFile> for MountSource {
    fn from(file: MemoryFile) -> Self {
        Self::from(&file)
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn contents(&self) -> Bytes {
        if let Some(shown) = &self.read().shown {
            return shown.clone();
        }
        let mut state = self.write();
        let shown = Bytes::copy_from_slice(&state.contents);
        state.shown = Some(shown.clone());
        shown
    }

    fn write_into(&self, state: &mut State, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        end_of(offset, bytes.len())?;
        let start = usize::try_from(offset).map_err(|_| Errno::FileTooLarge)?;
        let written = bytes.len().min(self.limit.saturating_sub(start));
        if written == 0 {
            return Err(Errno::NoSpace);
        }
        let end = start + written;
        if state.contents.len() < end {
            state.contents.resize(end, 0);
        }
        state.contents[start..end].copy_from_slice(&bytes[..written]);
        state.touch();
        Ok(written)
    }
}

impl FileObject for Shared {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let state = self.read();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(state.contents.len());
        let length = buffer.len().min(state.contents.len() - start);
        buffer[..length].copy_from_slice(&state.contents[start..start + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        self.write_into(&mut self.write(), bytes, offset)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        let mut state = self.write();
        let end = state.contents.len() as u64;
        let written = self.write_into(&mut state, bytes, end)?;
        Ok((written, end + written as u64))
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        let mut state = self.write();
        let size = usize::try_from(size).map_err(|_| Errno::FileTooLarge)?;
        if size > self.limit.max(state.contents.len()) {
            return Err(Errno::NoSpace);
        }
        state.contents.resize(size, 0);
        state.touch();
        Ok(())
    }

    fn stat(&self) -> Result<Stat, Errno> {
        let state = self.read();
        Ok(Stat {
            kind: FileKind::Regular,
            device: self.device,
            inode: 1,
            links: 1,
            size: state.contents.len() as u64,
            mode: state.mode,
            accessed: state.accessed,
            modified: state.modified,
            changed: state.changed,
        })
    }

    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        let mut state = self.write();
        accessed.apply(&mut state.accessed);
        modified.apply(&mut state.modified);
        state.changed = now();
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        let mut state = self.write();
        state.mode = mode;
        state.changed = now();
        Ok(())
    }

    fn contents(&self) -> Result<Bytes, Errno> {
        Ok(Self::contents(self))
    }
}
