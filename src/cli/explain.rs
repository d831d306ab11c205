//! `husk explain`: what can be typed.

use clap::Args;

use super::connection::ConnectionArgs;

/// Arguments of `husk explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk explain pod                         what a pod is made of
  husk explain pod.spec.containers         a field and those in it
  husk explain service --recursive         all fields, without their descriptions")]
pub struct ExplainArgs {
    /// A type, and a field of it
    #[arg(value_name = "TYPE[.FIELD…]")]
    pub field: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Print the fields of fields, too, without descriptions
    #[arg(long)]
    pub recursive: bool,
    /// Of this version, such as discovery.k8s.io/v1
    #[arg(long, value_name = "GROUP/VERSION")]
    pub api_version: Option<String>,
}
