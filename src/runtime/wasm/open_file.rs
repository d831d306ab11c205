//! An open file as several descriptors may share it, those of other processes included: one position for all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vfs::{Errno, File};

/// An open file with its position.
#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    /// The file.
    pub(super) file: File,
    position: Arc<Mutex<u64>>,
    /// Whether every write goes to the end.
    pub(super) append: bool,
    /// Whether it may be read.
    pub(super) read: bool,
    /// Whether it may be written.
    pub(super) write: bool,
}

impl OpenFile {
    /// A file at its beginning.
    pub(super) fn new(file: File, read: bool, write: bool, append: bool) -> Self {
        Self { file, position: Arc::default(), append, read, write }
    }

    /// The position; while it is held, no other descriptor of this file moves.
    pub(super) fn position(&self) -> MutexGuard<'_, u64> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads at the position and moves it.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        if !self.read {
            return Err(Errno::BadDescriptor);
        }
        let mut position = self.position();
        let read = self.file.read_at(buffer, *position)?;
        *position = after(*position, read)?;
        Ok(read)
    }

    /// Writes at the position, or to the end of the file, and moves it.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        if !self.write {
            return Err(Errno::BadDescriptor);
        }
        let mut position = self.position();
        if self.append {
            let (written, end) = self.file.append(bytes)?;
            *position = end;
            return Ok(written);
        }
        let written = self.file.write_at(bytes, *position)?;
        *position = after(*position, written)?;
        Ok(written)
    }
}

/// The position after `bytes` more.
pub(super) fn after(position: u64, bytes: usize) -> Result<u64, Errno> {
    position.checked_add(bytes as u64).ok_or(Errno::FileTooLarge)
}
