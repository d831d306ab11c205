//! Reading tar archives in place: where each entry's header and data lie, GNU and pax long names resolved.
//!
//! Nothing is unpacked, and nothing an archive declares decides how much memory is taken: extension records are
//! bounded, data is only located.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tar::{EntryType, Header, PaxExtensions};

use super::layer::LayerError;

const BLOCK: u64 = 512;
/// The most bytes one extension record (long name, pax attributes) may have.
const MAX_EXTENSION: u64 = 1 << 20;

/// An archive's bytes, in memory or on disk.
#[derive(Debug)]
pub(super) enum Archive {
    Memory(Bytes),
    File { file: std::fs::File, length: u64 },
}

impl Archive {
    pub(super) fn from_file(file: std::fs::File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::File { file, length })
    }

    fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// Reads at `offset`; 0 at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let length = buffer.len().min(bytes.len() - start);
                buffer[..length].copy_from_slice(&bytes[start..start + length]);
                Ok(length)
            }
            Self::File { file, .. } => super::host::read_file_at(file, buffer, offset),
        }
    }

    /// The bytes from `offset`, where they are in memory already.
    pub(super) fn slice(&self, offset: u64, length: u64) -> Option<Bytes> {
        let Self::Memory(bytes) = self else { return None };
        let start = usize::try_from(offset).ok()?;
        let end = usize::try_from(offset.checked_add(length)?).ok()?;
        (end <= bytes.len()).then(|| bytes.slice(start..end))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), LayerError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset + filled as u64).map_err(LayerError::Io)? {
                0 => return Err(LayerError::Truncated { offset }),
                read => filled += read,
            }
        }
        Ok(())
    }
}

/// One entry as the archive has it; names are not checked yet.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) modified: SystemTime,
    /// Where the data lies in the archive.
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// What extension records say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<u64>,
}

/// Goes through the archive's entries in order.
pub(super) fn for_each_entry(
    archive: &Archive,
    mut each: impl FnMut(Entry) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut offset = 0;
    let mut extensions = Extensions::default();
    while offset < archive.length() {
        let mut block = [0; BLOCK as usize];
        archive.read_exact_at(&mut block, offset)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let header = Header::from_byte_slice(&block);
        check_sum(header, offset)?;
        let kind = header.entry_type();
        let declared = header.entry_size().map_err(|_| LayerError::BadHeader { offset })?;
        let extends = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        let size = if extends { declared } else { extensions.size.unwrap_or(declared) };
        let data = offset + BLOCK;
        let next = size
            .checked_next_multiple_of(BLOCK)
            .and_then(|padded| data.checked_add(padded))
            .ok_or(LayerError::BadHeader { offset })?;
        if data + size > archive.length() {
            return Err(LayerError::Truncated { offset });
        }
        if extends {
            read_extension(archive, kind, data, size, &mut extensions)?;
        } else {
            each(entry(header, data, size, std::mem::take(&mut extensions)))?;
        }
        offset = next;
    }
    Ok(())
}

fn check_sum(header: &Header, offset: u64) -> Result<(), LayerError> {
    // The sum is taken with its own field as spaces.
    const FIELD: std::ops::Range<usize> = 148..156;
    let bytes = header.as_bytes();
    let sum: u32 = bytes
        .iter()
        .enumerate()
        .map(|(index, byte)| if FIELD.contains(&index) { u32::from(b' ') } else { u32::from(*byte) })
        .sum();
    if header.cksum().is_ok_and(|stored| stored == sum) { Ok(()) } else { Err(LayerError::BadHeader { offset }) }
}

fn read_extension(
    archive: &Archive,
    kind: EntryType,
    offset: u64,
    size: u64,
    extensions: &mut Extensions,
) -> Result<(), LayerError> {
    if size > MAX_EXTENSION {
        return Err(LayerError::BadHeader { offset });
    }
    // Global attributes say nothing about single entries that a container would see.
    if kind == EntryType::XGlobalHeader {
        return Ok(());
    }
    let mut bytes = vec![0; size as usize];
    archive.read_exact_at(&mut bytes, offset)?;
    match kind {
        EntryType::GNULongName => extensions.path = Some(until_nul(bytes)),
        EntryType::GNULongLink => extensions.link = Some(until_nul(bytes)),
        _ => read_pax(&bytes, offset, extensions)?,
    }
    Ok(())
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn read_pax(bytes: &[u8], offset: u64, extensions: &mut Extensions) -> Result<(), LayerError> {
    for attribute in PaxExtensions::new(bytes) {
        let attribute = attribute.map_err(|_| LayerError::BadHeader { offset })?;
        let value = attribute.value_bytes();
        let number = || {
            let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
            std::str::from_utf8(whole).ok().and_then(|text| text.parse::<u64>().ok())
        };
        match attribute.key_bytes() {
            b"path" => extensions.path = Some(value.to_vec()),
            b"linkpath" => extensions.link = Some(value.to_vec()),
            b"size" => extensions.size = Some(number().ok_or(LayerError::BadHeader { offset })?),
            b"mtime" => extensions.modified = number(),
            key if key.starts_with(b"GNU.sparse.") => return Err(LayerError::Sparse { offset }),
            _ => {}
        }
    }
    Ok(())
}

fn entry(header: &Header, offset: u64, size: u64, extensions: Extensions) -> Entry {
    let seconds = extensions.modified.or_else(|| header.mtime().ok()).unwrap_or(0);
    Entry {
        path: extensions.path.unwrap_or_else(|| header.path_bytes().into_owned()),
        link: extensions
            .link
            .unwrap_or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()),
        kind: header.entry_type(),
        mode: header.mode().unwrap_or(0o644) & 0o7777,
        modified: UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH),
        offset,
        size,
    }
}
