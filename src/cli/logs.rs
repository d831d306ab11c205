//! `husk logs`: what can be typed.

use std::time::Duration;

use clap::Args;

use super::connection::ConnectionArgs;
use super::run::parse_duration;

/// Arguments of `husk logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk logs web                       what the pod's container has printed
  husk logs -f web -c server          go on as long as it prints
  husk logs -p web                    of the container before its last restart
  husk logs -l app=web --prefix       of all pods with a label")]
pub struct LogsArgs {
    /// POD, pod/POD or service/SERVICE, and which container if there are several
    #[arg(value_name = "POD")]
    pub pod: Option<String>,
    /// The same as -c
    #[arg(value_name = "CONTAINER", conflicts_with = "container")]
    pub container_word: Option<String>,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Of this container
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Of all containers, init containers first
    #[arg(long, conflicts_with_all = ["container", "container_word"])]
    pub all_containers: bool,
    /// Go on until the containers have ended
    #[arg(short, long)]
    pub follow: bool,
    /// Of the container before its last restart
    #[arg(short, long)]
    pub previous: bool,
    /// Of all pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "pod")]
    pub selector: Option<String>,
    /// Only so many last lines, -1 for all of them; with -l 10 if it is not named
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// Only lines printed within this time, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub since: Option<Duration>,
    /// Only lines printed since then, in RFC 3339
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    pub since_time: Option<String>,
    /// At most so many bytes
    #[arg(long, value_name = "BYTES")]
    pub limit_bytes: Option<u64>,
    /// Print when each line was printed
    #[arg(long)]
    pub timestamps: bool,
    /// Print before each line which pod and container it is from
    #[arg(long)]
    pub prefix: bool,
}
