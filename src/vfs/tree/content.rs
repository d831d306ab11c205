//! Contents of files in a [`super::TreeFs`]: untouched in an image layer, in pages of memory, or in a file on disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::super::Errno;
use super::super::host::{read_file_at, write_file_at};
use super::super::layer::LayerFile;
use super::super::node::end_of;
use super::super::quota::{Held, Quota};

/// The unit in which memory is taken, as a tmpfs does.
pub(super) const PAGE: u64 = 4096;
const PAGE_SIZE: usize = PAGE as usize;

/// Where a filesystem keeps what is written.
#[derive(Debug)]
pub(super) enum Storage {
    Memory,
    Disk(Arc<Scratch>),
}

/// The content of one file.
#[derive(Debug)]
pub(super) enum Content {
    /// Never written: a file of an image layer, or empty.
    Unwritten(Option<LayerFile>),
    Memory(Pages),
    Disk(DiskFile),
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Unwritten(file) => file.as_ref().map_or(0, |file| file.size),
            Self::Memory(pages) => pages.size,
            Self::Disk(file) => file.size,
        }
    }

    /// Makes the content writable, keeping its first `keep` bytes.
    pub(super) fn make_written(&mut self, storage: &Storage, quota: &Arc<Quota>, keep: u64) -> Result<(), Errno> {
        let Self::Unwritten(lower) = self else { return Ok(()) };
        let mut written = match storage {
            Storage::Memory => Self::Memory(Pages::new(quota)),
            Storage::Disk(scratch) => Self::Disk(scratch.create_file(quota)?),
        };
        if let Some(lower) = lower {
            let mut buffer = vec![0; (64 * 1024).min(usize::try_from(lower.size).unwrap_or(usize::MAX))];
            let mut offset = 0;
            while offset < keep.min(lower.size) {
                let wanted = usize::try_from(keep - offset).unwrap_or(usize::MAX).min(buffer.len());
                let read = lower.read_at(&mut buffer[..wanted], offset)?;
                if read == 0 {
                    return Err(Errno::Io);
                }
                let mut done = 0;
                while done < read {
                    done += written.write_at(&buffer[done..read], offset + done as u64)?;
                }
                offset += read as u64;
            }
        }
        *self = written;
        Ok(())
    }

    /// Writes what the quota lets be written; `NoSpace` where that is nothing. The content must be written already.
    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        end_of(offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(0);
        }
        match self {
            Self::Unwritten(_) => Err(Errno::Io),
            Self::Memory(pages) => pages.write_at(bytes, offset),
            Self::Disk(file) => file.write_at(bytes, offset),
        }
    }

    pub(super) fn set_size(&mut self, size: u64) -> Result<(), Errno> {
        match self {
            Self::Unwritten(_) => Err(Errno::Io),
            Self::Memory(pages) => {
                pages.set_size(size);
                Ok(())
            }
            Self::Disk(file) => file.set_size(size),
        }
    }
}

/// Content in memory; pages that were never written take no memory and read as zeros.
#[derive(Debug)]
pub(super) struct Pages {
    pages: BTreeMap<u64, Box<[u8; PAGE_SIZE]>>,
    size: u64,
    held: Held,
}

impl Pages {
    fn new(quota: &Arc<Quota>) -> Self {
        Self { pages: BTreeMap::new(), size: 0, held: Held::nothing(quota) }
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        while done < length {
            let (page, within) = position(offset + done as u64);
            let taken = (PAGE_SIZE - within).min(length - done);
            let target = &mut buffer[done..done + taken];
            match self.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + taken]),
                None => target.fill(0),
            }
            done += taken;
        }
        length
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let (page, within) = position(offset + done as u64);
            let taken = (PAGE_SIZE - within).min(bytes.len() - done);
            if !self.pages.contains_key(&page) && !self.held.grow(PAGE) {
                break;
            }
            let target = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE_SIZE]));
            target[within..within + taken].copy_from_slice(&bytes[done..done + taken]);
            done += taken;
        }
        if done == 0 {
            return Err(Errno::NoSpace);
        }
        self.size = self.size.max(offset + done as u64);
        Ok(done)
    }

    fn set_size(&mut self, size: u64) {
        if size < self.size {
            let (last, within) = position(size);
            let first_gone = if within == 0 { last } else { last + 1 };
            let gone = self.pages.split_off(&first_gone);
            self.held.shrink(gone.len() as u64 * PAGE);
            if let Some(page) = self.pages.get_mut(&last) {
                page[within..].fill(0);
            }
        }
        self.size = size;
    }
}

/// The page an offset lies in, and where within it.
fn position(offset: u64) -> (u64, usize) {
    (offset / PAGE, (offset % PAGE) as usize)
}

/// A directory on disk for written contents: made at the first write, removed with the filesystem.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    made: OnceLock<()>,
    next: AtomicU64,
}

impl Scratch {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, made: OnceLock::new(), next: AtomicU64::new(1) })
    }

    fn create_file(self: &Arc<Self>, quota: &Arc<Quota>) -> Result<DiskFile, Errno> {
        if self.made.get().is_none() {
            fs::create_dir_all(&self.path)?;
            let _ = self.made.set(());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(number.to_string());
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let file = Arc::new(file);
        Ok(DiskFile {
            open: Mutex::new(Arc::downgrade(&file)),
            creating: Some(file),
            scratch: Arc::clone(self),
            number,
            size: 0,
            held: Held::nothing(quota),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.made.get().is_some()
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a container's written files");
        }
    }
}

/// Content in a numbered file of the scratch directory, open only while someone has the file open.
#[derive(Debug)]
pub(super) struct DiskFile {
    open: Mutex<Weak<fs::File>>,
    /// Keeps the file open from its making until the first handle has it.
    creating: Option<Arc<fs::File>>,
    scratch: Arc<Scratch>,
    number: u64,
    size: u64,
    held: Held,
}

impl DiskFile {
    /// The open file, shared with all who have it open now.
    pub(super) fn handle(&self) -> Result<Arc<fs::File>, Errno> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.upgrade() {
            return Ok(file);
        }
        let path = self.scratch.path.join(self.number.to_string());
        let file = Arc::new(fs::OpenOptions::new().read(true).write(true).open(path)?);
        *open = Arc::downgrade(&file);
        Ok(file)
    }

    /// Leaves it to the handles to keep the file open.
    pub(super) fn release(&mut self) {
        self.creating = None;
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        Ok(read_file_at(&*self.handle()?, buffer, offset)?)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
        let end = offset + bytes.len() as u64;
        let growth = end.saturating_sub(self.size);
        let granted = self.held.grow_up_to(growth);
        let short = usize::try_from(growth - granted).unwrap_or(usize::MAX);
        let allowed = bytes.len().saturating_sub(short);
        let written = match allowed {
            0 => Err(Errno::NoSpace),
            allowed => self.handle().and_then(|file| Ok(write_file_at(&file, &bytes[..allowed], offset)?)),
        };
        let reached = written.as_ref().map_or(self.size, |written| self.size.max(offset + *written as u64));
        self.held.shrink(granted - (reached - self.size));
        self.size = reached;
        written
    }

    fn set_size(&mut self, size: u64) -> Result<(), Errno> {
        let growth = size.saturating_sub(self.size);
        if !self.held.grow(growth) {
            return Err(Errno::NoSpace);
        }
        if let Err(errno) = self.handle().and_then(|file| Ok(file.set_len(size)?)) {
            self.held.shrink(growth);
            return Err(errno);
        }
        self.held.shrink(self.size.saturating_sub(size));
        self.size = size;
        Ok(())
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        // The whole directory goes with the filesystem; a file that stays until then only takes room.
        let _ = fs::remove_file(self.scratch.path.join(self.number.to_string()));
    }
}
