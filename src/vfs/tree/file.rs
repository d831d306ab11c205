//! Leaves of the tree (files and symlinks), and files of it that are open.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use bytes::Bytes;

use super::super::node::{FileObject, end_of, read_all};
use super::super::quota::Held;
use super::super::{Errno, FileKind, SetTime, Stat, now};
use super::Tree;
use super::content::Content;

/// What is kept of any inode beside its content.
#[derive(Debug, Clone)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) links: u64,
    pub(super) accessed: SystemTime,
    pub(super) modified: SystemTime,
    pub(super) changed: SystemTime,
}

impl Meta {
    pub(super) fn new(mode: u32, time: SystemTime) -> Self {
        Self { mode, links: 1, accessed: time, modified: time, changed: time }
    }

    pub(super) fn touch(&mut self) {
        let now = now();
        (self.modified, self.changed) = (now, now);
    }

    pub(super) fn set_times(&mut self, accessed: SetTime, modified: SetTime) {
        accessed.apply(&mut self.accessed);
        modified.apply(&mut self.modified);
        self.changed = now();
    }

    pub(super) fn set_mode(&mut self, mode: u32) {
        self.mode = mode;
        self.changed = now();
    }

    pub(super) fn stat(&self, kind: FileKind, device: u64, inode: u64, size: u64) -> Stat {
        let Self { mode, links, accessed, modified, changed } = self.clone();
        Stat { kind, device, inode, links, size, mode, accessed, modified, changed }
    }
}

/// A file or symlink. It lives as long as a name or an open file refers to it.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) inode: u64,
    meta: Mutex<Meta>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    File(RwLock<Content>),
    /// The link's content, and what it takes of the quota.
    Symlink(Box<str>, #[expect(dead_code, reason = "held until the link is gone")] Held),
}

impl Leaf {
    pub(super) fn new(inode: u64, meta: Meta, body: Body) -> Arc<Self> {
        Arc::new(Self { inode, meta: Mutex::new(meta), body })
    }

    pub(super) fn meta(&self) -> MutexGuard<'_, Meta> {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kind(&self) -> FileKind {
        match self.body {
            Body::File(_) => FileKind::Regular,
            Body::Symlink(..) => FileKind::Symlink,
        }
    }

    pub(super) fn stat(&self, device: u64) -> Stat {
        let size = match &self.body {
            Body::File(content) => content.read().unwrap_or_else(PoisonError::into_inner).size(),
            Body::Symlink(target, _) => target.len() as u64,
        };
        self.meta().stat(self.kind(), device, self.inode, size)
    }

    pub(super) fn symlink_target(&self) -> Option<&str> {
        match &self.body {
            Body::Symlink(target, _) => Some(target),
            Body::File(_) => None,
        }
    }
}

/// An open file of the tree; it stays usable when its last name is gone.
#[derive(Debug)]
pub(super) struct TreeFile {
    tree: Arc<Tree>,
    leaf: Arc<Leaf>,
    /// Keeps the content's file on disk open while this is open.
    disk: OnceLock<Arc<fs::File>>,
}

impl TreeFile {
    pub(super) fn new(tree: &Arc<Tree>, leaf: Arc<Leaf>) -> Self {
        Self { tree: Arc::clone(tree), leaf, disk: OnceLock::new() }
    }

    fn lock(&self) -> Result<&RwLock<Content>, Errno> {
        match &self.leaf.body {
            Body::File(content) => Ok(content),
            Body::Symlink(..) => Err(Errno::Loop),
        }
    }

    fn content(&self) -> Result<RwLockReadGuard<'_, Content>, Errno> {
        Ok(self.lock()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The content, writable, of what was there at least the first `keep` bytes.
    fn written(&self, keep: u64) -> Result<RwLockWriteGuard<'_, Content>, Errno> {
        let mut content = self.lock()?.write().unwrap_or_else(PoisonError::into_inner);
        content.make_written(&self.tree.storage, &self.tree.quota, keep)?;
        if let Content::Disk(file) = &mut *content {
            if self.disk.get().is_none() {
                let _ = self.disk.set(file.handle()?);
            }
            file.release();
        }
        Ok(content)
    }

    fn read_from(&self, content: &Content, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        match content {
            Content::Unwritten(None) => Ok(0),
            Content::Unwritten(Some(file)) => file.read_at(buffer, offset),
            Content::Memory(pages) => Ok(pages.read_at(buffer, offset)),
            Content::Disk(file) => {
                if self.disk.get().is_none() {
                    let _ = self.disk.set(file.handle()?);
                }
                file.read_at(buffer, offset)
            }
        }
    }

    /// Cuts to nothing, without copying what was there.
    pub(super) fn truncate(&self) -> Result<(), Errno> {
        let mut content = self.lock()?.write().unwrap_or_else(PoisonError::into_inner);
        match &mut *content {
            Content::Unwritten(lower) => *lower = None,
            written => written.set_size(0)?,
        }
        self.leaf.meta().touch();
        Ok(())
    }
}

impl FileObject for TreeFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        self.read_from(&*self.content()?, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        end_of(offset, bytes.len())?;
        let written = self.written(u64::MAX)?.write_at(bytes, offset)?;
        self.leaf.meta().touch();
        Ok(written)
    }

    fn append(&self, bytes: &[u8]) -> Result<(usize, u64), Errno> {
        if bytes.is_empty() {
            return Ok((0, self.content()?.size()));
        }
        let mut content = self.written(u64::MAX)?;
        let size = content.size();
        let written = content.write_at(bytes, size)?;
        self.leaf.meta().touch();
        Ok((written, size + written as u64))
    }

    fn set_size(&self, size: u64) -> Result<(), Errno> {
        if size == 0 {
            return self.truncate();
        }
        if size != self.content()?.size() {
            self.written(size)?.set_size(size)?;
        }
        self.leaf.meta().touch();
        Ok(())
    }

    fn stat(&self) -> Result<Stat, Errno> {
        Ok(self.leaf.stat(self.tree.device))
    }

    fn set_times(&self, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
        self.leaf.meta().set_times(accessed, modified);
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        self.leaf.meta().set_mode(mode);
        Ok(())
    }

    fn sync(&self, _metadata: bool) -> Result<(), Errno> {
        // What a container writes goes with it, so there is nothing to make durable.
        Ok(())
    }

    fn contents(&self) -> Result<Bytes, Errno> {
        let content = self.content()?;
        match &*content {
            Content::Unwritten(None) => Ok(Bytes::new()),
            Content::Unwritten(Some(file)) => file.contents(),
            Content::Memory(_) | Content::Disk(_) => {
                read_all(content.size(), |buffer, offset| self.read_from(&content, buffer, offset))
            }
        }
    }

    fn content_id(&self) -> Option<String> {
        match &*self.content().ok()? {
            Content::Unwritten(Some(file)) => Some(file.content_id()),
            Content::Unwritten(None) | Content::Memory(_) | Content::Disk(_) => None,
        }
    }
}
