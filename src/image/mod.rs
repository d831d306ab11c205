//! Images: references, the content store, built-in images and their aliases.
//!
//! [`ImageStore`] is what others use. Names become complete in `reference`; `layout` is the store on disk, `load` turns
//! what is in it into an [`Image`], `program` makes images of WebAssembly files, `builtin` holds those in the binary.
//! Pulling from registries and unpacking are not here: layers are handed out as archives.

mod builtin;
mod layout;
mod load;
mod program;
mod reference;
#[cfg(test)]
mod tests;

pub use self::builtin::tool_layers;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use oci_spec::image::Descriptor;

use self::layout::Layout;
use self::reference::Reference;
use crate::base::clock::Timestamp;

/// An image, ready for a container.
#[derive(Debug, Clone)]
pub struct Image {
    /// The full reference it was resolved to, such as `docker.io/library/busybox:1.32.0` or a built-in's own name.
    pub reference: String,
    /// The digest that identifies the image (`sha256:…`), for `imageID`.
    pub id: String,
    /// When a built-in stands in for the name that was asked for: the built-in's name.
    pub stands_in: Option<String>,
    /// What the image says about running it.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<ImageLayer>,
}

/// The part of an OCI image configuration that a container start uses.
#[derive(Debug, Clone, Default)]
pub struct ImageConfig {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, split at the first `=`.
    pub env: Vec<(String, String)>,
    /// `WorkingDir`, empty where not set.
    pub working_dir: String,
    /// `User`, empty where not set.
    pub user: String,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
}

/// One layer and where its content is.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// `sha256:…` of the uncompressed archive.
    pub diff_id: String,
    /// Where the content is.
    pub content: LayerContent,
}

/// Where the content of a layer is.
#[derive(Debug, Clone)]
pub enum LayerContent {
    /// An uncompressed tar archive on disk.
    TarFile(PathBuf),
    /// An uncompressed tar archive in memory, as built-in images have it.
    TarBytes(Bytes),
    /// One executable file at an absolute path.
    SingleFile {
        /// Where it shows in the image.
        path: String,
        /// Its content.
        contents: Bytes,
    },
}

/// Why an image could not be had. The node turns this into a waiting reason.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// `InvalidImageName`.
    #[error("invalid image name {name:?}: {detail}")]
    InvalidName {
        /// As given.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Not in the store, and nothing to pull it from.
    #[error("image {0:?} not found: no such image in the local store")]
    NotFound(String),
    /// The store is damaged or cannot be read or written.
    #[error("{context}: {error}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's answer.
        error: std::io::Error,
    },
    /// A file that is no image or program, or an image that is not as OCI says.
    #[error("{0}")]
    Invalid(String),
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// From the store on disk.
    Stored,
    /// Part of the binary.
    BuiltIn,
    /// A name that a built-in image stands in for, whatever the tag.
    Alias {
        /// The built-in's name.
        of: String,
    },
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The complete reference, such as `docker.io/library/app:latest`.
    pub reference: String,
    /// The reference without its tag.
    pub repository: String,
    /// The tag; `*` for an alias, which covers all.
    pub tag: String,
    /// `sha256:…`.
    pub id: String,
    /// The size of the layers in bytes, as stored.
    pub size: u64,
    /// When it was imported, where known.
    pub created: Option<Timestamp>,
    /// Where it comes from.
    pub kind: ImageKind,
}

/// The images of one user: a content store in OCI layout, and the images built into the binary.
#[derive(Debug)]
pub struct ImageStore {
    layout: Layout,
    use_aliases: bool,
    transient: Mutex<HashMap<String, Image>>,
}

impl ImageStore {
    /// Opens (or creates, lazily, at the first write) the store at `root`. With `use_aliases`, names such as
    /// `busybox` and `nginx` resolve to built-in images.
    pub fn open(root: &Path, use_aliases: bool) -> Result<Arc<Self>, ImageError> {
        Ok(Arc::new(Self { layout: Layout::new(root), use_aliases, transient: Mutex::default() }))
    }

    /// Finds an image by name: transient ones first, then the store, then built-ins and their aliases.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        if let Some(image) = self.transient().get(name) {
            return Ok(image.clone());
        }
        let reference = Reference::parse(name)?;
        if let Some(image) = self.transient().get(&reference.to_string()) {
            return Ok(image.clone());
        }
        if !reference.is_built_in() {
            // The common case, a store without the image, costs one read of the index.
            let found = |index: Vec<Descriptor>| index.into_iter().find(|entry| is_named(entry, &reference));
            if found(self.layout.read_index()?).is_some() {
                self.layout.hold()?;
                // Again, now that nothing can be deleted any more.
                if let Some(entry) = found(self.layout.read_index()?) {
                    return load::image(&self.layout, &reference, &entry);
                }
            }
        }
        builtin::find(&reference, self.use_aliases).ok_or_else(|| ImageError::NotFound(name.to_owned()))
    }

    /// Makes a single-program image known under `name` for this process only (`husk run app.wasm`).
    pub fn add_transient(&self, name: &str, program: &Path) -> Result<(), ImageError> {
        let (contents, _) = program::read(program)?;
        let reference = Reference::parse(name)?;
        // The name is part of the image, for it is the program's path.
        let mut hasher = blake3::Hasher::new();
        hasher.update(reference.short_name().as_bytes()).update(b"\0").update(&contents);
        let id = format!("blake3:{}", hasher.finalize().to_hex());
        let image = load::single_program(reference.to_string(), id, reference.short_name(), contents);
        self.transient().insert(reference.to_string(), image);
        Ok(())
    }

    /// Makes an image of a WebAssembly program and stores it under `name`, replacing what had that name.
    pub fn import_wasm(&self, file: &Path, name: &str) -> Result<ImageSummary, ImageError> {
        let reference = Reference::parse(name)?;
        let refused = match &reference {
            Reference { digest: Some(_), .. } => {
                Some("an image cannot be imported under a digest, which is its content's")
            }
            reference if reference.is_built_in() => Some("names under builtin/ are those of the images in the binary"),
            _ => None,
        };
        if let Some(detail) = refused {
            return Err(ImageError::InvalidName { name: name.to_owned(), detail: detail.to_owned() });
        }
        let (contents, kind) = program::read(file)?;
        let lock = self.layout.lock_for_change()?;
        let mut manifest = program::store(&self.layout, &lock, &reference, &contents, kind)?;
        let annotations = [(layout::REFERENCE, reference.to_string()), (layout::CREATED, Timestamp::now().to_string())];
        manifest.set_annotations(Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()));
        let mut index = self.layout.read_index()?;
        index.retain(|entry| !is_named(entry, &reference));
        index.push(manifest.clone());
        self.layout.write_index(&lock, index.clone())?;
        self.collect_garbage(&lock, &index)?;
        self.summary(&manifest)
    }

    /// Every image: stored ones by name, then those in the binary, then the names these stand in for.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let index = self.layout.read_index()?;
        let mut images = index.iter().map(|entry| self.summary(entry)).collect::<Result<Vec<_>, _>>()?;
        images.sort_by(|left, right| left.reference.cmp(&right.reference));
        images.extend(builtin::list(self.use_aliases));
        Ok(images)
    }

    /// Removes a stored image by name, and what no other image needs. A pod that runs it keeps its files.
    pub fn remove(&self, name: &str) -> Result<(), ImageError> {
        let reference = Reference::parse(name)?;
        let index = self.layout.read_index()?;
        if !index.iter().any(|entry| is_named(entry, &reference)) {
            return Err(match builtin::find(&reference, self.use_aliases) {
                Some(_) => ImageError::Invalid(format!("image {name:?} is part of husk and cannot be removed")),
                None => ImageError::NotFound(name.to_owned()),
            });
        }
        let lock = self.layout.lock_for_change()?;
        let mut index = self.layout.read_index()?;
        index.retain(|entry| !is_named(entry, &reference));
        self.layout.write_index(&lock, index.clone())?;
        self.collect_garbage(&lock, &index)
    }

    fn transient(&self) -> MutexGuard<'_, HashMap<String, Image>> {
        self.transient.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what no image of `index` needs. While an image is damaged, what it needs is unknown: nothing is deleted.
    fn collect_garbage(&self, lock: &layout::WriteLock, index: &[Descriptor]) -> Result<(), ImageError> {
        let mut kept = HashSet::new();
        for entry in index {
            if let Err(error) = load::mark(&self.layout, entry, &mut kept) {
                tracing::warn!(%error, "unused image content is kept because an image is damaged");
                return Ok(());
            }
        }
        self.layout.delete_all_but(lock, &kept)
    }

    fn summary(&self, entry: &Descriptor) -> Result<ImageSummary, ImageError> {
        let reference = annotation(entry, layout::REFERENCE).unwrap_or("<none>").to_owned();
        // A damaged image is listed, so that it can be seen and removed.
        let (id, size) = load::id_and_size(&self.layout, entry).unwrap_or_else(|_| ("<damaged>".to_owned(), 0));
        let (repository, tag) = match Reference::parse(&reference) {
            Ok(Reference { repository, tag, .. }) => (repository, tag.unwrap_or_else(|| "<none>".to_owned())),
            Err(_) => (reference.clone(), "<none>".to_owned()),
        };
        let created = annotation(entry, layout::CREATED).and_then(|time| time.parse().ok());
        Ok(ImageSummary { reference, repository, tag, id, size, created, kind: ImageKind::Stored })
    }
}

fn annotation<'a>(entry: &'a Descriptor, key: &str) -> Option<&'a str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str)
}

/// Whether an entry of the index is the image that `wanted` names: by digest if it gives one, else by name and tag.
fn is_named(entry: &Descriptor, wanted: &Reference) -> bool {
    let Some(name) = annotation(entry, layout::REFERENCE) else { return false };
    match &wanted.digest {
        None => name == wanted.to_string(),
        Some(digest) => {
            let same_repository = name.rsplit_once(':').is_some_and(|(repository, _)| repository == wanted.repository);
            same_repository && entry.digest().as_ref() == digest
        }
    }
}
