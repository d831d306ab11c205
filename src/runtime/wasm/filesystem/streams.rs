//! `wasi:io` streams on files: reads and writes happen inline when asked for, so a stream is always ready except
//! while a synchronous file is being forced to disk.

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::descriptor::WritableFile;
use super::open_files::OpenFile;
use crate::vfs::{Errno, File};

/// Bytes read or taken for writing at once.
pub(super) const CHUNK: usize = 1024 * 1024;

/// Reads a file from an offset on.
pub(super) struct FileInput {
    file: OpenFile,
    position: u64,
}

impl FileInput {
    pub(super) fn new(file: OpenFile, position: u64) -> Self {
        Self { file, position }
    }
}

#[async_trait]
impl Pollable for FileInput {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for FileInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut buffer = BytesMut::zeroed(size.min(CHUNK));
        let read = self.file.read_at(&mut buffer, self.position).map_err(failed)?;
        if read == 0 {
            return Err(StreamError::Closed);
        }
        self.position = advance(self.position, read).map_err(failed)?;
        buffer.truncate(read);
        Ok(buffer.freeze())
    }
}

/// Where the next write goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Location {
    End,
    Offset(u64),
}

impl Location {
    /// Writes all of `bytes` there and moves on.
    pub(super) fn write(&mut self, file: &File, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let written = match self {
                Self::End => file.append(bytes)?.0,
                Self::Offset(offset) => {
                    let written = file.write_at(bytes, *offset)?;
                    *offset = advance(*offset, written)?;
                    written
                }
            };
            if written == 0 {
                return Err(Errno::Io);
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

pub(super) fn advance(offset: u64, bytes: usize) -> Result<u64, Errno> {
    offset.checked_add(bytes as u64).ok_or(Errno::FileTooLarge)
}

/// Writes a file at an offset or its end.
pub(super) struct FileOutput {
    target: WritableFile,
    location: Location,
    syncing: Option<JoinHandle<Result<(), Errno>>>,
    failure: Option<Errno>,
}

impl FileOutput {
    pub(super) fn new(target: WritableFile, location: Location) -> Self {
        Self { target, location, syncing: None, failure: None }
    }

    fn check(&mut self) -> StreamResult<()> {
        self.failure.take().map_or(Ok(()), |errno| Err(failed(errno)))
    }
}

#[async_trait]
impl Pollable for FileOutput {
    async fn ready(&mut self) {
        if let Some(syncing) = &mut self.syncing {
            let synced = syncing.await.unwrap_or(Err(Errno::Io));
            self.syncing = None;
            self.failure = self.failure.or(synced.err());
        }
    }
}

#[async_trait]
impl OutputStream for FileOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.check()?;
        self.location.write(&self.target.file, &bytes).map_err(failed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check()?;
        if let (Some(metadata), None) = (self.target.sync, &self.syncing) {
            let file = self.target.file.clone();
            self.syncing = Some(tokio::task::spawn_blocking(move || file.sync(metadata)));
        }
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        Ok(if self.syncing.is_some() { 0 } else { CHUNK })
    }
}

/// The error in a stream from which `filesystem-error-code` recovers the errno.
fn failed(errno: Errno) -> StreamError {
    StreamError::LastOperationFailed(errno.into())
}
