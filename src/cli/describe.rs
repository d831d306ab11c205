//! `husk describe`: what can be typed.

use clap::Args;

use super::connection::{ConnectionArgs, FileArgs};

/// Arguments of `husk describe`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk describe pod web           a pod, its containers, and what has happened to it
  husk describe pods -l app=web
  husk describe service/web node")]
pub struct DescribeArgs {
    /// TYPE [NAME…] or TYPE/NAME…; of a name that does not exist, all objects that begin with it
    #[arg(value_name = "TYPE|TYPE/NAME")]
    pub resources: Vec<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Print what has happened to the objects, too
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub show_events: bool,
}
