//! Compiled code on disk: `<directory>/<key>`, private to the user and authenticated.
//!
//! ```text
//!  magic (8) │ key (32) │ MAC over magic, key and code (32) │ code
//! ```
//! Loading machine code is trusting it, so a file counts only if it and its directory belong to this user alone and its
//! MAC, made with the user's own random secret (`<directory>/secret`), is right. Anything else is as good as missing and
//! is replaced. Files appear by rename, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::{Compiled, Encoding, Key};
use crate::base::files::{private, private_directory};

/// The format's name and version.
const MAGIC: &[u8; 8] = b"huskcc01";

/// Bytes before the code.
const HEADER_BYTES: usize = MAGIC.len() + 32 + 32;

/// The most one file may have: larger ones are not read.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// The most all files may have together; the oldest go first.
const MAX_TOTAL_BYTES: u64 = 2 << 30;

/// Name of the file with the secret.
const SECRET_NAME: &str = "secret";

/// Start of the names of files that are being written.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// A directory of compiled code.
#[derive(Debug)]
pub(super) struct DiskCache {
    directory: PathBuf,
    /// The secret, read or made at first use; `None` when the directory cannot be trusted or used.
    secret: OnceLock<Option<[u8; 32]>>,
}

impl DiskCache {
    /// The cache in `directory`, which is made at first use.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, secret: OnceLock::new() }
    }

    /// The code kept under `key`, if there is any that can be trusted.
    pub(super) fn load(&self, engine: &Engine, key: &Key, encoding: Encoding) -> Option<Compiled> {
        let secret = self.secret()?;
        let file = open_private(&self.path(key)).ok()?;
        let content = read_whole(&file).ok()?;
        let code = authentic_code(&content, key, secret)?;
        match deserialize(engine, code, encoding) {
            Ok(compiled) => {
                mark_used(&file);
                Some(compiled)
            }
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "compiled code does not load");
                None
            }
        }
    }

    /// Whether there is a file for `key`, be it good or not.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.path(key).exists()
    }

    /// Keeps `compiled` under `key`. A cache that cannot be written to is only slower, so failures are not reported.
    pub(super) fn store(&self, key: &Key, compiled: &Compiled) {
        if let Err(error) = self.try_store(key, compiled) {
            tracing::debug!(error = format!("{error:#}"), directory = ?self.directory, "compiled code not kept");
        }
    }

    fn try_store(&self, key: &Key, compiled: &Compiled) -> wasmtime::Result<()> {
        let Some(secret) = self.secret() else { return Ok(()) };
        let code = match compiled {
            Compiled::Module(module) => module.serialize()?,
            Compiled::Component(component) => component.serialize()?,
        };
        if u64::try_from(code.len() + HEADER_BYTES)? > MAX_FILE_BYTES {
            return Ok(());
        }
        let temporary = Temporary::create(&self.directory)?;
        let mut file = &temporary.file;
        file.write_all(MAGIC)?;
        file.write_all(&key.0)?;
        file.write_all(mac(secret, key, &code).as_bytes())?;
        file.write_all(&code)?;
        temporary.rename(&self.path(key))?;
        trim(&self.directory, MAX_TOTAL_BYTES)?;
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(blake3::Hash::from_bytes(key.0).to_hex().as_str())
    }

    fn secret(&self) -> Option<&[u8; 32]> {
        let secret = self.secret.get_or_init(|| match open_directory(&self.directory) {
            Ok(secret) => Some(secret),
            Err(error) => {
                tracing::warn!(%error, directory = ?self.directory, "cache of compiled code not used");
                None
            }
        });
        secret.as_ref()
    }
}

/// Removes the files that were used longest ago until the rest has at most `max_bytes`.
pub(super) fn trim(directory: &Path, max_bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == SECRET_NAME {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()));
    }
    let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
    files.sort_unstable();
    for (_, size, path) in files {
        if total <= max_bytes {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= size;
        }
    }
    Ok(())
}

/// Makes the directory where needed, checks that it is the user's alone, and gives its secret.
pub(super) fn open_directory(directory: &Path) -> io::Result<[u8; 32]> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match private_directory(&mut fs::DirBuilder::new()).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let metadata = fs::symlink_metadata(directory)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
    }
    require_private(&metadata)?;
    secret(directory)
}

/// Reads the secret, or makes one. Of several processes that make one at the same time, the first to link it wins.
fn secret(directory: &Path) -> io::Result<[u8; 32]> {
    let path = directory.join(SECRET_NAME);
    if let Some(secret) = read_secret(&path) {
        return Ok(secret);
    }
    let temporary = Temporary::create(directory)?;
    (&temporary.file).write_all(&random_secret())?;
    match fs::hard_link(&temporary.path, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read_secret(&path) {
            Some(secret) => return Ok(secret),
            // Damaged, or readable by others: what it vouched for is void with it.
            None => temporary.rename(&path)?,
        },
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    read_secret(&path).ok_or_else(|| io::Error::other("the secret cannot be read back"))
}

fn read_secret(path: &Path) -> Option<[u8; 32]> {
    let mut secret = Vec::new();
    open_private(path).ok()?.take(33).read_to_end(&mut secret).ok()?;
    secret.try_into().ok()
}

/// 32 bytes that nobody can guess: three version 4 UUIDs hold 366 random bits.
fn random_secret() -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    for _ in 0..3 {
        hash.update(uuid::Uuid::new_v4().as_bytes());
    }
    *hash.finalize().as_bytes()
}

/// Opens a regular file of this user that nobody else can read or write; symlinks are not followed.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    let file = options.read(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    require_private(&metadata)?;
    Ok(file)
}

#[cfg(unix)]
fn require_private(metadata: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "owned by another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "open to other users"));
    }
    Ok(())
}

/// Where there are no permission bits the user's folders are closed to others.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
fn require_private(_metadata: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let mut content = Vec::with_capacity(usize::try_from(size.min(MAX_FILE_BYTES)).unwrap_or(0));
    file.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// The code in a file's content, if every byte of the file is what was written under this key.
fn authentic_code<'a>(content: &'a [u8], key: &Key, secret: &[u8; 32]) -> Option<&'a [u8]> {
    let (header, code) = content.split_at_checked(HEADER_BYTES)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let (stored_key, stored_mac) = rest.split_at(key.0.len());
    if magic != MAGIC || stored_key != key.0 {
        return None;
    }
    let stored_mac = blake3::Hash::from_bytes(stored_mac.try_into().ok()?);
    // Comparing blake3 hashes takes the same time wherever they differ.
    (mac(secret, key, code) == stored_mac).then_some(code)
}

fn mac(secret: &[u8; 32], key: &Key, code: &[u8]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new_keyed(secret);
    hash.update(MAGIC).update(&key.0).update(code);
    hash.finalize()
}

/// Marks a file as used now, for `trim`.
fn mark_used(file: &File) {
    if let Err(error) = file.set_modified(crate::vfs::now()) {
        tracing::debug!(%error, "compiled code not marked as used");
    }
}

/// Makes code of bytes that [`authentic_code`] accepted.
#[expect(
    unsafe_code,
    reason = "loading machine code cannot be checked by the compiler; only authentic bytes come here"
)]
fn deserialize(engine: &Engine, code: &[u8], encoding: Encoding) -> wasmtime::Result<Compiled> {
    // SAFETY: `code` must be what this version of wasmtime serialised. It is: the MAC over exactly these bytes, which
    // were read to memory once and not from the file again, was made with a secret that only this user's processes can
    // read, and only `DiskCache::try_store` uses it, on the output of `serialize`. The engine's version and settings are
    // part of the key under the MAC, and wasmtime checks them once more.
    unsafe {
        match encoding {
            Encoding::Module => Module::deserialize(engine, code).map(Compiled::Module),
            Encoding::Component => Component::deserialize(engine, code).map(Compiled::Component),
        }
    }
}

/// A file that is being written, under a name nobody looks for; removed unless it is renamed.
struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn create(directory: &Path) -> io::Result<Self> {
        let path = directory.join(format!("{TEMPORARY_PREFIX}{}", uuid::Uuid::new_v4().simple()));
        let file = private(OpenOptions::new().write(true).create_new(true)).open(&path)?;
        Ok(Self { file, path })
    }

    fn rename(&self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename nothing is there any more.
        let _ = fs::remove_file(&self.path);
    }
}
