//! `husk image build`: what is built on is pulled where that is needed.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::cli::image::build::BuildArgs;
use crate::image::{BuildBase, BuildError, BuildRequest, ImageError, ImageStore, MAX_DOCKERFILE, PullRequest};

use super::transfer;

/// Builds an image; the line to print.
pub(super) fn build(images: &Arc<ImageStore>, args: BuildArgs) -> anyhow::Result<String> {
    let BuildArgs { quiet, pull, .. } = args;
    let request = request(args)?;
    if pull && let Some(base) = images.build_base(&request)? {
        pull_base(images, base, quiet)?;
    }
    let built = match images.build(&request) {
        // What an image is based on is pulled if it is not there.
        Err(BuildError::Base { base, error: ImageError::NotFound(_), .. }) if !pull => {
            pull_base(images, *base, quiet)?;
            images.build(&request)?
        }
        built => built?,
    };
    if quiet {
        return Ok(built.image.id);
    }
    for warning in built.warnings {
        writeln!(std::io::stderr(), "warning: {warning}")?;
    }
    Ok(built.image.reference)
}

fn request(args: BuildArgs) -> anyhow::Result<BuildRequest> {
    let is_standard_input = args.file.as_deref() == Some(Path::new("-"));
    let dockerfile = if is_standard_input { Some(standard_input()?) } else { None };
    let label = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        ensure!(!name.is_empty(), "--label {text:?} is not NAME=VALUE");
        Ok((name.to_owned(), value.to_owned()))
    };
    Ok(BuildRequest {
        args: args.build_arg.iter().filter_map(|text| argument(text)).collect(),
        labels: args.label.iter().map(label).collect::<anyhow::Result<_>>()?,
        context: args.directory,
        file: args.file.filter(|_| !is_standard_input),
        dockerfile,
        names: args.tags,
        platform: args.platform,
    })
}

/// `NAME=VALUE`, or `NAME` for what the environment has, as docker has it.
fn argument(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((text.to_owned(), std::env::var(text).ok()?)),
    }
}

fn standard_input() -> anyhow::Result<String> {
    let input = std::io::stdin();
    ensure!(!input.is_terminal(), "nothing to build from: pipe a Dockerfile in, or name one with -f");
    let mut text = String::new();
    input
        .lock()
        .take(MAX_DOCKERFILE + 1)
        .read_to_string(&mut text)
        .context("cannot read a Dockerfile from standard input")?;
    ensure!(text.len() as u64 <= MAX_DOCKERFILE, "the Dockerfile is larger than {MAX_DOCKERFILE} bytes");
    Ok(text)
}

fn pull_base(images: &Arc<ImageStore>, base: BuildBase, quiet: bool) -> anyhow::Result<()> {
    let request = PullRequest { image: base.name, platform: base.platform, keyring: Arc::default(), verify: false };
    transfer::pull_all(images, vec![request], quiet).map(drop)
}
