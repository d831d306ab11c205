//! Making images of files: a plain directory, or one with a Dockerfile that needs nothing to be run.
//!
//! `dockerfile` reads instructions and `variables` the words of them; `instructions` follows them, with `base` for `FROM`
//! and `copy` for `COPY` and `ADD`, and `config` writes the image's configuration. Files come from `context` and go to
//! `layers`; `tree` knows what is in the image so far.

mod base;
mod config;
mod context;
mod copy;
mod dockerfile;
mod instructions;
mod layers;
#[cfg(test)]
mod tests;
mod tree;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::image::Descriptor;
use serde_json::{Map, Value, json};

use self::context::Context;
use self::dockerfile::{Instruction, Line};
use self::layers::LayerBuilder;
use self::tree::Tree;
use super::lease::Lease;
use super::reference::Reference;
use super::{ImageError, ImageStore, ImageSummary, Platform, PlatformChoice, Source, layout};

/// What Dockerfiles are called where nothing else is said.
const FILE_NAMES: [&str; 2] = ["Dockerfile", "Containerfile"];
/// The largest Dockerfile.
pub const MAX_DOCKERFILE: u64 = 1024 * 1024;

/// What to build.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The directory with the files.
    pub context: PathBuf,
    /// The Dockerfile, if it is not `Dockerfile` or `Containerfile` of the directory.
    pub file: Option<PathBuf>,
    /// What the Dockerfile says, if it is no file.
    pub dockerfile: Option<String>,
    /// The names of the image.
    pub names: Vec<String>,
    /// Values of `ARG`s.
    pub args: Vec<(String, String)>,
    /// Labels, over those of the Dockerfile.
    pub labels: Vec<(String, String)>,
    /// `os/architecture[/variant]`, if it is not to be told by the program.
    pub platform: Option<String>,
}

/// An image that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// By the first of its names.
    pub image: ImageSummary,
    /// What a person should know of it.
    pub warnings: Vec<String>,
}

/// What an image is to be built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildBase {
    /// Its name.
    pub name: String,
    /// Which of its platforms.
    pub platform: PlatformChoice,
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
        base: Box<BuildBase>,
        /// Why; if it is [`ImageError::NotFound`], a registry may have it.
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
    context: Arc<Context>,
    lease: Lease,
    /// What is known by name: `ARG`s and `ENV`.
    variables: BTreeMap<String, String>,
    /// What the command gives.
    args: BTreeMap<String, String>,
    /// Those of them that were asked for.
    used_args: BTreeSet<String>,
    /// Names of `ENV`.
    environment: BTreeSet<String>,
    /// `ARG`s before FROM, and those that are there by themselves.
    global_args: BTreeMap<String, String>,
    /// What the image is to be for, if that is said.
    platform: Option<Platform>,
    /// The configuration, as a document that keeps what is not understood.
    image: Map<String, Value>,
    layers: Vec<Descriptor>,
    /// What is in the layers, once somebody has asked.
    tree: Option<Tree>,
    /// `WORKDIR`s that are to be in it then.
    working_directories: Vec<String>,
    /// What the programs that were copied are: by path, `os/architecture`.
    programs: BTreeMap<String, String>,
    /// Whether it is based on nothing, so that all of its files are known.
    from_scratch: bool,
    /// Whether `CMD` is of this Dockerfile, not of the base.
    has_command: bool,
    warnings: Vec<String>,
    keeps_base: Vec<Lease>,
}

impl ImageStore {
    /// Builds an image and stores it. Reads and writes files; nothing is run.
    pub fn build(&self, request: &BuildRequest) -> Result<Built, BuildError> {
        let names = request.names.iter().map(|name| Reference::parse_for_storing(name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(ImageError::Invalid("an image needs a name".to_owned()).into());
        }
        let (mut build, lines) = Build::begin(self, request)?;
        match lines {
            Some(lines) => build.dockerfile(&lines)?,
            None => build.directory()?,
        }
        build.label(&request.labels);
        build.warn_of_unused_args();
        let manifest = build.finish()?;
        let named = names.into_iter().map(|name| (name, manifest.clone())).collect();
        let image = self.name(&build.lease, Source::Local, named)?.remove(0)?;
        Ok(Built { image, warnings: build.warnings })
    }

    /// What an image would be built on; `None` if that is nothing, or a part of husk.
    pub fn build_base(&self, request: &BuildRequest) -> Result<Option<BuildBase>, BuildError> {
        let (mut build, lines) = Build::begin(self, request)?;
        for line in lines.iter().flatten() {
            let Instruction::From { image, platform } = &line.instruction else {
                build.followed(line)?;
                continue;
            };
            let base = build.base_named(image, platform.as_deref()).map_err(|error| at_line(line, error))?;
            return Ok(base.filter(|base| !build.is_built_in(base)));
        }
        Ok(None)
    }
}

/// The Dockerfile of a request; `None` if there is none.
fn dockerfile_of(request: &BuildRequest, context: &Context) -> Result<Option<String>, ImageError> {
    match (&request.dockerfile, &request.file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(path)) => read_file(path, &request.context).map(Some),
        (None, None) => FILE_NAMES.iter().find_map(|name| context.read(name, MAX_DOCKERFILE).transpose()).transpose(),
    }
}

fn read_file(path: &Path, context: &Path) -> Result<String, ImageError> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && context.join(path).is_file() => {
            let (path, inside) = (path.display(), context.join(path));
            return Err(ImageError::Invalid(format!(
                "there is no {path} in the working directory, which -f is relative to: did you mean -f {}?",
                inside.display()
            )));
        }
        Err(error) => return Err(layout::failed("cannot read", path)(error)),
    };
    if size > MAX_DOCKERFILE {
        return Err(ImageError::Invalid(format!("{} is larger than {MAX_DOCKERFILE} bytes", path.display())));
    }
    std::fs::read_to_string(path).map_err(layout::failed("cannot read", path))
}

/// What goes wrong at a line is told with its number.
fn at_line(line: &Line, error: ImageError) -> BuildError {
    BuildError::Dockerfile { line: line.number, detail: error.to_string() }
}

impl<'a> Build<'a> {
    /// Begins to build, with the lines of the Dockerfile, if there is one.
    fn begin(store: &'a ImageStore, request: &BuildRequest) -> Result<(Self, Option<Vec<Line>>), BuildError> {
        let context = Context::open(&request.context)?;
        let lines = match dockerfile_of(request, &context)? {
            None => None,
            Some(text) => {
                Some(dockerfile::parse(&text).map_err(|(line, detail)| BuildError::Dockerfile { line, detail })?)
            }
        };
        let platform = request.platform.as_deref().map(Platform::parse).transpose().map_err(ImageError::Invalid)?;
        let mut build = Build {
            store,
            context: Arc::new(context),
            lease: store.layout.new_lease()?,
            variables: BTreeMap::new(),
            args: request.args.iter().cloned().collect(),
            used_args: BTreeSet::new(),
            environment: BTreeSet::new(),
            global_args: BTreeMap::new(),
            platform,
            image: Map::new(),
            layers: Vec::new(),
            tree: None,
            working_directories: Vec::new(),
            programs: BTreeMap::new(),
            from_scratch: true,
            has_command: false,
            warnings: Vec::new(),
            keeps_base: Vec::new(),
        };
        build.variables = build.platform_args();
        Ok((build, lines))
    }

    /// All files of the directory at the root. A single program at its top is what the image runs.
    fn directory(&mut self) -> Result<(), BuildError> {
        self.copy_all()?;
        let mut at_top =
            self.programs.iter().filter(|(path, platform)| !path.contains('/') && platform.ends_with("/wasm"));
        if let (Some((program, _)), None) = (at_top.next(), at_top.next()) {
            let entry = format!("/{program}");
            self.config().insert("Entrypoint".to_owned(), json!([entry]));
        }
        Ok(())
    }

    fn dockerfile(&mut self, lines: &[Line]) -> Result<(), BuildError> {
        lines.iter().try_for_each(|line| self.followed(line))
    }

    fn followed(&mut self, line: &Line) -> Result<(), BuildError> {
        self.instruction(line).map_err(|error| match error {
            BuildError::Image(error) => at_line(line, error),
            other => other,
        })
    }

    /// What is in the image so far. Its layers are read when that is first asked.
    fn tree(&mut self) -> Result<&mut Tree, ImageError> {
        let mut tree = match self.tree.take() {
            Some(tree) => tree,
            None => Tree::read(&self.store.layout, &self.layers)?,
        };
        for path in self.working_directories.drain(..) {
            let path = tree.real(path.trim_matches('/'))?;
            if tree.get(&path).is_none() {
                tree.put(&path, tree::Node::Directory)?;
            }
        }
        Ok(self.tree.insert(tree))
    }

    fn add_layer(&mut self, builder: LayerBuilder<'_>, text: &str) -> Result<(), ImageError> {
        let made = builder.finish(&self.lease)?;
        self.layers.push(made.descriptor);
        self.programs.extend(made.programs);
        self.note_layer(&made.diff_id, text);
        Ok(())
    }

    /// Docker tells of arguments that nothing asks for, but for those that are meant for `RUN` and for BuildKit itself.
    fn warn_of_unused_args(&mut self) {
        let is_known = |name: &str| {
            let name = name.to_ascii_uppercase();
            name.starts_with("BUILDKIT_") || name.ends_with("_PROXY") || name == "SOURCE_DATE_EPOCH"
        };
        let unused: Vec<_> =
            self.args.keys().filter(|name| !self.used_args.contains(*name) && !is_known(name)).cloned().collect();
        if !unused.is_empty() {
            self.warnings.push(format!("no ARG takes the values of --build-arg for {}", unused.join(", ")));
        }
    }
}
