//! Reading a tar archive as a stream: entries with what GNU and pax extension records say of them, sparse files with
//! where their data goes. Nothing that an archive declares decides how much memory is taken.

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, Header, PaxExtensions};

const BLOCK: usize = 512;
/// The most bytes one extension record (long name, pax attributes) may have.
const MAX_EXTENSION: u64 = 1 << 20;
/// The most extended attributes of one entry, and the bytes of the value of one.
const MAX_XATTRS: usize = 64;
const MAX_XATTR: usize = 64 * 1024;
/// The most pieces of a sparse file.
const MAX_PIECES: usize = 65_536;
/// The most digits of a number in decimal.
const MAX_DIGITS: usize = 20;
/// What pax attributes for extended attributes begin with.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// What pax attributes of sparse files begin with.
const SPARSE: &[u8] = b"GNU.sparse.";
/// What is wrong with most bad sparse files.
const BAD_MAP: &str = "the map of a sparse file";

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream under it fails.
    #[error("cannot read the archive: {0}")]
    Read(io::Error),
    /// It ends within an entry.
    #[error("the archive ends within an entry")]
    Truncated,
    /// A header that is none, or says what cannot be.
    #[error("header {number} of the archive is invalid: {what}")]
    BadHeader {
        /// Which one, from 1.
        number: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// One entry as the archive has it; names are not checked yet. Its data is read from the archive before the next entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: EntryType,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// Of the file, holes included.
    pub(super) size: u64,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data goes, if the file is sparse: offset and length.
    pub(super) pieces: Option<Vec<(u64, u64)>>,
}

/// What extension records say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<(i64, i64)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Option<PaxSparse>,
}

/// A sparse file as pax attributes have it, in GNU's formats 0.0, 0.1 and 1.0.
#[derive(Default)]
struct PaxSparse {
    name: Option<Vec<u8>>,
    size: u64,
    pieces: Vec<(u64, u64)>,
    /// The map is at the beginning of the data (format 1.0).
    map_in_data: bool,
}

impl PaxSparse {
    /// Takes one attribute; `None` if it is not as it should be.
    fn attribute(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = number(value)?,
            b"major" => self.map_in_data = number(value)? > 0,
            b"offset" => self.add(number(value)?, 0)?,
            b"numbytes" => self.pieces.last_mut()?.1 = number(value)?,
            b"map" => {
                let mut numbers = value.split(|byte| *byte == b',');
                while let Some(offset) = numbers.next() {
                    self.add(number(offset)?, number(numbers.next()?)?)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn add(&mut self, offset: u64, length: u64) -> Option<()> {
        self.pieces.push((offset, length));
        (self.pieces.len() <= MAX_PIECES).then_some(())
    }
}

/// A stream of entries.
pub(super) struct Archive<R> {
    source: R,
    /// Of the current entry: bytes of data not read yet, and of padding after them.
    left: u64,
    padding: u64,
    entries: usize,
    position: u64,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, left: 0, padding: 0, entries: 0, position: 0 }
    }

    /// Where the data of the current entry begins, counted in bytes of the stream.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry; `None` at the end of the archive.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? || block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            self.entries += 1;
            let header = Header::from_byte_slice(&block);
            self.check_sum(header)?;
            let declared = self.field(header.entry_size(), &header.as_old().size, "its size")?;
            let kind = header.entry_type();
            self.begin(declared);
            match kind {
                EntryType::GNULongName => extensions.path = Some(without_nul(self.extension()?)),
                EntryType::GNULongLink => extensions.link = Some(without_nul(self.extension()?)),
                EntryType::XHeader => self.pax(&mut extensions)?,
                EntryType::XGlobalHeader => {}
                _ => return self.entry(header, extensions).map(Some),
            }
        }
    }

    /// Reads data of the current entry; 0 at its end.
    pub(super) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        match self.source.read(&mut buffer[..wanted]).map_err(ArchiveError::Read)? {
            0 => Err(ArchiveError::Truncated),
            count => {
                self.left -= count as u64;
                self.position += count as u64;
                Ok(count)
            }
        }
    }

    /// Reads on to the end of the stream, past the end of the archive. What was read is given back.
    #[cfg(target_os = "linux")]
    pub(super) fn drain(mut self) -> Result<R, ArchiveError> {
        io::copy(&mut self.source, &mut io::sink()).map_err(ArchiveError::Read)?;
        Ok(self.source)
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        let length = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink()).map_err(ArchiveError::Read)?;
        self.position += skipped;
        // The padding of the last entry may be missing, and the zeros at the end.
        if skipped < self.left {
            return Err(ArchiveError::Truncated);
        }
        self.begin(0);
        Ok(())
    }

    /// A block of headers; `false` at the end of the stream.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]).map_err(ArchiveError::Read)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ArchiveError::Truncated),
                count => filled += count,
            }
        }
        self.position += BLOCK as u64;
        Ok(true)
    }

    fn check_sum(&self, header: &Header) -> Result<(), ArchiveError> {
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).fold(8 * 32_u32, |sum, byte| sum + u32::from(*byte));
        match header.cksum() {
            Ok(expected) if expected == sum => Ok(()),
            _ => Err(self.bad("its checksum")),
        }
    }

    /// A number of a header. A field that is blank says nothing, as in archives of old tools.
    fn field(&self, value: io::Result<u64>, raw: &[u8], what: &'static str) -> Result<u64, ArchiveError> {
        match value {
            Ok(value) => Ok(value),
            Err(_) if raw.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(0),
            Err(_) => Err(self.bad(what)),
        }
    }

    fn bad(&self, what: &'static str) -> ArchiveError {
        ArchiveError::BadHeader { number: self.entries, what }
    }

    /// The data of an extension record.
    fn extension(&mut self) -> Result<Vec<u8>, ArchiveError> {
        if self.left > MAX_EXTENSION {
            return Err(self.bad("an extension of more than 1 MiB"));
        }
        let mut data = vec![0; usize::try_from(self.left).unwrap_or(0)];
        let mut filled = 0;
        while filled < data.len() {
            filled += self.read_data(&mut data[filled..])?;
        }
        Ok(data)
    }

    fn pax(&mut self, extensions: &mut Extensions) -> Result<(), ArchiveError> {
        let data = self.extension()?;
        for record in PaxExtensions::new(&data) {
            let record = record.map_err(|_| self.bad("a pax record"))?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let number = || number(value);
            match key {
                b"path" => extensions.path = Some(value.to_vec()),
                b"linkpath" => extensions.link = Some(value.to_vec()),
                b"size" => extensions.size = Some(number().ok_or_else(|| self.bad("a pax size"))?),
                b"uid" => extensions.uid = Some(number().ok_or_else(|| self.bad("a pax uid"))?),
                b"gid" => extensions.gid = Some(number().ok_or_else(|| self.bad("a pax gid"))?),
                b"mtime" => extensions.modified = Some(time(value).ok_or_else(|| self.bad("a pax mtime"))?),
                key if key.starts_with(XATTR) => {
                    if extensions.xattrs.len() >= MAX_XATTRS || value.len() > MAX_XATTR {
                        return Err(self.bad("too many or too large extended attributes"));
                    }
                    extensions.xattrs.push((key[XATTR.len()..].to_vec(), value.to_vec()));
                }
                key => {
                    if let Some(key) = key.strip_prefix(SPARSE) {
                        let sparse = extensions.sparse.get_or_insert_default();
                        sparse.attribute(key, value).ok_or_else(|| self.bad(BAD_MAP))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, ArchiveError> {
        if let Some(size) = extensions.size {
            self.begin(size);
        }
        let raw = header.as_old();
        let seconds = self.field(header.mtime(), &raw.mtime, "its time")?;
        let mut entry = Entry {
            path: extensions.path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: extensions.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind: header.entry_type(),
            mode: u32::try_from(self.field(header.mode().map(u64::from), &raw.mode, "its mode")?).unwrap_or(0),
            uid: extensions.uid.map_or_else(|| self.field(header.uid(), &raw.uid, "its owner"), Ok)?,
            gid: extensions.gid.map_or_else(|| self.field(header.gid(), &raw.gid, "its group"), Ok)?,
            modified: extensions.modified.unwrap_or((i64::try_from(seconds).unwrap_or(i64::MAX), 0)),
            size: self.left,
            xattrs: extensions.xattrs,
            pieces: None,
        };
        if entry.kind == EntryType::GNUSparse {
            self.sparse(header, &mut entry)?;
        } else if let Some(sparse) = extensions.sparse.filter(|_| entry.kind == EntryType::Regular) {
            self.pax_sparse(sparse, &mut entry)?;
        } else if !matches!(entry.kind, EntryType::Regular | EntryType::Continuous) && !is_old_file(header) {
            // Links and directories may declare a size that stands for nothing.
            entry.size = 0;
            if matches!(entry.kind, EntryType::Link | EntryType::Symlink | EntryType::Directory)
                && header.as_ustar().is_some()
            {
                self.begin(extensions.size.unwrap_or(self.left));
            }
        }
        Ok(entry)
    }

    /// The map of a sparse file in GNU's old format, which goes on in blocks after the header.
    fn sparse(&mut self, header: &Header, entry: &mut Entry) -> Result<(), ArchiveError> {
        let gnu = header.as_gnu().ok_or_else(|| self.bad("a sparse file without a map"))?;
        entry.size = gnu.real_size().map_err(|_| self.bad("the size of a sparse file"))?;
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let mut add = |found: &tar::GnuSparseHeader, number: usize| {
            let bad = || ArchiveError::BadHeader { number, what: BAD_MAP };
            if found.is_empty() {
                return Ok(());
            }
            let piece = (found.offset().map_err(|_| bad())?, found.length().map_err(|_| bad())?);
            pieces.push(piece);
            if pieces.len() > MAX_PIECES { Err(bad()) } else { Ok(()) }
        };
        for found in &gnu.sparse {
            add(found, self.entries)?;
        }
        let mut more = gnu.is_extended();
        while more {
            let mut extended = GnuExtSparseHeader::new();
            if !self.read_block(extended.as_mut_bytes())? {
                return Err(ArchiveError::Truncated);
            }
            for found in extended.sparse() {
                add(found, self.entries)?;
            }
            more = extended.is_extended();
        }
        self.check_map(pieces, entry)
    }

    /// The map of a sparse file in pax format.
    fn pax_sparse(&mut self, mut sparse: PaxSparse, entry: &mut Entry) -> Result<(), ArchiveError> {
        entry.size = sparse.size;
        if let Some(name) = sparse.name.take() {
            entry.path = name;
        }
        if sparse.map_in_data {
            let start = self.left;
            let pieces = self.map_number()?;
            for _ in 0..pieces {
                let (offset, length) = (self.map_number()?, self.map_number()?);
                sparse.add(offset, length).ok_or_else(|| self.bad(BAD_MAP))?;
            }
            // Data begins at the next block.
            for _ in 0..(BLOCK as u64 - (start - self.left) % BLOCK as u64) % BLOCK as u64 {
                self.data_byte()?;
            }
        }
        self.check_map(sparse.pieces, entry)
    }

    /// A line of the map that data begins with.
    fn map_number(&mut self) -> Result<u64, ArchiveError> {
        let mut digits = Vec::new();
        loop {
            match self.data_byte()? {
                b'\n' => return number(&digits).ok_or_else(|| self.bad(BAD_MAP)),
                byte if digits.len() < MAX_DIGITS => digits.push(byte),
                _ => return Err(self.bad(BAD_MAP)),
            }
        }
    }

    fn data_byte(&mut self) -> Result<u8, ArchiveError> {
        let mut byte = [0];
        match self.read_data(&mut byte)? {
            0 => Err(self.bad(BAD_MAP)),
            _ => Ok(byte[0]),
        }
    }

    /// Takes a map if its pieces follow each other within the file, and are all the data that there is.
    fn check_map(&self, pieces: Vec<(u64, u64)>, entry: &mut Entry) -> Result<(), ArchiveError> {
        let mut end = 0;
        let mut total = 0_u64;
        for (offset, length) in &pieces {
            let fits = *offset >= end && offset.checked_add(*length).is_some_and(|end| end <= entry.size);
            if !fits {
                return Err(self.bad(BAD_MAP));
            }
            end = offset + length;
            total += length;
        }
        if total != self.left {
            return Err(self.bad(BAD_MAP));
        }
        entry.pieces = Some(pieces);
        Ok(())
    }
}

fn is_old_file(header: &Header) -> bool {
    header.as_bytes()[156] == 0
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

/// A number in decimal.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `seconds[.fraction]`, as pax has times.
fn time(value: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok().filter(|nanoseconds| *nanoseconds >= 0)?;
    Some(if text.starts_with('-') && nanoseconds > 0 {
        (seconds - 1, 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    })
}
