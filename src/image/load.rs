//! From a manifest in the content store to an [`Image`]: ordinary OCI images whose layers are plain or gzipped tar
//! archives, and OCI artifacts that are one WebAssembly program. Everything read here may be hostile: sizes are bounded
//! and digests checked before use.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use super::layout::{HashingWriter, Layout, MAX_DOCUMENT, Sha256Hex, damaged, failed};
use super::program::{MAX_PROGRAM, ProgramKind};
use super::reference::Reference;
use super::{Image, ImageConfig, ImageError, ImageLayer, LayerContent};

/// Most layers an image may have; what overlay filesystems can take.
const MAX_LAYERS: usize = 127;
/// Largest layer after decompression.
const MAX_LAYER: u64 = 8 * 1024 * 1024 * 1024;
/// Most entries looked at in an index of several platforms.
const MAX_PLATFORMS: usize = 64;

/// Configurations of OCI artifacts that are one WebAssembly program: the CNCF's, and the older one of wasm-to-oci.
const PROGRAM_CONFIGS: &[&str] = &["application/vnd.wasm.config.v0+json", "application/vnd.wasm.config.v1+json"];
/// Their layers, likewise.
const PROGRAM_LAYERS: &[&str] = &["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// Loads the image that `descriptor` points to, for a container.
pub(super) fn image(layout: &Layout, reference: &Reference, descriptor: &Descriptor) -> Result<Image, ImageError> {
    let (manifest, manifest_digest) = manifest(layout, descriptor)?;
    if is_program(&manifest) {
        return program_image(layout, reference, &manifest, &manifest_digest);
    }
    let configuration: ImageConfiguration = document(layout, manifest.config())?;
    let diff_ids = configuration.rootfs().diff_ids();
    let layers = manifest.layers();
    if layers.len() != diff_ids.len() || layers.len() > MAX_LAYERS {
        let (layers, diff_ids) = (layers.len(), diff_ids.len());
        return Err(ImageError::Invalid(format!("image {reference} has {layers} layers and {diff_ids} diff IDs")));
    }
    let pairs = layers.iter().zip(diff_ids);
    let layers = pairs.map(|(descriptor, diff_id)| tar_layer(layout, descriptor, diff_id)).collect::<Result<_, _>>()?;
    let id = Sha256Hex::of_descriptor(manifest.config())?.to_string();
    Ok(Image { reference: reference.to_string(), id, stands_in: None, config: config(&configuration), layers })
}

/// What a listing shows of an image: its ID and the size of its layers as stored.
pub(super) fn id_and_size(layout: &Layout, descriptor: &Descriptor) -> Result<(String, u64), ImageError> {
    let (manifest, digest) = manifest(layout, descriptor)?;
    let size = manifest.layers().iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size()));
    let id = if is_program(&manifest) { digest } else { Sha256Hex::of_descriptor(manifest.config())? };
    Ok((id.to_string(), size))
}

/// Adds to `kept` the digests of all blobs and uncompressed layers that `descriptor` needs.
pub(super) fn mark(layout: &Layout, descriptor: &Descriptor, kept: &mut HashSet<Sha256Hex>) -> Result<(), ImageError> {
    kept.insert(Sha256Hex::of_descriptor(descriptor)?);
    let mut manifests = vec![descriptor.clone()];
    if *descriptor.media_type() == MediaType::ImageIndex {
        let index: ImageIndex = document(layout, descriptor)?;
        manifests = index.manifests().iter().take(MAX_PLATFORMS).cloned().collect();
    }
    for descriptor in manifests {
        let digest = Sha256Hex::of_descriptor(&descriptor)?;
        // An index may name platforms that were never copied here.
        if !layout.blob_path(&digest).exists() {
            continue;
        }
        kept.insert(digest);
        let manifest: ImageManifest = document(layout, &descriptor)?;
        for blob in manifest.layers().iter().chain([manifest.config()]) {
            kept.insert(Sha256Hex::of_descriptor(blob)?);
        }
        if !is_program(&manifest) {
            let configuration: ImageConfiguration = document(layout, manifest.config())?;
            for diff_id in configuration.rootfs().diff_ids() {
                kept.insert(Sha256Hex::parse(diff_id)?);
            }
        }
    }
    Ok(())
}

/// The manifest behind a descriptor, and its digest; of several platforms, the WebAssembly one or else the only one.
fn manifest(layout: &Layout, descriptor: &Descriptor) -> Result<(ImageManifest, Sha256Hex), ImageError> {
    if *descriptor.media_type() != MediaType::ImageIndex {
        return Ok((document(layout, descriptor)?, Sha256Hex::of_descriptor(descriptor)?));
    }
    let index: ImageIndex = document(layout, descriptor)?;
    let platforms = &index.manifests()[..index.manifests().len().min(MAX_PLATFORMS)];
    let wasm = Arch::Other("wasm".to_owned());
    let is_wasm = |found: &&Descriptor| {
        found.platform().as_ref().is_some_and(|platform| [&Arch::Wasm, &wasm].contains(&platform.architecture()))
    };
    let chosen = platforms.iter().find(is_wasm).or(match platforms {
        [only] => Some(only),
        _ => None,
    });
    let chosen = chosen.ok_or_else(|| {
        let offered: Vec<_> = platforms.iter().filter_map(|found| found.platform().as_ref()).collect();
        let offered: Vec<_> = offered.iter().map(|found| format!("{}/{}", found.os(), found.architecture())).collect();
        ImageError::Invalid(format!("the image has no WebAssembly platform, only {}", offered.join(", ")))
    })?;
    Ok((document(layout, chosen)?, Sha256Hex::of_descriptor(chosen)?))
}

fn document<T: DeserializeOwned>(layout: &Layout, descriptor: &Descriptor) -> Result<T, ImageError> {
    let contents = layout.read_blob(descriptor, MAX_DOCUMENT)?;
    serde_json::from_slice(&contents).map_err(|error| {
        let (kind, digest) = (descriptor.media_type(), descriptor.digest());
        ImageError::Invalid(format!("blob {digest} is no valid {kind}: {error}"))
    })
}

fn is_program(manifest: &ImageManifest) -> bool {
    let config = manifest.config().media_type().to_string();
    let layer = manifest.layers().first().map(|layer| layer.media_type().to_string()).unwrap_or_default();
    PROGRAM_CONFIGS.contains(&config.as_str()) && PROGRAM_LAYERS.contains(&layer.as_str())
}

/// An artifact becomes an image with the program as its only file and entry point.
fn program_image(
    layout: &Layout,
    reference: &Reference,
    manifest: &ImageManifest,
    digest: &Sha256Hex,
) -> Result<Image, ImageError> {
    let [layer] = manifest.layers().as_slice() else {
        return Err(ImageError::Invalid(format!("image {reference} is a WebAssembly artifact of several layers")));
    };
    let contents = layout.read_blob(layer, MAX_PROGRAM)?;
    ProgramKind::of(&contents).map_err(|problem| ImageError::Invalid(format!("image {reference}: {problem}")))?;
    Ok(single_program(reference.to_string(), digest.to_string(), reference.short_name(), Bytes::from(contents)))
}

/// An image of one program at `/<name>.wasm`.
pub(super) fn single_program(reference: String, id: String, name: &str, contents: Bytes) -> Image {
    let path = format!("/{name}.wasm");
    let config = ImageConfig { entrypoint: vec![path.clone()], ..ImageConfig::default() };
    let layer = ImageLayer { diff_id: id.clone(), content: LayerContent::SingleFile { path, contents } };
    Image { reference, id, stands_in: None, config, layers: vec![layer] }
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
    }
}

fn tar_layer(layout: &Layout, descriptor: &Descriptor, diff_id: &str) -> Result<ImageLayer, ImageError> {
    let diff = Sha256Hex::parse(diff_id)?;
    let path = match descriptor.media_type() {
        MediaType::ImageLayer | MediaType::ImageLayerNonDistributable => layout.checked_blob_path(descriptor)?,
        MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip => gunzipped(layout, descriptor, &diff)?,
        other => match other.to_string().as_str() {
            "application/vnd.docker.image.rootfs.diff.tar.gzip" => gunzipped(layout, descriptor, &diff)?,
            "application/vnd.docker.image.rootfs.diff.tar" => layout.checked_blob_path(descriptor)?,
            other => return Err(ImageError::Invalid(format!("layers of type {other} are not supported"))),
        },
    };
    Ok(ImageLayer { diff_id: diff_id.to_owned(), content: LayerContent::TarFile(path) })
}

/// The uncompressed copy of a gzipped layer, made at its first use.
fn gunzipped(layout: &Layout, descriptor: &Descriptor, diff_id: &Sha256Hex) -> Result<PathBuf, ImageError> {
    let path = layout.uncompressed_path(diff_id);
    if path.exists() {
        return Ok(path);
    }
    let source = layout.checked_blob_path(descriptor)?;
    let compressed = File::open(&source).map_err(failed("cannot open", &source))?;
    let mut temporary = layout.temporary()?;
    let mut writer = HashingWriter::new(temporary.as_file_mut());
    let mut contents = MultiGzDecoder::new(io::BufReader::new(compressed)).take(MAX_LAYER + 1);
    let copied = io::copy(&mut contents, &mut writer);
    let (found, size) = writer.finish();
    if size > MAX_LAYER {
        return Err(ImageError::Invalid(format!("layer {diff_id} is larger than {MAX_LAYER} bytes when uncompressed")));
    }
    match copied {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof) => {
            return Err(damaged(&Sha256Hex::of_descriptor(descriptor)?, "it is no gzip stream"));
        }
        copied => copied.map_err(failed("cannot uncompress", &source))?,
    };
    if found != *diff_id {
        return Err(damaged(&Sha256Hex::of_descriptor(descriptor)?, "its content does not match its diff ID"));
    }
    layout.publish(temporary, &path)?;
    Ok(path)
}
