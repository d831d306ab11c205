//! The content store on disk, in OCI image layout, so that other tools can read it:
//!
//! ```text
//! oci-layout, index.json     what images there are, and by which names
//! blobs/sha256/<digest>      manifests, configurations and layers as they came
//! uncompressed/sha256/<diff ID>   layers that came compressed, as archives to read in place
//! unpacked/<ownership>/<chain ID>/   layers as directories
//! ingest/                    what is being written: parts of downloads, temporary files
//! leases/                    what is in use (`lease`)
//! lock                       taken alone by changes of the index and by garbage collection, shared for leases
//! ```
//!
//! It knows blobs and names; what an image is, `load` knows.
//!
//! Every file appears complete or not at all (temporary file, sync, rename), content before the index that names it. So
//! a process may be killed at any point and leaves a store that works, and what it had not finished is garbage.
//! Any number of husk processes may share a store.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::image::{Descriptor, ImageIndex, MediaType, Sha256Digest};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::ImageError;
use super::collect::tree_size;
use super::lease::{self, Lease};
use crate::base::files;

/// The annotation that holds an image's name in `index.json`.
pub(super) const REFERENCE: &str = "org.opencontainers.image.ref.name";
/// The annotation that holds when an image was made.
pub(super) const CREATED: &str = "org.opencontainers.image.created";
/// Largest manifest, index or configuration that is read.
pub(super) const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;
/// How long the part of a download that was interrupted is kept, so that the next one can go on from there.
const KEEP_PARTS: Duration = Duration::from_secs(24 * 60 * 60);

const BLOBS: &str = "blobs/sha256";
const UNCOMPRESSED: &str = "uncompressed/sha256";
const UNPACKED: &str = "unpacked";
const INGEST: &str = "ingest";
const LEASES: &str = "leases";

/// A content store; it may not exist on disk yet.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

/// Held during a change of the index or a collection of garbage; released when dropped.
pub(super) struct ChangeLock(#[expect(dead_code, reason = "dropping it releases the lock")] File);

impl Layout {
    /// The store at `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where the content of `digest` is, or would be.
    pub(super) fn blob_path(&self, digest: &Sha256Hex) -> PathBuf {
        self.root.join(BLOBS).join(&digest.0)
    }

    /// Where the uncompressed content with this diff ID is, or would be.
    pub(super) fn uncompressed_path(&self, diff_id: &Sha256Hex) -> PathBuf {
        self.root.join(UNCOMPRESSED).join(&diff_id.0)
    }

    /// Where the unpacked layer is, or would be. `ownership` is a plain name.
    #[cfg(target_os = "linux")]
    pub(super) fn unpacked_path(&self, ownership: &str, chain_id: &Sha256Hex) -> PathBuf {
        self.root.join(UNPACKED).join(ownership).join(&chain_id.0)
    }

    /// Where what is being written is, under a name of its own.
    pub(super) fn ingest_path(&self, digest: &Sha256Hex) -> PathBuf {
        self.root.join(INGEST).join(&digest.0)
    }

    /// Creates what is missing of the store, readable by this user only.
    fn prepare(&self) -> Result<(), ImageError> {
        for directory in [BLOBS, UNCOMPRESSED, UNPACKED, INGEST, LEASES] {
            make_directory(&self.root.join(directory))?;
        }
        let marker = self.root.join("oci-layout");
        if !marker.exists() {
            self.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(())
    }

    /// Locks the store for a change of its index or a deletion.
    pub(super) fn lock_for_change(&self) -> Result<ChangeLock, ImageError> {
        self.prepare()?;
        let (path, file) = self.open_lock()?;
        file.lock().map_err(failed("cannot lock", &path))?;
        Ok(ChangeLock(file))
    }

    fn lock_shared(&self) -> Result<File, ImageError> {
        let (path, file) = self.open_lock()?;
        file.lock_shared().map_err(failed("cannot lock", &path))?;
        Ok(file)
    }

    fn open_lock(&self) -> Result<(PathBuf, File), ImageError> {
        let path = self.root.join("lock");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        Ok((path.clone(), opened.map_err(failed("cannot open", &path))?))
    }

    /// Keeps what `find` names from being deleted for as long as the lease lives. While `find` looks, nothing is
    /// deleted.
    pub(super) fn lease(
        &self,
        find: impl FnOnce() -> Result<HashSet<Sha256Hex>, ImageError>,
    ) -> Result<Lease, ImageError> {
        self.prepare()?;
        let _held = self.lock_shared()?;
        Lease::create(&self.root.join(LEASES), &find()?)
    }

    /// A lease of nothing yet, for content that is about to be written.
    pub(super) fn new_lease(&self) -> Result<Lease, ImageError> {
        self.lease(|| Ok(HashSet::new()))
    }

    /// Keeps more from being deleted.
    pub(super) fn extend<'a>(
        &self,
        lease: &Lease,
        digests: impl IntoIterator<Item = &'a Sha256Hex>,
    ) -> Result<(), ImageError> {
        let _held = self.lock_shared()?;
        lease.extend(digests)
    }

    /// What living leases name. The caller holds the store's lock alone.
    pub(super) fn leased(&self) -> Result<HashSet<Sha256Hex>, ImageError> {
        let mut named = HashSet::new();
        lease::leased(&self.root.join(LEASES), &mut named)?;
        Ok(named)
    }

    /// Whether there is anything.
    pub(super) fn exists(&self) -> bool {
        self.root.join(BLOBS).exists()
    }

    /// How many bytes are stored.
    pub(super) fn size(&self) -> u64 {
        [BLOBS, UNCOMPRESSED, UNPACKED, INGEST].iter().map(|directory| tree_size(&self.root.join(directory))).sum()
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

    /// Replaces the index, after everything it may name is safely on the disk.
    pub(super) fn write_index(&self, _lock: &ChangeLock, manifests: Vec<Descriptor>) -> Result<(), ImageError> {
        let mut index = ImageIndex::default();
        index.set_schema_version(2).set_media_type(Some(MediaType::ImageIndex)).set_manifests(manifests);
        let text = serde_json::to_vec(&index).map_err(|error| ImageError::Invalid(error.to_string()))?;
        sync_directory(&self.root.join(BLOBS))?;
        self.replace(&self.root.join("index.json"), &text)
    }

    /// Stores a blob that fits in memory.
    pub(super) fn write_blob(&self, lease: &Lease, contents: &[u8]) -> Result<(Sha256Hex, u64), ImageError> {
        self.write_blob_with(lease, |file| file.write_all(contents))
    }

    /// Stores a document; its descriptor.
    pub(super) fn write_document(
        &self,
        lease: &Lease,
        media_type: MediaType,
        value: &impl Serialize,
    ) -> Result<Descriptor, ImageError> {
        let text = serde_json::to_vec(value).map_err(|error| ImageError::Invalid(error.to_string()))?;
        let (digest, size) = self.write_blob(lease, &text)?;
        Ok(digest.descriptor(media_type, size))
    }

    /// Stores what `write` writes; its digest and size.
    pub(super) fn write_blob_with(
        &self,
        lease: &Lease,
        write: impl FnOnce(&mut HashingWriter<&mut File>) -> io::Result<()>,
    ) -> Result<(Sha256Hex, u64), ImageError> {
        let mut temporary = self.temporary()?;
        let mut writer = HashingWriter::new(temporary.as_file_mut());
        write(&mut writer).map_err(failed("cannot write in", &self.root))?;
        let (digest, size) = writer.finish();
        self.publish_blob(lease, temporary, &digest)?;
        Ok((digest, size))
    }

    /// Lets a written file appear as the blob `digest`, which its content was found to have.
    pub(super) fn publish_blob(
        &self,
        lease: &Lease,
        temporary: NamedTempFile,
        digest: &Sha256Hex,
    ) -> Result<(), ImageError> {
        self.extend(lease, [digest])?;
        self.publish(temporary, &self.blob_path(digest))
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
            return Err(damaged(&digest, WRONG_CONTENT));
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

    /// Opens a blob to be verified while it is read.
    pub(super) fn open_verified(&self, descriptor: &Descriptor) -> Result<VerifiedBlob, ImageError> {
        let path = self.checked_blob_path(descriptor)?;
        let file = File::open(&path).map_err(failed("cannot open", &path))?;
        Ok(VerifiedBlob { digest: Sha256Hex::of_descriptor(descriptor)?, file, hasher: Sha256::new() })
    }

    /// See [`drop_if_damaged`].
    pub(super) fn drop_if_damaged(&self, path: &Path, digest: &Sha256Hex) -> Result<bool, ImageError> {
        drop_if_damaged(path, digest)
    }

    /// Whether a blob is there with the right size.
    pub(super) fn has_blob(&self, descriptor: &Descriptor) -> bool {
        self.checked_blob_path(descriptor).is_ok()
    }

    /// Deletes every blob and layer that is neither in `kept` nor leased, and what interrupted changes left behind. The
    /// bytes that are gone.
    pub(super) fn delete_all_but(
        &self,
        _lock: &ChangeLock,
        mut kept: HashSet<Sha256Hex>,
        drop_parts: bool,
    ) -> Result<u64, ImageError> {
        lease::leased(&self.root.join(LEASES), &mut kept)?;
        let mut freed = 0;
        for directory in [BLOBS, UNCOMPRESSED] {
            for (path, name) in entries(&self.root.join(directory))? {
                if !kept.contains(&Sha256Hex(name)) {
                    freed += fs::metadata(&path).map_or(0, |metadata| metadata.len());
                    fs::remove_file(&path).map_err(failed("cannot delete", &path))?;
                }
            }
        }
        for (ownership, _) in entries(&self.root.join(UNPACKED))? {
            for (path, name) in entries(&ownership)? {
                if !kept.contains(&Sha256Hex(name)) {
                    // Whole at once, for half a layer must never be taken for one.
                    let trash = self.ingest_path(&Sha256Hex::random());
                    fs::rename(&path, &trash).map_err(failed("cannot delete", &path))?;
                }
            }
        }
        Ok(freed + self.clear_ingest(&kept, drop_parts)?)
    }

    /// Deletes what nobody writes any more, and what was moved here to be deleted; how many bytes that was.
    fn clear_ingest(&self, kept: &HashSet<Sha256Hex>, drop_parts: bool) -> Result<u64, ImageError> {
        let mut freed = 0;
        for (path, name) in entries(&self.root.join(INGEST))? {
            let metadata = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read.map_err(failed("cannot read", &path))?,
            };
            let digest = Sha256Hex::from_hex(&name);
            if metadata.is_dir() {
                if !digest.is_ok_and(|digest| kept.contains(&digest)) {
                    freed += tree_size(&path);
                    super::tree::remove(&path).map_err(failed("cannot delete", &path))?;
                }
                continue;
            }
            let young = || metadata.modified().ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age < KEEP_PARTS);
            if digest.is_ok() && !drop_parts && young() {
                continue;
            }
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                freed += metadata.len();
                fs::remove_file(&path).map_err(failed("cannot delete", &path))?;
            }
        }
        Ok(freed)
    }

    /// A temporary file that can be renamed into the store.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, ImageError> {
        let directory = self.root.join(INGEST);
        let _held = self.lock_shared()?;
        let temporary = NamedTempFile::new_in(&directory).map_err(failed("cannot write in", &directory))?;
        // Locked, it is not taken for what a dead process has left.
        temporary.as_file().lock().map_err(failed("cannot lock", temporary.path()))?;
        Ok(temporary)
    }

    /// A file without a name, for what is too large for memory.
    pub(super) fn nameless(&self) -> Result<File, ImageError> {
        let directory = self.root.join(INGEST);
        tempfile::tempfile_in(&directory).map_err(failed("cannot write in", &directory))
    }

    /// Makes a written file durable and lets it appear under its name.
    pub(super) fn publish(&self, temporary: NamedTempFile, path: &Path) -> Result<(), ImageError> {
        temporary.as_file().sync_all().map_err(failed("cannot write", path))?;
        temporary.persist(path).map_err(|error| failed("cannot write", path)(error.error))?;
        Ok(())
    }

    fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), ImageError> {
        let directory = self.root.join(INGEST);
        let mut temporary = NamedTempFile::new_in(&directory).map_err(failed("cannot write in", &directory))?;
        temporary.as_file().lock().map_err(failed("cannot lock", path))?;
        temporary.write_all(contents).map_err(failed("cannot write", path))?;
        self.publish(temporary, path)?;
        sync_directory(&self.root)
    }
}

fn make_directory(path: &Path) -> Result<(), ImageError> {
    files::private_directory(DirBuilder::new().recursive(true)).create(path).map_err(failed("cannot create", path))
}

fn sync_directory(path: &Path) -> Result<(), ImageError> {
    files::sync_directory(path).map_err(failed("cannot write", path))
}

/// What is in a directory: paths and names.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>, ImageError> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned())))
            .collect()
    });
    listed.map_err(failed("cannot read", directory))
}

/// For `map_err`: doing `action` to `path` failed.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let context = format!("{action} {}", path.display());
    move |error| ImageError::Io { context, error }
}

pub(super) fn damaged(digest: &Sha256Hex, problem: &str) -> ImageError {
    ImageError::Damaged { image: String::new(), digest: digest.to_string(), problem: problem.to_owned() }
}

/// What is wrong with content that its digest does not fit.
const WRONG_CONTENT: &str = "its content does not match its digest";

/// Deletes a blob, or the uncompressed copy of one, if it is not what its digest says, so that it can be had again;
/// whether it was. What is not there is not damaged.
pub(super) fn drop_if_damaged(path: &Path, digest: &Sha256Hex) -> Result<bool, ImageError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(failed("cannot open", path))?,
    };
    let mut writer = HashingWriter::new(io::sink());
    io::copy(&mut file, &mut writer).map_err(failed("cannot read", path))?;
    let (found, _) = writer.finish();
    if found == *digest {
        return Ok(false);
    }
    // Another process may have mended it meanwhile.
    if files::is_at(&file, path) {
        tracing::warn!(%digest, "damaged content was deleted from the image store");
        fs::remove_file(path).map_err(failed("cannot delete", path))?;
    }
    Ok(true)
}

/// A blob that is verified while it is read; [`Self::finish`] says whether it was right.
pub(super) struct VerifiedBlob {
    digest: Sha256Hex,
    file: File,
    hasher: Sha256,
}

impl VerifiedBlob {
    /// After all was read: drops a blob that is damaged, so that it can be had again.
    pub(super) fn finish(self, layout: &Layout) -> Result<(), ImageError> {
        if Sha256Hex::of_hash(self.hasher.finalize().as_slice()) == self.digest {
            return Ok(());
        }
        layout.drop_if_damaged(&layout.blob_path(&self.digest), &self.digest)?;
        Err(damaged(&self.digest, WRONG_CONTENT))
    }
}

impl Read for VerifiedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// A SHA-256 digest: 64 lower-case hexadecimal digits, and so also a safe file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// Parses the 64 digits alone.
    pub(super) fn from_hex(hex: &str) -> Result<Self, ImageError> {
        Self::parse(&format!("sha256:{hex}"))
    }

    /// A name that nothing else has.
    pub(super) fn random() -> Self {
        Self::of(uuid::Uuid::new_v4().as_bytes())
    }

    /// The 64 digits.
    pub(super) fn hex(&self) -> &str {
        &self.0
    }

    /// The chain ID of the layers that end with `diff_id` on top of `parent` (OCI image specification, "Layer ChainID").
    pub(super) fn chain(parent: Option<&Self>, diff_id: &Self) -> Self {
        match parent {
            None => diff_id.clone(),
            Some(parent) => Self::of(format!("{parent} {diff_id}").as_bytes()),
        }
    }

    /// A descriptor of content that has this digest.
    pub(super) fn descriptor(&self, media_type: MediaType, size: u64) -> Descriptor {
        let digest: Sha256Digest = self.0.parse().unwrap_or_else(|_| unreachable!("{self} is a digest"));
        Descriptor::new(media_type, size, digest)
    }

    pub(super) fn of_hash(hash: &[u8]) -> Self {
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

    /// What was written to, and the digest and size of all that was.
    pub(super) fn into_parts(self) -> (W, Sha256Hex, u64) {
        (self.inner, Sha256Hex::of_hash(self.hasher.finalize().as_slice()), self.written)
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
