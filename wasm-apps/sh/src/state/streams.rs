//! The script's descriptors. Their numbers mean something to the script and its children only: within this process they
//! are open files of whatever number.

use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::process;

/// Something that is open.
#[derive(Debug)]
pub(crate) enum Stream {
    File(File),
    /// Collects what is written. It becomes a file as soon as another process is to write to it.
    Capture {
        buffer: RefCell<Vec<u8>>,
        file: OnceCell<File>,
    },
}

impl From<OwnedFd> for Stream {
    fn from(fd: OwnedFd) -> Self {
        Self::File(File::from(fd))
    }
}

impl Stream {
    pub(crate) fn capture() -> Self {
        Self::Capture { buffer: RefCell::default(), file: OnceCell::new() }
    }

    /// A file to read `text` from.
    pub(crate) fn of_text(text: &[u8]) -> io::Result<Self> {
        let mut file = File::from(process::memory_file()?);
        file.write_all(text)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self::File(file))
    }

    /// The file behind it.
    pub(crate) fn file(&self) -> io::Result<&File> {
        match self {
            Self::File(file) => Ok(file),
            Self::Capture { buffer, file } => {
                if let Some(file) = file.get() {
                    return Ok(file);
                }
                let mut new = File::from(process::memory_file()?);
                new.write_all(&buffer.take())?;
                Ok(file.get_or_init(|| new))
            }
        }
    }

    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.file().map(AsFd::as_fd)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => (&*file).write_all(bytes),
            Self::Capture { buffer, file } => match file.get() {
                Some(file) => (&*file).write_all(bytes),
                None => {
                    buffer.borrow_mut().extend_from_slice(bytes);
                    Ok(())
                }
            },
        }
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }

    /// Everything that was written to a capture.
    pub(crate) fn captured(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Capture { buffer, file } => match file.get() {
                Some(mut file) => {
                    let mut text = Vec::new();
                    file.seek(SeekFrom::Start(0))?;
                    file.read_to_end(&mut text)?;
                    Ok(text)
                }
                None => Ok(buffer.take()),
            },
            Self::File(_) => Ok(Vec::new()),
        }
    }
}

/// The table of open descriptors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Vec<Option<Rc<Stream>>>);

/// Numbers of descriptors are below this one.
pub(crate) const MAX_DESCRIPTORS: u32 = 256;

impl Streams {
    pub(crate) fn get(&self, fd: u32) -> Option<&Rc<Stream>> {
        self.0.get(fd as usize)?.as_ref()
    }

    /// `None` closes it. Numbers that are too large are refused.
    pub(crate) fn set(&mut self, fd: u32, stream: Option<Rc<Stream>>) -> io::Result<()> {
        if fd >= MAX_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let index = fd as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = stream;
        Ok(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Rc<Stream>)> {
        (0..).zip(&self.0).filter_map(|(fd, stream)| Some((fd, stream.as_ref()?)))
    }

    /// A number that nothing uses.
    pub(crate) fn unused(&self) -> u32 {
        (10..).find(|fd| self.get(*fd).is_none()).unwrap_or(10)
    }
}
