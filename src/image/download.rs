//! One blob from a registry to the store. It is written to `ingest/<digest>`, locked, so that pulls of other images and
//! of other processes wait for it instead of loading it, too; a part that an interruption has left is gone on from.
//! Nothing gets to the blobs whose digest and size are not right.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_spec::image::Descriptor;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::layout::{Sha256Hex, failed};
use super::progress::{BlobState, Reporter};
use super::registry::{Client, RegistryError};
use super::{ImageError, ImageStore};
use crate::base::files::is_at;

/// How often a download may fail in a row with less than `GAIN` having come.
const MAX_FAILURES: u32 = 4;
const GAIN: u64 = 64 * 1024;
/// The wait before a download is gone on with; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often to look whether another pull has finished the same blob.
const LOOK: Duration = Duration::from_millis(50);
/// Chunks that wait to be written.
const QUEUE: usize = 16;
/// A download may not be slower than this on the average of `PATIENCE`.
const SLOWEST: u64 = 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something is not there. After what happened at one registry, the next is tried.
#[derive(Debug)]
pub(super) enum PullFailure {
    Registry(RegistryError),
    Store(ImageError),
    /// There is no good signature, and why.
    Signature(String),
}

impl From<ImageError> for PullFailure {
    fn from(error: ImageError) -> Self {
        Self::Store(error)
    }
}

impl From<RegistryError> for PullFailure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// A blob that is wanted.
pub(super) struct Download<'a> {
    pub(super) store: &'a Arc<ImageStore>,
    pub(super) descriptor: &'a Descriptor,
    pub(super) digest: Sha256Hex,
    /// Its place in what is told of the pull.
    pub(super) number: usize,
    pub(super) reporter: &'a Reporter,
}

impl Download<'_> {
    /// Gets the blob from a registry unless it is there. The caller has leased it.
    pub(super) async fn run(&self, client: &Client) -> Result<(), PullFailure> {
        let Some(mut part) = self.begin().await? else { return Ok(()) };
        let (mut failures, mut wait) = (0, FIRST_WAIT);
        loop {
            self.report(BlobState::Transferring, part.length);
            let before = part.length;
            let (got, result) = self.transfer(client, part).await;
            part = got?;
            let error = match result {
                Ok(()) => break,
                Err(error) => error,
            };
            if part.length >= before.saturating_add(GAIN) {
                (failures, wait) = (0, FIRST_WAIT);
            }
            failures += 1;
            if failures >= MAX_FAILURES || !error.is_transient() {
                return Err(error.into());
            }
            self.report(BlobState::Retrying(error.to_string()), part.length);
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        self.finish(part).await
    }

    fn report(&self, state: BlobState, done: u64) {
        self.reporter.blob(self.number, |blob| (blob.state, blob.done) = (state, done));
    }

    /// Waits until nobody else loads the blob. `None` if it is there.
    async fn begin(&self) -> Result<Option<Part>, PullFailure> {
        loop {
            let (store, descriptor, digest) = (Arc::clone(self.store), self.descriptor.clone(), self.digest.clone());
            let opened = blocking(move || {
                if store.layout.has_blob(&descriptor) {
                    return Ok(Begin::Present);
                }
                Part::open(store.layout.ingest_path(&digest), descriptor.size()).map(|part| match part {
                    Some(part) => Begin::Begun(part),
                    None => Begin::Taken,
                })
            });
            match opened.await? {
                Begin::Present => {
                    self.report(BlobState::Existing, self.descriptor.size());
                    return Ok(None);
                }
                // Another one may have finished between the look and the lock; then there is nothing left to load.
                Begin::Begun(_) if self.store.layout.has_blob(self.descriptor) => {}
                Begin::Begun(part) => return Ok(Some(part)),
                Begin::Taken => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Loads what is missing; gives the part back, and why it is not whole.
    async fn transfer(
        &self,
        client: &Client,
        mut part: Part,
    ) -> (Result<Part, PullFailure>, Result<(), RegistryError>) {
        if part.length == self.descriptor.size() {
            let verified = self.verify(client, &mut part);
            return (Ok(part), verified);
        }
        let (start, mut response) = match client.blob(&self.digest, part.length).await {
            Ok(answered) => answered,
            Err(error) => return (Ok(part), Err(error)),
        };
        if start != part.length
            && let Err(error) = part.clear()
        {
            return (Err(error.into()), Ok(()));
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write_all(part, receiver));
        let received = self.receive(client, &mut response, start, &sender).await;
        drop(sender);
        match writer.await {
            Err(panic) => (Err(ImageError::Invalid(panic.to_string()).into()), Ok(())),
            Ok(Err(error)) => (Err(error.into()), Ok(())),
            Ok(Ok(mut part)) => {
                let result = received.and_then(|()| self.verify(client, &mut part));
                (Ok(part), result)
            }
        }
    }

    async fn receive(
        &self,
        client: &Client,
        response: &mut reqwest::Response,
        start: u64,
        sender: &mpsc::Sender<Bytes>,
    ) -> Result<(), RegistryError> {
        let size = self.descriptor.size();
        let mut done = start;
        let mut mark = (tokio::time::Instant::now(), start);
        while let Some(chunk) = client.chunk(response).await? {
            done += chunk.len() as u64;
            if done > size {
                return Err(client.unexpected(format!("blob {} has more than {size} bytes", self.digest)));
            }
            if mark.0.elapsed() > PATIENCE {
                if done - mark.1 < SLOWEST * PATIENCE.as_secs() {
                    return Err(client.unavailable("it sends too slowly".to_owned()));
                }
                mark = (tokio::time::Instant::now(), done);
            }
            if sender.send(chunk).await.is_err() {
                // The writer has failed, and will say so.
                break;
            }
            self.reporter.blob(self.number, |blob| blob.done = done);
        }
        Ok(())
    }

    /// Whether all is there and right; what is wrong is thrown away.
    fn verify(&self, client: &Client, part: &mut Part) -> Result<(), RegistryError> {
        let size = self.descriptor.size();
        if part.length < size {
            return Err(client.unavailable(format!("the connection ended after {} of {size} bytes", part.length)));
        }
        let found = Sha256Hex::of_hash(part.hasher.clone().finalize().as_slice());
        if found == self.digest {
            return Ok(());
        }
        let (registry, digest) = (client.endpoint.registry.clone(), self.digest.to_string());
        let detail = match part.clear() {
            Ok(()) => format!("the content has digest {found}"),
            Err(error) => error.to_string(),
        };
        Err(RegistryError::Corrupt { registry, digest, detail })
    }

    async fn finish(&self, part: Part) -> Result<(), PullFailure> {
        let to = self.store.layout.blob_path(&self.digest);
        blocking(move || {
            if let Err(error) = part.file.sync_all() {
                part.give_up_if_full(&error);
                return Err(failed("cannot write", &part.path)(error));
            }
            fs::rename(&part.path, &to).map_err(failed("cannot write", &to))
        })
        .await?;
        self.report(BlobState::Complete, self.descriptor.size());
        Ok(())
    }
}

enum Begin {
    Present,
    Taken,
    Begun(Part),
}

/// A blob of which a beginning is there; the file is locked.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Sha256,
}

impl Part {
    /// `None` if somebody else has it.
    fn open(path: PathBuf, size: u64) -> Result<Option<Self>, ImageError> {
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(failed("cannot open", &path))?;
        if file.try_lock().is_err() {
            return Ok(None);
        }
        // The file may have become the blob, or garbage, between opening and locking.
        if !is_at(&file, &path) {
            return Ok(None);
        }
        let mut part = Self { path, file, length: 0, hasher: Sha256::new() };
        let length = part.file.metadata().map_err(failed("cannot read", &part.path))?.len();
        if length > size {
            part.clear()?;
        } else {
            part.hash(length).map_err(failed("cannot read", &part.path))?;
        }
        Ok(Some(part))
    }

    fn hash(&mut self, length: u64) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        self.file.seek(SeekFrom::Start(0))?;
        while self.length < length {
            let count = self.file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
            self.length += count as u64;
        }
        Ok(())
    }

    /// Where there is no room left, what has come is in the way of everybody.
    fn give_up_if_full(&self, error: &io::Error) {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "a part of a download could not be deleted");
        }
    }

    fn clear(&mut self) -> Result<(), ImageError> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cleared.map_err(failed("cannot write", &self.path))?;
        (self.length, self.hasher) = (0, Sha256::new());
        Ok(())
    }
}

fn write_all(mut part: Part, mut chunks: mpsc::Receiver<Bytes>) -> Result<Part, ImageError> {
    while let Some(chunk) = chunks.blocking_recv() {
        if let Err(error) = part.file.write_all(&chunk) {
            part.give_up_if_full(&error);
            return Err(failed("cannot write", &part.path)(error));
        }
        part.hasher.update(&chunk);
        part.length += chunk.len() as u64;
    }
    Ok(part)
}

/// Does what takes the disk on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => Err(ImageError::Invalid(format!("an image operation failed: {panic}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fills_the_disk_goes_and_another_stays() {
        let directory = tempfile::tempdir().unwrap();
        for (kind, stays) in [(io::ErrorKind::StorageFull, false), (io::ErrorKind::ConnectionReset, true)] {
            let part = Part::open(directory.path().join("part"), 10).unwrap().unwrap();
            part.give_up_if_full(&kind.into());
            assert_eq!(part.path.exists(), stays, "{kind}");
        }
    }
}
