//! Where redb's database is in the file, and a way to look at it without changing the file.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use super::header::HEADER_BYTES;

/// The file behind its header. The lock on the file is the store's, not redb's.
#[derive(Debug)]
pub(super) struct Body(pub(super) Arc<dyn StorageBackend>);

impl StorageBackend for Body {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len()?.saturating_sub(HEADER_BYTES))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset.checked_add(HEADER_BYTES).ok_or(io::ErrorKind::InvalidData)?, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len + HEADER_BYTES)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset + HEADER_BYTES, data)
    }
}

/// What would become of a file: its writes are kept in memory. redb repairs what it opens, so that a file that may be
/// damaged is looked at through this first.
#[derive(Debug)]
pub(super) struct Rehearsal {
    file: Body,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    /// By number, pages that are other than in the file.
    pages: BTreeMap<u64, Vec<u8>>,
}

const PAGE: u64 = 4096;

impl Rehearsal {
    pub(super) fn new(file: Body) -> io::Result<Self> {
        let written = Mutex::new(Written { length: file.len()?, pages: BTreeMap::new() });
        Ok(Self { file, written })
    }

    /// A page of the file as it is; zero behind its end.
    fn original(&self, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE as usize];
        let there = self.file.len()?.saturating_sub(page * PAGE).min(PAGE) as usize;
        self.file.read(page * PAGE, &mut bytes[..there])?;
        Ok(bytes)
    }
}

/// The pages that a range of bytes touches: the number of each, where the range begins in it, and how far in the range.
fn pages(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE) as usize;
        let part = (PAGE as usize - within).min(length - done);
        let range = done..done + part;
        done += part;
        Some((at / PAGE, within, range))
    })
}

impl StorageBackend for Rehearsal {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > written.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, range) in pages(offset, out.len()) {
            let out = &mut out[range];
            match written.pages.get(&page) {
                Some(bytes) => out.copy_from_slice(&bytes[within..within + out.len()]),
                None => out.copy_from_slice(&self.original(page)?[within..within + out.len()]),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.length = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (page, within, range) in pages(offset, data.len()) {
            let bytes = match written.pages.entry(page) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => entry.insert(self.original(page)?),
            };
            let data = &data[range];
            bytes[within..within + data.len()].copy_from_slice(data);
        }
        written.length = written.length.max(offset + data.len() as u64);
        Ok(())
    }
}
