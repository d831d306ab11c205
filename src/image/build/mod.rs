//! Making images of files: a plain directory, or one with a Dockerfile that needs nothing to be run.

mod context;
mod dockerfile;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use serde_json::{Map, Value, json};

use self::context::Context;
use self::dockerfile::{Instruction, Line};
use self::layers::LayerBuilder;
use super::lease::Lease;
use super::program::impossible;
use super::reference::Reference;
use super::{
    ImageError, ImageStore, ImageSummary, LayerContent, PlatformChoice, Source, artifact, builtin, host_platform, load,
};

/// What Dockerfiles are called where nothing else is said.
const FILE_NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];
/// The image of nothing.
const SCRATCH: &str = "scratch";
/// Where programs are looked for in an image that says nothing of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The directory with the files.
    pub context: PathBuf,
    /// The Dockerfile, if it is not `Dockerfile` or `Containerfile` of the directory.
    pub file: Option<PathBuf>,
    /// The names of the image.
    pub names: Vec<String>,
    /// Values of `ARG`s.
    pub args: Vec<(String, String)>,
    /// `os/architecture`, if it is not to be told by the program.
    pub platform: Option<String>,
}

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What it is based on is not there, or cannot be used.
    #[error("line {line}: {error}")]
    Base {
        /// Of the Dockerfile.
        line: usize,
        /// The image.
        name: String,
        /// Why.
        error: ImageError,
    },
    /// The Dockerfile asks for what is not possible.
    #[error("line {line}: {detail}")]
    Dockerfile {
        /// Of the Dockerfile.
        line: usize,
        /// Why.
        detail: String,
    },
    /// Files cannot be read, or the image not be stored.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// An image in the making.
struct Build<'a> {
    store: &'a ImageStore,
    context: std::sync::Arc<Context>,
    lease: Lease,
    /// What is known by name: `ARG`s and `ENV`.
    variables: BTreeMap<String, String>,
    /// What the command gives.
    args: BTreeMap<String, String>,
    /// Names of `ENV`.
    environment: BTreeSet<String>,
    /// `ARG`s before FROM.
    global_args: BTreeMap<String, String>,
    /// The configuration, as a document that keeps what is not understood.
    image: Map<String, Value>,
    layers: Vec<Descriptor>,
    /// What the programs that were copied are: by path, `os/architecture`.
    programs: BTreeMap<String, String>,
    /// Whether it is based on nothing, so that all of its files are known.
    from_scratch: bool,
    keeps_base: Vec<Lease>,
}

impl ImageStore {
    /// Builds an image and stores it. Reads and writes files; nothing is run.
    pub fn build(&self, request: &BuildRequest) -> Result<ImageSummary, BuildError> {
        let names = request.names.iter().map(|name| Reference::parse_for_storing(name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let context = Context::open(&request.context)?;
        let text = match &request.file {
            Some(path) => Some(read_file(path)?),
            None => FILE_NAMES
                .iter()
                .find_map(|name| context.read(name, dockerfile::MAX_FILE as u64).transpose())
                .transpose()?,
        };
        let lease = self.layout.new_lease()?;
        let mut build = Build {
            store: self,
            context: std::sync::Arc::new(context),
            lease,
            variables: BTreeMap::new(),
            args: request.args.iter().cloned().collect(),
            environment: BTreeSet::new(),
            global_args: BTreeMap::new(),
            image: Map::new(),
            layers: Vec::new(),
            programs: BTreeMap::new(),
            from_scratch: true,
            keeps_base: Vec::new(),
        };
        match text {
            Some(text) => build.dockerfile(&text)?,
            None => build.directory()?,
        }
        let manifest = build.finish(request.platform.as_deref())?;
        let named = names.into_iter().map(|name| (name, manifest.clone())).collect();
        let mut summaries = self.name(&build.lease, Source::Local, named)?;
        if summaries.is_empty() {
            return Err(ImageError::Invalid("an image needs a name".to_owned()).into());
        }
        Ok(summaries.remove(0)?)
    }
}

fn read_file(path: &Path) -> Result<String, ImageError> {
    let size = std::fs::metadata(path).map_err(super::layout::failed("cannot read", path))?.len();
    if size > dockerfile::MAX_FILE as u64 {
        return Err(ImageError::Invalid(format!("{} is larger than {} bytes", path.display(), dockerfile::MAX_FILE)));
    }
    std::fs::read_to_string(path).map_err(super::layout::failed("cannot read", path))
}

impl Build<'_> {
    /// All files of the directory at the root. A single program at its top is what the image runs.
    fn directory(&mut self) -> Result<(), BuildError> {
        let context = std::sync::Arc::clone(&self.context);
        let mut builder = LayerBuilder::new(self.store, &context)?;
        builder.copy_tree("", "", None)?;
        self.add_layer(builder, "COPY . /")?;
        let mut at_top =
            self.programs.iter().filter(|(path, platform)| !path.contains('/') && platform.ends_with("/wasm"));
        if let (Some((program, _)), None) = (at_top.next(), at_top.next()) {
            let entry = format!("/{program}");
            self.config().insert("Entrypoint".to_owned(), json!([entry]));
        }
        Ok(())
    }

    fn dockerfile(&mut self, text: &str) -> Result<(), BuildError> {
        let lines = dockerfile::parse(text).map_err(|(line, detail)| BuildError::Dockerfile { line, detail })?;
        for line in &lines {
            self.instruction(line).map_err(|error| match error {
                BuildError::Image(error) => BuildError::Dockerfile { line: line.number, detail: error.to_string() },
                other => other,
            })?;
        }
        Ok(())
    }

    fn instruction(&mut self, line: &Line) -> Result<(), BuildError> {
        let bad = |detail: String| BuildError::Dockerfile { line: line.number, detail };
        let put = |this: &Self, text: &str| dockerfile::expand(text, &this.variables, false).map_err(bad);
        match &line.instruction {
            Instruction::Arg(name, default) => {
                self.arg(name, default.as_deref()).map_err(bad)?;
                return Ok(());
            }
            Instruction::From { image } => return self.from(line.number, &put(self, image)?),
            Instruction::Copy(files) => {
                let put_all =
                    |words: &[String]| words.iter().map(|word| put(self, word)).collect::<Result<Vec<_>, _>>();
                let (sources, destination) = (put_all(&files.sources)?, put(self, &files.destination)?);
                return self.copy(line, &sources, &destination, files);
            }
            Instruction::Env(pairs) => {
                for (name, value) in pairs {
                    let value = put(self, value)?;
                    self.set_env(name, &value);
                }
            }
            Instruction::Label(pairs) => {
                for (name, value) in pairs {
                    let value = put(self, value)?;
                    object(self.config(), "Labels").insert(name.clone(), value.into());
                }
            }
            Instruction::Entrypoint(words) => {
                self.config().insert("Entrypoint".to_owned(), json!(words));
                // Docker: an ENTRYPOINT forgets the CMD of the base.
                self.config().remove("Cmd");
            }
            Instruction::Cmd(words) => {
                self.config().insert("Cmd".to_owned(), json!(words));
            }
            Instruction::Workdir(path) => {
                let path = put(self, path)?;
                if path.is_empty() {
                    return Err(bad("WORKDIR needs a path, and this one is empty".to_owned()));
                }
                let path = self.absolute(&path);
                self.config().insert("WorkingDir".to_owned(), path.clone().into());
                return self.make_directory(&path, &line.text);
            }
            Instruction::User(user) => {
                let user = put(self, user)?;
                self.config().insert("User".to_owned(), user.into());
            }
            Instruction::Expose(ports) => {
                for port in ports {
                    let port = port_name(&put(self, port)?).map_err(bad)?;
                    object(self.config(), "ExposedPorts").insert(port, json!({}));
                }
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = put(self, path)?;
                    object(self.config(), "Volumes").insert(path, json!({}));
                }
            }
            Instruction::StopSignal(signal) => {
                let signal = put(self, signal)?;
                self.config().insert("StopSignal".to_owned(), signal.into());
            }
        }
        self.note(&line.text, true);
        Ok(())
    }

    /// Lets a name stand for what the command or the line says. Docker: what was declared before FROM is for FROM alone,
    /// unless it is declared again after it, when it has the same value.
    fn arg(&mut self, name: &str, default: Option<&str>) -> Result<(), String> {
        let inherited = || self.global_args.get(name).cloned();
        let value = match (self.args.get(name), default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(dockerfile::expand(default, &self.variables, false)?),
            (None, None) => inherited(),
        };
        // Docker: ENV hides an ARG of the same name, wherever that is.
        if !self.environment.contains(name) {
            self.variables.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(())
    }

    /// Begins with what an image is.
    fn from(&mut self, line: usize, name: &str) -> Result<(), BuildError> {
        self.global_args = std::mem::take(&mut self.variables);
        if name == SCRATCH {
            self.set_env("PATH", PATH);
            return Ok(());
        }
        self.from_scratch = false;
        let failed = |error| BuildError::Base { line, name: name.to_owned(), error };
        self.base(name).map_err(failed)?;
        let env = self.config().get("Env").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, value) in env.iter().filter_map(|variable| variable.as_str()?.split_once('=')) {
            self.environment.insert(name.to_owned());
            self.variables.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn base(&mut self, name: &str) -> Result<(), ImageError> {
        let (store, reference) = (self.store, self.store.parse(name)?);
        if store.find(&reference)?.is_none()
            && let Some(image) = builtin::find(&reference, store.use_aliases)
        {
            return self.built_in_base(&image);
        }
        let (entry, lease) = store.stored(name)?;
        let found = load::manifest(&store.layout, &entry, PlatformChoice::WasmFirst)?;
        if !artifact::is_ordinary(&found.manifest) {
            return Err(ImageError::Invalid(format!(
                "image {name:?} is a WebAssembly artifact, which nothing can be added to"
            )));
        }
        self.image = load::document(&store.layout, found.manifest.config())?;
        self.layers = found.manifest.layers().clone();
        self.keeps_base.push(lease);
        Ok(())
    }

    /// An image in the binary becomes one in the store.
    fn built_in_base(&mut self, image: &super::Image) -> Result<(), ImageError> {
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

    fn copy(
        &mut self,
        line: &Line,
        sources: &[String],
        destination: &str,
        files: &dockerfile::CopyFiles,
    ) -> Result<(), BuildError> {
        let bad = |detail: String| BuildError::Dockerfile { line: line.number, detail };
        let attributes = layers::Attributes::parse(files.chown.as_deref(), files.chmod.as_deref()).map_err(bad)?;
        let mut matched = Vec::new();
        for source in sources {
            let found = self.context.matching(source)?;
            if found.is_empty() {
                return Err(bad(format!("nothing matches {source:?}")));
            }
            matched.extend(found);
        }
        let into = destination.ends_with('/') || matched.len() > 1 || destination == ".";
        if matched.len() > 1 && !destination.ends_with('/') && destination != "." {
            return Err(bad(format!("several files are copied, so {destination:?} must end with a slash")));
        }
        let destination = self.absolute(destination);
        let destination = destination.trim_matches('/');
        let context = std::sync::Arc::clone(&self.context);
        let mut builder = LayerBuilder::new(self.store, &context)?;
        for source in &matched {
            let Some(found) = self.context.look(source)? else {
                return Err(bad(format!("{source:?} is not there")));
            };
            match found.kind {
                context::FoundKind::Directory => builder.copy_tree(source, destination, attributes)?,
                _ => {
                    let name = source.rsplit('/').next().unwrap_or(source);
                    let to = if into { context::join(destination, name) } else { destination.to_owned() };
                    if files.is_add && builder.is_archive(source)? {
                        builder.add_archive(source, destination, attributes)?;
                    } else {
                        builder.copy_file(&found, &to, attributes)?;
                    }
                }
            }
        }
        self.add_layer(builder, &line.text)?;
        Ok(())
    }

    /// A directory that is certainly not there yet. In other images it may be, with a mode and owner of its own; there
    /// it is made when a container starts.
    fn make_directory(&mut self, path: &str, text: &str) -> Result<(), BuildError> {
        let relative = path.trim_matches('/');
        if !self.from_scratch || relative.is_empty() {
            self.note(text, true);
            return Ok(());
        }
        let context = std::sync::Arc::clone(&self.context);
        let mut builder = LayerBuilder::new(self.store, &context)?;
        builder.directory(relative)?;
        self.add_layer(builder, text)?;
        Ok(())
    }

    fn add_layer(&mut self, builder: LayerBuilder<'_>, text: &str) -> Result<(), ImageError> {
        let made = builder.finish(&self.lease)?;
        self.layers.push(made.descriptor);
        self.programs.extend(made.programs);
        let rootfs = object(&mut self.image, "rootfs");
        rootfs.insert("type".to_owned(), "layers".into());
        array(rootfs, "diff_ids").push(made.diff_id.to_string().into());
        self.note(text, false);
        Ok(())
    }

    fn note(&mut self, text: &str, empty: bool) {
        let mut entry = json!({ "created_by": text, "comment": "husk image build" });
        if empty {
            entry["empty_layer"] = true.into();
        }
        array(&mut self.image, "history").push(entry);
    }

    fn config(&mut self) -> &mut Map<String, Value> {
        object(&mut self.image, "config")
    }

    fn set_env(&mut self, name: &str, value: &str) {
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
    fn absolute(&self, path: &str) -> String {
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

    /// Stores the configuration and manifest.
    fn finish(&mut self, platform: Option<&str>) -> Result<Descriptor, ImageError> {
        if let Some(platform) = platform.map(str::to_owned).or_else(|| self.told_platform()) {
            let (os, architecture) = platform
                .split_once('/')
                .ok_or_else(|| ImageError::Invalid(format!("platform {platform:?} is not os/architecture")))?;
            self.image.insert("os".to_owned(), os.into());
            self.image.insert("architecture".to_owned(), architecture.into());
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
        let run = runs.and_then(|program| self.programs.get(program.trim_start_matches('/')));
        if run.is_none() && !self.from_scratch {
            return None;
        }
        let any = self.programs.values().find(|platform| platform.ends_with("/wasm"));
        Some(run.or(any).cloned().unwrap_or_else(host_platform))
    }
}

/// `80` is `80/tcp`.
fn port_name(port: &str) -> Result<String, String> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let valid = number.split('-').all(|number| number.parse::<u16>().is_ok_and(|number| number > 0));
    let protocol = protocol.to_ascii_lowercase();
    if valid && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        Ok(format!("{number}/{protocol}"))
    } else {
        Err(format!("EXPOSE of {port:?}, which is no port"))
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
