//! `FROM`: what an image begins with, of which platform.

use oci_spec::image::{Descriptor, MediaType};
use serde_json::{Value, json};

use super::dockerfile::Line;
use super::{Build, BuildBase, BuildError, at_line};
use crate::image::load::Found;
use crate::image::platform::{self, Platform, PlatformChoice};
use crate::image::{Image, ImageError, LayerContent, Source, artifact, builtin, load};

/// The image of nothing.
const SCRATCH: &str = "scratch";
/// Where programs are looked for in an image that says nothing of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Build<'_> {
    /// Begins with what an image is.
    pub(super) fn from(&mut self, line: &Line, image: &str, platform: Option<&str>) -> Result<(), BuildError> {
        let base = self.base_named(image, platform).map_err(|error| at_line(line, error))?;
        let args = self.platform_args();
        self.global_args = std::mem::take(&mut self.variables);
        let Some(base) = base else {
            self.set_env("PATH", PATH);
            return Ok(());
        };
        self.from_scratch = false;
        self.base(line.number, &base).map_err(|error| BuildError::Base {
            line: line.number,
            base: Box::new(base),
            error,
        })?;
        // What the image is for is known better now.
        for (name, value) in self.platform_args() {
            if self.global_args.get(&name) == args.get(&name) {
                self.global_args.insert(name, value);
            }
        }
        let env = self.config().get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, value) in env.iter().filter_map(|variable| variable.as_str()?.split_once('=')) {
            self.environment.insert(name.to_owned());
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// What the words after `FROM` name; `None` for nothing. A platform that is given there is the image's.
    pub(super) fn base_named(&mut self, image: &str, platform: Option<&str>) -> Result<Option<BuildBase>, ImageError> {
        if let Some(platform) = platform {
            self.platform = Some(Platform::parse(&self.put(platform)?).map_err(ImageError::Invalid)?);
        }
        let name = self.put(image)?;
        let platform = self.platform.map_or(PlatformChoice::WasmFirst, PlatformChoice::Exact);
        Ok((name != SCRATCH).then_some(BuildBase { name, platform }))
    }

    /// Whether an image in the binary is taken.
    pub(super) fn is_built_in(&self, base: &BuildBase) -> bool {
        self.built_in(base).is_ok_and(|image| image.is_some())
    }

    fn built_in(&self, base: &BuildBase) -> Result<Option<Image>, ImageError> {
        let reference = self.store.parse(&base.name)?;
        if self.store.find(&reference)?.is_some() {
            return Ok(None);
        }
        let Some(image) = builtin::find(&reference, self.store.use_aliases) else { return Ok(None) };
        if base.platform.accepts(image.is_wasm()) {
            return Ok(Some(image));
        }
        // What only stands in for the image that is meant leaves its place to that.
        if image.stands_in.is_some() {
            return Err(ImageError::NotFound(base.name.clone()));
        }
        let offered = format!("only {}", image.platform);
        Err(ImageError::Platform { wanted: base.platform.wanted(), offered })
    }

    fn base(&mut self, line: usize, base: &BuildBase) -> Result<(), ImageError> {
        if let Some(image) = self.built_in(base)? {
            return self.begin_with_built_in(&image);
        }
        let (entry, lease) = self.store.stored(&base.name)?;
        let found = self.manifest(&entry, base)?;
        if !artifact::is_ordinary(&found.manifest) {
            let name = &base.name;
            return Err(ImageError::Invalid(format!(
                "image {name:?} is a WebAssembly artifact, which nothing can be added to"
            )));
        }
        self.image = load::document(&self.store.layout, found.manifest.config())?;
        self.layers = found.manifest.layers().clone();
        self.keeps_base.push(lease);
        // An image of one platform has nothing to choose from.
        if let (Some(wanted), Some(said)) = (self.platform, self.said_platform())
            && !wanted.is_met_by(&said)
        {
            let name = &base.name;
            self.warnings.push(format!("line {line}: {name} is for {said}; what is built on it will say {wanted}"));
        }
        Ok(())
    }

    /// The manifest of the platform that is wanted; if none is, of one that is there. [`ImageError::NotFound`] if a
    /// registry may have what is not there.
    fn manifest(&self, entry: &Descriptor, base: &BuildBase) -> Result<Found, ImageError> {
        let layout = &self.store.layout;
        let offered = load::manifests(layout, entry)?;
        let present: Vec<_> = offered.iter().filter(|manifest| layout.has_blob(manifest)).cloned().collect();
        let taken = match base.platform {
            PlatformChoice::Exact(_) => Some(load::choose(&offered, base.platform)?),
            _ => {
                let runs_here = |found: &&Descriptor| {
                    [PlatformChoice::Wasm, PlatformChoice::Linux]
                        .iter()
                        .any(|choice| choice.choose(std::slice::from_ref(*found)).is_some())
                };
                let taken = base.platform.choose(&present);
                // One that was built for another machine is not meant where there is one for this.
                let taken = taken.filter(|taken| {
                    runs_here(taken) || base.platform.choose(&offered).is_none_or(|best| best == *taken)
                });
                taken.cloned()
            }
        };
        if let Some(taken) = taken.filter(|taken| present.contains(taken)) {
            return Found::of(layout, taken);
        }
        match Source::of(entry) {
            Source::Registry { .. } => Err(ImageError::NotFound(base.name.clone())),
            Source::Local => {
                Err(ImageError::Platform { wanted: base.platform.wanted(), offered: platform::names(&present) })
            }
        }
    }

    /// An image in the binary becomes one in the store.
    fn begin_with_built_in(&mut self, image: &Image) -> Result<(), ImageError> {
        let mut diff_ids = Vec::new();
        for layer in &image.layers {
            let LayerContent::TarBytes(bytes) = &layer.content else { continue };
            let (digest, size) = self.store.layout.write_blob(&self.lease, bytes)?;
            self.layers.push(digest.descriptor(MediaType::ImageLayer, size));
            diff_ids.push(layer.diff_id.clone());
        }
        let (os, architecture) = image.platform.split_once('/').unwrap_or(("wasip1", "wasm"));
        let env: Vec<_> = image.config.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let history: Vec<_> =
            diff_ids.iter().map(|_| json!({ "created_by": format!("FROM {}", image.reference) })).collect();
        let made = json!({
            "architecture": architecture,
            "os": os,
            "config": { "Env": env, "Entrypoint": image.config.entrypoint, "Cmd": image.config.cmd },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        if let Value::Object(made) = made {
            self.image = made;
        }
        Ok(())
    }
}
