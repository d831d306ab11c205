//! `husk image push`.

use clap::Args;

/// What to push.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Print only the digest
    #[arg(short, long)]
    pub quiet: bool,
    /// The image's name or ID
    #[arg(value_name = "NAME[:TAG]|ID")]
    pub name: String,
    /// Where to push it, if it is not where its name says
    #[arg(value_name = "TARGET[:TAG]")]
    pub target: Option<String>,
}
