//! `husk image …`.

use std::io::Write;

use crate::cli::image::ImageCommand;
use crate::cli::output::table;
use crate::cli::{Global, Switch};
use crate::image::ImageStore;

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
