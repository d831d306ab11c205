//! Composition root: arguments to exit code. Wires the layers together, runs a command and drains it.

mod cluster;
mod images;
mod manifests;
mod notices;
mod outcome;
mod paths;
mod prepare;
mod progress;
mod run;
mod show;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, EXIT_BAD_INPUT};

/// Environment variable that turns on husk's own log, with the syntax of `tracing`'s filters.
const LOG_VARIABLE: &str = "HUSK_LOG";

/// Parses the process's arguments, runs the command they name and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if std::env::var_os(LOG_VARIABLE).is_some() {
        let filter = tracing_subscriber::EnvFilter::from_env(LOG_VARIABLE);
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let result = match cli.command {
        Command::Run(args) => run::run(&cli.global, args),
        Command::Image(command) => images::run(&cli.global, command),
    };
    let code = result.unwrap_or_else(|error| {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        EXIT_BAD_INPUT
    });
    ExitCode::from(code)
}
