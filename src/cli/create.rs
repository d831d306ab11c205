//! `husk create`: what can be typed.

use clap::Args;

use super::apply::DryRun;
use super::connection::{ConnectionArgs, FileArgs};

/// Arguments of `husk create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk create -f pod.yaml
  cat pod.json | husk create -f - -o name")]
pub struct CreateArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// Change nothing: only say what would be done (client), or let the server try it (server)
    #[arg(long, value_enum, value_name = "client|server", hide_possible_values = true, default_value_t)]
    pub dry_run: DryRun,
    /// Print the objects as yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
}
