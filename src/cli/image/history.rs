//! `husk image history`.

use clap::Args;

/// Which image.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The image's name or ID
    #[arg(value_name = "NAME[:TAG]|ID")]
    pub name: String,
}
