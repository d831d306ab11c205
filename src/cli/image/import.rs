//! `husk image import`.

use std::path::PathBuf;

use clap::Args;

/// What to import.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A core module (WASI 0.1) or a component (WASI 0.2 or 0.3); - for standard input
    pub file: PathBuf,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}
