//! Loading images from files.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, ImageManifestBuilder, MediaType};
use serde::Deserialize;

use super::source::Source;
use crate::image::compression::Compression;
use crate::image::layout::{self, MAX_DOCUMENT, Sha256Hex, failed};
use crate::image::lease::Lease;
use crate::image::load::{MAX_LAYERS, MAX_PLATFORMS};
use crate::image::platform::is_index;
use crate::image::program::impossible;
use crate::image::reference::Reference;
use crate::image::{ImageError, ImageStore, ImageSummary, annotation};

/// The most images of one file.
const MAX_IMAGES: usize = 1000;
/// The largest layer as it comes.
const MAX_BLOB: u64 = 16 * 1024 * 1024 * 1024;
/// The annotation in which containerd and Docker keep a complete name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An image of Docker's archive, as its `manifest.json` has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// One loading.
struct Loading<'a> {
    store: &'a ImageStore,
    source: Source,
    lease: Lease,
    /// The name for the only image, or for one without a name.
    name: Option<Reference>,
}

impl ImageStore {
    /// Loads every image of an archive or OCI layout; `-` is standard input. `name` is for the only image there, or
    /// for the tags of several.
    pub fn load(&self, path: &Path, name: Option<&str>) -> Result<Vec<ImageSummary>, ImageError> {
        let name = name.map(Reference::parse_for_storing).transpose()?;
        let lease = self.layout.new_lease()?;
        let source = Source::open(&self.layout, path)?;
        let loading = Loading { store: self, source, lease, name };
        let named = match loading.source.document("index.json", MAX_DOCUMENT)? {
            Some(index) => loading.oci(&index)?,
            None => match loading.source.document("manifest.json", MAX_DOCUMENT)? {
                Some(manifest) => loading.docker(&manifest)?,
                None => {
                    let detail = "it has neither index.json nor manifest.json";
                    return Err(ImageError::Invalid(format!("{} is no archive of images: {detail}", path.display())));
                }
            },
        };
        if named.is_empty() {
            return Err(ImageError::Invalid(format!("{} has no images", path.display())));
        }
        self.name(&loading.lease, crate::image::Source::Local, named)?.into_iter().collect()
    }
}

impl Loading<'_> {
    fn oci(&self, index: &[u8]) -> Result<Vec<(Reference, Descriptor)>, ImageError> {
        let index: ImageIndex = parse("index.json", index)?;
        let entries: Vec<_> = index.manifests().iter().take(MAX_IMAGES).collect();
        let is_named =
            |entry: &&&Descriptor| annotation(entry, layout::REFERENCE).is_some() || full_name(entry).is_some();
        // Beside images that have names, those without are signatures and other things that refer to one.
        let mut images: Vec<_> = entries.iter().filter(is_named).copied().collect();
        if images.is_empty() {
            images = entries;
        }
        self.check_name(images.iter().filter_map(|entry| full_name(entry)), images.len())?;
        let mut named = Vec::new();
        for entry in &images {
            let name = self.name_of(entry, images.len())?;
            self.copy_tree(entry, true)?;
            let mut descriptor = Sha256Hex::of_descriptor(entry)?.descriptor(entry.media_type().clone(), entry.size());
            descriptor.set_platform(None);
            named.push((name, descriptor));
        }
        Ok(named)
    }

    /// Whether the name that was given, if one was, can be that of what is loaded: the only image's, whatever it is called
    /// in the archive, or the repository of tags.
    fn check_name<'n>(&self, mut names: impl Iterator<Item = &'n str>, images: usize) -> Result<(), ImageError> {
        match (&self.name, names.next()) {
            (Some(name), Some(told)) if images > 1 => Err(ImageError::Invalid(format!(
                "--name {name} cannot name {images} images, of which one is {told}: leave it out, and name them with husk image tag"
            ))),
            _ => Ok(()),
        }
    }

    fn name_of(&self, entry: &Descriptor, images: usize) -> Result<Reference, ImageError> {
        if let Some(name) = self.name.as_ref().filter(|_| images == 1) {
            return Ok(name.clone());
        }
        if let Some(name) = full_name(entry) {
            return Reference::parse_for_storing(name);
        }
        match (&self.name, annotation(entry, layout::REFERENCE)) {
            (Some(name), Some(tag)) => Reference::parse_for_storing(&format!("{}:{tag}", name.repository)),
            (None, Some(tag)) => Reference::parse_for_storing(tag),
            (_, None) => {
                let digest = entry.digest();
                Err(ImageError::Invalid(format!("image {digest} in the archive has no name: give it one with --name")))
            }
        }
    }

    /// Copies a manifest or index and everything it needs. Of an index, what is not there is left out.
    fn copy_tree(&self, entry: &Descriptor, required: bool) -> Result<(), ImageError> {
        let digest = Sha256Hex::of_descriptor(entry)?;
        let Some(contents) = self.source.document(&blob_name(&digest), MAX_DOCUMENT)? else {
            return if required { Err(missing(&digest)) } else { Ok(()) };
        };
        if Sha256Hex::of(&contents) != digest {
            return Err(ImageError::Invalid(format!("blob {digest} of the archive does not match its digest")));
        }
        self.store.layout.write_blob(&self.lease, &contents)?;
        if is_index(entry.media_type()) {
            let index: ImageIndex = parse(&digest.to_string(), &contents)?;
            if !required {
                return Err(ImageError::Invalid(format!("index {digest} of the archive is inside of another")));
            }
            for manifest in index.manifests().iter().take(MAX_PLATFORMS) {
                self.copy_tree(manifest, false)?;
            }
            return Ok(());
        }
        let manifest: ImageManifest = parse(&digest.to_string(), &contents)?;
        for blob in std::iter::once(manifest.config()).chain(manifest.layers().iter().take(MAX_LAYERS + 1)) {
            self.copy_blob(blob)?;
        }
        Ok(())
    }

    fn copy_blob(&self, blob: &Descriptor) -> Result<(), ImageError> {
        let digest = Sha256Hex::of_descriptor(blob)?;
        let layout = &self.store.layout;
        layout.extend(&self.lease, [&digest])?;
        // What is damaged is mended by loading.
        if layout.has_blob(blob) && !layout.drop_if_damaged(&layout.blob_path(&digest), &digest)? {
            return Ok(());
        }
        let Some((file, size)) = self.source.file(&blob_name(&digest))? else { return Err(missing(&digest)) };
        if size != blob.size() || size > MAX_BLOB {
            let expected = blob.size();
            return Err(ImageError::Invalid(format!(
                "blob {digest} of the archive has {size} bytes instead of {expected}"
            )));
        }
        self.write_checked(file, &digest)
    }

    fn write_checked(&self, mut file: impl Read, digest: &Sha256Hex) -> Result<(), ImageError> {
        let layout = &self.store.layout;
        let mut temporary = layout.temporary()?;
        let mut writer = layout::HashingWriter::new(temporary.as_file_mut());
        io::copy(&mut file, &mut writer).map_err(failed("cannot copy a blob to", temporary_path()))?;
        let (found, _) = writer.finish();
        if found != *digest {
            return Err(ImageError::Invalid(format!("blob {digest} of the archive does not match its digest")));
        }
        layout.publish_blob(&self.lease, temporary, digest)
    }

    fn docker(&self, manifest: &[u8]) -> Result<Vec<(Reference, Descriptor)>, ImageError> {
        let images: Vec<DockerImage> = parse("manifest.json", manifest)?;
        let has_name = |image: &&DockerImage| image.repo_tags.as_ref().is_some_and(|tags| !tags.is_empty());
        let mut images: Vec<_> = images.iter().take(MAX_IMAGES).collect();
        if images.iter().any(has_name) {
            images.retain(has_name);
        }
        let told = images.iter().flat_map(|image| image.repo_tags.iter().flatten()).map(String::as_str);
        self.check_name(told, images.len())?;
        let mut named = Vec::new();
        for image in &images {
            let names = match (image.repo_tags.as_deref().unwrap_or_default(), &self.name) {
                (_, Some(name)) if images.len() == 1 => vec![name.clone()],
                ([], _) => {
                    let config = &image.config;
                    return Err(ImageError::Invalid(format!(
                        "image {config} in the archive has no name: give it one with --name"
                    )));
                }
                (names, _) => names.iter().map(|name| Reference::parse_for_storing(name)).collect::<Result<_, _>>()?,
            };
            let descriptor = self.docker_image(image)?;
            named.extend(names.into_iter().map(|name| (name, descriptor.clone())));
        }
        Ok(named)
    }

    /// Makes an OCI manifest for an image of Docker's archive; its configuration stays as it is, and with it its ID.
    fn docker_image(&self, image: &DockerImage) -> Result<Descriptor, ImageError> {
        let contents = self.source.document(&image.config, MAX_DOCUMENT)?;
        let contents =
            contents.ok_or_else(|| ImageError::Invalid(format!("{} is missing in the archive", image.config)))?;
        let configuration: ImageConfiguration = parse(&image.config, &contents)?;
        let diff_ids = configuration.rootfs().diff_ids();
        if diff_ids.len() != image.layers.len() || diff_ids.len() > MAX_LAYERS {
            let (layers, diff_ids) = (image.layers.len(), diff_ids.len());
            return Err(ImageError::Invalid(format!("{} has {layers} layers and {diff_ids} diff IDs", image.config)));
        }
        let (digest, size) = self.store.layout.write_blob(&self.lease, &contents)?;
        let config = digest.descriptor(MediaType::ImageConfig, size);
        let layers = image.layers.iter().zip(diff_ids).map(|(name, diff_id)| self.docker_layer(name, diff_id));
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(layers.collect::<Result<Vec<_>, _>>()?)
            .build()
            .map_err(impossible)?;
        self.store.layout.write_document(&self.lease, MediaType::ImageManifest, &manifest)
    }

    fn docker_layer(&self, name: &str, diff_id: &str) -> Result<Descriptor, ImageError> {
        let Some((file, size)) = self.source.file(name)? else {
            return Err(ImageError::Invalid(format!("{name} is missing in the archive")));
        };
        if size > MAX_BLOB {
            return Err(ImageError::Invalid(format!("{name} of the archive has more than {MAX_BLOB} bytes")));
        }
        let mut file = BufReader::new(file);
        let mut start = Vec::new();
        (&mut file).take(4).read_to_end(&mut start).map_err(failed("cannot read", Path::new(name)))?;
        let compression = Compression::of_contents(&start);
        let mut whole = Cursor::new(start).chain(file);
        let (digest, size) =
            self.store.layout.write_blob_with(&self.lease, |blob| io::copy(&mut whole, blob).map(|_| ()))?;
        if compression == Compression::None && digest.to_string() != diff_id {
            return Err(ImageError::Invalid(format!("{name} of the archive does not match its diff ID")));
        }
        Ok(digest.descriptor(compression.media_type(), size))
    }
}

/// The name of an image in an OCI layout; a tag alone says nothing of the repository.
fn full_name(entry: &Descriptor) -> Option<&str> {
    let reference = annotation(entry, layout::REFERENCE).filter(|told| told.contains(['/', ':']));
    annotation(entry, CONTAINERD_NAME).or(reference)
}

fn temporary_path() -> &'static Path {
    Path::new("the image store")
}

fn blob_name(digest: &Sha256Hex) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn missing(digest: &Sha256Hex) -> ImageError {
    ImageError::Invalid(format!("blob {digest} is missing in the archive"))
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, contents: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(contents)
        .map_err(|error| ImageError::Invalid(format!("{name} of the archive is invalid: {error}")))
}
