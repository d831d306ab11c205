//! Layers as directories, for native containers: what overlayfs takes as lower directories when it is mounted with
//! `userxattr`. A layer is unpacked once for all images that have it on top of the same layers.
//!
//! Archives are hostile. `confined` lets nothing out of the target, `image::archive` bounds what is believed of headers,
//! `layer` applies entries, and `ownership` knows to whom files can be given.

mod confined;
mod layer;
mod ownership;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use sha2::{Digest, Sha256};

use self::layer::LayerWriter;
pub use self::ownership::Ownership;
use super::archive::{Archive, ArchiveError};
use super::compression::Compression;
use super::layout::{Sha256Hex, damaged, failed};
use super::load::{self, Layer, MAX_LAYER, MAX_UNCOMPRESSED};
use super::platform::PlatformChoice;
use super::{Image, ImageError, ImageStore, builtin, tree};

/// The most entries one layer may have, and all that are unpacked for one image.
const MAX_ENTRIES: usize = 1_000_000;
const MAX_IMAGE_ENTRIES: usize = 4_000_000;

/// Images of which it is kept what unpacking them has changed.
const MAX_NOTES: usize = 256;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A name that would lead outside, or that no filesystem takes.
    #[error("invalid entry name {0:?}")]
    BadName(String),
    /// An entry below something that is not a directory.
    #[error("entry {0:?} lies below something that is no directory")]
    NotDirectory(String),
    /// An entry reached through too many symlinks.
    #[error("too many symbolic links on the way to entry {0:?}")]
    Loop(String),
    /// A hard link to something that is missing, or a directory.
    #[error("hard link {path:?} to {target:?}, which is no file")]
    BadLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// More entries than a layer may have.
    #[error("more than {0} entries")]
    TooManyEntries(usize),
    /// More than a layer may have.
    #[error("more than {0} bytes when unpacked")]
    TooLarge(u64),
    /// The removal of a file cannot be noted on this filesystem.
    #[error("cannot note the removal of {path:?} for overlayfs: {error}")]
    Whiteout {
        /// The entry.
        path: String,
        /// The system's answer.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path:?}: {error}")]
    Write {
        /// The entry.
        path: String,
        /// The system's answer.
        error: io::Error,
    },
}

/// What a layer may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    entries: usize,
    bytes: u64,
}

/// What unpacking could not keep of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries of the archive.
    pub entries: usize,
    /// Bytes of files, holes included.
    pub bytes: u64,
    /// Files that belong to others here than in the image.
    pub squashed: usize,
    /// Devices that were left out.
    pub devices: usize,
    /// Extended attributes that were left out.
    pub attributes: usize,
}

/// An image as directories. They stay for as long as any copy of the image lives.
#[derive(Debug, Clone)]
pub struct UnpackedImage {
    /// The image; it has no layers to read.
    pub image: Image,
    /// A directory for each layer, the lowest first: overlayfs' `lowerdir`s, to be mounted with `userxattr`.
    pub directories: Vec<PathBuf>,
    /// What became of the files' owners.
    pub ownership: Ownership,
    /// What was left out of the layers that were unpacked just now.
    pub report: Report,
}

impl UnpackedImage {
    /// What is not as in the image, for people: owners, devices and attributes of what was unpacked just now.
    pub fn note(&self) -> Option<String> {
        let counted = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let owners = counted(self.report.squashed, "files have other owners than in the image");
        let parts = [
            owners.map(|owners| format!("{owners} ({})", self.ownership.describe())),
            counted(self.report.devices, "devices were left out"),
            counted(self.report.attributes, "extended attributes were left out"),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl ImageStore {
    /// Finds an image by name and unpacks it. Reads and writes files.
    pub fn unpack(&self, name: &str, platform: PlatformChoice) -> Result<UnpackedImage, ImageError> {
        let reference = self.meant(name)?;
        let ownership = Ownership::detect();
        if let Some((entry, lease)) = self.find_and_lease(&reference, platform)? {
            let (image, layers) = load::description(
                &self.layout,
                &load::Wanted { reference: &reference, entry: &entry, platform },
                lease,
            )?;
            self.touch(&entry);
            let sources = layers.iter().map(|layer| {
                let compression = Compression::of_media_type(layer.descriptor.media_type())?;
                Ok((layer, Source::Blob(compression)))
            });
            let sources = sources.collect::<Result<Vec<_>, ImageError>>()?;
            return self.unpack_layers(image, &sources, ownership).map_err(|error| error.about(&reference));
        }
        let image = builtin::find(&reference, self.use_aliases).ok_or_else(|| ImageError::NotFound(name.to_owned()))?;
        Err(ImageError::Invalid(format!("image {} has programs for WebAssembly only", image.reference)))
    }

    fn unpack_layers(
        &self,
        image: Image,
        layers: &[(&Layer, Source)],
        ownership: Ownership,
    ) -> Result<UnpackedImage, ImageError> {
        let lease = self.layout.new_lease()?;
        let name = ownership.name();
        let (mut directories, mut made, mut report) = (Vec::new(), Vec::new(), Report::default());
        for (layer, source) in layers {
            let path = self.layout.unpacked_path(&name, &layer.chain_id);
            if path.exists() {
                directories.push(path);
                continue;
            }
            // Among what is being written, under a name of its own that is leased.
            let temporary = Sha256Hex::random();
            self.layout.extend(&lease, [&temporary])?;
            let target = self.layout.ingest_path(&temporary);
            std::fs::create_dir(&target).map_err(failed("cannot create", &target))?;
            made.push((target.clone(), path));
            let limits = Limits {
                entries: MAX_ENTRIES.min(MAX_IMAGE_ENTRIES - report.entries),
                bytes: MAX_LAYER.min(MAX_UNCOMPRESSED - report.bytes),
            };
            let into = Place { target: &target, below: &directories, ownership: &ownership, limits };
            let unpacked = self.unpack_layer(layer, *source, &into);
            match unpacked {
                Ok(found) => report = report.and(found),
                Err(error) => {
                    for (target, _) in made {
                        // Garbage, if it cannot be removed now.
                        let _left = tree::remove(&target);
                    }
                    return Err(error);
                }
            }
            directories.push(target);
        }
        let has_grown = !made.is_empty();
        let final_paths = self.publish_directories(&name, made, &directories)?;
        if has_grown {
            self.keep_to_limit();
        }
        let unpacked = UnpackedImage { image, directories: final_paths, ownership, report };
        if let Some(note) = unpacked.note() {
            tracing::info!(image = unpacked.image.reference, note, "an image was unpacked with changes");
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            if notes.len() >= MAX_NOTES {
                notes.clear();
            }
            notes.insert(unpacked.image.id.clone(), note);
        }
        Ok(unpacked)
    }

    fn unpack_layer(&self, layer: &Layer, source: Source, into: &Place<'_>) -> Result<Report, ImageError> {
        let Source::Blob(compression) = source;
        let reader =
            Hashing { inner: load::open_layer(&self.layout, layer, compression)?, hasher: Sha256::new(), size: 0 };
        let mut archive = Archive::new(reader);
        let result = LayerWriter::new(into.target, into.below, into.ownership, into.limits)
            .and_then(|writer| writer.apply(&mut archive));
        let report = match result {
            Ok(report) => report,
            // A damaged stream is damage of the blob, whatever it looked like as an archive.
            Err(UnpackError::Archive(ArchiveError::Read(error))) => {
                load::check_layer(&self.layout, layer, compression, Err(error), (&layer.diff_id, 0))?;
                Report::default()
            }
            Err(error) => {
                let blob = Sha256Hex::of_descriptor(&layer.descriptor)?;
                if self.layout.drop_if_damaged(&self.layout.blob_path(&blob), &blob)? {
                    return Err(damaged(&blob, "its content does not match its digest"));
                }
                return Err(ImageError::Invalid(format!("layer {} cannot be unpacked: {error}", layer.diff_id)));
            }
        };
        let (read, size, digest) = match archive.drain() {
            Ok(reader) => (Ok(()), reader.size, Sha256Hex::of_hash(reader.hasher.finalize().as_slice())),
            Err(ArchiveError::Read(error)) => (Err(error), 0, layer.diff_id.clone()),
            Err(error) => return Err(ImageError::Invalid(error.to_string())),
        };
        load::check_layer(&self.layout, layer, compression, read, (&digest, size))?;
        Ok(report)
    }

    /// Lets unpacked layers appear under their names, once they are safely on the disk.
    fn publish_directories(
        &self,
        ownership: &str,
        made: Vec<(PathBuf, PathBuf)>,
        directories: &[PathBuf],
    ) -> Result<Vec<PathBuf>, ImageError> {
        let mut paths = directories.to_vec();
        let Some((first, _)) = made.first() else { return Ok(paths) };
        std::fs::File::open(first)
            .and_then(|directory| rustix::fs::syncfs(&directory).map_err(io::Error::from))
            .map_err(failed("cannot write", first))?;
        let place = self.layout.unpacked_path(ownership, &Sha256Hex::random());
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(failed("cannot create", parent))?;
        }
        for (from, to) in made {
            match std::fs::rename(&from, &to) {
                Ok(()) => {}
                // Somebody else has unpacked the same meanwhile.
                Err(_) if to.is_dir() => tree::remove(&from).map_err(failed("cannot delete", &from))?,
                Err(error) => return Err(failed("cannot write", &to)(error)),
            }
            paths.iter_mut().filter(|path| **path == from).for_each(|path| path.clone_from(&to));
        }
        Ok(paths)
    }
}

/// Where a layer goes to.
struct Place<'a> {
    target: &'a Path,
    /// The layers below, the lowest first.
    below: &'a [PathBuf],
    ownership: &'a Ownership,
    limits: Limits,
}

/// Where a layer comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Blob(Compression),
}

impl Report {
    fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            bytes: self.bytes.saturating_add(other.bytes),
            squashed: self.squashed + other.squashed,
            devices: self.devices + other.devices,
            attributes: self.attributes + other.attributes,
        }
    }
}

/// Hashes and counts what is read.
struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}
