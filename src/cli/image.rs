//! `husk image`: the images on this machine.

use std::path::PathBuf;

use clap::Subcommand;

/// The verbs of `husk image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Make an image of a WebAssembly program
    Import {
        /// A core module (WASI 0.1) or a component (WASI 0.2 or 0.3)
        file: PathBuf,
        /// The image's name
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
    },
    /// List images: imported ones, built-in ones and the names these stand in for
    #[command(visible_alias = "list")]
    Ls {
        /// Print only image IDs
        #[arg(short, long)]
        quiet: bool,
    },
    /// Remove images by name
    #[command(visible_alias = "remove")]
    Rm {
        /// The images' names
        #[arg(required = true, value_name = "NAME[:TAG]")]
        names: Vec<String>,
    },
}
