//! The content store on disk, in OCI image layout: `oci-layout`, `index.json` and `blobs/sha256/`, and beside them
//! `uncompressed/sha256/` (layers that came compressed, by diff ID) and two lock files. It knows blobs and names;
//! what an image is, `load` knows.
//!
//! Every file appears complete or not at all (temporary file, sync, rename). Changes hold `write.lock`, so that any
//! number of husk processes may share a store. A process that uses an image holds `in-use.lock` shared: while anyone
//! does, nothing is deleted, only forgotten; a later change deletes it.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::ImageError;

/// The annotation that holds an image's name in `index.json`.
pub(super) const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// The annotation that holds when an image was made.
pub(super) const CREATED: &str = "org.opencontainers.image.created";
/// Largest manifest, index or configuration that is read.
pub(super) const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;

/// A content store; it may not exist on disk yet.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    in_use: OnceLock<File>,
}

/// Held during a change; released when dropped.
pub(super) struct WriteLock(#[expect(dead_code, reason = "dropping it releases the lock")] File);

impl Layout {
    /// The store at `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), in_use: OnceLock::new() }
    }

    /// Where the content of `digest` is, or would be. The digest must be one this store has read or made: 64
    /// hexadecimal digits after `sha256:`.
    pub(super) fn blob_path(&self, digest: &Sha256Hex) -> PathBuf {
        self.root.join("blobs/sha256").join(&digest.0)
    }

    /// Where the uncompressed content with this diff ID is, or would be.
    pub(super) fn uncompressed_path(&self, diff_id: &Sha256Hex) -> PathBuf {
        self.root.join("uncompressed/sha256").join(&diff_id.0)
    }

    /// Creates what is missing of the store, readable by this user only, and locks it for a change.
    pub(super) fn lock_for_change(&self) -> Result<WriteLock, ImageError> {
        for directory in ["blobs/sha256", "uncompressed/sha256"] {
            let path = self.root.join(directory);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("cannot create", &path))?;
        }
        let path = self.root.join("write.lock");
        let file = open_lock(&path)?;
        file.lock().map_err(failed("cannot lock", &path))?;
        let marker = self.root.join("oci-layout");
        if !marker.exists() {
            self.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(WriteLock(file))
    }

    /// Keeps the store's content from being deleted for as long as this value lives.
    pub(super) fn hold(&self) -> Result<(), ImageError> {
        if self.in_use.get().is_some() {
            return Ok(());
        }
        let path = self.root.join("in-use.lock");
        let file = open_lock(&path)?;
        file.lock_shared().map_err(failed("cannot lock", &path))?;
        // A race between threads takes the lock twice and drops one of the two.
        let _taken_by_another_thread = self.in_use.set(file);
        Ok(())
    }

    /// The index; empty if there is no store yet.
    pub(super) fn read_index(&self) -> Result<Vec<Descriptor>, ImageError> {
        let path = self.root.join("index.json");
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(failed("cannot open", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(failed("cannot read", &path))?;
        let index: ImageIndex = serde_json::from_slice(&bytes)
            .map_err(|error| ImageError::Invalid(format!("image index {} is damaged: {error}", path.display())))?;
        Ok(index.manifests().clone())
    }

    /// Replaces the index.
    pub(super) fn write_index(&self, _lock: &WriteLock, manifests: Vec<Descriptor>) -> Result<(), ImageError> {
        let mut index = ImageIndex::default();
        index.set_schema_version(2).set_media_type(Some(MediaType::ImageIndex)).set_manifests(manifests);
        let text = serde_json::to_vec(&index).map_err(|error| ImageError::Invalid(error.to_string()))?;
        self.replace(&self.root.join("index.json"), &text)
    }

    /// Stores a blob that fits in memory.
    pub(super) fn write_blob(&self, lock: &WriteLock, contents: &[u8]) -> Result<(Sha256Hex, u64), ImageError> {
        self.write_blob_with(lock, |file| file.write_all(contents))
    }

    /// Stores what `write` writes; its digest and size.
    pub(super) fn write_blob_with(
        &self,
        _lock: &WriteLock,
        write: impl FnOnce(&mut HashingWriter<&mut File>) -> io::Result<()>,
    ) -> Result<(Sha256Hex, u64), ImageError> {
        let directory = self.root.join("blobs/sha256");
        let mut temporary = NamedTempFile::new_in(&directory).map_err(failed("cannot write in", &directory))?;
        let mut writer = HashingWriter::new(temporary.as_file_mut());
        write(&mut writer).map_err(failed("cannot write in", &directory))?;
        let (digest, size) = writer.finish();
        self.publish(temporary, &self.blob_path(&digest))?;
        Ok((digest, size))
    }

    /// Reads a blob whole and checks it against its descriptor.
    pub(super) fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, ImageError> {
        let digest = Sha256Hex::of_descriptor(descriptor)?;
        let path = self.checked_blob_path(descriptor)?;
        if descriptor.size() > limit {
            let size = descriptor.size();
            return Err(ImageError::Invalid(format!("blob {digest} of {size} bytes exceeds the limit of {limit}")));
        }
        let contents = fs::read(&path).map_err(failed("cannot read", &path))?;
        if Sha256Hex::of(&contents) != digest {
            return Err(damaged(&digest, "its content does not match its digest"));
        }
        Ok(contents)
    }

    /// Where a blob is, after checking that it is there with the right size.
    pub(super) fn checked_blob_path(&self, descriptor: &Descriptor) -> Result<PathBuf, ImageError> {
        let digest = Sha256Hex::of_descriptor(descriptor)?;
        let path = self.blob_path(&digest);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() == descriptor.size() => Ok(path),
            Ok(_) => Err(damaged(&digest, "it has the wrong size")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged(&digest, "it is missing")),
            Err(error) => Err(failed("cannot read", &path)(error)),
        }
    }

    /// Deletes every blob and uncompressed layer that is not in `kept`, and what interrupted changes left behind,
    /// unless some process uses the store just now.
    pub(super) fn delete_all_but(&self, _lock: &WriteLock, kept: &HashSet<Sha256Hex>) -> Result<(), ImageError> {
        let path = self.root.join("in-use.lock");
        if open_lock(&path)?.try_lock().is_err() {
            return Ok(());
        }
        for directory in ["blobs/sha256", "uncompressed/sha256"] {
            let directory = self.root.join(directory);
            for entry in fs::read_dir(&directory).map_err(failed("cannot read", &directory))? {
                let entry = entry.map_err(failed("cannot read", &directory))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if !kept.contains(&Sha256Hex(name)) {
                    fs::remove_file(entry.path()).map_err(failed("cannot delete", &entry.path()))?;
                }
            }
        }
        Ok(())
    }

    /// A temporary file that [`Self::publish`] can rename into the store.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, ImageError> {
        let directory = self.root.join("uncompressed/sha256");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed("cannot create", &directory))?;
        NamedTempFile::new_in(&directory).map_err(failed("cannot write in", &directory))
    }

    /// Makes a written file durable and lets it appear under its name.
    pub(super) fn publish(&self, temporary: NamedTempFile, path: &Path) -> Result<(), ImageError> {
        temporary.as_file().sync_all().map_err(failed("cannot write", path))?;
        temporary.persist(path).map_err(|error| failed("cannot write", path)(error.error))?;
        Ok(())
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), ImageError> {
        // Among the blobs, where what an interruption leaves is deleted with other garbage.
        let directory = self.root.join("blobs/sha256");
        let mut temporary = NamedTempFile::new_in(&directory).map_err(failed("cannot write in", &directory))?;
        temporary.write_all(contents).map_err(failed("cannot write", path))?;
        self.publish(temporary, path)?;
        File::open(&self.root).and_then(|directory| directory.sync_all()).map_err(failed("cannot write", &self.root))
    }
}

fn open_lock(path: &Path) -> Result<File, ImageError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed("cannot open", path))
}

/// For `map_err`: doing `action` to `path` failed.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let context = format!("{action} {}", path.display());
    move |error| ImageError::Io { context, error }
}

pub(super) fn damaged(digest: &Sha256Hex, problem: &str) -> ImageError {
    ImageError::Invalid(format!("blob {digest} is damaged: {problem}; remove the image and add it again"))
}

/// A SHA-256 digest: 64 lower-case hexadecimal digits, and so also a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Sha256Hex(String);

impl Sha256Hex {
    /// The digest of `contents`.
    pub(super) fn of(contents: &[u8]) -> Self {
        Self::of_hash(Sha256::digest(contents).as_slice())
    }

    /// A descriptor's digest; other algorithms are refused.
    pub(super) fn of_descriptor(descriptor: &Descriptor) -> Result<Self, ImageError> {
        Self::parse(descriptor.digest().as_ref())
    }

    /// Parses `sha256:…`.
    pub(super) fn parse(text: &str) -> Result<Self, ImageError> {
        let hex = text.strip_prefix("sha256:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
        });
        hex.map(|hex| Self(hex.to_owned())).ok_or_else(|| ImageError::Invalid(format!("{text:?} is no SHA-256 digest")))
    }

    fn of_hash(hash: &[u8]) -> Self {
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl std::fmt::Display for Sha256Hex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

/// Hashes and counts what passes through.
pub(super) struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> HashingWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), written: 0 }
    }

    /// The digest and size of all that was written.
    pub(super) fn finish(self) -> (Sha256Hex, u64) {
        (Sha256Hex::of_hash(self.hasher.finalize().as_slice()), self.written)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
