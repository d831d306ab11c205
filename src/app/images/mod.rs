//! `husk image …`, and how images are opened and pulled by all verbs.

mod build;
mod transfer;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::Arc;

use anyhow::{bail, ensure};

use crate::api::support::RuntimeKind;
use crate::base::clock::Timestamp;
use crate::cli::image::ImageCommand;
use crate::cli::image::history::HistoryArgs;
use crate::cli::image::load::LoadArgs;
use crate::cli::image::ls::LsArgs;
use crate::cli::image::prune::PruneArgs;
use crate::cli::image::rm::RmArgs;
use crate::cli::image::save::{Format, SaveArgs};
use crate::cli::output::table;
use crate::cli::{Global, Switch};
use crate::image::{
    DamagedImage, ImageError, ImageKind, ImageStore, ImageSummary, Keyring, PlatformChoice, Prune, PullError,
    PullRequest, Pulled, Registries, SaveFormat, Settings,
};

use super::client::is_broken_pipe;
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
        PullRequest { image, platform, keyring: Arc::default(), verify: false }
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
    match run_verb(&images, command) {
        // Whoever reads the output may have seen enough.
        Err(error) if is_broken_pipe(&error) => return Ok(0),
        done => done?,
    }
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
        ImageCommand::Rm(args) => remove(images, &args, &mut out)?,
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
            let mut failed = Vec::new();
            for pulled in transfer::pull(images, &args)? {
                match pulled {
                    Ok(pulled) => writeln!(out, "{}", if args.quiet { pulled.digest } else { pulled.reference })?,
                    Err(error) => failed.push(error),
                }
            }
            all_told(failed)?;
        }
        ImageCommand::Push(args) => {
            let pushed = transfer::push(images, &args)?;
            let line = if args.quiet { pushed.digest } else { format!("{}@{}", pushed.reference, pushed.digest) };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Tells of all that failed of several things, the last as the error of the whole.
fn all_told(mut failed: Vec<impl std::error::Error + Send + Sync + 'static>) -> anyhow::Result<()> {
    let Some(last) = failed.pop() else { return Ok(()) };
    for error in failed {
        writeln!(std::io::stderr(), "error: {error}")?;
    }
    Err(last.into())
}

fn remove(images: &ImageStore, args: &RmArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for name in &args.names {
        let removed = if args.force { images.remove_all_names(name) } else { images.remove(name) };
        match removed {
            Ok(()) => writeln!(out, "{name}")?,
            Err(ImageError::NotFound(_)) if args.force => {}
            Err(error) => failed.push(error),
        }
    }
    all_told(failed)
}

/// Longest answer that is read.
const MAX_ANSWER: u64 = 1024;
/// Digits of an image ID that a table shows.
const SHORT_ID: usize = 12;

fn list(images: &ImageStore, args: &LsArgs) -> anyhow::Result<String> {
    let listed = match &args.name {
        Some(name) => images.list_named(name)?,
        None => images.list()?,
    };
    if args.quiet {
        return Ok(listed.iter().map(|image| format!("{}\n", image.id)).collect());
    }
    let mut header = vec!["REPOSITORY", "TAG", "IMAGE ID", "KIND", "ADDED", "SIZE"];
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
    let id = id.chars().take(SHORT_ID).collect();
    let added = image.created.map_or_else(|| "-".to_owned(), ago);
    let mut row = vec![image.repository.clone(), image.tag.clone(), id, kind, added, bytes(image.size)];
    if digests {
        row.insert(2, if image.digest.is_empty() { "<none>".to_owned() } else { image.digest.clone() });
    }
    row
}

fn ago(time: Timestamp) -> String {
    let age = Timestamp::now().duration_since(time).try_into().unwrap_or_default();
    format!("{} ago", indicatif::HumanDuration(age))
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

/// Asks a person whether images may go that may exist nowhere else; scripts have said so.
fn may_prune(images: &ImageStore, args: &PruneArgs) -> anyhow::Result<bool> {
    let nobody_to_ask = !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal();
    if !args.all || args.force || nobody_to_ask {
        return Ok(true);
    }
    let own: Vec<_> = images.list()?.into_iter().filter(|image| image.kind == ImageKind::Stored).collect();
    if own.is_empty() {
        return Ok(true);
    }
    let mut stderr = std::io::stderr();
    writeln!(
        stderr,
        "Images that were built, imported or loaded may exist nowhere else. Of these, what nothing uses goes:"
    )?;
    for image in own {
        writeln!(stderr, "  {}", image.reference)?;
    }
    write!(stderr, "Remove them? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

fn prune(images: &ImageStore, args: &PruneArgs, out: &mut impl Write) -> anyhow::Result<()> {
    if !may_prune(images, args)? {
        bail!("nothing was removed");
    }
    let collected = match args.to {
        Some(limit) => images.collect_to_limit(limit)?,
        None => images.prune(if args.all { Prune::Unused } else { Prune::Unnamed })?,
    };
    for name in &collected.names {
        writeln!(out, "{name}")?;
    }
    writeln!(std::io::stderr(), "{} freed", bytes(collected.bytes))?;
    for DamagedImage { name, problem } in &collected.damaged {
        writeln!(
            std::io::stderr(),
            "warning: image {name} is damaged, so that only what is known of it was kept ({problem}): pull it again, or \
             remove it (husk image rm {name})"
        )?;
    }
    if let Some(limit) = args.to.filter(|limit| images.size() > *limit) {
        let size = bytes(images.size());
        bail!(
            "the store still has {size}, more than {}: what is left is in use, or was not pulled and may exist nowhere else",
            bytes(limit)
        );
    }
    Ok(())
}
