//! The first page of the file: whose file it is, in which format, and how far it was acknowledged.
//!
//! ```text
//! 0     magic (8)  format (4)  checksum (32)
//! 512   mark:  serial (8)  acknowledged (8)  closed (1)  checksum (32)
//! 1024  mark:  the same, written in turn
//! 4096  redb's database
//! ```
//!
//! The database alone cannot tell a commit that a crash cut short, which it rightly forgets, from one that was there
//! and got damaged. The marks can: what they say was acknowledged has to be there. They are written after each commit,
//! without waiting for the disk once more, for what they guard against is damage: after a loss of power they may be
//! behind the database, never ahead of it. Each is in a sector of its own, and one of them is always whole.

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::open::Problem;

/// Bytes in front of the database.
pub(super) const HEADER_BYTES: u64 = 4096;

const MAGIC: [u8; 8] = *b"\x89husk\r\n\x1a";
/// The format of header, records and tables.
pub(super) const FORMAT: u32 = 1;
const MARKS: [u64; 2] = [512, 1024];
const MARK_BYTES: usize = 8 + 8 + 1 + blake3::OUT_LEN;

/// What a file begins with, in every format there will be.
pub(super) fn start(format: u32) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &format.to_le_bytes()].concat();
    let checksum = blake3::hash(&bytes);
    bytes.extend(checksum.as_bytes());
    bytes
}

/// How far the file was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    serial: u64,
    /// This revision, and all before it, would survive a crash.
    pub(super) acknowledged: u64,
    /// Whether nothing was changed since, and nobody saw any later revision.
    pub(super) closed: bool,
}

impl Mark {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK_BYTES);
        bytes.extend(self.serial.to_le_bytes());
        bytes.extend(self.acknowledged.to_le_bytes());
        bytes.push(u8::from(self.closed));
        let checksum = blake3::hash(&bytes);
        bytes.extend(checksum.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8; MARK_BYTES]) -> Option<Self> {
        let (fields, checksum) = bytes.split_at(MARK_BYTES - blake3::OUT_LEN);
        if blake3::hash(fields).as_bytes() != checksum {
            return None;
        }
        let (serial, fields) = fields.split_first_chunk()?;
        let (acknowledged, fields) = fields.split_first_chunk()?;
        let closed = *fields.first()? != 0;
        Some(Self { serial: u64::from_le_bytes(*serial), acknowledged: u64::from_le_bytes(*acknowledged), closed })
    }
}

/// The header of an open file.
#[derive(Debug)]
pub(super) struct Header {
    disk: Arc<dyn StorageBackend>,
    pub(super) mark: Mark,
}

impl Header {
    /// Begins a file. The marks are to be written next.
    pub(super) fn create(disk: Arc<dyn StorageBackend>) -> io::Result<Self> {
        disk.set_len(HEADER_BYTES)?;
        disk.write(0, &start(FORMAT))?;
        Ok(Self { disk, mark: Mark { serial: 0, acknowledged: 0, closed: false } })
    }

    /// Reads the header of a file.
    pub(super) fn read(disk: Arc<dyn StorageBackend>) -> Result<Self, Problem> {
        let length = disk.len()?;
        let mut page = vec![0; length.min(HEADER_BYTES) as usize];
        disk.read(0, &mut page)?;
        if length <= HEADER_BYTES {
            // Files get their name when they are whole, so that one which begins as ours do was longer.
            let ours = page.starts_with(&MAGIC) || MAGIC.starts_with(&page);
            return Err(if ours {
                Problem::Damaged(format!("it has only {length} bytes left"))
            } else {
                Problem::Foreign
            });
        }
        let marks = MARKS.iter().filter_map(|offset| Mark::decode(page[*offset as usize..].first_chunk()?));
        let mark = marks.max_by_key(|mark| mark.serial);
        let found = page[MAGIC.len()..].first_chunk().copied().map(u32::from_le_bytes).unwrap_or_default();
        match mark {
            _ if found != FORMAT && page.starts_with(&start(found)) => Err(Problem::Format { found }),
            Some(mark) if page.starts_with(&start(FORMAT)) => Ok(Self { disk, mark }),
            None if !page.starts_with(&MAGIC) => Err(Problem::Foreign),
            _ => Err(Problem::Damaged("its header is not as it was written".to_owned())),
        }
    }

    /// Notes how far the file is acknowledged.
    pub(super) fn write(&mut self, acknowledged: u64, closed: bool) -> io::Result<()> {
        let serial = self.mark.serial + 1;
        self.mark = Mark { serial, acknowledged, closed };
        let offset = if serial.is_multiple_of(2) { MARKS[0] } else { MARKS[1] };
        self.disk.write(offset, &self.mark.encode())
    }

    /// Does so in both places, and waits until the disk has it.
    pub(super) fn write_through(&mut self, acknowledged: u64, closed: bool) -> io::Result<()> {
        for _ in MARKS {
            self.write(acknowledged, closed)?;
        }
        self.disk.sync_data()
    }
}
