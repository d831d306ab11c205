//! `husk api-resources` and `husk version`: what can be typed.

use clap::Args;

use super::connection::ConnectionArgs;

/// Arguments of `husk api-resources`.
#[derive(Debug, Args)]
pub struct ApiResourcesArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Only those of this group; the core group has none
    #[arg(long, value_name = "GROUP")]
    pub api_group: Option<String>,
    /// Only those that are in namespaces, or only those that are not
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub namespaced: Option<bool>,
    /// wide or name
    #[arg(short, long, value_name = "FORMAT", value_parser = ["wide", "name"])]
    pub output: Option<String>,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
}

/// Arguments of `husk version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json", "yaml"])]
    pub output: Option<String>,
}
