//! `husk image …`.

use std::io::Write;

use crate::cli::image::ImageCommand;
use crate::cli::output::table;
use crate::cli::{Global, Switch};
use crate::image::{ImageKind, ImageStore, ImageSummary};

use super::paths::Paths;

/// Runs a verb of `husk image`.
pub(super) fn run(global: &Global, command: ImageCommand) -> anyhow::Result<u8> {
    let images = ImageStore::open(&Paths::new(global)?.images, global.image_aliases == Switch::On)?;
    let mut out = std::io::stdout().lock();
    match command {
        ImageCommand::Import { file, name } => {
            let imported = images.import_wasm(&file, &name)?;
            writeln!(out, "{}", imported.reference)?;
        }
        ImageCommand::Ls { quiet } => {
            let listed = images.list()?;
            if quiet {
                for image in listed {
                    writeln!(out, "{}", image.id)?;
                }
            } else {
                let rows: Vec<_> = listed.iter().map(row).collect();
                write!(out, "{}", table::render(&["REPOSITORY", "TAG", "IMAGE ID", "KIND", "SIZE"], &rows))?;
            }
        }
        ImageCommand::Rm { names } => {
            for name in names {
                images.remove(&name)?;
                writeln!(out, "{name}")?;
            }
        }
    }
    Ok(0)
}

/// Digits of an image ID that a table shows.
const SHORT_ID: usize = 12;

fn row(image: &ImageSummary) -> Vec<String> {
    let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    let kind = match &image.kind {
        ImageKind::Stored => "imported".to_owned(),
        ImageKind::BuiltIn => "built-in".to_owned(),
        ImageKind::Alias { of } => format!("alias of {of}"),
    };
    let size = indicatif::HumanBytes(image.size).to_string();
    vec![image.repository.clone(), image.tag.clone(), id.chars().take(SHORT_ID).collect(), kind, size]
}
