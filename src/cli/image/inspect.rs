//! `husk image inspect`.

use clap::Args;

/// Which images.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The images' names or IDs
    #[arg(required = true, value_name = "NAME[:TAG]|ID")]
    pub names: Vec<String>,
}
