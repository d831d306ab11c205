//! What an image is, in full: for people and scripts.

use oci_spec::image::ImageManifest;
use serde_json::{Value, json};

use super::layout::MAX_DOCUMENT;
use super::names::Named;
use super::{ImageError, ImageStore, artifact, builtin, load};

/// A step of how an image was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When, as the image says it.
    pub created: String,
    /// By which instruction.
    pub created_by: String,
    /// A note.
    pub comment: String,
    /// The size of the layer that it made as it is stored; `None` if it made none.
    pub size: Option<u64>,
}

impl ImageStore {
    /// An image as a document, with the names of `docker image inspect` where there are such.
    pub fn inspect(&self, name: &str) -> Result<Value, ImageError> {
        if self.find_named(name)?.is_none()
            && let Ok(reference) = self.parse(name)
            && let Some(image) = builtin::find(&reference, self.use_aliases)
        {
            let env: Vec<_> = image.config.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (os, architecture) = image.platform.split_once('/').unwrap_or_default();
            return Ok(json!({
                "Id": image.id,
                "RepoTags": [image.reference],
                "RepoDigests": [],
                "StandsIn": image.stands_in,
                "Os": os,
                "Architecture": architecture,
                "Config": { "Env": env, "Entrypoint": image.config.entrypoint, "Cmd": image.config.cmd },
                "RootFS": { "Type": "layers", "Layers": image.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>() },
            }));
        }
        let (Named { reference, entry, .. }, _lease) = self.stored_as(name)?;
        let found = load::present_manifest(&self.layout, &entry).map_err(|error| error.about(&reference))?;
        let contents = self.layout.read_blob(found.manifest.config(), MAX_DOCUMENT);
        let contents = contents.map_err(|error| error.about(&reference))?;
        // The configuration of an artifact may be anything.
        let mut config: Value = serde_json::from_slice(&contents).unwrap_or(Value::Null);
        let summary = self.summary(&entry)?;
        let names = self.names(&entry)?;
        let (mut tags, mut digests) = (Vec::new(), Vec::new());
        for name in names {
            let parsed = super::Reference::parse(&name).ok();
            let repository = parsed.as_ref().map_or_else(|| name.clone(), |name| name.repository.clone());
            let digest = format!("{repository}@{}", entry.digest());
            if !digests.contains(&digest) {
                digests.push(digest);
            }
            if parsed.is_none_or(|name| name.digest.is_none()) {
                tags.push(name);
            }
        }
        let platforms: Vec<_> = load::manifests(&self.layout, &entry)?
            .iter()
            .filter_map(|manifest| {
                let platform = manifest.platform().as_ref()?;
                Some(format!("{}/{}", platform.os(), platform.architecture()))
            })
            .collect();
        Ok(json!({
            "Id": summary.id,
            "RepoTags": tags,
            "RepoDigests": digests,
            "Created": config["created"].take(),
            "Added": summary.created.map(|at| at.to_string()),
            "Os": config["os"].take(),
            "Architecture": config["architecture"].take(),
            "Platforms": platforms,
            "Size": summary.size,
            "ArtifactType": artifact_type(&found.manifest),
            "Annotations": found.manifest.annotations(),
            "Config": config["config"].take(),
            "RootFS": { "Type": "layers", "Layers": config["rootfs"]["diff_ids"].take() },
            "Manifest": { "Digest": found.digest.to_string(), "Layers": found.manifest.layers() },
        }))
    }

    /// How an image was made, the last step first.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>, ImageError> {
        let (entry, _lease) = self.stored(name)?;
        let found = load::present_manifest(&self.layout, &entry)?;
        let mut layers = found.manifest.layers().iter();
        let contents = self.layout.read_blob(found.manifest.config(), MAX_DOCUMENT)?;
        let config: Value = serde_json::from_slice(&contents).unwrap_or(Value::Null);
        let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let mut history: Vec<HistoryEntry> = Vec::new();
        for step in config["history"].as_array().into_iter().flatten() {
            let made_layer = step["empty_layer"].as_bool() != Some(true);
            let size = if made_layer { layers.next().map(oci_spec::image::Descriptor::size) } else { None };
            let (created, created_by, comment) =
                (text(step, "created"), text(step, "created_by"), text(step, "comment"));
            history.push(HistoryEntry { created, created_by, comment, size });
        }
        // Layers of which nothing is said.
        history.extend(layers.map(|layer| HistoryEntry {
            created: String::new(),
            created_by: layer.media_type().to_string(),
            comment: String::new(),
            size: Some(layer.size()),
        }));
        history.reverse();
        Ok(history)
    }
}

fn artifact_type(manifest: &ImageManifest) -> Option<String> {
    if artifact::is_ordinary(manifest) {
        return None;
    }
    let told = manifest.artifact_type().as_ref().map(ToString::to_string);
    told.or_else(|| Some(manifest.config().media_type().to_string()))
}
