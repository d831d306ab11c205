//! From a manifest in the content store to an [`Image`]: ordinary OCI and Docker images, and OCI artifacts that are one
//! WebAssembly program. Everything read here may be hostile: sizes are bounded and digests checked before use.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::de::DeserializeOwned;

use super::artifact;
use super::compression::Compression;
use super::layout::{HashingWriter, Layout, MAX_DOCUMENT, Sha256Hex, damaged, failed};
use super::lease::Lease;
use super::platform::{self, PlatformChoice, is_index};
use super::program::{MAX_PROGRAM, ProgramKind};
use super::reference::Reference;
use super::{Image, ImageConfig, ImageError, ImageLayer, LayerContent};

/// Most layers an image may have; what overlay filesystems can take.
pub(super) const MAX_LAYERS: usize = 127;
/// Largest layer after decompression.
pub(super) const MAX_LAYER: u64 = 8 * 1024 * 1024 * 1024;
/// Largest image after decompression, all layers together.
pub(super) const MAX_UNCOMPRESSED: u64 = 64 * 1024 * 1024 * 1024;
/// Most directories of an image that containers can write in any case.
const MAX_VOLUMES: usize = 100;
/// How much of a layer is read at once.
const READ_BUFFER: usize = 256 * 1024;
/// Most entries looked at in an index of several platforms.
pub(super) const MAX_PLATFORMS: usize = 64;

/// What is to be loaded: an entry of the index, and which of its platforms.
pub(super) struct Wanted<'a> {
    pub(super) reference: &'a Reference,
    pub(super) entry: &'a Descriptor,
    pub(super) platform: PlatformChoice,
}

/// Loads the image that an entry of the index points to, for a container. `lease` keeps it for as long as it is used.
pub(super) fn image(layout: &Layout, wanted: &Wanted<'_>, lease: Arc<Lease>) -> Result<Image, ImageError> {
    let reference = wanted.reference;
    let found = manifest(layout, wanted.entry, wanted.platform)?;
    if let Some(layer) = artifact::program(&found.manifest)
        .map_err(|problem| ImageError::Invalid(format!("image {reference} {problem}")))?
    {
        let image = program_image(layout, reference, layer, &found)?;
        return Ok(Image { repo_digest: Some(repo_digest(wanted)), lease: Some(lease), ..image });
    }
    let (image, layers) = ordinary(layout, wanted, &found, Arc::clone(&lease))?;
    if !image.is_wasm() && wanted.platform != PlatformChoice::AsWasm {
        // Native containers get directories (`unpack`); archives to be read in place would be copies for nobody.
        for layer in &layers {
            Compression::of_media_type(layer.descriptor.media_type())?;
            layout.checked_blob_path(&layer.descriptor)?;
        }
        return Ok(image);
    }
    let mut read = Vec::with_capacity(layers.len());
    let mut size = 0_u64;
    for layer in &layers {
        let (layer, bytes) = tar_layer(layout, &lease, layer)?;
        size = size.saturating_add(bytes);
        if size > MAX_UNCOMPRESSED {
            return Err(ImageError::Invalid(format!(
                "image {reference} is larger than {MAX_UNCOMPRESSED} bytes when uncompressed"
            )));
        }
        read.push(layer);
    }
    Ok(Image { layers: read, ..image })
}

/// An image without its layers, and what these are. A WebAssembly artifact has none.
#[cfg(target_os = "linux")]
pub(super) fn description(
    layout: &Layout,
    wanted: &Wanted<'_>,
    lease: Arc<Lease>,
) -> Result<(Image, Vec<Layer>), ImageError> {
    let found = manifest(layout, wanted.entry, wanted.platform)?;
    match artifact::program(&found.manifest) {
        Ok(None) => ordinary(layout, wanted, &found, lease),
        Ok(Some(_)) => Err(ImageError::Invalid(format!(
            "image {} is a WebAssembly program without a filesystem",
            wanted.reference
        ))),
        Err(problem) => Err(ImageError::Invalid(format!("image {} {problem}", wanted.reference))),
    }
}

/// Whether an image is WebAssembly.
pub(super) fn is_wasm(layout: &Layout, wanted: &Wanted<'_>, lease: Arc<Lease>) -> Result<bool, ImageError> {
    let found = manifest(layout, wanted.entry, wanted.platform)?;
    match artifact::program(&found.manifest) {
        Ok(None) => ordinary(layout, wanted, &found, lease).map(|(image, _)| image.is_wasm()),
        Ok(Some(_)) => Ok(true),
        Err(problem) => Err(ImageError::Invalid(format!("image {} {problem}", wanted.reference))),
    }
}

fn ordinary(
    layout: &Layout,
    wanted: &Wanted<'_>,
    found: &Found,
    lease: Arc<Lease>,
) -> Result<(Image, Vec<Layer>), ImageError> {
    let reference = wanted.reference;
    let configuration: ImageConfiguration = document(layout, found.manifest.config())?;
    let layers = layers(&found.manifest, &configuration)
        .map_err(|problem| ImageError::Invalid(format!("image {reference} {problem}")))?;
    let mut annotations = found.annotations();
    let labels = configuration.config().as_ref().and_then(|config| config.labels().clone());
    annotations.extend(labels.into_iter().flatten());
    let image = Image {
        reference: reference.to_string(),
        id: Sha256Hex::of_descriptor(found.manifest.config())?.to_string(),
        repo_digest: Some(repo_digest(wanted)),
        stands_in: None,
        platform: format!("{}/{}", configuration.os(), configuration.architecture()),
        annotations,
        config: config(&configuration),
        layers: Vec::new(),
        lease: Some(lease),
    };
    Ok((image, layers))
}

fn repo_digest(wanted: &Wanted<'_>) -> String {
    format!("{}@{}", wanted.reference.repository, wanted.entry.digest())
}

/// A layer of an image: where it is, what it is uncompressed, and what it is together with those below.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Sha256Hex,
    pub(super) chain_id: Sha256Hex,
}

/// The layers of an ordinary image, lowest first; else what is wrong with them.
pub(super) fn layers(manifest: &ImageManifest, configuration: &ImageConfiguration) -> Result<Vec<Layer>, String> {
    let diff_ids = configuration.rootfs().diff_ids();
    let (found, named) = (manifest.layers().len(), diff_ids.len());
    if found != named || found > MAX_LAYERS {
        let most = if found > MAX_LAYERS { format!(": no more than {MAX_LAYERS} are possible") } else { String::new() };
        return Err(format!("has {found} layers and {named} diff IDs{most}"));
    }
    let mut layers: Vec<Layer> = Vec::with_capacity(found);
    for (descriptor, diff_id) in manifest.layers().iter().zip(diff_ids) {
        let diff_id = Sha256Hex::parse(diff_id).map_err(|error| format!("has a bad diff ID: {error}"))?;
        let chain_id = Sha256Hex::chain(layers.last().map(|below| &below.chain_id), &diff_id);
        layers.push(Layer { descriptor: descriptor.clone(), diff_id, chain_id });
    }
    Ok(layers)
}

/// What a listing shows of an image: its ID and the size of its layers as stored.
pub(super) fn id_and_size(layout: &Layout, descriptor: &Descriptor) -> Result<(String, u64), ImageError> {
    let found = present_manifest(layout, descriptor)?;
    let size = found.manifest.layers().iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size()));
    let is_program = artifact::program(&found.manifest).is_ok_and(|program| program.is_some());
    let id = if is_program { found.digest } else { Sha256Hex::of_descriptor(found.manifest.config())? };
    Ok((id.to_string(), size))
}

/// Adds to `kept` the digests of all blobs and layers that `descriptor` needs, as far as that can be told: what is wrong
/// with one of its documents is the error, after everything else was added.
pub(super) fn mark(layout: &Layout, descriptor: &Descriptor, kept: &mut HashSet<Sha256Hex>) -> Result<(), ImageError> {
    kept.insert(Sha256Hex::of_descriptor(descriptor)?);
    let (manifests, mut result) = match manifests(layout, descriptor) {
        Ok(manifests) => (manifests, Ok(())),
        Err(error @ ImageError::Io { .. }) => return Err(error),
        Err(error) => {
            let index: Option<ImageIndex> = as_it_is(layout, descriptor);
            let manifests = index.map(|index| index.manifests().iter().take(MAX_PLATFORMS).cloned().collect());
            (manifests.unwrap_or_default(), Err(error))
        }
    };
    for descriptor in manifests {
        match mark_manifest(layout, &descriptor, kept) {
            Ok(()) => {}
            // What cannot be read now may be right all the same: nothing may be deleted for it.
            Err(error @ ImageError::Io { .. }) => return Err(error),
            Err(error) => result = Err(error),
        }
    }
    result
}

/// As [`mark`], for what somebody is about to use: what is wrong shows when it is read.
pub(super) fn mark_readable(
    layout: &Layout,
    descriptor: &Descriptor,
    kept: &mut HashSet<Sha256Hex>,
) -> Result<(), ImageError> {
    match mark(layout, descriptor, kept) {
        Err(error @ ImageError::Io { .. }) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn mark_manifest(layout: &Layout, descriptor: &Descriptor, kept: &mut HashSet<Sha256Hex>) -> Result<(), ImageError> {
    let digest = Sha256Hex::of_descriptor(descriptor)?;
    // An index may name platforms that were never copied here.
    if !layout.blob_path(&digest).exists() {
        return Ok(());
    }
    kept.insert(digest);
    let found = document::<ImageManifest>(layout, descriptor);
    let named = match &found {
        Ok(manifest) => Some(manifest.clone()),
        Err(_) => as_it_is(layout, descriptor),
    };
    if let Some(manifest) = named {
        let blobs = manifest.layers().iter().chain([manifest.config()]);
        kept.extend(blobs.filter_map(|blob| Sha256Hex::of_descriptor(blob).ok()));
    }
    for layer in ordinary_layers(layout, &found?)? {
        kept.extend([layer.diff_id, layer.chain_id]);
    }
    Ok(())
}

/// The layers of a manifest if it is an ordinary image's, with its documents checked; of others, which may be anything,
/// none.
fn ordinary_layers(layout: &Layout, manifest: &ImageManifest) -> Result<Vec<Layer>, ImageError> {
    if !artifact::is_ordinary(manifest) {
        return Ok(Vec::new());
    }
    let configuration: ImageConfiguration = document(layout, manifest.config())?;
    layers(manifest, &configuration).map_err(ImageError::Invalid)
}

/// Makes sure that an image which is about to get a name is one that can be used: each of its manifests that is here has
/// a valid configuration, and layers that fit it.
pub(super) fn validate(layout: &Layout, reference: &Reference, descriptor: &Descriptor) -> Result<(), ImageError> {
    let checked = manifests(layout, descriptor)?.iter().try_for_each(|manifest| {
        let counts = layout.has_blob(manifest) && !platform::is_attestation(manifest);
        if counts { validate_manifest(layout, manifest) } else { Ok(()) }
    });
    match checked {
        Err(ImageError::Invalid(problem)) => Err(ImageError::Invalid(format!("image {reference} {problem}"))),
        // Of what was there before, which is mended by a pull.
        Err(ImageError::Damaged { .. }) => Ok(()),
        checked => checked,
    }
}

fn validate_manifest(layout: &Layout, descriptor: &Descriptor) -> Result<(), ImageError> {
    let said = |kind: &str, error: serde_json::Error| ImageError::Invalid(format!("has an invalid {kind}: {error}"));
    let manifest = layout.read_blob(descriptor, MAX_DOCUMENT)?;
    let manifest: ImageManifest = serde_json::from_slice(&manifest).map_err(|error| said("manifest", error))?;
    if artifact::is_ordinary(&manifest) {
        let configuration = layout.read_blob(manifest.config(), MAX_DOCUMENT)?;
        let configuration: ImageConfiguration =
            serde_json::from_slice(&configuration).map_err(|error| said("configuration", error))?;
        for layer in layers(&manifest, &configuration).map_err(ImageError::Invalid)? {
            let compression = Compression::of_media_type(layer.descriptor.media_type());
            let plain = compression.is_ok_and(|compression| compression == Compression::None);
            if plain && Sha256Hex::of_descriptor(&layer.descriptor)? != layer.diff_id {
                let (blob, diff_id) = (layer.descriptor.digest(), &layer.diff_id);
                return Err(ImageError::Invalid(format!(
                    "has a layer {blob} that does not match its diff ID {diff_id}"
                )));
            }
        }
    }
    Ok(())
}

/// The diff IDs of an image's layers, as far as they can be told.
pub(super) fn diff_ids(layout: &Layout, manifest: &ImageManifest) -> Vec<Sha256Hex> {
    let layers = ordinary_layers(layout, manifest).unwrap_or_default();
    layers.into_iter().map(|layer| layer.diff_id).collect()
}

/// A document that may be damaged, if it can be read all the same: for what to keep, not for what to believe.
fn as_it_is<T: DeserializeOwned>(layout: &Layout, descriptor: &Descriptor) -> Option<T> {
    let path = layout.blob_path(&Sha256Hex::of_descriptor(descriptor).ok()?);
    let mut contents = Vec::new();
    File::open(path).ok()?.take(MAX_DOCUMENT).read_to_end(&mut contents).ok()?;
    serde_json::from_slice(&contents).ok()
}

/// Takes out of `kept` what could be made again from blobs: layers uncompressed and unpacked.
pub(super) fn unmark_copies(layout: &Layout, descriptor: &Descriptor, kept: &mut HashSet<Sha256Hex>) {
    for descriptor in manifests(layout, descriptor).unwrap_or_default() {
        let Ok(manifest) = document::<ImageManifest>(layout, &descriptor) else { continue };
        let Ok(configuration) = document::<ImageConfiguration>(layout, manifest.config()) else { continue };
        for layer in layers(&manifest, &configuration).unwrap_or_default() {
            // A layer that came uncompressed is its own copy.
            if Sha256Hex::of_descriptor(&layer.descriptor).is_ok_and(|blob| blob != layer.diff_id) {
                kept.remove(&layer.diff_id);
            }
            if layer.chain_id != layer.diff_id || layer.descriptor.digest().as_ref() != layer.diff_id.to_string() {
                kept.remove(&layer.chain_id);
            }
        }
    }
}

/// The manifests behind a descriptor: several if it is an index.
pub(super) fn manifests(layout: &Layout, descriptor: &Descriptor) -> Result<Vec<Descriptor>, ImageError> {
    if !is_index(descriptor.media_type()) {
        return Ok(vec![descriptor.clone()]);
    }
    let index: ImageIndex = document(layout, descriptor)?;
    Ok(index.manifests().iter().take(MAX_PLATFORMS).cloned().collect())
}

/// A manifest of one platform.
pub(super) struct Found {
    pub(super) manifest: ImageManifest,
    pub(super) descriptor: Descriptor,
    pub(super) digest: Sha256Hex,
}

impl Found {
    /// The manifest that a descriptor points to.
    pub(super) fn of(layout: &Layout, descriptor: Descriptor) -> Result<Self, ImageError> {
        let digest = Sha256Hex::of_descriptor(&descriptor)?;
        Ok(Self { manifest: document(layout, &descriptor)?, descriptor, digest })
    }

    /// Those of the manifest, over those of its entry in an index.
    fn annotations(&self) -> BTreeMap<String, String> {
        let entry = self.descriptor.annotations().iter().flatten();
        entry.chain(self.manifest.annotations().iter().flatten()).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// The manifest behind a descriptor, of the platform that is wanted.
pub(super) fn manifest(layout: &Layout, descriptor: &Descriptor, choice: PlatformChoice) -> Result<Found, ImageError> {
    Found::of(layout, choose_stored(layout, &manifests(layout, descriptor)?, choice)?)
}

/// Of the manifests behind a descriptor, the one to take of those that are stored; if none of them will do, the one that
/// would be taken if all were.
pub(super) fn choose_stored(
    layout: &Layout,
    offered: &[Descriptor],
    choice: PlatformChoice,
) -> Result<Descriptor, ImageError> {
    let chosen = choose(offered, choice);
    if chosen.as_ref().is_ok_and(|chosen| layout.has_blob(chosen)) {
        return chosen;
    }
    let stored: Vec<_> = offered.iter().filter(|found| layout.has_blob(found)).cloned().collect();
    choice.best(&stored).cloned().map_or(chosen, Ok)
}

/// Of the manifests behind a descriptor, the one to take.
pub(super) fn choose(offered: &[Descriptor], choice: PlatformChoice) -> Result<Descriptor, ImageError> {
    choice
        .choose(offered)
        .cloned()
        .ok_or_else(|| ImageError::Platform { wanted: choice.wanted(), offered: platform::names(offered) })
}

/// The manifest behind a descriptor, of a platform that is stored.
pub(super) fn present_manifest(layout: &Layout, descriptor: &Descriptor) -> Result<Found, ImageError> {
    let offered = manifests(layout, descriptor)?;
    let mut present = offered.iter().filter(|found| layout.has_blob(found)).cloned().collect::<Vec<_>>();
    match PlatformChoice::WasmFirst.choose(&present).cloned() {
        Some(found) => Found::of(layout, found),
        None if !present.is_empty() => Found::of(layout, present.swap_remove(0)),
        None => manifest(layout, descriptor, PlatformChoice::WasmFirst),
    }
}

/// Reads a document that a descriptor points to.
pub(super) fn document<T: DeserializeOwned>(layout: &Layout, descriptor: &Descriptor) -> Result<T, ImageError> {
    let contents = layout.read_blob(descriptor, MAX_DOCUMENT)?;
    serde_json::from_slice(&contents).map_err(|error| {
        let (kind, digest) = (descriptor.media_type(), descriptor.digest());
        ImageError::Invalid(format!("blob {digest} is no valid {kind}: {error}"))
    })
}

/// An artifact becomes an image with the program as its only file and entry point.
fn program_image(
    layout: &Layout,
    reference: &Reference,
    layer: &Descriptor,
    found: &Found,
) -> Result<Image, ImageError> {
    let contents = layout.read_blob(layer, MAX_PROGRAM)?;
    let kind =
        ProgramKind::of(&contents).map_err(|problem| ImageError::Invalid(format!("image {reference}: {problem}")))?;
    let image = single_program(reference, found.digest.to_string(), Bytes::from(contents), kind);
    Ok(Image { annotations: found.annotations(), ..image })
}

/// An image of one program at `/<name>.wasm`.
pub(super) fn single_program(reference: &Reference, id: String, contents: Bytes, kind: ProgramKind) -> Image {
    let path = format!("/{}.wasm", reference.short_name());
    let config = ImageConfig { entrypoint: vec![path.clone()], ..ImageConfig::default() };
    let layer = ImageLayer { diff_id: id.clone(), content: LayerContent::SingleFile { path, contents } };
    Image {
        reference: reference.to_string(),
        id,
        repo_digest: None,
        stands_in: None,
        platform: kind.platform(),
        annotations: BTreeMap::new(),
        config,
        layers: vec![layer],
        lease: None,
    }
}

/// Whether a path is absolute, and leads nowhere but down.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.trim_matches('/').is_empty() && !path.split('/').any(|name| name == "..")
}

fn config(configuration: &ImageConfiguration) -> ImageConfig {
    let Some(config) = configuration.config() else { return ImageConfig::default() };
    let split = |variable: &String| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        (name.to_owned(), value.to_owned())
    };
    ImageConfig {
        entrypoint: config.entrypoint().clone().unwrap_or_default(),
        cmd: config.cmd().clone().unwrap_or_default(),
        env: config.env().iter().flatten().map(split).collect(),
        working_dir: config.working_dir().clone().unwrap_or_default(),
        user: config.user().clone().unwrap_or_default(),
        stop_signal: config.stop_signal().clone(),
        volumes: config.volumes().iter().flatten().filter(|path| is_plain(path)).take(MAX_VOLUMES).cloned().collect(),
    }
}

/// A layer to be read in place, and its size.
fn tar_layer(layout: &Layout, lease: &Lease, layer: &Layer) -> Result<(ImageLayer, u64), ImageError> {
    let path = match Compression::of_media_type(layer.descriptor.media_type())? {
        Compression::None => layout.checked_blob_path(&layer.descriptor)?,
        compression => uncompressed(layout, lease, layer, compression)?,
    };
    let size = std::fs::metadata(&path).map_err(failed("cannot read", &path))?.len();
    Ok((ImageLayer { diff_id: layer.diff_id.to_string(), content: LayerContent::TarFile(path) }, size))
}

/// The uncompressed copy of a compressed layer, made at its first use.
fn uncompressed(
    layout: &Layout,
    lease: &Lease,
    layer: &Layer,
    compression: Compression,
) -> Result<PathBuf, ImageError> {
    let path = layout.uncompressed_path(&layer.diff_id);
    if path.exists() {
        return Ok(path);
    }
    let mut contents = open_layer(layout, layer, compression)?;
    let mut temporary = layout.temporary()?;
    let mut writer = HashingWriter::new(temporary.as_file_mut());
    let copied = io::copy(&mut contents, &mut writer);
    let (found, size) = writer.finish();
    check_layer(layout, layer, compression, copied.map(|_| ()), (&found, size))?;
    layout.extend(lease, [&layer.diff_id])?;
    layout.publish(temporary, &path)?;
    Ok(path)
}

/// What is in a layer, uncompressed, up to one byte more than it may have.
pub(super) fn open_layer(
    layout: &Layout,
    layer: &Layer,
    compression: Compression,
) -> Result<impl Read + Send + use<>, ImageError> {
    let source = layout.checked_blob_path(&layer.descriptor)?;
    let file = File::open(&source).map_err(failed("cannot open", &source))?;
    Ok(compression.reader(BufReader::with_capacity(READ_BUFFER, file)).take(MAX_LAYER + 1))
}

/// Whether a layer that was read to its end is what it should be: how reading ended, and the digest and size found. A
/// blob that is damaged is dropped, so that it can be had again; one that is not was published so.
pub(super) fn check_layer(
    layout: &Layout,
    layer: &Layer,
    compression: Compression,
    read: io::Result<()>,
    (digest, size): (&Sha256Hex, u64),
) -> Result<(), ImageError> {
    let blob = Sha256Hex::of_descriptor(&layer.descriptor)?;
    if size > MAX_LAYER {
        let diff_id = &layer.diff_id;
        return Err(ImageError::Invalid(format!("layer {diff_id} is larger than {MAX_LAYER} bytes when uncompressed")));
    }
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(wrong_layer(layout, &blob, &format!("is no {} stream", compression.name())));
        }
        Err(error) => return Err(ImageError::Io { context: format!("cannot uncompress blob {blob}"), error }),
        Ok(()) => {}
    }
    if *digest != layer.diff_id {
        return Err(wrong_layer(layout, &blob, "does not match its diff ID"));
    }
    Ok(())
}

/// The error for a layer that cannot be used: that of its blob, if that is not what its digest says, and else that of
/// whoever published it.
pub(super) fn wrong_layer(layout: &Layout, blob: &Sha256Hex, problem: &str) -> ImageError {
    match layout.drop_if_damaged(&layout.blob_path(blob), blob) {
        Ok(true) => damaged(blob, "its content does not match its digest"),
        Ok(false) => ImageError::Invalid(format!(
            "layer {blob} {problem}: it is as it was published, so that only its publisher can mend it"
        )),
        Err(error) => error,
    }
}
