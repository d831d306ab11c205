//! `husk image ls`.

use clap::Args;

/// How to list.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Print only image IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// Show the digests by which registries know images, too
    #[arg(long)]
    pub digests: bool,
    /// Only images of this repository, or with this tag of it
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}
