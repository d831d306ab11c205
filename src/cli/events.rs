//! `husk events`: what can be typed.

use clap::Args;

use super::connection::ConnectionArgs;

/// Arguments of `husk events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk events                   what has happened in the namespace, oldest first
  husk events --for pod/web     what has happened to one pod
  husk events --types=Warning -A
  husk events -w                and what happens from now on")]
pub struct EventsArgs {
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Only of this object
    #[arg(long = "for", value_name = "TYPE/NAME")]
    pub about: Option<String>,
    /// Only events of these types: Normal, Warning
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub watch: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
    /// yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<String>,
}
