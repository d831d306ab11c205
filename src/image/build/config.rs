//! The configuration and manifest of an image in the making.

use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use serde_json::{Map, Value, json};

use super::Build;
use crate::image::ImageError;
use crate::image::layout::Sha256Hex;
use crate::image::platform::{Platform, host_platform};
use crate::image::program::impossible;

impl Build<'_> {
    /// What the image says about running it.
    pub(super) fn config(&mut self) -> &mut Map<String, Value> {
        object(&mut self.image, "config")
    }

    /// A member of it that is an object.
    pub(super) fn config_object(&mut self, key: &str) -> &mut Map<String, Value> {
        object(self.config(), key)
    }

    /// Adds to the image's history an instruction that made no layer.
    pub(super) fn note(&mut self, text: &str) {
        self.add_history(json!({ "created_by": text, "comment": "husk image build", "empty_layer": true }));
    }

    /// Adds one that made a layer.
    pub(super) fn note_layer(&mut self, diff_id: &Sha256Hex, text: &str) {
        let rootfs = object(&mut self.image, "rootfs");
        rootfs.insert("type".to_owned(), "layers".into());
        array(rootfs, "diff_ids").push(diff_id.to_string().into());
        self.add_history(json!({ "created_by": text, "comment": "husk image build" }));
    }

    fn add_history(&mut self, entry: Value) {
        array(&mut self.image, "history").push(entry);
    }

    /// Labels of the command.
    pub(super) fn label(&mut self, labels: &[(String, String)]) {
        for (name, value) in labels {
            self.config_object("Labels").insert(name.clone(), value.as_str().into());
        }
    }

    /// Sets a variable of the environment, for programs and for the instructions that follow.
    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned());
        self.variables.insert(name.to_owned(), value.to_owned());
        let env = array(self.config(), "Env");
        let begins = format!("{name}=");
        let text = Value::from(format!("{name}={value}"));
        match env.iter_mut().find(|entry| entry.as_str().is_some_and(|entry| entry.starts_with(&begins))) {
            Some(entry) => *entry = text,
            None => env.push(text),
        }
    }

    /// A path as `WORKDIR` has it.
    pub(super) fn absolute(&self, path: &str) -> String {
        let config = self.image.get("config").and_then(|config| config.get("WorkingDir")).and_then(Value::as_str);
        let base = if path.starts_with('/') { "" } else { config.unwrap_or("") };
        let mut parts: Vec<&str> = Vec::new();
        for part in base.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    /// The platform that the configuration says, of the base as long as nothing else is known.
    pub(super) fn said_platform(&self) -> Option<Platform> {
        let said = |key: &str| self.image.get(key).and_then(Value::as_str).filter(|said| !said.is_empty());
        let platform = format!("{}/{}", said("os")?, said("architecture")?);
        let variant = said("variant").map(|variant| format!("/{variant}")).unwrap_or_default();
        Platform::parse(&format!("{platform}{variant}")).ok()
    }

    /// Stores the configuration and manifest.
    pub(super) fn finish(&mut self) -> Result<Descriptor, ImageError> {
        let told = match self.platform {
            Some(platform) => Some(platform),
            None => self.told_platform().map(|told| Platform::parse(&told)).transpose().map_err(ImageError::Invalid)?,
        };
        if let Some(platform) = told {
            self.image.insert("os".to_owned(), platform.os().into());
            self.image.insert("architecture".to_owned(), platform.architecture().into());
            self.image.remove("variant");
            self.image.extend(platform.variant().map(|variant| ("variant".to_owned(), variant.into())));
        }
        let rootfs = object(&mut self.image, "rootfs");
        rootfs.entry("type").or_insert_with(|| "layers".into());
        array(rootfs, "diff_ids");
        let layout = &self.store.layout;
        let config = layout.write_document(&self.lease, MediaType::ImageConfig, &self.image)?;
        let manifest: ImageManifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(self.layers.clone())
            .build()
            .map_err(impossible)?;
        layout.write_document(&self.lease, MediaType::ImageManifest, &manifest)
    }

    /// What the image is for, where that is not said: by the program it runs; else by those it has; else as its base.
    fn told_platform(&mut self) -> Option<String> {
        let config = self.config();
        let first = |words: Option<&Value>| words?.as_array()?.first()?.as_str().map(str::to_owned);
        let runs = first(config.get("Entrypoint")).or_else(|| first(config.get("Cmd")));
        let runs = runs.map(|program| self.absolute(&program));
        let run = runs.and_then(|program| {
            let path = program.trim_start_matches('/');
            // It may have been copied to where a symlink leads.
            let real = self.tree.as_ref().and_then(|tree| tree.real(path).ok());
            self.programs.get(real.as_deref().unwrap_or(path))
        });
        if run.is_none() && !self.from_scratch {
            return None;
        }
        let any = self.programs.values().find(|platform| platform.ends_with("/wasm"));
        Some(run.or(any).cloned().unwrap_or_else(host_platform))
    }
}

fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = parent.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it was made one"),
    }
}

fn array<'a>(parent: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = parent.entry(key).or_insert_with(|| json!([]));
    if !value.is_array() {
        *value = json!([]);
    }
    match value {
        Value::Array(array) => array,
        _ => unreachable!("it was made one"),
    }
}
