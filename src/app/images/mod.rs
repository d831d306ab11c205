//! `husk image …`, and how images are opened and pulled by all verbs.

mod build;
mod transfer;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{bail, ensure};

use crate::api::support::RuntimeKind;
use crate::cli::image::ImageCommand;
use crate::cli::image::history::HistoryArgs;
use crate::cli::image::load::LoadArgs;
use crate::cli::image::ls::LsArgs;
use crate::cli::image::prune::PruneArgs;
use crate::cli::image::save::{Format, SaveArgs};
use crate::cli::output::table;
use crate::cli::{Global, Switch};
use crate::image::{
    ImageKind, ImageStore, ImageSummary, Keyring, PlatformChoice, Prune, PullError, PullRequest, Pulled, Registries,
    SaveFormat, Settings,
};

use super::paths::Paths;

/// Opens the user's images, with what the user says about registries.
pub(super) fn open(global: &Global, paths: &Paths) -> anyhow::Result<Arc<ImageStore>> {
    let registries = Registries::read(&paths.registries)?;
    let use_aliases = global.image_aliases == Switch::On;
    let settings = Settings { use_aliases, registries, keyring: user_keyring(), limit: global.image_limit };
    Ok(ImageStore::with_settings(&paths.images, settings))
}

/// Which runtime an image's programs are for, if it is here.
pub(super) fn runtime_of(images: &ImageStore, name: &str) -> Option<RuntimeKind> {
    let is_wasm = images.is_wasm(name, PlatformChoice::default()).ok()??;
    Some(if is_wasm { RuntimeKind::Wasm } else { RuntimeKind::Linux })
}

/// The credentials that the user's tools have stored.
fn user_keyring() -> Keyring {
    Keyring::of_user(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Pulls images of which none is here, all at the same time; what became of each.
pub(super) fn pull_each<'a>(
    images: &Arc<ImageStore>,
    wanted: impl Iterator<Item = (&'a str, PlatformChoice)>,
    quiet: bool,
) -> anyhow::Result<Vec<Result<Pulled, PullError>>> {
    let request = |(name, platform): (&str, _)| {
        let image = name.to_owned();
        PullRequest { image, platform, keyring: Arc::default() }
    };
    transfer::pull_each(images, wanted.map(request).collect(), quiet)
}

/// Runs a verb of `husk image`.
pub(super) fn run(global: &Global, command: ImageCommand) -> anyhow::Result<u8> {
    // Files of unpacked images may belong to the user's subordinate IDs, which nobody else can remove. Who cannot have
    // a user namespace has none of them.
    #[cfg(target_os = "linux")]
    if let Err(error) = super::native::prepare() {
        tracing::debug!(%error, "there is no user namespace");
    }
    let images = open(global, &Paths::new(global)?)?;
    run_verb(&images, command)?;
    if let Some((size, limit)) = images.excess() {
        let (size, limit) = (bytes(size), bytes(limit));
        writeln!(
            std::io::stderr(),
            "warning: images take {size}, more than the limit of {limit}: what is left is in use, was not pulled, or is new"
        )?;
    }
    Ok(0)
}

fn run_verb(images: &Arc<ImageStore>, command: ImageCommand) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match command {
        ImageCommand::Import(args) => writeln!(out, "{}", images.import_wasm(&args.file, &args.name)?.reference)?,
        ImageCommand::Ls(args) => write!(out, "{}", list(images, &args)?)?,
        ImageCommand::Rm(args) => {
            for name in args.names {
                images.remove(&name)?;
                writeln!(out, "{name}")?;
            }
        }
        ImageCommand::Tag(args) => writeln!(out, "{}", images.tag(&args.name, &args.new_name)?.reference)?,
        ImageCommand::Inspect(args) => {
            let found = args.names.iter().map(|name| images.inspect(name)).collect::<Result<Vec<_>, _>>()?;
            writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        }
        ImageCommand::History(args) => write!(out, "{}", history(images, &args)?)?,
        ImageCommand::Load(args) => {
            for image in load(images, &args)? {
                writeln!(out, "{}", image.reference)?;
            }
        }
        ImageCommand::Save(args) => {
            // Another lock of standard output, where an archive goes there.
            drop(out);
            save(images, &args)?;
        }
        ImageCommand::Prune(args) => prune(images, &args, &mut out)?,
        ImageCommand::Build(args) => writeln!(out, "{}", build::build(images, args)?)?,
        ImageCommand::Pull(args) => {
            for pulled in transfer::pull(images, &args)? {
                let line = if args.quiet { pulled.digest } else { pulled.reference };
                writeln!(out, "{line}")?;
            }
        }
        ImageCommand::Push(args) => {
            let pushed = transfer::push(images, &args)?;
            let line = if args.quiet { pushed.digest } else { format!("{}@{}", pushed.reference, pushed.digest) };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Digits of an image ID that a table shows.
const SHORT_ID: usize = 12;

fn list(images: &ImageStore, args: &LsArgs) -> anyhow::Result<String> {
    let listed = images.list()?;
    if args.quiet {
        return Ok(listed.iter().map(|image| format!("{}\n", image.id)).collect());
    }
    let mut header = vec!["REPOSITORY", "TAG", "IMAGE ID", "KIND", "SIZE"];
    if args.digests {
        header.insert(2, "DIGEST");
    }
    let rows: Vec<_> = listed.iter().map(|image| row(image, args.digests)).collect();
    Ok(table::render(&header, &rows))
}

fn row(image: &ImageSummary, digests: bool) -> Vec<String> {
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    let kind = match &image.kind {
        ImageKind::Stored => "imported".to_owned(),
        ImageKind::Pulled => "pulled".to_owned(),
        ImageKind::BuiltIn => "built-in".to_owned(),
        ImageKind::Alias { of } => format!("alias of {of}"),
    };
    let mut row =
        vec![image.repository.clone(), image.tag.clone(), id.chars().take(SHORT_ID).collect(), kind, bytes(image.size)];
    if digests {
        row.insert(2, if image.digest.is_empty() { "<none>".to_owned() } else { image.digest.clone() });
    }
    row
}

fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

fn history(images: &ImageStore, args: &HistoryArgs) -> anyhow::Result<String> {
    let or_missing = |text: String| if text.is_empty() { "<missing>".to_owned() } else { text };
    let rows = images.history(&args.name)?.into_iter().map(|step| {
        let size = step.size.map_or_else(|| "0 B".to_owned(), bytes);
        vec![or_missing(step.created), or_missing(step.created_by), size, step.comment]
    });
    let rows: Vec<_> = rows.collect();
    Ok(table::render(&["CREATED", "CREATED BY", "SIZE", "COMMENT"], &rows))
}

fn load(images: &ImageStore, args: &LoadArgs) -> anyhow::Result<Vec<ImageSummary>> {
    let from_terminal = args.input.as_os_str() == "-" && std::io::stdin().is_terminal();
    ensure!(!from_terminal, "nothing to load: name an archive with -i, or pipe one in");
    Ok(images.load(&args.input, args.name.as_deref())?)
}

fn save(images: &ImageStore, args: &SaveArgs) -> anyhow::Result<()> {
    let format = match args.format {
        Format::DockerArchive => SaveFormat::DockerArchive,
        Format::OciArchive => SaveFormat::OciArchive,
        Format::OciDir => SaveFormat::OciDir,
    };
    if args.output.as_os_str() == "-" {
        ensure!(format != SaveFormat::OciDir, "a directory needs a name: give one with -o");
        ensure!(
            !std::io::stdout().is_terminal(),
            "an archive is not written to a terminal: name a file with -o, or pipe it"
        );
    }
    Ok(images.save(&args.names, format, &args.output)?)
}

fn prune(images: &ImageStore, args: &PruneArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let collected = match args.to {
        Some(limit) => images.collect_to_limit(limit)?,
        None => images.prune(if args.all { Prune::Unused } else { Prune::Unnamed })?,
    };
    for name in &collected.names {
        writeln!(out, "{name}")?;
    }
    writeln!(std::io::stderr(), "{} freed", bytes(collected.bytes))?;
    if let Some(limit) = args.to.filter(|limit| images.size() > *limit) {
        let size = bytes(images.size());
        bail!(
            "the store still has {size}, more than {}: what is left is in use, or was not pulled and may exist nowhere else",
            bytes(limit)
        );
    }
    Ok(())
}
