//! Images: references, the content store, registries and archives, built-in images and their aliases.
//!
//! [`ImageStore`] is what others use. Names become complete in `reference`; `layout` is the store on disk, `lease` says
//! what of it is in use and `collect` deletes what is not; `load` turns what is in it into an [`Image`]; `artifact` and
//! `program` know WebAssembly programs, `platform` chooses among platforms, `builtin` holds the images in the binary.
//! `names` finds stored images by name and ID, and gives and takes names.
//! `registry` talks to registries; `pull` and `download` bring images from there, and tell of it by `progress`.
//!
//! Layers are handed out as archives, which a container of WebAssembly reads in place. For native containers, `unpack`
//! makes directories of them.

mod archive;
mod archives;
mod artifact;
mod build;
mod builtin;
mod collect;
mod compression;
mod download;
mod inspect;
mod layout;
mod lease;
mod load;
mod names;
mod platform;
mod program;
mod progress;
mod pull;
mod push;
mod reference;
mod registry;
mod signature;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(target_os = "linux")]
mod unpack;

pub use self::archive::ArchiveError;
pub use self::archives::SaveFormat;
pub use self::build::{BuildBase, BuildError, BuildRequest, Built, MAX_DOCKERFILE};
pub use self::builtin::tool_layers;
pub use self::collect::{Collected, DamagedImage, Prune};
pub use self::inspect::HistoryEntry;
pub use self::platform::{Platform, PlatformChoice, host_platform};
pub use self::progress::{BlobProgress, BlobState, Phase, Progress};
pub use self::pull::{Pull, PullRequest, Pulled};
pub use self::push::{Push, PushError, Pushed};
pub use self::registry::{Credentials, Keyring, PullError, Registries, RegistriesError, RegistryError, Said};
#[cfg(target_os = "linux")]
pub use self::unpack::{Ownership, Report, UnpackError, UnpackedImage};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use oci_spec::image::Descriptor;

use self::layout::{Layout, Sha256Hex};
use self::lease::Lease;
use self::reference::Reference;
use crate::base::clock::Timestamp;

/// An image, ready for a container.
#[derive(Debug, Clone)]
pub struct Image {
    /// The full reference it was resolved to, such as `docker.io/library/busybox:1.32.0` or a built-in's own name.
    pub reference: String,
    /// The digest that identifies the image (`sha256:…`), for `imageID`.
    pub id: String,
    /// The repository with the digest of the manifest or index that the name stands for, where the image is stored.
    pub repo_digest: Option<String>,
    /// When a built-in stands in for the name that was asked for: the built-in's name.
    pub stands_in: Option<String>,
    /// Operating system and architecture, such as `wasip1/wasm` and `linux/amd64`.
    pub platform: String,
    /// Annotations of its manifest, and labels.
    pub annotations: BTreeMap<String, String>,
    /// What the image says about running it.
    pub config: ImageConfig,
    /// Its layers, lowest first. Native images have none here: they are unpacked.
    pub layers: Vec<ImageLayer>,
    /// Keeps what is stored of it from being deleted for as long as any copy of this value lives.
    #[expect(dead_code, reason = "what is held is the lease")]
    lease: Option<Arc<Lease>>,
}

impl Image {
    /// Whether the image says that its program is WebAssembly: by its platform, by the annotations that crun reads, or by
    /// the name of the program, which is what crun and runwasi go by when nothing else tells.
    pub fn is_wasm(&self) -> bool {
        let architecture = self.platform.split('/').nth(1).unwrap_or_default();
        let program = self.config.entrypoint.first().or(self.config.cmd.first());
        platform::is_wasm(architecture)
            || platform::says_wasm(&self.annotations)
            || program.is_some_and(|program| program.ends_with(".wasm"))
    }
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
    /// `Volumes`: absolute paths of directories that are there, and can be written, in every container.
    pub volumes: Vec<String>,
}

/// One layer and where its content is.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// `sha256:…` of the uncompressed archive.
    pub diff_id: String,
    /// Where the content is.
    pub content: LayerContent,
}

impl ImageLayer {
    /// For a layer that cannot be read: whether that is because its file is not what it should be. Then it is deleted, so
    /// that it can be had again.
    pub fn drop_if_damaged(&self) -> bool {
        let LayerContent::TarFile(path) = &self.content else { return false };
        let dropped = Sha256Hex::parse(&self.diff_id).and_then(|digest| layout::drop_if_damaged(path, &digest));
        dropped.unwrap_or_else(|error| {
            tracing::warn!(%error, "a layer that cannot be read was left as it is");
            false
        })
    }
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
    /// None of the platforms that an image has can be used.
    #[error("the image has {wanted}, {offered}")]
    Platform {
        /// What was looked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// Content of the store is not what it should be.
    #[error("{}", Damage { image, digest, problem })]
    Damaged {
        /// The image, where it is known.
        image: String,
        /// Which content.
        digest: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store cannot be read or written.
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

impl ImageError {
    /// With the image that it is about, where that was not known deeper down.
    fn about(self, reference: &Reference) -> Self {
        match self {
            Self::Damaged { image, digest, problem } if image.is_empty() => {
                Self::Damaged { image: reference.to_string(), digest, problem }
            }
            error => error,
        }
    }
}

/// What is damaged, and what to do about it.
struct Damage<'a> {
    image: &'a str,
    digest: &'a str,
    problem: &'a str,
}

impl std::fmt::Display for Damage<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { image, digest, problem } = self;
        if image.is_empty() {
            return write!(
                formatter,
                "blob {digest} is damaged: {problem}; pull the image again, or remove it and add it again"
            );
        }
        write!(
            formatter,
            "image {image}: blob {digest} is damaged: {problem}; pull the image again (husk image pull {image}), or \
             remove it and add it again"
        )
    }
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// From the store on disk: imported, loaded or built.
    Stored,
    /// From the store on disk, and before that from a registry.
    Pulled,
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
    /// The digest of the manifest or index (`sha256:…`); empty for images in the binary.
    pub digest: String,
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
    /// By the digest of a manifest: what keeps an image that somebody in this process uses.
    leases: Mutex<HashMap<String, Weak<Lease>>>,
    registries: Registries,
    keyring: Keyring,
    /// How many bytes may be stored.
    limit: Option<u64>,
    /// By the ID of an image: what unpacking it has changed, until somebody is told.
    notes: Mutex<HashMap<String, String>>,
    pulls: pull::Pulls,
}

/// What a user says about images.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether names such as `busybox` and `nginx` resolve to built-in images.
    pub use_aliases: bool,
    /// Where images come from.
    pub registries: Registries,
    /// Credentials that are tried after those of whoever asks for an image.
    pub keyring: Keyring,
    /// How many bytes may be stored; what is more is collected as far as that may be.
    pub limit: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { use_aliases: true, registries: Registries::default(), keyring: Keyring::default(), limit: None }
    }
}

impl ImageStore {
    /// Opens (or creates, lazily, at the first write) the store at `root`. With `use_aliases`, names such as
    /// `busybox` and `nginx` resolve to built-in images.
    pub fn open(root: &Path, use_aliases: bool) -> Result<Arc<Self>, ImageError> {
        Ok(Self::with_registries(root, use_aliases, Registries::default()))
    }

    /// As [`Self::open`], with what the user says about registries.
    pub fn with_registries(root: &Path, use_aliases: bool, registries: Registries) -> Arc<Self> {
        Self::with_settings(root, Settings { use_aliases, registries, ..Settings::default() })
    }

    /// As [`Self::open`], with all that the user says.
    pub fn with_settings(root: &Path, settings: Settings) -> Arc<Self> {
        let Settings { use_aliases, registries, keyring, limit } = settings;
        Arc::new(Self {
            layout: Layout::new(root),
            use_aliases,
            transient: Mutex::default(),
            leases: Mutex::default(),
            registries,
            keyring,
            limit,
            notes: Mutex::default(),
            pulls: pull::Pulls::default(),
        })
    }

    /// A name as the user's short names have it.
    fn parse(&self, name: &str) -> Result<Reference, ImageError> {
        Reference::parse(&self.registries.expand(name))
    }

    /// What a name means to those who run images: it may also be the full ID of a stored one. The beginning of an ID will
    /// not do here, for another image could be made to have it.
    fn meant(&self, name: &str) -> Result<Reference, ImageError> {
        if names::is_full_id(name) {
            let found = self.find_id(&self.layout.read_index()?, name)?;
            return found.map(|named| named.reference).ok_or_else(|| ImageError::NotFound(name.to_owned()));
        }
        self.parse(name)
    }

    /// Finds an image by name, of WebAssembly's platform if it has one and else of this machine's.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        self.resolve_for(name, PlatformChoice::default())
    }

    /// Finds an image by name: transient ones first, then the store, then built-ins and their aliases. Reads, checks
    /// and uncompresses files.
    pub fn resolve_for(&self, name: &str, platform: PlatformChoice) -> Result<Image, ImageError> {
        if let Some(image) = self.transient().get(name) {
            return Ok(image.clone());
        }
        let reference = self.meant(name)?;
        if let Some(image) = self.transient().get(&reference.to_string()) {
            return Ok(image.clone());
        }
        if !reference.is_built_in()
            && let Some((entry, lease)) = self.find_and_lease(&reference, platform)?
        {
            let wanted = load::Wanted { reference: &reference, entry: &entry, platform };
            let image = load::image(&self.layout, &wanted, lease).map_err(|error| error.about(&reference))?;
            self.touch(&entry);
            if !platform.accepts(image.is_wasm()) {
                return Err(ImageError::Platform {
                    wanted: platform.wanted(),
                    offered: format!("only {}", image.platform),
                });
            }
            return Ok(image);
        }
        self.built_in(&reference, platform).ok_or_else(|| ImageError::NotFound(name.to_owned()))
    }

    /// Whether an image is WebAssembly, without a look at its layers; `None` if it is not here.
    pub fn is_wasm(&self, name: &str, platform: PlatformChoice) -> Result<Option<bool>, ImageError> {
        let reference = self.meant(name)?;
        let transient = self.transient();
        if let Some(image) = transient.get(name).or_else(|| transient.get(&reference.to_string())) {
            return Ok(Some(image.is_wasm()));
        }
        drop(transient);
        if !reference.is_built_in()
            && let Some((entry, lease)) = self.find_and_lease(&reference, platform)?
        {
            let wanted = load::Wanted { reference: &reference, entry: &entry, platform };
            return load::is_wasm(&self.layout, &wanted, lease).map(Some);
        }
        Ok(self.built_in(&reference, platform).map(|image| image.is_wasm()))
    }

    /// The built-in image of a name, or what stands in for it.
    fn built_in(&self, reference: &Reference, platform: PlatformChoice) -> Option<Image> {
        builtin::find(reference, self.use_aliases).filter(|image| platform.accepts(image.is_wasm()))
    }

    /// What unpacking an image has changed of it, told once.
    pub fn take_note(&self, image: &Image) -> Option<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).remove(&image.id)
    }

    /// Where an image is, if it is here at all.
    pub fn presence(&self, name: &str, platform: PlatformChoice) -> Result<Presence, ImageError> {
        let reference = self.meant(name)?;
        if self.transient().contains_key(&reference.to_string()) || self.transient().contains_key(name) {
            return Ok(Presence::Local);
        }
        if let Some((entry, _lease)) = self.find_and_lease(&reference, platform)? {
            return Ok(match Source::of(&entry) {
                // Registries know no IDs.
                Source::Registry { .. } if !names::is_full_id(name) => Presence::Pulled,
                Source::Registry { .. } | Source::Local => Presence::Local,
            });
        }
        let built_in = self.built_in(&reference, platform).is_some();
        Ok(if built_in { Presence::BuiltIn } else { Presence::Absent })
    }

    /// The entry of the index that `reference` names, and a lease of all that is stored of it.
    fn find_and_lease(
        &self,
        reference: &Reference,
        platform: PlatformChoice,
    ) -> Result<Option<(Descriptor, Arc<Lease>)>, ImageError> {
        // The common cases, a store without the image and an image in use, cost a read or two.
        let Some(entry) = self.find(reference)? else { return Ok(None) };
        if !self.is_trusted(reference, &entry) {
            return Ok(None);
        }
        let key = |entry: &Descriptor| {
            let offered = load::manifests(&self.layout, entry)?;
            let chosen = load::choose_stored(&self.layout, &offered, platform)?;
            // An index may have been pulled for another of its platforms.
            let is_there = entry.digest() == chosen.digest() || self.layout.has_blob(&chosen);
            // What was damaged is gone; what came from a registry can be had again.
            let is_whole = || Source::of(entry) == Source::Local || self.is_whole(&chosen);
            Ok::<_, ImageError>((is_there && is_whole()).then(|| chosen.digest().to_string()))
        };
        let Some(known) = key(&entry)? else { return Ok(None) };
        if let Some(lease) = self.leases().get(&known).and_then(Weak::upgrade) {
            return Ok(Some((entry, lease)));
        }
        let mut found = None;
        let lease = self.layout.lease(|| {
            let mut digests = HashSet::new();
            found = self.find(reference)?;
            if let Some(entry) = &found {
                load::mark_readable(&self.layout, entry, &mut digests)?;
            }
            Ok(digests)
        })?;
        let Some(entry) = found else { return Ok(None) };
        let lease = Arc::new(lease);
        let Some(key) = key(&entry)? else { return Ok(None) };
        let mut leases = self.leases();
        leases.retain(|_, lease| lease.strong_count() > 0);
        leases.insert(key, Arc::downgrade(&lease));
        Ok(Some((entry, lease)))
    }

    /// Whether all blobs of a manifest are stored, as far as their sizes tell. What cannot be read is found out later.
    fn is_whole(&self, manifest: &Descriptor) -> bool {
        let Ok(found) = load::document::<oci_spec::image::ImageManifest>(&self.layout, manifest) else { return true };
        found.layers().iter().chain([found.config()]).all(|blob| self.layout.has_blob(blob))
    }

    /// Whether an image that came from a registry is signed as the user wants it now: if not, it counts as not there, and
    /// has to be pulled. What was imported, loaded or built is the user's own.
    fn is_trusted(&self, reference: &Reference, entry: &Descriptor) -> bool {
        let (Some(paths), Source::Registry { signed_by }) = (self.registries.keys(reference), Source::of(entry)) else {
            return true;
        };
        let keys = signature::read_keys(paths).unwrap_or_default();
        signed_by.is_some_and(|signed_by| keys.iter().any(|key| key.fingerprint == signed_by))
    }

    fn find(&self, reference: &Reference) -> Result<Option<Descriptor>, ImageError> {
        Ok(self.layout.read_index()?.into_iter().find(|entry| is_named(entry, reference)))
    }

    /// Notes that an image was used just now; when it cannot be noted, the image counts as not used.
    fn touch(&self, entry: &Descriptor) {
        let noted = Sha256Hex::of_descriptor(entry).and_then(|digest| {
            let path = self.layout.blob_path(&digest);
            let noted = std::fs::File::open(&path).and_then(|file| file.set_modified(Timestamp::now().into()));
            noted.map_err(layout::failed("cannot note the use of", &path))
        });
        if let Err(error) = noted {
            tracing::debug!(%error, "the use of an image was not noted");
        }
    }

    /// Makes a single-program image known under `name` for this process only (`husk run app.wasm`).
    pub fn add_transient(&self, name: &str, program: &Path) -> Result<(), ImageError> {
        let (contents, kind) = program::read(program)?;
        let reference = Reference::parse(name)?;
        // The name is part of the image, for it is the program's path.
        let mut hasher = blake3::Hasher::new();
        hasher.update(reference.short_name().as_bytes()).update(b"\0").update(&contents);
        let id = format!("blake3:{}", hasher.finalize().to_hex());
        let image = load::single_program(&reference, id, contents, kind);
        self.transient().insert(reference.to_string(), image);
        Ok(())
    }

    /// Makes an image of a WebAssembly program and stores it under `name`, replacing what had that name. `-` is standard
    /// input.
    pub fn import_wasm(&self, file: &Path, name: &str) -> Result<ImageSummary, ImageError> {
        let reference = Reference::parse_for_storing(name)?;
        let (contents, kind) = if file == Path::new("-") { program::read_input()? } else { program::read(file)? };
        let lease = self.layout.new_lease()?;
        let manifest = program::store(&self.layout, &lease, &reference, &contents, kind)?;
        self.name(&lease, Source::Local, vec![(reference, manifest)])?.remove(0)
    }

    /// Lets names stand for manifests that are stored, replacing what had these names, and deletes what nobody needs
    /// any more. What was stored is in `lease` until then.
    fn name(
        &self,
        _lease: &Lease,
        source: Source,
        named: Vec<(Reference, Descriptor)>,
    ) -> Result<Vec<Result<ImageSummary, ImageError>>, ImageError> {
        for (reference, manifest) in &named {
            load::validate(&self.layout, reference, manifest)?;
        }
        let lock = self.layout.lock_for_change()?;
        let mut index = self.layout.read_index()?;
        let mut added = Vec::new();
        for (reference, mut manifest) in named {
            let annotations =
                [(layout::REFERENCE, reference.to_string()), (layout::CREATED, Timestamp::now().to_string())];
            let annotations = annotations.into_iter().chain(source.annotations());
            manifest.set_annotations(Some(annotations.map(|(key, value)| (key.to_owned(), value)).collect()));
            let name = reference.to_string();
            index.retain(|entry| annotation(entry, layout::REFERENCE) != Some(&name));
            index.push(manifest.clone());
            added.push(manifest);
        }
        self.layout.write_index(&lock, index.clone())?;
        self.collect_unnamed(&lock, &index)?;
        drop(lock);
        // While the lease is held, what is new stays.
        self.keep_to_limit();
        Ok(added.iter().map(|entry| self.summary(entry)).collect())
    }

    /// Every image: stored ones by name, then those in the binary, then the names these stand in for.
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let index = self.layout.read_index()?;
        let mut images = index.iter().map(|entry| self.summary(entry)).collect::<Result<Vec<_>, _>>()?;
        images.sort_by(|left, right| left.reference.cmp(&right.reference));
        images.extend(builtin::list(self.use_aliases));
        Ok(images)
    }

    /// Of [`Self::list`], the images of a repository, or with one tag of it if `name` has one.
    pub fn list_named(&self, name: &str) -> Result<Vec<ImageSummary>, ImageError> {
        let wanted = self.parse(name)?;
        // A tag that was not given is not wanted.
        let any_tag = self.parse(&format!("{name}:any")).is_ok();
        let is_wanted = |image: &ImageSummary| {
            let tag = Some(&image.tag) == wanted.tag.as_ref() || image.tag == "*";
            image.repository == wanted.repository
                && (any_tag || tag && wanted.digest.is_none() || wanted.digest.as_ref() == Some(&image.digest))
        };
        Ok(self.list()?.into_iter().filter(is_wanted).collect())
    }

    fn transient(&self) -> MutexGuard<'_, HashMap<String, Image>> {
        self.transient.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<String, Weak<Lease>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn summary(&self, entry: &Descriptor) -> Result<ImageSummary, ImageError> {
        let reference = annotation(entry, layout::REFERENCE).unwrap_or("<none>").to_owned();
        // A damaged image is listed, so that it can be seen and removed.
        let (id, size) = load::id_and_size(&self.layout, entry).unwrap_or_else(|_| ("<damaged>".to_owned(), 0));
        let (repository, tag) = match Reference::parse(&reference) {
            // A digest is what counts of a name that has one: the tag beside it names nothing here.
            Ok(Reference { repository, tag, digest: None }) => (repository, tag.unwrap_or_else(|| "<none>".to_owned())),
            Ok(Reference { repository, .. }) => (repository, "<none>".to_owned()),
            Err(_) => (reference.clone(), "<none>".to_owned()),
        };
        let created = annotation(entry, layout::CREATED).and_then(|time| time.parse().ok());
        let kind = match Source::of(entry) {
            Source::Registry { .. } => ImageKind::Pulled,
            Source::Local => ImageKind::Stored,
        };
        Ok(ImageSummary { reference, repository, tag, id, digest: entry.digest().to_string(), size, created, kind })
    }
}

/// Where an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// In the binary.
    BuiltIn,
    /// Imported, loaded, built, or known to this process only. A registry may have another one of the same name, or none.
    Local,
    /// In the store, from a registry.
    Pulled,
    /// Nowhere.
    Absent,
}

/// The annotation of an entry of the index that says where an image came from.
const SOURCE: &str = "dev.husk.image.source";
/// The annotation of an entry of the index that has the fingerprint of the key by which it was found to be signed.
const SIGNED_BY: &str = "dev.husk.image.signed-by";

/// Where a stored image came from: what came from a registry can be had again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// From a registry; the fingerprint of the key that has signed it, if one must have.
    Registry {
        signed_by: Option<String>,
    },
    Local,
}

impl Source {
    fn of(entry: &Descriptor) -> Self {
        match annotation(entry, SOURCE) {
            Some("registry") => Self::Registry { signed_by: annotation(entry, SIGNED_BY).map(str::to_owned) },
            _ => Self::Local,
        }
    }

    /// As annotations of an entry of the index.
    fn annotations(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Registry { signed_by } => {
                let signed_by = signed_by.iter().map(|key| (SIGNED_BY, key.clone()));
                std::iter::once((SOURCE, "registry".to_owned())).chain(signed_by).collect()
            }
            Self::Local => vec![(SOURCE, "local".to_owned())],
        }
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
            let same_repository = Reference::parse(name).is_ok_and(|named| named.repository == wanted.repository);
            same_repository && entry.digest().as_ref() == digest
        }
    }
}
