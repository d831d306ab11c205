//! Images: references, the content store, built-in images and their aliases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

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
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file that is no image or program, or an image that is not as OCI says.
    #[error("{0}")]
    Invalid(String),
}

/// The images of one user: a content store in OCI layout, and the images built into the binary.
#[derive(Debug)]
pub struct ImageStore {
    #[expect(dead_code, reason = "placeholder")]
    todo: (),
}

impl ImageStore {
    /// Opens (or creates, lazily, at the first write) the store at `root`. With `use_aliases`, names such as
    /// `busybox` and `nginx` resolve to built-in images.
    pub fn open(root: &Path, use_aliases: bool) -> Result<Arc<Self>, ImageError> {
        todo!("{root:?} {use_aliases}")
    }
    /// Finds an image by name: the store first, then built-ins and their aliases.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        todo!("{name}")
    }
    /// Makes a single-program image known under `name` for this process only (`husk run app.wasm`).
    pub fn add_transient(&self, name: &str, program: &Path) -> Result<(), ImageError> {
        todo!("{name} {program:?}")
    }
}
