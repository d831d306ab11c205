//! `husk apply`: what can be typed.

use clap::{Args, ValueEnum};

use super::connection::{ConnectionArgs, FileArgs};

/// Arguments of `husk apply`.
#[derive(Debug, Args)]
#[command(after_help = "\
The server merges what is applied (server-side apply), as field manager husk.

Examples:
  husk apply -f pod.yaml
  husk apply -f manifests/ -R --dry-run=server
  kustomize build . | husk apply -f -")]
pub struct ApplyArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// Take fields over that others have set
    #[arg(long)]
    pub force_conflicts: bool,
    /// As whom fields are owned
    #[arg(long, value_name = "NAME", default_value = "husk")]
    pub field_manager: String,
    /// Change nothing: only say what would be done (client), or let the server try it (server)
    #[arg(long, value_enum, value_name = "client|server", hide_possible_values = true, default_value_t)]
    pub dry_run: DryRun,
    /// Print the objects as yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
}

/// `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DryRun {
    /// It is done.
    #[default]
    None,
    /// Nothing is sent.
    Client,
    /// The server says what it would do.
    Server,
}

impl DryRun {
    /// What is added to the line that says what was done.
    pub fn note(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}
