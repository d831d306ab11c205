//! Composition root: arguments to exit code. Wires the layers together, runs a command and drains it.

mod client;
mod cluster;
mod console;
mod history;
mod images;
mod local;
mod manifests;
#[cfg(target_os = "linux")]
mod native;
mod node_access;
mod node_info;
mod notices;
mod outcome;
mod paths;
mod prepare;
mod progress;
mod remedy;
mod resume;
mod run;
mod runs;
mod serve;
mod services;
mod show;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cli::{Cli, Command, EXIT_BAD_INPUT, completion, man};

/// Environment variable that turns on husk's own log, with the syntax of `tracing`'s filters.
const LOG_VARIABLE: &str = "HUSK_LOG";

/// Files husk tries to be allowed to have open: each container may have a thousand of its volumes open.
#[cfg(unix)]
const OPEN_FILES: u64 = 32_768;

/// Parses the process's arguments, runs the command they name and returns its exit code.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = crate::runtime::linux::sandbox_process() {
        return ExitCode::from(code);
    }
    let cli = Cli::parse();
    #[cfg(unix)]
    raise_open_files_limit();
    log(&cli.command);
    let result = match cli.command {
        Command::Run(args) => run::run(&cli.global, args),
        Command::Serve(args) => serve::run(&cli.global, args),
        Command::Stop(args) => serve::stop(&cli.global, args),
        Command::Client(verb) => client::run(&cli.global, &verb),
        Command::Image(command) => images::run(&cli.global, command),
        Command::Node(command) => node_info::run(command),
        Command::Completion(args) => {
            // Whoever reads it may have seen enough.
            let _ = std::io::stdout().write_all(&completion::script(args.shell));
            Ok(0)
        }
        Command::Man(args) => {
            man::write(&args.dir).with_context(|| format!("cannot write to {}", args.dir.display())).map(|()| 0)
        }
    };
    let code = result.unwrap_or_else(|error| {
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        EXIT_BAD_INPUT
    });
    ExitCode::from(code)
}

/// Turns on husk's own log: as the environment says, else only for servers, which nobody watches.
fn log(command: &Command) {
    use tracing_subscriber::EnvFilter;
    let filter = match command {
        _ if std::env::var_os(LOG_VARIABLE).is_some() => EnvFilter::from_env(LOG_VARIABLE),
        Command::Serve(args) if args.in_background => EnvFilter::new("warn,husk=info"),
        Command::Serve(_) => EnvFilter::new("warn"),
        _ => return,
    };
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}

/// Raises the soft limit on open files as far as the hard one allows; shells leave it far too low for many containers.
#[cfg(unix)]
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if current.is_some_and(|current| current < wanted) {
        // Without it, fewer files can be open; those beyond are refused one by one.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
    }
}
