//! `husk image history`.

use clap::Args;

/// Which image.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}
