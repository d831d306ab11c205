//! Leases: which content of a store somebody uses. Whoever reads or writes content has a file in `leases/`, locked for
//! as long as it is used, that names every digest it needs. A collection of garbage keeps what a locked lease names;
//! a lease that nobody has locked belonged to a process that is gone.
//!
//! A lease is made and extended under the store's lock taken shared, and garbage is collected under the same lock taken
//! alone: so what a lease names is there for as long as the lease is, if it was there afterwards.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::ImageError;
use super::layout::{Sha256Hex, failed};

/// Longest lease that is read: room for some 60,000 digests.
const MAX_LEASE: u64 = 4 * 1024 * 1024;

/// Content that is in use, until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    file: Mutex<File>,
}

impl Lease {
    /// A new lease in `directory`. The caller holds the store's lock.
    pub(super) fn create(directory: &Path, digests: &HashSet<Sha256Hex>) -> Result<Self, ImageError> {
        let path = directory.join(uuid::Uuid::new_v4().to_string());
        let file = File::options().append(true).create_new(true).open(&path).map_err(failed("cannot create", &path))?;
        file.lock().map_err(failed("cannot lock", &path))?;
        let lease = Self { path, file: Mutex::new(file) };
        lease.extend(digests)?;
        Ok(lease)
    }

    /// Names more content. The caller holds the store's lock.
    pub(super) fn extend<'a>(&self, digests: impl IntoIterator<Item = &'a Sha256Hex>) -> Result<(), ImageError> {
        let lines: String = digests.into_iter().map(|digest| format!("{}\n", digest.hex())).collect();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(lines.as_bytes()).map_err(failed("cannot write", &self.path))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "a lease was gone before it ended");
        }
    }
}

/// Adds to `kept` what living leases name, and deletes dead ones. The caller holds the store's lock alone.
pub(super) fn leased(directory: &Path, kept: &mut HashSet<Sha256Hex>) -> Result<(), ImageError> {
    for entry in fs::read_dir(directory).map_err(failed("cannot read", directory))? {
        let path = entry.map_err(failed("cannot read", directory))?.path();
        let file = match File::open(&path) {
            // It has ended just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(failed("cannot open", &path))?,
        };
        if file.try_lock().is_ok() {
            fs::remove_file(&path).or_else(ignore_missing).map_err(failed("cannot delete", &path))?;
            continue;
        }
        let mut text = String::new();
        file.take(MAX_LEASE).read_to_string(&mut text).map_err(failed("cannot read", &path))?;
        kept.extend(text.lines().filter_map(|hex| Sha256Hex::from_hex(hex).ok()));
    }
    Ok(())
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
