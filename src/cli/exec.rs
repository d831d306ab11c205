//! `husk exec` and `husk attach`: what can be typed.

use clap::Args;

use super::connection::ConnectionArgs;

/// Arguments of `husk exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is the program's.

Examples:
  husk exec web -- ls /           run a program in the pod's first container
  husk exec -it web -c a -- sh    a shell on this terminal
  echo hello | husk exec -i web -- cat")]
pub struct ExecArgs {
    /// POD, pod/POD or service/SERVICE
    #[arg(value_name = "POD")]
    pub pod: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// In this container
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the program a terminal: this one
    #[arg(short, long)]
    pub tty: bool,
    /// Do not say which container was chosen
    #[arg(short, long)]
    pub quiet: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Arguments of `husk attach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  husk attach web           see what the pod's first container prints from now on
  husk attach -it web       its terminal")]
pub struct AttachArgs {
    /// POD, pod/POD or service/SERVICE
    #[arg(value_name = "POD")]
    pub pod: String,
    /// The connection.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// To this container
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// The container's terminal is this one
    #[arg(short, long)]
    pub tty: bool,
    /// Do not say which container was chosen
    #[arg(short, long)]
    pub quiet: bool,
}
