//! `husk image pull`.

use clap::{Args, ValueEnum};

/// What to pull.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Print only the images' digests
    #[arg(short, long)]
    pub quiet: bool,
    /// Which platform of an image that has several
    #[arg(long, value_enum, default_value = "auto")]
    pub platform: Platform,
    /// The images' names
    #[arg(required = true, value_name = "NAME[:TAG]")]
    pub names: Vec<String>,
}

/// Which platform of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// WebAssembly, else this machine's Linux
    Auto,
    /// WebAssembly only
    Wasm,
    /// This machine's Linux only
    Linux,
}
