//! Deleting what is not needed: content that no name leads to, after every change of names; and, to keep within a
//! limit, copies that can be made again and images that can be pulled again, those first that were not used for
//! longest. What somebody uses is never deleted (`lease`).

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use oci_spec::image::Descriptor;

use super::layout::{ChangeLock, Sha256Hex};
use super::{ImageError, ImageStore, Source, annotation, layout, load};

/// What a collection has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The names that are gone.
    pub names: Vec<String>,
    /// Bytes that were freed, by the sizes of files.
    pub bytes: u64,
    /// Images that are damaged, so that it cannot be told all that they need.
    pub damaged: Vec<DamagedImage>,
}

/// An image of which something is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedImage {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

/// What `prune` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Only what no name leads to, and what interrupted downloads have left.
    Unnamed,
    /// Also every image that nobody uses.
    Unused,
}

impl ImageStore {
    /// Removes what is not needed.
    pub fn prune(&self, what: Prune) -> Result<Collected, ImageError> {
        let lock = self.layout.lock_for_change()?;
        let mut index = self.layout.read_index()?;
        let mut collected = Collected::default();
        if what == Prune::Unused {
            let used = self.in_use()?;
            index.retain(|entry| {
                let keep = Sha256Hex::of_descriptor(entry).is_ok_and(|digest| used.contains(&digest));
                if !keep {
                    collected.names.extend(annotation(entry, layout::REFERENCE).map(str::to_owned));
                }
                keep
            });
            self.layout.write_index(&lock, index.clone())?;
        }
        let kept;
        (kept, collected.damaged) = self.needed(&index)?;
        collected.bytes = self.layout.delete_all_but(&lock, kept, true)?;
        Ok(collected)
    }

    /// Deletes until no more than `limit` bytes are stored, or until nothing is left that may be deleted: images that
    /// came from a registry and that nobody uses, those first that were not used for longest. Images that were
    /// imported, loaded or built stay, for they may exist nowhere else.
    pub fn collect_to_limit(&self, limit: u64) -> Result<Collected, ImageError> {
        let mut collected = Collected::default();
        if !self.layout.exists() || self.layout.size() <= limit {
            return Ok(collected);
        }
        let lock = self.layout.lock_for_change()?;
        let mut index = self.layout.read_index()?;
        // First what can be made again from what stays.
        let mut kept;
        (kept, collected.damaged) = self.needed(&index)?;
        for entry in &index {
            load::unmark_copies(&self.layout, entry, &mut kept);
        }
        collected.bytes += self.layout.delete_all_but(&lock, kept, false)?;
        let used = self.in_use()?;
        let mut candidates: Vec<Descriptor> =
            index.iter().filter(|entry| self.is_expendable(entry, &used)).cloned().collect();
        candidates.sort_by_key(|entry| self.last_used(entry));
        for candidate in candidates {
            if self.layout.size() <= limit {
                break;
            }
            index.retain(|entry| entry != &candidate);
            collected.names.extend(annotation(&candidate, layout::REFERENCE).map(str::to_owned));
            self.layout.write_index(&lock, index.clone())?;
            let kept;
            (kept, collected.damaged) = self.needed(&index)?;
            collected.bytes += self.layout.delete_all_but(&lock, kept, false)?;
        }
        Ok(collected)
    }

    /// Collects what is above the limit that the user has set, if there is one. What cannot be collected is told, but
    /// nothing else fails because of it.
    pub fn keep_to_limit(&self) {
        let Some(limit) = self.limit else { return };
        match self.collect_to_limit(limit) {
            Ok(collected) if collected.names.is_empty() && collected.bytes == 0 => {}
            Ok(collected) => {
                tracing::info!(names = ?collected.names, bytes = collected.bytes, "images have made room");
            }
            Err(error) => tracing::warn!(%error, "images cannot be kept within their limit"),
        }
        if let Some((size, limit)) = self.excess() {
            tracing::warn!(size, limit, "images take more than their limit: what is left is in use or was not pulled");
        }
    }

    /// What is stored and what may be, if it is too much.
    pub fn excess(&self) -> Option<(u64, u64)> {
        let limit = self.limit?;
        let size = self.size();
        (size > limit).then_some((size, limit))
    }

    /// Whether there is a limit to keep to.
    pub fn has_limit(&self) -> bool {
        self.limit.is_some()
    }

    /// How much the store takes.
    pub fn size(&self) -> u64 {
        self.layout.size()
    }

    /// Deletes what no image of `index` needs.
    pub(super) fn collect_unnamed(&self, lock: &ChangeLock, index: &[Descriptor]) -> Result<(), ImageError> {
        match self.needed(index) {
            Ok((kept, damaged)) => {
                for DamagedImage { name: image, problem } in damaged {
                    tracing::debug!(image, problem, "an image is damaged");
                }
                self.layout.delete_all_but(lock, kept, false)?;
            }
            // The change of names that this follows is done.
            Err(error) => tracing::warn!(%error, "unused image content is kept because images cannot be read"),
        }
        Ok(())
    }

    /// What the images of `index` need, and which of them are damaged: of those, what is known of them. While something
    /// cannot be read, nothing may be deleted, for it may be right all the same.
    fn needed(&self, index: &[Descriptor]) -> Result<(HashSet<Sha256Hex>, Vec<DamagedImage>), ImageError> {
        let (mut kept, mut damaged) = (HashSet::new(), Vec::new());
        for entry in index {
            match load::mark(&self.layout, entry, &mut kept) {
                Ok(()) => {}
                Err(error @ ImageError::Io { .. }) => return Err(error),
                Err(error) => {
                    let name = annotation(entry, layout::REFERENCE).unwrap_or("<none>");
                    let problem = match error {
                        ImageError::Damaged { digest, problem, .. } => format!("blob {digest}: {problem}"),
                        error => error.to_string(),
                    };
                    damaged.push(DamagedImage { name: name.to_owned(), problem });
                }
            }
        }
        Ok((kept, damaged))
    }

    /// What anybody uses, in whatever process.
    fn in_use(&self) -> Result<HashSet<Sha256Hex>, ImageError> {
        self.layout.leased()
    }

    fn is_expendable(&self, entry: &Descriptor, used: &HashSet<Sha256Hex>) -> bool {
        let pulled = matches!(Source::of(entry), Source::Registry { .. });
        pulled && Sha256Hex::of_descriptor(entry).is_ok_and(|digest| !used.contains(&digest))
    }

    /// When an image was last resolved: the time of its manifest or index.
    fn last_used(&self, entry: &Descriptor) -> Option<std::time::SystemTime> {
        let digest = Sha256Hex::of_descriptor(entry).ok()?;
        fs::metadata(self.layout.blob_path(&digest)).ok()?.modified().ok()
    }
}

/// The bytes of all files in a tree, as far as they can be told. Names of one file count once for each.
pub(super) fn tree_size(path: &Path) -> u64 {
    let mut waiting = vec![path.to_owned()];
    let mut size = 0;
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => size += metadata.len(),
                Err(_) => {}
            }
        }
    }
    size
}
