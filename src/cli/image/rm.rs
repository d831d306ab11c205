//! `husk image rm`.

use clap::Args;

/// What to remove.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Remove an image that is given by its ID with all of its names, and don't mind images that are not there
    #[arg(short, long)]
    pub force: bool,
    /// The images' names or IDs
    #[arg(required = true, value_name = "NAME[:TAG]|ID")]
    pub names: Vec<String>,
}
