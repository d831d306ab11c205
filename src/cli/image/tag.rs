//! `husk image tag`.

use clap::Args;

/// Which image, and its new name.
#[derive(Debug, Args)]
pub struct TagArgs {
    /// The image's name or ID
    #[arg(value_name = "NAME[:TAG]|ID")]
    pub name: String,
    /// Another name for it
    #[arg(value_name = "NEW-NAME[:TAG]")]
    pub new_name: String,
}
