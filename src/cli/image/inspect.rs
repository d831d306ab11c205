//! `husk image inspect`.

use clap::Args;

/// Which images.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The images' names
    #[arg(required = true, value_name = "NAME[:TAG]")]
    pub names: Vec<String>,
}
