//! `husk edit`: what can be typed.

use clap::Args;

use super::connection::{ConnectionArgs, FileArgs};

/// Arguments of `husk edit`.
#[derive(Debug, Args)]
#[command(after_help = "\
The editor is that of $KUBE_EDITOR, else of $EDITOR, else vi.

Examples:
  husk edit configmap/web
  EDITOR=nano husk edit pod web")]
pub struct EditArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE|TYPE/NAME")]
    pub resources: Vec<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
}
