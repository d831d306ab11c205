//! `husk delete`: what can be typed.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::apply::DryRun;
use super::connection::{ConnectionArgs, FileArgs};
use super::run::parse_duration;

/// Arguments of `husk delete`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk delete pod web
  husk delete pod/web service/web --now
  husk delete -f pod.yaml --wait=false
  husk delete pods --all --force --grace-period=0")]
pub struct DeleteArgs {
    /// TYPE NAME…, TYPE/NAME…, or TYPE with --all or -l
    #[arg(value_name = "TYPE|TYPE/NAME")]
    pub resources: Vec<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The manifests.
    #[command(flatten)]
    pub files: FileArgs,
    /// All objects of the type in the namespace
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Only objects with these fields
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// Seconds that containers have to end; the pod's own number if it is not named
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// Do not wait for containers to end: the object is removed at once
    #[arg(long)]
    pub force: bool,
    /// The same as --grace-period=1
    #[arg(long, conflicts_with_all = ["grace_period", "force"])]
    pub now: bool,
    /// What becomes of objects that the deleted ones own
    #[arg(
        long,
        value_enum,
        value_name = "background|foreground|orphan",
        hide_possible_values = true,
        default_value_t = Cascade::Background
    )]
    pub cascade: Cascade,
    /// Wait until the objects are gone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    pub wait: bool,
    /// How long to wait, such as 90s; without an end if it is not named or 0
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// It is no error if the objects do not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Change nothing: only say what would be done (client), or let the server try it (server)
    #[arg(long, value_enum, value_name = "client|server", hide_possible_values = true, default_value_t)]
    pub dry_run: DryRun,
    /// Print only the names of what was deleted
    #[arg(short, long, value_parser = ["name"])]
    pub output: Option<String>,
}

/// `--cascade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cascade {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Cascade {
    /// Kubernetes' name for it.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}
