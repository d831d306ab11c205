//! The command line: what can be typed, one file per verb, and how results are printed. What a verb does with the
//! engine is wired in `app`.

pub mod api_resources;
pub mod apply;
pub mod completion;
pub mod connection;
pub mod cp;
pub mod create;
pub mod delete;
pub mod describe;
pub mod edit;
pub mod events;
pub mod exec;
pub mod explain;
pub mod get;
pub mod image;
pub mod logs;
pub mod man;
pub mod node;
pub mod output;
pub mod port_forward;
pub mod print;
pub mod run;
pub mod serve;
pub mod stop;
pub mod top;
pub mod verbs;
pub mod wait;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Exit code for input husk cannot use: arguments, manifests, images.
pub const EXIT_BAD_INPUT: u8 = 2;
/// Exit code when `--timeout` ended the run.
pub const EXIT_TIMEOUT: u8 = 124;
/// Exit code after SIGTERM.
pub const EXIT_TERMINATED: u8 = 143;
/// Exit code after Ctrl-C.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Kubernetes pods without Kubernetes: runs Pod YAML on this machine, as WebAssembly and as Linux processes.
#[derive(Debug, Parser)]
#[command(name = "husk", version, max_term_width = 110)]
pub struct Cli {
    /// Options every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where `--help` lists them.
const GLOBAL: &str = "Options of every command";

/// Options every command takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Where images, volumes and pods' files are kept
    #[arg(long, env = "HUSK_DATA_DIR", hide_env_values = true, value_name = "DIR", global = true, help_heading = GLOBAL)]
    pub data_dir: Option<PathBuf>,
    /// Where compiled code is kept
    #[arg(long, env = "HUSK_CACHE_DIR", hide_env_values = true, value_name = "DIR", global = true, help_heading = GLOBAL)]
    pub cache_dir: Option<PathBuf>,
    /// Mirrors, plain registries, short names and keys for signatures [default: husk/registries.toml where configurations are]
    #[arg(long, env = "HUSK_REGISTRIES", hide_env_values = true, value_name = "FILE", global = true, help_heading = GLOBAL)]
    pub registries: Option<PathBuf>,
    /// Whether built-in images stand in for names such as busybox and nginx
    #[arg(
        long,
        env = "HUSK_IMAGE_ALIASES",
        hide_env_values = true,
        hide_possible_values = true,
        value_name = "on|off",
        default_value = "on",
        global = true,
        help_heading = GLOBAL
    )]
    pub image_aliases: Switch,
    /// How much images may take, such as 20Gi: pulled ones that nothing uses make room, unused for longest first
    #[arg(
        long,
        env = "HUSK_IMAGE_LIMIT",
        hide_env_values = true,
        value_name = "BYTES",
        value_parser = image::prune::size,
        global = true,
        help_heading = GLOBAL
    )]
    pub image_limit: Option<u64>,
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run pods from YAML or JSON manifests, or one WebAssembly program, until they end
    Run(run::RunArgs),
    /// Serve the Kubernetes API on this machine, for kubectl and other clients
    Serve(serve::ServeArgs),
    /// Stop the server that `husk serve --detach` has started
    Stop(stop::StopArgs),
    /// Talk to a server
    #[command(flatten)]
    Client(Box<verbs::Verb>),
    /// Manage the images on this machine
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Look at what this machine can do
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Print a script that completes husk's commands in a shell
    Completion(completion::CompletionArgs),
    /// Write husk's manual pages
    Man(man::ManArgs),
}
