//! `husk image rm`.

use clap::Args;

/// What to remove.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The images' names
    #[arg(required = true, value_name = "NAME[:TAG]")]
    pub names: Vec<String>,
}
