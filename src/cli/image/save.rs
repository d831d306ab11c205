//! `husk image save`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What to save.
#[derive(Debug, Args)]
pub struct SaveArgs {
    /// How to save
    #[arg(long, value_enum, default_value = "docker-archive")]
    pub format: Format,
    /// Where to: a file, or a directory for oci-dir
    #[arg(short, long, default_value = "-", hide_default_value = true, value_name = "FILE")]
    pub output: PathBuf,
    /// The images' names or IDs
    #[arg(required = true, value_name = "NAME[:TAG]|ID")]
    pub names: Vec<String>,
}

/// How images are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An archive for docker load and podman load
    DockerArchive,
    /// An OCI layout in an archive
    OciArchive,
    /// An OCI layout in a directory
    OciDir,
}
