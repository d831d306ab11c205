//! A disk in memory that can be looked at as a crash would leave it, that can be held up, and that can fail.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

/// What a sector of a disk is written in: all of it or nothing.
const SECTOR: usize = 512;

/// A disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    /// What the system shows.
    shown: Vec<u8>,
    /// What is on the medium.
    synced: Vec<u8>,
    unsynced: Vec<Operation>,
    /// Whether what is to be synced has to wait.
    held: bool,
    /// Writes until the disk is full.
    space: Option<usize>,
    writes: usize,
}

#[derive(Debug)]
enum Operation {
    Write { offset: usize, data: Vec<u8> },
    SetLength(usize),
}

impl SimDisk {
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        *disk.content() = Content { shown: bytes.clone(), synced: bytes, ..Content::default() };
        disk
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.shared.content.lock().unwrap()
    }

    /// What is there after the process was killed.
    pub(super) fn after_kill(&self) -> Vec<u8> {
        self.content().shown.clone()
    }

    /// What is there after a loss of power: all that was synced, and of the rest any part.
    pub(super) fn after_power_loss(&self, random: &mut fastrand::Rng) -> Vec<u8> {
        let content = self.content();
        let mut medium = content.synced.clone();
        for operation in &content.unsynced {
            match operation {
                Operation::SetLength(length) if random.bool() => medium.resize(*length, 0),
                Operation::SetLength(_) => {}
                Operation::Write { offset, data } => {
                    let mut at = *offset;
                    while at < offset + data.len() {
                        let end = ((at / SECTOR + 1) * SECTOR).min(offset + data.len());
                        if end <= medium.len() && random.bool() {
                            medium[at..end].copy_from_slice(&data[at - offset..end - offset]);
                        }
                        at = end;
                    }
                }
            }
        }
        medium
    }

    /// Lets nothing be synced any more, or everything again.
    pub(super) fn hold(&self, held: bool) {
        self.content().held = held;
        self.shared.changed.notify_all();
    }

    /// Fails after that many writes.
    pub(super) fn fill_up_after(&self, writes: usize) {
        self.content().space = Some(writes);
    }

    /// The writes so far.
    pub(super) fn writes(&self) -> usize {
        self.content().writes
    }
}

impl Content {
    fn use_space(&mut self) -> io::Result<()> {
        self.writes += 1;
        match &mut self.space {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(space) => {
                *space -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.content();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(content.shown.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content();
        content.use_space()?;
        content.shown.resize(len as usize, 0);
        content.unsynced.push(Operation::SetLength(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let content = self.content();
        let mut content = self.shared.changed.wait_while(content, |content| content.held).unwrap();
        if content.space == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.synced = content.shown.clone();
        content.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.content();
        content.use_space()?;
        let (start, end) = (offset as usize, offset as usize + data.len());
        if content.shown.len() < end {
            content.shown.resize(end, 0);
            content.unsynced.push(Operation::SetLength(end));
        }
        content.shown[start..end].copy_from_slice(data);
        content.unsynced.push(Operation::Write { offset: start, data: data.to_vec() });
        Ok(())
    }
}
