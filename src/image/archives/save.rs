//! Saving images to files that other tools read.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, MediaType};
use serde_json::json;

use super::output::to_file;
use crate::image::compression::Compression;
use crate::image::layout::{self, Sha256Hex, failed};
use crate::image::lease::Lease;
use crate::image::load::{self, Layer};
use crate::image::names::Named;
use crate::image::platform::is_index;
use crate::image::reference::Reference;
use crate::image::{ImageError, ImageStore, artifact};

/// How images are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveFormat {
    /// Docker's archive.
    DockerArchive,
    /// An OCI layout as an archive.
    OciArchive,
    /// An OCI layout as a directory.
    OciDir,
}

/// An image to save.
struct Saved {
    reference: Reference,
    entry: Descriptor,
    #[expect(dead_code, reason = "keeps what is read from being deleted")]
    lease: Lease,
}

impl ImageStore {
    /// Saves images. An archive appears complete or not at all, and goes to standard output if the path is `-`; a
    /// directory must not be there yet, or be empty.
    pub fn save(&self, names: &[String], format: SaveFormat, output: &Path) -> Result<(), ImageError> {
        let saved = names.iter().map(|name| {
            let (Named { reference, entry, .. }, lease) = self.stored_as(name)?;
            let entry = self.complete(&entry).map_err(|error| error.about(&reference))?;
            Ok(Saved { reference, entry, lease })
        });
        let saved = saved.collect::<Result<Vec<_>, ImageError>>()?;
        let done = match format {
            SaveFormat::OciDir => self.save_directory(&saved, output),
            SaveFormat::OciArchive => to_file(output, |out| self.write_oci(&saved, out)),
            SaveFormat::DockerArchive => to_file(output, |out| self.write_docker(&saved, out)),
        };
        // Which of several is damaged is told by the blob.
        match &saved[..] {
            [only] => done.map_err(|error| error.about(&only.reference)),
            _ => done,
        }
    }

    /// What can be saved of an image: an index if all of its platforms are stored, else the manifest of one.
    pub(in crate::image) fn complete(&self, entry: &Descriptor) -> Result<Descriptor, ImageError> {
        let manifests = load::manifests(&self.layout, entry)?;
        if is_index(entry.media_type()) && !manifests.iter().all(|manifest| self.layout.has_blob(manifest)) {
            return Ok(load::present_manifest(&self.layout, entry)?.descriptor);
        }
        Ok(entry.clone())
    }

    /// Every blob of a manifest or index, what refers after what it refers to.
    pub(in crate::image) fn blobs_of(&self, entry: &Descriptor) -> Result<Vec<Descriptor>, ImageError> {
        let mut blobs = Vec::new();
        for manifest in load::manifests(&self.layout, entry)? {
            let found: oci_spec::image::ImageManifest = load::document(&self.layout, &manifest)?;
            blobs.extend(found.layers().iter().cloned());
            blobs.push(found.config().clone());
            blobs.push(manifest);
        }
        if is_index(entry.media_type()) {
            blobs.push(entry.clone());
        }
        let mut seen = HashSet::new();
        blobs.retain(|blob| seen.insert(blob.digest().to_string()));
        Ok(blobs)
    }

    fn all_blobs(&self, saved: &[Saved]) -> Result<Vec<Descriptor>, ImageError> {
        let mut seen = HashSet::new();
        let mut blobs = Vec::new();
        for image in saved {
            for blob in self.blobs_of(&image.entry)? {
                if seen.insert(blob.digest().to_string()) {
                    self.layout.checked_blob_path(&blob)?;
                    blobs.push(blob);
                }
            }
        }
        Ok(blobs)
    }

    fn save_directory(&self, saved: &[Saved], output: &Path) -> Result<(), ImageError> {
        match fs::read_dir(output).map(Iterator::count) {
            Ok(1..) => {
                return Err(ImageError::Invalid(format!("{} is there and not empty", output.display())));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("cannot read", output)(error)),
            _ => {}
        }
        let blobs = output.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(failed("cannot create", &blobs))?;
        for blob in self.all_blobs(saved)? {
            let to = blobs.join(Sha256Hex::of_descriptor(&blob)?.hex());
            let mut contents = self.layout.open_verified(&blob)?;
            let mut file = File::create_new(&to).map_err(failed("cannot write", &to))?;
            io::copy(&mut contents, &mut file).map_err(failed("cannot write", &to))?;
            contents.finish(&self.layout)?;
        }
        let put = |name: &str, contents: &[u8]| {
            let path = output.join(name);
            fs::write(&path, contents).map_err(failed("cannot write", &path))
        };
        put("oci-layout", OCI_LAYOUT)?;
        put("index.json", &oci_index(saved)?)
    }

    fn write_oci(&self, saved: &[Saved], out: &mut dyn Write) -> Result<(), ImageError> {
        let mut archive = TarWriter::new(out);
        archive.contents("oci-layout", OCI_LAYOUT)?;
        for blob in self.all_blobs(saved)? {
            let mut contents = self.layout.open_verified(&blob)?;
            let name = format!("blobs/sha256/{}", Sha256Hex::of_descriptor(&blob)?.hex());
            archive.file(&name, &mut contents, blob.size())?;
            contents.finish(&self.layout)?;
        }
        archive.contents("index.json", &oci_index(saved)?)?;
        archive.finish()
    }

    fn write_docker(&self, saved: &[Saved], out: &mut dyn Write) -> Result<(), ImageError> {
        let mut archive = TarWriter::new(out);
        let mut seen = HashSet::new();
        let mut images: BTreeMap<String, (Vec<String>, Vec<String>)> = BTreeMap::new();
        for image in saved {
            let found = load::present_manifest(&self.layout, &image.entry)?;
            if !artifact::is_ordinary(&found.manifest) {
                let name = &image.reference;
                return Err(ImageError::Invalid(format!(
                    "image {name} is a WebAssembly artifact, which Docker's archive cannot hold: save it as an OCI archive"
                )));
            }
            let configuration: ImageConfiguration = load::document(&self.layout, found.manifest.config())?;
            let config = Sha256Hex::of_descriptor(found.manifest.config())?;
            let layers = load::layers(&found.manifest, &configuration).map_err(ImageError::Invalid)?;
            for layer in &layers {
                if seen.insert(layer.diff_id.clone()) {
                    self.write_docker_layer(&mut archive, layer)?;
                }
            }
            if seen.insert(config.clone()) {
                let contents = self.layout.read_blob(found.manifest.config(), layout::MAX_DOCUMENT)?;
                archive.contents(&format!("{}.json", config.hex()), &contents)?;
            }
            let files = layers.iter().map(|layer| format!("{}.tar", layer.diff_id.hex())).collect();
            images
                .entry(config.hex().to_owned())
                .or_insert_with(|| (Vec::new(), files))
                .0
                .push(image.reference.to_string());
        }
        let manifest = images.iter().map(|(config, (names, layers))| {
            json!({ "Config": format!("{config}.json"), "RepoTags": names, "Layers": layers })
        });
        archive.contents("manifest.json", serde_json::Value::from_iter(manifest).to_string().as_bytes())?;
        archive.finish()
    }

    /// Docker's archive has layers uncompressed; how large one is must be known before it is written.
    fn write_docker_layer(&self, archive: &mut TarWriter<'_>, layer: &Layer) -> Result<(), ImageError> {
        let name = format!("{}.tar", layer.diff_id.hex());
        let compression = Compression::of_media_type(layer.descriptor.media_type())?;
        if compression == Compression::None {
            let mut contents = self.layout.open_verified(&layer.descriptor)?;
            archive.file(&name, &mut contents, layer.descriptor.size())?;
            return contents.finish(&self.layout);
        }
        let mut plain = load::open_layer(&self.layout, layer, compression)?;
        let mut file = self.layout.nameless()?;
        let mut writer = layout::HashingWriter::new(&mut file);
        let copied = io::copy(&mut plain, &mut writer).map(|_| ());
        let (digest, size) = writer.finish();
        load::check_layer(&self.layout, layer, compression, copied, (&digest, size))?;
        io::Seek::rewind(&mut file).map_err(failed("cannot read", Path::new(&name)))?;
        archive.file(&name, file, size)
    }
}

fn oci_index(saved: &[Saved]) -> Result<Vec<u8>, ImageError> {
    let entries = saved.iter().map(|image| {
        let mut entry = image.entry.clone();
        // The annotation is what tools find an image by; skopeo and podman want the name as it is.
        entry.set_annotations(Some([(layout::REFERENCE.to_owned(), image.reference.to_string())].into()));
        entry
    });
    let mut index = ImageIndex::default();
    index.set_schema_version(2).set_media_type(Some(MediaType::ImageIndex)).set_manifests(entries.collect());
    serde_json::to_vec(&index).map_err(|error| ImageError::Invalid(error.to_string()))
}

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An archive of files that is the same whenever it is written.
struct TarWriter<'a> {
    builder: tar::Builder<&'a mut dyn Write>,
}

impl<'a> TarWriter<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self { builder: tar::Builder::new(out) }
    }

    fn contents(&mut self, name: &str, contents: &[u8]) -> Result<(), ImageError> {
        self.file(name, contents, contents.len() as u64)
    }

    fn file(&mut self, name: &str, contents: impl Read, size: u64) -> Result<(), ImageError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        let appended = self.builder.append_data(&mut header, name, contents.take(size));
        appended.map_err(failed("cannot write", Path::new(name)))
    }

    fn finish(mut self) -> Result<(), ImageError> {
        self.builder.finish().map_err(failed("cannot finish", Path::new("the archive")))
    }
}
