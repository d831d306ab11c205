//! Options of the verbs that talk to a server: which one, and which namespace.

use std::path::PathBuf;

use clap::Args;

/// Where `--help` lists them.
const CONNECTION: &str = "Options of the connection";

/// Which server a verb talks to. Without any of these and without `$KUBECONFIG` it is the `husk serve` of the data
/// directory, else the one `husk run` that is under way there.
#[derive(Debug, Clone, Args)]
pub struct ConnectionArgs {
    /// Talk to the server of this kubeconfig, else of $KUBECONFIG, else to the husk server of the data directory, else to
    /// the pods of the one `husk run` that is under way
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub kubeconfig: Option<PathBuf>,
    /// Talk to the pods of a `husk run`; if there are several, to those of the process PID
    #[arg(
        long,
        value_name = "PID",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["kubeconfig", "context"],
        help_heading = CONNECTION
    )]
    pub run: Option<Option<u32>>,
    /// Use this context of the kubeconfig
    #[arg(long, value_name = "NAME", help_heading = CONNECTION)]
    pub context: Option<String>,
    /// The namespace; that of the context if it is not named
    #[arg(short, long, value_name = "NAME", help_heading = CONNECTION)]
    pub namespace: Option<String>,
}

/// The manifests a verb reads.
#[derive(Debug, Clone, Default, Args)]
pub struct FileArgs {
    /// A manifest file, a folder of them, or `-` for standard input. Repeatable
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", value_delimiter = ',')]
    pub filename: Vec<PathBuf>,
    /// Read the subfolders of folders, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
}
