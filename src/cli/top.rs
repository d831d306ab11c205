//! `husk top`: what can be typed.

use clap::{Args, Subcommand};

use super::connection::ConnectionArgs;

/// `husk top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Of what.
    #[command(subcommand)]
    pub of: TopOf,
}

/// Whose use is printed.
#[derive(Debug, Subcommand)]
pub enum TopOf {
    /// Processor and memory that pods use
    #[command(visible_alias = "pods", alias = "po")]
    Pod(TopPodArgs),
    /// Processor and memory that the node uses
    #[command(visible_alias = "nodes", alias = "no")]
    Node(TopNodeArgs),
}

/// Arguments of `husk top pod`.
#[derive(Debug, Args)]
pub struct TopPodArgs {
    /// Only this pod
    pub name: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// In all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// A line for each container
    #[arg(long)]
    pub containers: bool,
    /// Order by use, most first
    #[arg(long, value_name = "cpu|memory", value_parser = ["cpu", "memory"])]
    pub sort_by: Option<String>,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
}

/// Arguments of `husk top node`.
#[derive(Debug, Args)]
pub struct TopNodeArgs {
    /// Only this node
    pub name: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Print no headings
    #[arg(long)]
    pub no_headers: bool,
}
