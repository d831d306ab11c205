//! `husk image load`.

use std::path::PathBuf;

use clap::Args;

/// What to load.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// An archive as docker, podman or skopeo save it, compressed or not, or a directory in OCI layout
    #[arg(short, long, default_value = "-", value_name = "FILE", hide_default_value = true)]
    pub input: PathBuf,
    /// The name of the image, if it has none there or is to have another
    #[arg(long, value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}
